"""The pictures, network and card of a training of super-resolution."""

from snellen.config import ConfigError, SuperResolutionConfig
from snellen.data import ClassificationCanvas
from snellen.models.superres import SuperResolver
from snellen.training.jobs.base import Job, make_model
from snellen.training.jobs.classification import class_images
from snellen.training.tasks.superresolution import SuperTask

__all__ = ["prepare_pictures"]


def prepare_pictures(config: SuperResolutionConfig, *, load_pretrained: bool = True) -> Job:
    """What `snellen.training.jobs.prepare` answers for super-resolution."""
    data, canvas = config.data, config.data.canvas
    train, val = class_images(config, "train"), class_images(config, "val")
    model: SuperResolver = make_model(config, load_pretrained=load_pretrained)
    if model.channels != data.channels:
        raise ConfigError(
            f"model.choices.channels is {model.channels}, but data.channels {data.channels}; leave the former out"
        )
    return Job(
        task=SuperTask(model, config),
        train_set=ClassificationCanvas(train, canvas, config.augment, fit=data.fit, zoom=data.zoom, seed=config.seed),
        val_set=ClassificationCanvas(val, canvas, fit=data.fit, zoom=data.zoom),
        choices=model.choices,
        card={"fit": data.fit, "zoom": data.zoom, "flip": config.evaluate.flip},
    )
