"""The images, network and card of a training of a segmentation network."""

import logging

import torch
from jaxtyping import Float
from torch import Tensor

from snellen.config import AugmentConfig, ConfigError, SegmentationConfig
from snellen.data import DataError, MaskImages, SegmentationCanvas, SegmentationDataset, Split, build_segmentation
from snellen.models import LabelNet
from snellen.training.jobs.base import Job, make_model, refuse_other_classes
from snellen.training.segmentation import label_counts, median_frequency_weights
from snellen.training.tasks.segmentation import LabelTask
from snellen.training.zoom_setup import refuse_fixed

__all__ = ["class_weights", "label_images", "prepare_labels"]

log = logging.getLogger("snellen")


def label_images(config: SegmentationConfig, split: Split) -> MaskImages:
    """The images and label maps of a split, "train", "val" or "test"."""
    data = config.data
    if data.root is None:
        raise ConfigError(f"data.format {data.format!r} needs data.root: the folder that holds images and label maps")
    return build_segmentation(
        data.format,
        data.root,
        split,
        classes=data.classes or None,
        ignore=data.ignore,
        val_share=data.val_share,
        train_list=data.train_list,
        val_list=data.val_list,
        test_list=data.test_list,
        channels=data.channels,
        on_error=data.on_error,
        cache_mb=data.cache_mb,
    )


def prepare_labels(config: SegmentationConfig, *, load_pretrained: bool = True) -> Job:
    """What `snellen.training.jobs.prepare` answers for segmentation."""
    data, canvas = config.data, config.data.canvas
    if config.augment.tight_probability:
        raise ConfigError("augment.tight presses the box around keypoints, and label maps have none; leave it out")
    train, val = label_images(config, "train"), label_images(config, "val")
    for split, images in (("train", train), ("val", val)):
        # Nearly always the first image has a labelled pixel.
        if not any((images[i].labels < len(images.classes)).any() for i in range(len(images))):
            raise DataError(
                f"{images.source}: no pixel of the {split} split has a class; correct the masks or data.ignore"
            )
    model: LabelNet = make_model(config, load_pretrained=load_pretrained, classes=len(train.classes))
    refuse_other_classes(model, len(train.classes))
    refuse_fixed(model)
    train_set = SegmentationCanvas(train, canvas, config.augment, seed=config.seed, crop=data.crop)
    weights = class_weights(train) if config.train.class_weights == "median-frequency" else None
    return Job(
        task=LabelTask(model, config, ignore=train_set.ignore, weights=weights),
        train_set=train_set,
        val_set=SegmentationCanvas(val, canvas, AugmentConfig(), crop=data.crop),
        choices=model.choices,
        card={"classes": list(train.classes), "crop": data.crop, "flip": config.evaluate.flip},
    )


def class_weights(data: SegmentationDataset) -> Float[Tensor, " c"]:
    """Weights of the loss from the label maps as they are on disk (`median_frequency_weights`), float32; one line logs them.

    Raises:
        ValueError: where nothing is labelled.
    """
    counts = [label_counts(data[i].labels, len(data.classes)).tolist() for i in range(len(data))]
    weights = median_frequency_weights(counts)
    log.info(
        "class weights by median frequency: %s",
        ", ".join(f"{name} {weight:.3g}" for name, weight in zip(data.classes, weights, strict=True)),
    )
    return torch.tensor(weights, dtype=torch.float32)
