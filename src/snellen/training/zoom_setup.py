"""What a zoom needs to know of the data before training."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from snellen.config import ConfigError, KeypointConfig, ZoomTrainConfig
from snellen.data import KeypointDataset
from snellen.data.views import Spread
from snellen.geometry import box_map, box_of_points
from snellen.layers.saliency import mean_saliency
from snellen.models import KeypointNet
from snellen.models.zoomers import BETA, FixedZoom, SaliencySampler, box_saliency

__all__ = ["check_supervision", "prepare_zoom", "refuse_fixed"]

#: Images from which a data set's saliency is taken: their mean does not change after a few hundred.
IMAGES = 500


def prepare_zoom(model: KeypointNet, config: KeypointConfig, samples: KeypointDataset) -> None:
    """Give a fixed zoom the saliency of the training images' points, without augmentation (FOVEA's S_D; zoom.md 7.1).

    Raises:
        ConfigError: where a saliency is to be supervised that the model does not have.
    """
    zoomer: Any = getattr(model, "zoomer", None)
    check_supervision(model, config.train)
    if not isinstance(zoomer, FixedZoom):
        return
    canvas, boxes, part = config.data.canvas, [], Spread(samples, IMAGES)
    for i in range(len(part)):
        sample = part[i]
        moved = sample.keypoints.transformed(box_map(sample.box, canvas))
        if moved.labelled.any():
            boxes.append(box_of_points(moved.xy))
    each = box_saliency(
        torch.tensor(boxes)[:, None].float(), torch.empty(len(boxes), 1, *canvas), zoomer.nodes, 1.0, BETA
    )
    zoomer.set_saliency(mean_saliency(each))


def check_supervision(
    model: nn.Module, train: ZoomTrainConfig, *, box_is_known: Callable[[], bool] = lambda: True
) -> None:
    """Refuse (ConfigError) to supervise a saliency that the model does not predict, or with boxes that the data lack.

    Args:
        model: the network.
        train: the configuration.
        box_is_known: whether the data say where the object is; asked only where a saliency is to be supervised.
    """
    wanted = [name for name in ("zoom_boxes", "zoom_guide") if getattr(train, name)]
    if wanted and not isinstance(getattr(model, "zoomer", None), SaliencySampler):
        raise ConfigError(
            f"train.{wanted[0]} supervises a saliency, and this model predicts none; take model.choices.zoom saliency or "
            "separable, or leave it out"
        )
    if wanted and not box_is_known():
        raise ConfigError(
            f"train.{wanted[0]} tells a zoom where the object is, and these data do not say; leave it out"
        )


def refuse_fixed(model: nn.Module) -> None:
    """Refuse (ConfigError) a fixed zoom where the data have no boxes to take its saliency from."""
    if isinstance(getattr(model, "zoomer", None), FixedZoom):
        raise ConfigError(
            "model.choices.zoom 'fixed' takes its saliency from the points of the training images, and these data have none; "
            "take another zoom, or give a model of your own a saliency with set_saliency"
        )
