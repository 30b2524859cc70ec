"""Regions of a map at several scales: their means, and gates that are constant on cells.

What MS-SAR (`recalibrate.py`) looks at (ms-sar.md 2.2). A map of h by w is cut into n_h by n_w *cells*, and pixel (y, x)
belongs to cell (floor(y n_h / h), floor(x n_w / w)), as in nearest interpolation. Each cell has a *region* around it, over
which the map is averaged. With K = 2, h = 7 and "grid", cells and regions along one axis are::

    pixel     0 1 2 3 4 5 6
    cell      0 0 0 0 1 1 1
    region 0  * * * *                 [floor(0 h / K), ceil(1 h / K))
    region 1        * * * *           regions overlap where K does not divide h

Regions are rectangles, so their means are two small matrix products; the forms below that are faster give the same numbers.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from snellen.layers.counting import is_counting

__all__ = ["Extent", "Pool", "Region", "cell_mean", "common_cells", "pool_regions", "scale_cells", "spread_cells"]

Region = Literal["grid", "window", "strided"]
Pool = Literal["avg", "max", "avg+max"]
#: The size of a scale's regions: K of "grid"; of the others pixels (a whole number) or a share of the map's side (a float).
Extent = int | float
#: Pixels up to which a map is small, see `_matrices_pay`: 28 x 28 gains, 32 x 32 does not (measured, forward).
FEW_PIXELS = 800


def pool_regions(
    x: Float[Tensor, "b c h w"], extents: Sequence[Extent], region: Region = "grid", pool: Pool = "avg"
) -> list[Float[Tensor, "b c _ _"]]:
    """Means (or maxima) of a map over the regions of each scale, in float32 at least.

    Args:
        x: map (b, c, h, w), any size.
        extents: of the scales, finest last. "grid": K, for K by K cells, at most one a pixel. "window": side of a box
            centred on each pixel, odd, in pixels, or a share of the map's side, of which 1.0 is the whole map.
            "strided": stride e of boxes of side 2e - 1, in pixels or as a share.
        region: the kind of region (ms-sar.md 2.3). Boxes are clipped at the border, and nothing beyond it counts.
        pool: "avg"; "max"; "avg+max", half their sum.

    Returns:
        For each extent (b, c, n_h, n_w), a number a cell.

    >>> [tuple(p.shape) for p in pool_regions(torch.zeros(2, 8, 3, 9), (1, 2, 4))]
    [(2, 8, 1, 1), (2, 8, 2, 2), (2, 8, 3, 4)]
    """
    if pool == "avg+max":
        both = zip(pool_regions(x, extents, region, "avg"), pool_regions(x, extents, region, "max"), strict=True)
        return [(mean + largest) / 2 for mean, largest in both]
    if region != "grid":
        take = _boxes_mean if pool == "avg" else _boxes_max
        return [take(x, extent, region) for extent in extents]
    h, w = x.shape[-2:]
    finest = int(extents[-1])
    if _open(h, w):
        # Asking whether sizes divide would pin them in an exported graph.
        kind = _sum_type(x), x.device
        return [_matrices_mean(x, *(_grid_cells(n, int(k), *kind) for n in (h, w))) for k in extents]
    # A grid over a divisor's cells is averaged from them: the same numbers, and the map is read once.
    nests = h % finest == 0 and w % finest == 0 and all(finest % int(k) == 0 for k in extents)
    small = pool == "avg" and _matrices_pay(x)
    if not nests:
        if small:
            return _small_means(x, [int(k) for k in extents])
        return [_cells_direct(x, min(int(k), h), min(int(k), w), pool) for k in extents]
    fine = _small_means(x, [finest])[0] if small and finest > 1 else _cells_even(x, finest, pool)
    return [fine if k == finest else _cells_even(fine, int(k), pool) for k in extents]


def common_cells(counts: Sequence[int], side: int) -> int:
    """How many cells along an axis tell all scales' cells apart: where grids nest, those of the finest.

    Args:
        counts: cells of each scale.
        side: pixels.

    >>> common_cells((1, 2, 4), 32), common_cells((1, 2, 3), 32), common_cells((2, 3), 5)
    (4, 6, 5)
    """
    if side in counts:
        return side
    return min(math.lcm(*map(_number, counts)), side)


def spread_cells(z: Float[Tensor, "*b n m"], cells: tuple[int, int]) -> Float[Tensor, "*b oh ow"]:
    """Values of cells repeated on finer ones: cell j of `cells` takes cell floor(j n / cells).

    >>> spread_cells(torch.tensor([[[1.0, 2.0, 3.0]]]), (1, 5))
    tensor([[[1., 1., 2., 2., 3.]]])
    """
    n, m = z.shape[-2:]
    if (n, m) == cells:
        return z
    if not _open(*cells) and cells[0] % n == 0 and cells[1] % m == 0:
        rows, columns = cells[0] // n, cells[1] // m
        return z[..., :, None, :, None].expand(*z.shape[:-1], rows, m, columns).reshape(*z.shape[:-2], *cells)
    for dim, wanted in ((-2, cells[0]), (-1, cells[1])):
        have = z.shape[dim]
        if _open(wanted) or have != wanted:
            z = z.index_select(dim, torch.arange(wanted, device=z.device) * have // wanted)
    return z


def scale_cells(x: Float[Tensor, "b c h w"], gate: Float[Tensor, "b c n m"]) -> Float[Tensor, "b c h w"]:
    """A map times a gate that is constant on cells.

    The gate is repeated along rows alone, and multiplied band by band, where the cells divide the map: a gate of a large map's
    size would cost more time than the rest. For small maps, and where cells do not divide, it is made where the answer comes to
    stand. Nothing of that size is kept for the backward pass.

    Args:
        x: map.
        gate: a number a channel and cell; n at most h, m at most w.

    >>> scale_cells(torch.ones(1, 1, 2, 3), torch.tensor([[[[1.0], [5.0]]]]))
    tensor([[[[1., 1., 1.],
              [5., 5., 5.]]]])
    """
    (h, w), (n, m) = x.shape[-2:], gate.shape[-2:]
    gate = gate.to(x.dtype)
    if (n == 1 or n == h) and (m == 1 or m == w):
        return x * gate
    if torch.compiler.is_exporting() and (_open(h, w) or h % n or w % m):
        return x * spread_cells(gate, (h, w))
    if h % n or w % m or _matrices_pay(x):
        return _scale_in_full(x, gate)
    if _channels_last(x):
        rows = gate.permute(0, 2, 3, 1).unsqueeze(3).expand(-1, -1, -1, w // m, -1).flatten(2, 3).unsqueeze(2)
        return (x.permute(0, 2, 3, 1).unflatten(1, (n, h // n)) * rows).flatten(1, 2).permute(0, 3, 1, 2)
    return (x.unflatten(2, (n, h // n)) * spread_cells(gate, (n, w)).unsqueeze(3)).flatten(2, 3)


def _scale_in_full(x: Tensor, gate: Tensor) -> Tensor:
    """The same with a gate of the map's size, which the answer then takes the memory of."""
    if torch.is_grad_enabled() and (x.requires_grad or gate.requires_grad):
        scaled: Tensor = _ScaleInFull.apply(x, gate)
    else:
        scaled = _times_full(x, gate)
    return scaled.view(x.shape)


