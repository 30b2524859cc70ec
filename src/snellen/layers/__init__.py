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
    from snellen.layers.lift import Bands, lift_down, lift_up
    from snellen.layers.lift_pool import LiftDown1d, LiftDown2d, LiftDown3d
    from snellen.layers.lift_unpool import LiftUp1d, LiftUp2d, LiftUp3d
    from snellen.layers.recalibrate import MultiScaleRecalibration, multi_scale_recalibrate

__all__ = [
    "Bands",
    "LiftDown1d",
    "LiftDown2d",
    "LiftDown3d",
    "LiftUp1d",
    "LiftUp2d",
    "LiftUp3d",
    "LocalContrastNorm",
    "MultiScaleRecalibration",
    "auxiliary_losses",
    "lift_down",
    "lift_up",
    "multi_scale_recalibrate",
]

_HOME = {
    **dict.fromkeys(("Bands", "lift_down", "lift_up"), "lift"),
    **dict.fromkeys(("LiftDown1d", "LiftDown2d", "LiftDown3d"), "lift_pool"),
    **dict.fromkeys(("LiftUp1d", "LiftUp2d", "LiftUp3d"), "lift_unpool"),
    "LocalContrastNorm": "contrast",
    **dict.fromkeys(("MultiScaleRecalibration", "multi_scale_recalibrate"), "recalibrate"),
    "auxiliary_losses": "auxiliary",
}


def __getattr__(name: str) -> Any:
    """Import a name's module at first use: one layer does not cost another."""
    if name in _HOME:
        return getattr(importlib.import_module(f"snellen.layers.{_HOME[name]}"), name)
    raise AttributeError(f"module 'snellen.layers' has no attribute {name!r}; public names are {', '.join(__all__)}")
