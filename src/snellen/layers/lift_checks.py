"""What LiftPool's functions refuse, in one sentence each."""

import operator
from collections.abc import Sequence

import torch
from torch import Tensor

from snellen.layers.lift_plain import LiftWeights

__all__ = [
    "MEMORIES",
    "PADDINGS",
    "check_bands",
    "check_choices",
    "check_map",
    "check_memory",
    "check_weights",
    "whole",
]

PADDINGS = ("zeros", "replicate", "circular")
MEMORIES = (None, "recompute", "autograd")


def whole(name: str, value: object) -> int:
    """A whole number, which numpy's are too; ValueError for anything else."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)  # type: ignore[arg-type]
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


def check_bands(bands: object, names: Sequence[str] | None = None, channels: int | None = None) -> None:
    """ValueError for what are no `Bands`, bands of another number of sides, of shapes that differ, or of other channels."""
    from snellen.layers.lift import Bands

    if not isinstance(bands, Bands):
        raise ValueError(
            f"the inverse takes the Bands of a map, not {type(bands).__name__}; give it layer.bands(x), or lift_down(x, ...)"
        )
    wanted = names or ()
    missing = [name for name in wanted if name not in bands.tensors]
    if missing:
        raise ValueError(
            f"band {missing[0]} is missing; the inverse needs all of {', '.join(wanted)}, and these are "
            f"{', '.join(bands.tensors)} of a map with {len(bands.size)} side{'s' if len(bands.size) != 1 else ''}"
        )
    tensors = [bands[name] for name in wanted]
    if any(t.shape != tensors[0].shape for t in tensors):
        raise ValueError(f"bands are of shapes {[tuple(t.shape) for t in tensors]}; they all have to be of one")
    if any(t.ndim != len(bands.size) + 2 for t in tensors):
        raise ValueError(
            f"bands of shape {tuple(tensors[0].shape)} do not belong to a map with {len(bands.size)} sides"
        )
    if channels is not None and tensors and tensors[0].shape[1] != channels:
        raise ValueError(
            f"bands of {tensors[0].shape[1]} channels do not fit weights for {channels}; give those of the layer's own map"
        )
    if any(not t.is_floating_point() for t in tensors):
        raise ValueError(f"bands of {tensors[0].dtype} are none of a map; give floating-point ones")


def check_memory(memory: str | None, dtype: torch.dtype) -> None:
    """ValueError where "recompute" was asked for and cannot be had: it would be ignored in silence."""
    if memory == "recompute" and dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"memory='recompute' does not exist for {dtype}; keep the layer's weights in float32 (autocast does), or give "
            "memory='autograd' and wrap the layer in torch.utils.checkpoint"
        )
