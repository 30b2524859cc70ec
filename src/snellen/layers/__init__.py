"""The papers' blocks, usable in any network.

>>> from snellen.layers import LiftDown2d
>>> LiftDown2d(16).kernel_size
5
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snellen.layers.auxiliary import auxiliary_losses
    from snellen.layers.contrast import LocalContrastNorm
    from snellen.layers.lift import Bands, LiftWeights, NetWeights, lift_down, lift_up
    from snellen.layers.lift_pool import LiftDown1d, LiftDown2d, LiftDown3d
    from snellen.layers.lift_unpool import LiftUp1d, LiftUp2d, LiftUp3d
    from snellen.layers.recalibrate import MultiScaleRecalibration, multi_scale_recalibrate
    from snellen.layers.saliency import follow_saliency, mean_saliency, saliency_from_boxes, saliency_of_peak
    from snellen.layers.zoom_back import unzoom, unzoom_boxes, unzoom_points, zoom_boxes, zoom_points
    from snellen.layers.zoom_grid import ZoomGrid, magnification, uniform_grid
    from snellen.layers.zoom_mass import unzoom_mass
    from snellen.layers.zoom_saliency import saliency_to_grid
    from snellen.layers.zoom_sample import zoom

__all__ = [
    "Bands",
    "LiftDown1d",
    "LiftDown2d",
    "LiftDown3d",
    "LiftUp1d",
    "LiftUp2d",
    "LiftUp3d",
    "LiftWeights",
    "LocalContrastNorm",
    "MultiScaleRecalibration",
    "NetWeights",
    "ZoomGrid",
    "auxiliary_losses",
    "follow_saliency",
    "lift_down",
    "lift_up",
    "magnification",
    "mean_saliency",
    "multi_scale_recalibrate",
    "saliency_from_boxes",
    "saliency_of_peak",
    "saliency_to_grid",
    "uniform_grid",
    "unzoom",
    "unzoom_boxes",
    "unzoom_mass",
    "unzoom_points",
    "zoom",
    "zoom_boxes",
    "zoom_points",
]

_HOME = {
    **dict.fromkeys(("Bands", "LiftWeights", "NetWeights", "lift_down", "lift_up"), "lift"),
    **dict.fromkeys(("LiftDown1d", "LiftDown2d", "LiftDown3d"), "lift_pool"),
    **dict.fromkeys(("LiftUp1d", "LiftUp2d", "LiftUp3d"), "lift_unpool"),
    "LocalContrastNorm": "contrast",
    **dict.fromkeys(("MultiScaleRecalibration", "multi_scale_recalibrate"), "recalibrate"),
    "auxiliary_losses": "auxiliary",
    **dict.fromkeys(("follow_saliency", "mean_saliency", "saliency_from_boxes", "saliency_of_peak"), "saliency"),
    **dict.fromkeys(("unzoom", "unzoom_boxes", "unzoom_points", "zoom_boxes", "zoom_points"), "zoom_back"),
    "saliency_to_grid": "zoom_saliency",
    **dict.fromkeys(("ZoomGrid", "magnification", "uniform_grid"), "zoom_grid"),
    "unzoom_mass": "zoom_mass",
    "zoom": "zoom_sample",
}


def __getattr__(name: str) -> Any:
    """Import a name's module at first use: one layer does not cost another."""
    if name in _HOME:
        return getattr(importlib.import_module(f"snellen.layers.{_HOME[name]}"), name)
    raise AttributeError(f"module 'snellen.layers' has no attribute {name!r}; public names are {', '.join(__all__)}")
