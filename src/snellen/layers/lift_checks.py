"""What LiftPool's functions refuse, in one sentence each."""

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from snellen.layers.lift_plain import LiftWeights

__all__ = [
    "MEMORIES",
    "PADDINGS",
    "check_choices",
    "check_map",
    "check_memory",
    "check_weights",
    "whole",
]

PADDINGS = ("zeros", "replicate", "circular")
MEMORIES = (None, "recompute", "autograd")


def whole(name: str, value: Any) -> int:
    """A whole number, which numpy's are too; ValueError for anything else."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise ValueError(f"{name}={value!r} is not a whole number; give one, such as {name}=5") from None


def check_choices(**choices: tuple[object, Sequence[object]]) -> None:
    """ValueError for a value that is not among those known, by name: (value, known)."""
    for name, (value, known) in choices.items():
        if value not in known:
            raise ValueError(f"{name}={value!r} is not known; give one of {', '.join(map(repr, known))}")


def check_map(x: Tensor) -> None:
    """ValueError for what is no map of real numbers."""
    if not isinstance(x, Tensor) or not 3 <= x.ndim <= 5:
        got = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"a map is a tensor (batch, channels, sides...) with one to three sides, not {got}")
    if not x.is_floating_point():
        raise ValueError(f"a map of {x.dtype} cannot be lifted, since its sub-bands are not whole; give x.float()")


def check_weights(weights: Sequence[LiftWeights], axes: int, channels: int) -> None:
    """ValueError for weights that do not fit a map of so many axes and channels."""
    lifts = 2**axes - 1
    if len(weights) not in (1, lifts):
        raise ValueError(
            f"{len(weights)} pairs of weights do not fit a map with {axes} sides; give one for all lifts, or {lifts}, one each"
        )
    for pair in weights:
        for net in pair:
            of, kernel = net.spatial.shape
            per_group = net.point.shape[1]
            if of != channels or net.point.shape[0] != channels or not per_group or channels % per_group:
                raise ValueError(
                    f"weights of shapes {tuple(net.spatial.shape)} and {tuple(net.point.shape)} do not fit a map of {channels} "
                    f"channels; give ({channels}, k) and ({channels}, 1), or {channels} / groups in the place of 1"
                )
            if kernel % 2 == 0:
                raise ValueError(f"a kernel of {kernel} weights has no middle; give an odd number, such as 5")


def check_memory(memory: str | None, dtype: torch.dtype) -> None:
    """ValueError where "recompute" was asked for and cannot be had: it would be ignored in silence."""
    if memory == "recompute" and dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"memory='recompute' does not exist for {dtype}; keep the layer's weights in float32 (autocast does), or give "
            "memory='autograd' and wrap the layer in torch.utils.checkpoint"
        )
