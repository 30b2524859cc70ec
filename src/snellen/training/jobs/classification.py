"""The images, network and card of a training of a classifier."""

from collections.abc import Sequence

from snellen.config import ClassificationConfig, ConfigError, SuperResolutionConfig
from snellen.data import Split
from snellen.data.class_build import build_classification
from snellen.data.class_canvas import ClassificationCanvas
from snellen.data.classes import ClassImages
from snellen.data.wing_species import wing_species
from snellen.models import ClassNet
from snellen.training.jobs.base import Job, make_model, refuse_other_classes, refuse_small_canvas
from snellen.training.tasks.classification import ClassTask
from snellen.training.zoom_setup import check_supervision, refuse_fixed

__all__ = ["class_images", "prepare_classes"]


def class_images(
    config: ClassificationConfig | SuperResolutionConfig, split: Split, classes: Sequence[str] | None = None
) -> ClassImages:
    """The images of a split, "train", "val" or "test"; `classes` names the labels where a model knows them already."""
    data = config.data
    if data.format == "wings-species":
        count = {"train": data.train_images, "val": data.val_images, "test": data.test_images}.get(split, 0)
        return wing_species(
            split, count, look=data.look, channels=data.channels, cache_mb=data.cache_mb, classes=classes
        )
    if data.root is None:
        raise ConfigError(f"data.format {data.format!r} needs data.root: the folder that holds the images")
    return build_classification(
        data.format,
        data.root,
        split,
        val_share=data.val_share,
        train=data.train,
        val=data.val,
        test=data.test,
        classes=classes,
        image_column=data.image_column,
        label_column=data.label_column,
        download=data.download,
        channels=data.channels,
        on_error=data.on_error,
        cache_mb=data.cache_mb,
    )


def prepare_classes(config: ClassificationConfig, *, load_pretrained: bool = True) -> Job:
    """What `snellen.training.jobs.prepare` answers for classification."""
    data, canvas = config.data, config.data.canvas
    train, val = class_images(config, "train"), class_images(config, "val")
    model: ClassNet = make_model(config, load_pretrained=load_pretrained, classes=len(train.classes))
    refuse_other_classes(model, len(train.classes))
    refuse_small_canvas(config, canvas, model.minimum_size)
    refuse_fixed(model)
    check_supervision(model, config.train, box_is_known=lambda: train[0].box is not None)
    return Job(
        task=ClassTask(model, config),
        train_set=ClassificationCanvas(train, canvas, config.augment, fit=data.fit, zoom=data.zoom, seed=config.seed),
        val_set=ClassificationCanvas(val, canvas, fit=data.fit, zoom=data.zoom),
        choices=model.choices,
        card={"classes": list(train.classes), "fit": data.fit, "zoom": data.zoom, "flip": config.evaluate.flip},
    )
