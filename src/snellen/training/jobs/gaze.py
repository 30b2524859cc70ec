"""The pictures, network and card of a training on gaze."""

from snellen.config import ConfigError, GazeAugmentConfig, GazeConfig
from snellen.data.gaze import GazeDataset
from snellen.data.gaze_build import build_gaze
from snellen.data.gaze_canvas import GazeCanvas, GazePartsCanvas
from snellen.models.gaze_nets import GazeNet, ITracker
from snellen.training.jobs.base import Job, make_model, refuse_small_canvas
from snellen.training.tasks.gaze import GazeTask
from snellen.training.zoom_setup import check_supervision, refuse_fixed

__all__ = ["gaze_canvases", "prepare_gaze"]


def gaze_canvases(
    config: GazeConfig, data: GazeDataset, augment: GazeAugmentConfig | None = None, seed: int = 0
) -> GazeCanvas:
    """Pictures as the run's network sees them; without changes unless `augment` has some.

    Raises:
        ConfigError: where the data lack what the configuration shows of them.
    """
    shown = config.data
    try:
        if shown.look == "parts":
            return GazePartsCanvas(data, shown.canvas, augment, seed=seed)
        return GazeCanvas(
            data, shown.canvas, augment, whole=shown.look == "image", canonical=shown.canonical, seed=seed
        )
    except ValueError as error:
        raise ConfigError(f"data.{error}") from None


def prepare_gaze(config: GazeConfig, *, load_pretrained: bool = True) -> Job:
    """What `snellen.training.jobs.prepare` answers for gaze."""
    data = config.data
    train, val = (build_gaze(data, split) for split in ("train", "val"))
    if train.answer == "point" and (config.train.loss == "angular" or config.augment.rotate):
        raise ConfigError(
            "these data hold points on a screen: train.loss 'angular' and augment.rotate need directions; choose another loss "
            "and set augment.rotate to 0"
        )
    model: GazeNet = make_model(config, load_pretrained=load_pretrained, answer=train.answer, canvas=list(data.canvas))
    if (data.look == "parts") != isinstance(model, ITracker):
        raise ConfigError(
            f"model.name {config.model.name!r} does not go with data.look {data.look!r}; itracker alone sees 'parts', and "
            "nothing else"
        )
    if model.answer != train.answer:
        raise ConfigError(f"model.choices.answer is {model.answer!r}, but the data hold {train.answer!r}; leave it out")
    refuse_small_canvas(config, data.canvas, model.minimum_size)
    refuse_fixed(model)
    canvases = gaze_canvases(config, train, config.augment, config.seed)
    check_supervision(model, config.train, box_is_known=lambda: bool(canvases[0]["box"].isfinite().all()))
    return Job(
        task=GazeTask(model, config),
        train_set=canvases,
        val_set=gaze_canvases(config, val),
        choices=model.choices,
        card={
            "answer": train.answer,
            "look": data.look,
            "canonical": data.canonical,
            "flip": config.evaluate.flip,
        },
    )
