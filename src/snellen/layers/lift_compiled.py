"""LiftPool's sum of bands as one node of a compiled graph.

torch.compile cannot look into the machine code of `lift_kernels.py`. Without this file a compiled network on the CPU would take
LiftPool's plain operations, which are three times slower than the eager layer and keep five times the input for the backward
pass. As an operator of our own the kernels stand in the graph as they are. Exported graphs keep to plain operations: they have
to run where this package is not installed.
"""

import importlib.util
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from snellen.layers.lift_planes import planes_backward, planes_down

__all__ = ["graph_suits", "summed_in_graph"]

_NUMBA = importlib.util.find_spec("numba") is not None
#: Inputs come in the layout that they were traced with, so results are laid out as the graph was told.
_TAGS = (torch.Tag.needs_exact_strides,)


def graph_suits(x: Tensor, weights: Sequence[Tensor]) -> bool:
    """Whether the operator can stand for the lift of a map in the graph that is being compiled.

    Where the map is neither in NCHW nor in channels_last order, it is copied.
    """
    return (
        _NUMBA
        and not torch.compiler.is_exporting()
        and x.ndim == 4
        and x.device.type == "cpu"
        and x.dtype == torch.float32 == weights[0].dtype
    )


def summed_in_graph(x: Tensor, weights: Sequence[Tensor], scale: float, squares: bool) -> list[Tensor]:
    """The sum of all bands times `scale`, and the sums of squares (3, 2) where they are wanted."""
    y, sums = _lift_sum(_dense(x), list(weights), scale, squares)
    return [y, sums] if squares else [y]


def _dense(x: Tensor) -> Tensor:
    dense = x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)
    return x if dense else x.contiguous()


@torch.library.custom_op("snellen::lift_sum", mutates_args=(), tags=_TAGS)
def _lift_sum(x: Tensor, weights: list[Tensor], scale: float, squares: bool) -> tuple[Tensor, Tensor]:
    sums = x.new_zeros((3, 2) if squares else (0, 2))
    return planes_down(x, weights, scale, sums if squares else None), sums


@_lift_sum.register_fake
def _(x: Tensor, weights: list[Tensor], scale: float, squares: bool) -> tuple[Tensor, Tensor]:
    b, c, h, w = x.shape
    layout = torch.contiguous_format if x.is_contiguous() else torch.channels_last
    y = x.new_empty(b, c, (h + 1) // 2, (w + 1) // 2).contiguous(memory_format=layout)
    return y, x.new_empty((3, 2) if squares else (0, 2))


@torch.library.custom_op("snellen::lift_sum_backward", mutates_args=(), tags=_TAGS)
def _lift_sum_backward(
    x: Tensor, g: Tensor, weights: list[Tensor], scale: float, of_squares: Tensor | None
) -> list[Tensor]:
    return planes_backward(x, g, weights, scale, of_squares)


@_lift_sum_backward.register_fake
def _(x: Tensor, g: Tensor, weights: list[Tensor], scale: float, of_squares: Tensor | None) -> list[Tensor]:
    return [torch.empty_like(x), *(torch.empty_like(w) for w in weights)]


def _keep(ctx: Any, inputs: tuple[Tensor, list[Tensor], float, bool], output: tuple[Tensor, Tensor]) -> None:
    x, weights, ctx.scale, ctx.squares = inputs
    ctx.save_for_backward(x, *weights)


def _pull(ctx: Any, of_y: Tensor, of_sums: Tensor) -> tuple[Tensor, list[Tensor], None, None]:
    x, *weights = ctx.saved_tensors
    gx, *of_weights = _lift_sum_backward(x, of_y, weights, ctx.scale, of_sums if ctx.squares else None)
    return gx, of_weights, None, None


_lift_sum.register_autograd(_pull, setup_context=_keep)
