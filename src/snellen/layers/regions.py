"""Regions of a map at several scales, and their means.

What MS-SAR (`recalibrate.py`) looks at (ms-sar.md 2.2). A map is cut into cells (`cells.py`), and each cell has a *region*
around it, over which the map is averaged. With K = 2, h = 7 and "grid", cells and regions along one axis are::

    pixel     0 1 2 3 4 5 6
    cell      0 0 0 0 1 1 1
    region 0  * * * *                 [floor(0 h / K), ceil(1 h / K))
    region 1        * * * *           regions overlap where K does not divide h

Regions are rectangles, so their means are two small matrix products; the forms below that are faster give the same numbers.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from snellen.layers.grid_forms import (
    channels_last,
    constant,
    is_compiled,
    is_open,
    matrices_pay,
    number,
    outer,
    sum_type,
)

__all__ = ["Extent", "Pool", "Region", "pool_regions"]

Region = Literal["grid", "window", "strided"]
Pool = Literal["avg", "max", "avg+max"]
#: The size of a scale's regions: K of "grid"; of the others pixels (a whole number) or a share of the map's side (a float).
Extent = int | float


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
    if region != "window" and is_open(x.shape[-2], x.shape[-1]):
        return _open_means(x, extents, region, pool)
    if pool == "avg+max":
        both = zip(pool_regions(x, extents, region, "avg"), pool_regions(x, extents, region, "max"), strict=True)
        return [(mean + largest) / 2 for mean, largest in both]
    if region != "grid":
        take = _boxes_mean if pool == "avg" else _boxes_max
        return [take(x, extent, region) for extent in extents]
    h, w = x.shape[-2:]
    finest = int(extents[-1])
    # A grid over a divisor's cells is averaged from them: the same numbers, and the map is read once.
    nests = h % finest == 0 and w % finest == 0 and all(finest % int(k) == 0 for k in extents)
    # A compiled graph sums even cells as quickly as it reads them.
    small = pool == "avg" and matrices_pay(x) and not (nests and is_compiled(h, w))
    if not nests:
        if small:
            return _small_means(x, [int(k) for k in extents])
        return [_cells_direct(x, min(int(k), h), min(int(k), w), pool) for k in extents]
    fine = _cells_product(x, finest) if small and finest > 1 else _cells_even(x, finest, pool)
    return [fine if k == finest else _cells_even(fine, int(k), pool) for k in extents]


def _open_means(x: Tensor, extents: Sequence[Extent], region: Region, pool: Pool) -> list[Tensor]:
    """Means in an exported graph whose height or width is left open: nothing is asked that would pin them.

    Maps have at least as many pixels a side as the finest grid has cells.
    """
    if pool != "avg" or region != "grid":
        raise ValueError(
            f"region={region!r} with pool={pool!r} has no graph of open height and width; export it for one size, or take "
            "pool='avg' and region='grid'"
        )
    kind = sum_type(x), x.device
    return [_matrices_mean(x, *(_weights_of_cells(n, int(k), *kind) for n in x.shape[-2:])) for k in extents]


def _cells_even(x: Tensor, k: int, pool: str) -> Tensor:
    """k by k cells of a map whose sides k divides: down the columns first, along whole rows."""
    h, w = x.shape[-2:]
    if (h, w) == (k, k):
        return x.to(sum_type(x))
    if pool == "avg" and channels_last(x):
        return F.avg_pool2d(x, (h // k, w // k)).to(sum_type(x))
    columns = x.unflatten(2, (k, h // k))
    if pool == "max":
        return columns.amax(3).unflatten(3, (k, w // k)).amax(4).to(sum_type(x))
    sums = columns.sum(3, dtype=sum_type(x)).unflatten(3, (k, w // k)).sum(4)
    return sums / (h // k * (w // k))


def _cells_product(x: Tensor, k: int) -> Tensor:
    """Means of k by k cells of a small map, laid out as the map: quicker to average again than `_small_means`."""
    weights = constant(_map_cells, x, (x.shape[-2], x.shape[-1]), (k,), sum_type(x))
    return torch.bmm(x.to(sum_type(x)).flatten(2), weights.t().expand(x.shape[0], -1, -1)).unflatten(2, (k, k))


def _cells_direct(x: Tensor, n: int, m: int, pool: str) -> Tensor:
    """n by m cells of a map of any size."""
    if pool == "max":
        return F.adaptive_max_pool2d(x, (n, m)).to(sum_type(x))
    pooled = x.mean((2, 3), keepdim=True) if n == m == 1 else F.adaptive_avg_pool2d(x, (n, m))
    return pooled.to(sum_type(x))


def _small_means(x: Tensor, grids: Sequence[int]) -> list[Tensor]:
    """All scales' means of a small map at once, as one product with their regions' weights."""
    h, w = x.shape[-2:]
    counts = [(min(k, h), min(k, w)) for k in grids]
    weights = constant(_map_cells, x, (h, w), tuple(grids), sum_type(x))
    # Rows of all images' channels, one a cell, as the linear maps that follow want them.
    rows = weights @ x.to(sum_type(x)).reshape(-1, h * w).t()
    parts = rows.split([n * m for n, m in counts])
    return [part.view(*cells, *x.shape[:2]).permute(2, 3, 0, 1) for part, cells in zip(parts, counts, strict=True)]


def _grid_cells(side: int, k: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(n, side): each cell's weights of the pixels, for the means over the regions of a grid."""
    return _weights_of_cells(side, min(k, side), dtype, device)


def _weights_of_cells(side: int, n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The same for n cells, at most `side`."""
    i = torch.arange(n, device=device)[:, None]
    return _weights(i * side // n, ((i + 1) * side + n - 1) // n, side, dtype)


def _map_cells(
    size: tuple[int, int], grids: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "cells hw"]:
    """Each cell's weights of a map's pixels, the cells of all grids side by side."""
    h, w = size
    return torch.cat([outer(_grid_cells(h, k, dtype, device), _grid_cells(w, k, dtype, device)) for k in grids])


def _box_cells(side: int, extent: Extent, region: str, x: Tensor) -> Tensor:
    """As `_grid_cells`, for boxes."""
    middle, reach = _boxes(side, extent, region)
    centre = torch.arange(0, side, middle, device=x.device)[:, None]
    return _weights((centre - reach).clamp(min=0), (centre + reach + 1).clamp(max=side), side, sum_type(x))


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
    return _matrices_mean(x, *(_box_cells(number(side), extent, region, x) for side in x.shape[-2:]))


def _boxes_max(x: Tensor, extent: Extent, region: str) -> Tensor:
    x = x.to(sum_type(x))
    for dim, side in ((2, number(x.shape[2])), (3, number(x.shape[3]))):
        middle, reach = _boxes(side, extent, region)
        reach = min(reach, side - 1)
        kernel, stride, padding = ([1, 1] for _ in range(3))
        kernel[dim - 2], stride[dim - 2], padding[dim - 2] = 2 * reach + 1, middle, reach
        padding[3 - dim] = 0
        x = F.max_pool2d(x, kernel, stride, padding)
    return x