class _ScaleInFull(torch.autograd.Function):
    """`_times_full`, whose gate is made again for the gradients rather than kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: Tensor) -> Tensor:
        ctx.save_for_backward(x, gate)
        return _times_full(x, gate)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, gate = ctx.saved_tensors
        if _matrices_pay(x):
            owners = _every_owner(x, gate)
            of_gate = torch.bmm(gradient * x.flatten(2), owners.mT)
            return (gradient * torch.bmm(gate.flatten(2), owners)).view(x.shape), of_gate.view(gate.shape)
        rows, columns = (
            _owners(side, n, x.dtype, x.device) for side, n in zip(x.shape[2:], gate.shape[2:], strict=True)
        )
        return gradient * _full_size(gate, x), rows @ ((gradient * x) @ columns.mT)


def _times_full(x: Tensor, gate: Tensor) -> Tensor:
    """`x * gate`, pixels in one axis where that is the fast way."""
    if not _matrices_pay(x):
        return x * _full_size(gate, x)
    # A product with zeros and ones: exact, and on small maps many times as fast as copying by index. In place, since fresh
    # memory takes as long as the multiplication.
    return torch.bmm(gate.flatten(2), _every_owner(x, gate)).mul_(x.flatten(2))


def _full_size(gate: Tensor, x: Tensor) -> Tensor:
    (h, w), (n, m) = x.shape[-2:], gate.shape[-2:]
    if not _channels_last(x):
        return spread_cells(gate, (h, w))
    y, z = (torch.arange(side, device=x.device) * k // side for side, k in ((h, n), (w, m)))
    places = (y[:, None] * m + z).flatten()
    rows = gate.permute(0, 2, 3, 1).flatten(1, 2).index_select(1, places)
    return rows.unflatten(1, (h, w)).permute(0, 3, 1, 2)


def _every_owner(x: Tensor, gate: Tensor) -> Float[Tensor, "b nm hw"]:
    """`_map_owners` of a map and its gate, for each image."""
    owners = _constant(_map_owners, x, tuple(x.shape[-2:]), tuple(gate.shape[-2:]), gate.dtype)
    return owners.expand(x.shape[0], -1, -1)


def _owners(side: int, n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(n, side): 1 where a pixel belongs to a cell."""
    owner = torch.arange(side, device=device) * n // side
    return (owner == torch.arange(n, device=device)[:, None]).to(dtype)


