"""The annotations, network and card of a training of a denoiser."""

from snellen.config import ConfigError, DenoisingConfig
from snellen.data import PointCanvas, build_points
from snellen.models import Denoiser
from snellen.training.jobs.base import Job, make_model
from snellen.training.tasks.denoising import DenoisingTask

__all__ = ["prepare_denoising"]


def prepare_denoising(config: DenoisingConfig, *, load_pretrained: bool = True) -> Job:
    """What `snellen.training.jobs.prepare` answers for denoising: no image is decoded or drawn."""
    data, canvas = config.data, config.data.canvas
    train, val = (build_points(data, split) for split in ("train", "val"))
    schema, wanted = train.schema, config.evaluate.normaliser
    if wanted and wanted not in schema.normaliser_names:
        known = ", ".join(schema.normaliser_names)
        raise ConfigError(f"evaluate.normaliser {wanted!r} does not exist for {schema.name!r}; it has {known}")
    if config.noise.swap and not schema.swaps:
        raise ConfigError(
            f"noise.swap exchanges points with their mirror images, but schema {schema.name!r} names no pairs; name them in "
            "data.swaps, or set noise.swap to 0"
        )
    model: Denoiser = make_model(config, load_pretrained=load_pretrained, keypoints=len(schema), size=list(canvas))
    if model.keypoints != len(schema) or max(model.size) * canvas[0] != max(canvas) * model.size[0]:
        raise ConfigError(
            f"model.choices make a denoiser of {model.keypoints} points on {list(model.size)} cells, which does not fit "
            f"{len(schema)} points on data.canvas {list(canvas)}; leave keypoints and size out"
        )
    return Job(
        task=DenoisingTask(model, config, schema),
        train_set=PointCanvas(train, canvas, config.augment, config.noise, seed=config.seed),
        val_set=PointCanvas(val, canvas, config.validation, config.noise, seed=0),
        choices=model.choices,
        card={"schema": schema.to_dict(), "box": {"rule": data.box, "scale": data.box_scale}},
    )
