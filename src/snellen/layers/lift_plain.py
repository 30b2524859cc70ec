"""LiftPool's lifts in plain operations: for any weights and dtype, and for compilers and exports.

Source: lift.md 2.1 and 2.2; lift.md 2.3 for odd lengths.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

__all__ = ["LiftWeights", "NetWeights", "lift", "lift_net", "plain_down", "plain_up", "unlift"]

Net = Callable[[Tensor, int], Tensor]


class NetWeights(NamedTuple):
    """The weights of P or U for c channels.

    Attributes:
        spatial: (c, k), the depthwise convolution along whatever axis is lifted; k odd.
        point: (c, c / groups), the 1x1 convolution; (c, 1) is depthwise.
        spatial_bias: (c,) or None.
        point_bias: (c,) or None.
    """

    spatial: Tensor
    point: Tensor
    spatial_bias: Tensor | None = None
    point_bias: Tensor | None = None


class LiftWeights(NamedTuple):
    """The weights of one predictor and updater."""

    predict: NetWeights
    update: NetWeights


def lift_net(x: Float[Tensor, "b c *size"], dim: int, weights: NetWeights, padding: str = "zeros") -> Tensor:
    """P or U: tanh of a 1x1 convolution of the relu of a depthwise convolution along one axis (lift.md 2.1).

    Args:
        x: map with one to three spatial axes.
        dim: the axis.
        weights: see there.
        padding: what the borders see: "zeros", or "replicate" or "circular" values.

    Returns:
        The same shape, in -1..1.

    >>> lift_net(torch.ones(1, 1, 4), 2, NetWeights(torch.ones(1, 3), torch.ones(1, 1))).atanh().round()
    tensor([[[2., 3., 3., 2.]]])
    """
    axes, axis = x.ndim - 2, dim % x.ndim - 2
    convolve = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    (c, k), at_axis = weights.spatial.shape, [int(i == axis) for i in range(axes)]
    widths = [i * (k // 2) for i in at_axis]
    if padding == "circular" and k // 2 > x.shape[dim]:
        # Further round than F.pad goes.
        around = torch.arange(-(k // 2), x.shape[dim] + k // 2, device=x.device) % x.shape[dim]
        x, widths = x.index_select(dim, around), [0] * axes
    elif padding != "zeros":
        x = F.pad(x, [width for i in reversed(widths) for width in (i, i)], mode=padding)
        widths = [0] * axes
    kernel = weights.spatial.view(c, 1, *(k if i else 1 for i in at_axis))
    y = F.relu(convolve(x, kernel, weights.spatial_bias, padding=widths, groups=c))
    per_group = weights.point.shape[1]
    y = convolve(y, weights.point.view(c, per_group, *[1] * axes), weights.point_bias, groups=c // per_group)
    return torch.tanh(y)


def lift(x: Tensor, predict: Net, update: Net, dim: int) -> tuple[Tensor, Tensor]:
    """One lift along one axis, for any P and U (lift.md 2.1).

    Args:
        x: a map; where its length along `dim` is odd, the last sample is repeated.
        predict: P, from (map, axis) to the same shape.
        update: U, likewise.
        dim: the axis.

    Returns:
        Approximation s and detail d, half as long, rounded up.

    >>> none = lambda x, dim: torch.zeros_like(x)
    >>> lift(torch.arange(5.0), none, none, 0)
    (tensor([0., 2., 4.]), tensor([1., 3., 4.]))
    """
    even, odd = _split(x, dim)
    d = odd - predict(even, dim)
    return even + update(d, dim), d


def unlift(s: Tensor, d: Tensor, predict: Net, update: Net, dim: int, length: int) -> Tensor:
    """The inverse of `lift` (lift.md 2.2): the map of this length along `dim`.

    >>> none = lambda x, dim: torch.zeros_like(x)
    >>> unlift(torch.tensor([0.0, 2.0, 4.0]), torch.tensor([1.0, 3.0, 4.0]), none, none, 0, 5)
    tensor([0., 1., 2., 3., 4.])
    """
    dim = dim % s.ndim
    even = s - update(d, dim)
    odd = d + predict(even, dim)
    return torch.stack((even, odd), dim + 1).flatten(dim, dim + 1).narrow(dim, 0, length)


def plain_down(
    x: Tensor, weights: Sequence[LiftWeights], padding: str, scale: float | None, squares: bool
) -> list[Tensor]:
    """What `recomputed_down` returns, for all weights."""
    bands = [x]
    sums: list[Tensor] = []
    for dim in reversed(range(2, x.ndim)):
        lifted = []
        for band in bands:
            predict, update = _nets(weights, len(sums), padding)
            s, d = lift(band, predict, update, dim)
            sums.append(_squares(s - _split(band, dim)[1], d) if squares else x)
            lifted += [s, d]
        bands = lifted
    if scale is not None:
        total = sum(bands[1:], bands[0])
        bands = [total if scale == 1 else total * scale]
    return [*bands, torch.stack(sums)] if squares else bands


def plain_up(bands: Sequence[Tensor], size: Sequence[int], weights: Sequence[LiftWeights], padding: str) -> Tensor:
    """What `recomputed_up` returns, for all weights."""
    for dim in range(2, bands[0].ndim):
        first = len(bands) // 2 - 1  # the number of this level's first lift
        merged = []
        for j in range(len(bands) // 2):
            predict, update = _nets(weights, first + j, padding)
            merged.append(unlift(bands[2 * j], bands[2 * j + 1], predict, update, dim, size[dim - 2]))
        bands = merged
    return bands[0]


def _nets(weights: Sequence[LiftWeights], number: int, padding: str) -> tuple[Net, Net]:
    """P and U of a lift: its own, or those of all."""
    pair = weights[number % len(weights)]
    return (
        partial(lift_net, weights=pair.predict, padding=padding),
        partial(lift_net, weights=pair.update, padding=padding),
    )


def _split(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Even and odd samples, equally many: the last one is repeated where it has no partner."""
    before, length = (slice(None),) * (dim % x.ndim), x.shape[dim]
    if isinstance(length, int) and length % 2 == 0:
        return x[(*before, slice(0, None, 2))], x[(*before, slice(1, None, 2))]
    # One more sample does no harm to an even length either: exported graphs with any size take this way.
    more = torch.cat((x, x.narrow(dim, length - 1, 1)), dim)
    return x[(*before, slice(0, None, 2))], more[(*before, slice(1, None, 2))]


def _squares(residual: Tensor, detail: Tensor) -> Tensor:
    """Sums of squares (2,), in float32 at least."""
    dtype = torch.promote_types(residual.dtype, torch.float32)
    return torch.stack((residual.to(dtype).square().sum(), detail.to(dtype).square().sum()))