def _map_owners(
    size: tuple[int, int], cells: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "nm hw"]:
    """The same for the pixels and cells of a map."""
    rows, columns = (_owners(side, n, dtype, device) for side, n in zip(size, cells, strict=True))
    return torch.kron(rows, columns)


def _constant(build: Callable[..., Tensor], x: Tensor, *arguments: Any) -> Tensor:
    """`build(*arguments, device)`, which depends on sizes alone: made once, for on a small map that takes as long as its use.

    A graph that is being traced gets one of its own.
    """
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing() or type(x) not in (Tensor, nn.Parameter)
    return build(*arguments, x.device) if traced else _kept(build, *arguments, x.device)


@functools.lru_cache(maxsize=128)
def _kept(build: Callable[..., Tensor], *arguments: Any) -> Tensor:
    with torch.inference_mode(False):  # one that inference made could not serve a training
        return build(*arguments)


def cell_mean(z: Float[Tensor, "b c n m"], size: tuple[int, int]) -> Float[Tensor, "b c 1 1"]:
    """Mean over the pixels of a map of `size` whose cells have these values.

    >>> cell_mean(torch.tensor([[[[1.0, 4.0]]]]), (1, 3))
    tensor([[[[2.]]]])
    """
    for dim, side in ((2, size[0]), (3, size[1])):
        n = z.shape[dim]
        if not _open(side) and side % n == 0:
            z = z.mean(dim, keepdim=True)
        else:
            first = (torch.arange(n + 1, device=z.device) * side + n - 1) // n  # the first pixel of each cell
            share = first.diff().to(z.dtype) / side
            z = (z * (share[:, None] if dim == 2 else share)).sum(dim, keepdim=True)
    return z


def _open(*sides: int | torch.SymInt) -> bool:
    """Whether a graph is exported whose height or width is left open."""
    return torch.compiler.is_exporting() and any(isinstance(side, torch.SymInt) for side in sides)


def _number(side: int) -> int:
    """The side itself; in a compiled graph, where a second image size has made sides symbols, its value.

    What follows from symbols by rounding and by common multiples takes minutes to compile, or cannot be; the graph is compiled
    again for another value. Dynamo asks for values in a range.
    """
    return len(range(side)) if torch.compiler.is_dynamo_compiling() and not torch.compiler.is_exporting() else side


