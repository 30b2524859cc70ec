"""LiftPool with a hand-written backward pass that keeps the input and nothing else (lift.md 6).

The forward and the backward function of torch's autograd; the arithmetic is in `lift_walk.py`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snellen.layers.lift_planes import planes_backward, planes_down, suits
from snellen.layers.lift_walk import Walk, channel_groups
from snellen.layers.precision import no_autocast

__all__ = ["Plan", "recomputed_down", "recomputed_up"]


class Plan(NamedTuple):
    """What is not a tensor.

    Attributes:
        size: spatial size of the full-resolution map.
        scale: down: the result is the sum of the bands times this; None: all the bands.
        squares: down: append the sums of squares of s - o and of d for the regularisers, (lifts, 2).
        reference: (inputs, weights) -> the same results by plain operations; second derivatives come from there.
    """

    size: tuple[int, ...]
    scale: float | None
    squares: bool
    reference: Callable[[Sequence[Tensor], Sequence[Tensor]], Sequence[Tensor]]


def recomputed_down(plan: Plan, x: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Lift a map along its last axis, then all results along the axis before it, and so on.

    Args:
        plan: see there.
        x: (b, c, *plan.size).
        weights: spatial (c, k) and point (c,) of P, then of U; once for all lifts, or for each in turn.

    Returns:
        The sum, or the 2^d bands, of half the size rounded up; then the sums of squares where they are wanted.
    """
    with no_autocast(x.device.type):
        return _Down.apply(plan, x, *weights)


def recomputed_up(plan: Plan, bands: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """The inverse: bands in the order of `recomputed_down` to the map (b, c, *plan.size)."""
    with no_autocast(bands[0].device.type):
        return _Up.apply(plan, *bands, *weights)


class _Down(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: Plan, x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.plan = plan
        ctx.save_for_backward(x, *weights)
        size = [math.ceil(side / 2) for side in plan.size]
        squares = weights[0].new_zeros(2 ** len(size) - 1, 2) if plan.squares else None
        ctx.by_planes = plan.scale is not None and suits(x, weights)
        if ctx.by_planes and plan.scale is not None:
            y = planes_down(x, weights, plan.scale, squares)
            return (y,) if squares is None else (y, squares)
        outs = [_like(x, size, weights[0].dtype) for _ in range(1 if plan.scale is not None else 2 ** len(size))]
        for channels in channel_groups(weights[0], plan.size):
            walk = Walk(plan.size, [w[channels] for w in weights], up=False, taped=False)
            for part in walk.chunks(len(x)):
                stack = walk.down(walk.inner([x[part, channels]]), squares)
                bands = walk.bands(stack) if plan.scale is None else [stack.sum(0) * plan.scale]
                for out, band in zip(outs, bands, strict=True):
                    out[part, channels].movedim(1, -1).copy_(band)
        return tuple(outs) if squares is None else (*outs, squares)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        plan: Plan = ctx.plan
        x, *weights = ctx.saved_tensors
        if torch.is_grad_enabled():
            return None, *_twice(plan, [x], weights, gradients, ctx.needs_input_grad[1:])
        of_squares = gradients[-1] if plan.squares else None
        count = len(gradients) - plan.squares
        weigh = any(ctx.needs_input_grad[2:])
        if ctx.by_planes and plan.scale is not None:
            return None, *planes_backward(x, gradients[0], weights, plan.scale, of_squares)
        gx, of_weights = torch.empty_like(x), []
        with no_autocast(x.device.type):
            for channels in channel_groups(weights[0], plan.size):
                own = [w[channels] for w in weights]
                walk = Walk(plan.size, own, up=False, taped=True, weigh=weigh, residuals=plan.squares)
                for part in walk.chunks(len(x)):
                    walk.down(walk.inner([x[part, channels]]))
                    g = walk.inner([gradient[part, channels] for gradient in gradients[:count]])
                    if plan.scale is not None:
                        g = g.mul(plan.scale).expand(2 ** len(plan.size), *g.shape[1:])
                    walk.down_backward(g, gx[part, channels].movedim(1, -1)[None], of_squares)
                of_weights.append(walk.weight_gradients())
        return None, gx, *map(torch.cat, zip(*of_weights, strict=True))


class _Up(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: Plan, *tensors: Tensor) -> Tensor:
        ctx.plan = plan
        ctx.save_for_backward(*tensors)
        count = 2 ** len(plan.size)
        bands, weights = tensors[:count], tensors[count:]
        out = _like(bands[0], plan.size, weights[0].dtype)
        for channels in channel_groups(weights[0], plan.size):
            walk = Walk(plan.size, [w[channels] for w in weights], up=True, taped=False)
            for part in walk.chunks(len(out)):
                walk.up(walk.inner([band[part, channels] for band in bands]), out[part, channels].movedim(1, -1)[None])
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        plan: Plan = ctx.plan
        count = 2 ** len(plan.size)
        bands, weights = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        if torch.is_grad_enabled():
            return None, *_twice(plan, bands, weights, [gradient], ctx.needs_input_grad[1:])
        weigh = any(ctx.needs_input_grad[1 + count :])
        outs, of_weights = [torch.empty_like(band) for band in bands], []
        with no_autocast(gradient.device.type):
            for channels in channel_groups(weights[0], plan.size):
                walk = Walk(plan.size, [w[channels] for w in weights], up=True, taped=True, weigh=weigh)
                for part in walk.chunks(len(gradient)):
                    walk.up(walk.inner([band[part, channels] for band in bands]), None)
                    stack = walk.up_backward(walk.inner([gradient[part, channels]]))
                    for out, g in zip(outs, walk.bands(stack), strict=True):
                        out[part, channels].movedim(1, -1).copy_(g)
                of_weights.append(walk.weight_gradients())
        return None, *outs, *map(torch.cat, zip(*of_weights, strict=True))


def _twice(
    plan: Plan, inputs: Sequence[Tensor], weights: Sequence[Tensor], gradients: Sequence[Tensor], needed: Sequence[bool]
) -> list[Tensor | None]:
    """Gradients that can be differentiated again (``create_graph=True``)."""
    results = plan.reference(inputs, weights)
    tensors = [t for t, need in zip((*inputs, *weights), needed, strict=True) if need]
    found = iter(torch.autograd.grad(results, tensors, gradients, create_graph=True, allow_unused=True))
    return [next(found) if need else None for need in needed]


def _like(x: Tensor, size: Sequence[int], dtype: torch.dtype) -> Tensor:
    """An empty map of another size, its channels where `x` has them."""
    b, c = x.shape[:2]
    if x.movedim(1, -1).is_contiguous() and not x.is_contiguous():
        return x.new_empty(b, *size, c, dtype=dtype).movedim(-1, 1)
    return x.new_empty(b, c, *size, dtype=dtype)
