"""The images, network and card of a training on keypoints."""

import logging
import re

import numpy as np

from snellen.config import ConfigError, KeypointConfig
from snellen.data import CanvasDataset, KeypointDataset, build_dataset
from snellen.keypoints import Schema
from snellen.models import KeypointNet
from snellen.training.initial import inherited_terms, start_from
from snellen.training.jobs.base import Job, make_model
from snellen.training.tasks.keypoints import KeypointTask
from snellen.training.zoom_setup import prepare_zoom

__all__ = ["build_model", "prepare_keypoints"]

log = logging.getLogger("snellen")


def prepare_keypoints(config: KeypointConfig, *, load_pretrained: bool = True) -> Job:
    """What `snellen.training.jobs.prepare` answers for keypoints."""
    train_data, val_data = (build_dataset(config.data, split) for split in ("train", "val"))
    schema = train_data.schema
    _check_data(config, val_data)
    model = build_model(config, schema, load_pretrained=load_pretrained)
    if config.train.init and load_pretrained:  # a resumed run has its weights in its checkpoint
        start_from(model, config.train.init)
    if min(config.data.canvas) < model.minimum_size:
        raise ConfigError(
            f"data.canvas {list(config.data.canvas)} is too small for {config.model.name!r} with {model.branches} branches; "
            f"give at least {[model.minimum_size] * 2}, or fewer model.choices.branches"
        )
    prepare_zoom(model, config, train_data)
    evaluate = config.evaluate
    return Job(
        task=KeypointTask(model, config, schema),
        train_set=CanvasDataset(train_data, config.data.canvas, config.augment, seed=config.seed),
        val_set=CanvasDataset(val_data, config.data.canvas, config.validation, seed=0),
        choices=model.choices,
        card={
            "schema": schema.to_dict(),
            "stride": model.stride,  # canvas pixels a heatmap cell
            "terms": inherited_terms(config.train.init, config.data.terms),
            "grey_range": config.data.grey_range,  # a list in the file; None for the full range
            "box": {"rule": config.data.box, "scale": config.data.box_scale},
            "decoder": {
                "method": evaluate.decoder,
                "window": evaluate.window,
                "radius": evaluate.radius,
                "flip": evaluate.flip,
            },
        },
    )


def build_model(config: KeypointConfig, schema: Schema, *, load_pretrained: bool = True) -> KeypointNet:
    """The model of a configuration for the points of a schema; see `make_model`."""
    model: KeypointNet = make_model(config, load_pretrained=load_pretrained, keypoints=len(schema))
    return model


def _check_data(config: KeypointConfig, val_data: KeypointDataset) -> None:
    """Refuse data that cannot be trained and scored as the configuration says; warn of mirror images without swaps."""
    schema, wanted = val_data.schema, config.evaluate.normaliser
    if wanted and wanted not in schema.normaliser_names:
        known = ", ".join(schema.normaliser_names)
        raise ConfigError(f"evaluate.normaliser {wanted!r} does not exist for {schema.name!r}; it has {known}")
    sided = [p for p in schema.points if re.search(r"(^|[^a-z])(left|right)([^a-z]|$)", p.lower())]
    if config.augment.flip and sided and not schema.swaps:
        log.warning(
            "augment.flip mirrors images, but no points are swapped; name the pairs of %s in data.swaps", sided[:4]
        )
    name = wanted or schema.default_normaliser
    for i in range(len(val_data)):  # nearly always the first sample has the distance
        distance = schema.normalising_distance(name, val_data[i].keypoints.xy)
        if np.isfinite(distance) and distance > 0:
            return
    raise ConfigError(
        f"no validation image has the distance {name!r} to divide errors by (one point alone spans none, nor do unlabelled "
        f"ones); set evaluate.normaliser to pixels or another of {', '.join(schema.normaliser_names)}"
    )