def _sum_type(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _cells_even(x: Tensor, k: int, pool: str) -> Tensor:
    """k by k cells of a map whose sides k divides: down the columns first, along whole rows."""
    h, w = x.shape[-2:]
    if (h, w) == (k, k):
        return x.to(_sum_type(x))
    if pool == "avg" and _channels_last(x):
        return F.avg_pool2d(x, (h // k, w // k)).to(_sum_type(x))
    columns = x.unflatten(2, (k, h // k))
    if pool == "max":
        return columns.amax(3).unflatten(3, (k, w // k)).amax(4).to(_sum_type(x))
    sums = columns.sum(3, dtype=_sum_type(x)).unflatten(3, (k, w // k)).sum(4)
    return sums / (h // k * (w // k))


def _cells_direct(x: Tensor, n: int, m: int, pool: str) -> Tensor:
    """n by m cells of a map of any size."""
    if pool == "max":
        return F.adaptive_max_pool2d(x, (n, m)).to(_sum_type(x))
    pooled = x.mean((2, 3), keepdim=True) if n == m == 1 else F.adaptive_avg_pool2d(x, (n, m))
    return pooled.to(_sum_type(x))


def _small_means(x: Tensor, grids: Sequence[int]) -> list[Tensor]:
    """All scales' means of a small map at once, as one product with their regions' weights."""
    h, w = x.shape[-2:]
    counts = [(min(k, h), min(k, w)) for k in grids]
    weights = _constant(_map_cells, x, (h, w), tuple(grids), _sum_type(x))
    # Rows of channels, one a cell, as the linear maps that follow want them.
    rows = torch.bmm(weights.expand(x.shape[0], -1, -1), x.to(_sum_type(x)).flatten(2).mT)
    parts = rows.split([n * m for n, m in counts], dim=1)
    return [part.unflatten(1, cells).permute(0, 3, 1, 2) for part, cells in zip(parts, counts, strict=True)]


def _matrices_pay(x: Tensor) -> bool:
    """Whether a dense product is the fastest way: for few pixels on a CPU, where torch treats short rows slowly."""
    few = x.shape[-2] * x.shape[-1] <= FEW_PIXELS
    return few and x.device.type == "cpu" and not _channels_last(x) and not is_counting()


def _channels_last(x: Tensor) -> bool:
    return not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def _grid_cells(side: int, k: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(n, side): each cell's weights of the pixels, for the means over the regions of a grid."""
    n = min(k, side)
    i = torch.arange(n, device=device)[:, None]
    return _weights(i * side // n, ((i + 1) * side + n - 1) // n, side, dtype)


def _map_cells(
    size: tuple[int, int], grids: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "cells hw"]:
    """Each cell's weights of a map's pixels, the cells of all grids side by side."""
    h, w = size
    weights = [torch.kron(_grid_cells(h, k, dtype, device), _grid_cells(w, k, dtype, device)) for k in grids]
    return torch.cat(weights)


def _box_cells(side: int, extent: Extent, region: str, x: Tensor) -> Tensor:
    """As `_grid_cells`, for boxes."""
    middle, reach = _boxes(side, extent, region)
    centre = torch.arange(0, side, middle, device=x.device)[:, None]
    return _weights((centre - reach).clamp(min=0), (centre + reach + 1).clamp(max=side), side, _sum_type(x))


def _boxes(side: int, extent: Extent, region: str) -> tuple[int, int]:
    """Distance between the middles of boxes along an axis, and how far each box reaches to either side of its own."""
    pixels = extent if isinstance(extent, int) else max(1, round(extent * side))
    if region == "strided":
        return min(pixels, side), min(pixels, side) - 1
    # The whole map is seen from its middle only by a box of its size, from the border by one of twice that.
    return 1, side if isinstance(extent, float) and extent == 1 else min(pixels // 2, side)


def _weights(start: Tensor, stop: Tensor, side: int, dtype: torch.dtype) -> Tensor:
    pixel = torch.arange(side, device=start.device)
    inside = ((pixel >= start) & (pixel < stop)).to(dtype)
    return inside / inside.sum(1, keepdim=True)


def _matrices_mean(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    return rows @ (x.to(rows.dtype) @ columns.mT)


def _boxes_mean(x: Tensor, extent: Extent, region: str) -> Tensor:
    return _matrices_mean(x, *(_box_cells(_number(side), extent, region, x) for side in x.shape[-2:]))


def _boxes_max(x: Tensor, extent: Extent, region: str) -> Tensor:
    x = x.to(_sum_type(x))
    for dim, side in ((2, _number(x.shape[2])), (3, _number(x.shape[3]))):
        middle, reach = _boxes(side, extent, region)
        reach = min(reach, side - 1)
        kernel, stride, padding = ([1, 1] for _ in range(3))
        kernel[dim - 2], stride[dim - 2], padding[dim - 2] = 2 * reach + 1, middle, reach
        padding[3 - dim] = 0
        x = F.max_pool2d(x, kernel, stride, padding)
    return x
