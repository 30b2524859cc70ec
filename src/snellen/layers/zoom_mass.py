"""A zoomed map's probability, put back into the cells of the source.

A network that sees a zoomed picture answers with a mass for each cell of it. Losses are measured in the original frame: the
mass of each zoomed cell is spread over the part of the source that the cell shows, and collected in the cells of a plain
resize. That is its density (mass over area, so divided by the grid's Jacobian) integrated over cells that no grid changes: a
saliency that shrinks an object spreads even a sure answer over many of them, and one that magnifies cannot make it surer than
sure (design: losses are measured in the original frame; the way is our choice).
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from snellen.layers.precision import no_autocast
from snellen.layers.zoom_grid import ZoomGrid

__all__ = ["unzoom_mass", "unzoom_mass_window"]

#: Most parts a side that a cell of a general grid is divided into; a cell that covers more of the source than as many cells
#: has its mass in as many places.
PARTS = 4


def unzoom_mass(mass: Float[Tensor, "b k h w"], grid: ZoomGrid, size: tuple[int, int]) -> Float[Tensor, "b k oh ow"]:
    """Mass of zoomed cells into cells of the source, differentiable in mass and grid.

    Exact for separable grids. For others a cell's image counts as the axis-parallel box around its middle that is as wide and
    high as it, in parts where that is larger than a cell of the result.

    Args:
        mass: (b, k, h, w) over the zoomed picture.
        grid: of the zoomed picture.
        size: (oh, ow) cells that divide the source.

    Returns:
        (b, k, oh, ow), float32 at least, with the sum of `mass` but for what falls beyond the source (of a general grid,
        thousandths at a bent border).

    >>> from snellen.layers.zoom_grid import box_grid
    >>> half = box_grid(torch.tensor([[0.0, 0.0, 0.5, 1.0]]), (8, 8))
    >>> unzoom_mass(torch.ones(1, 1, 2, 4), half, (2, 4))[0, 0, 0]
    tensor([2., 2., 0., 0.])
    """
    grid.refuse_legacy()
    with no_autocast(mass.device.type):
        mass = mass.to(torch.promote_types(mass.dtype, torch.float32))
        shape = (mass.shape[-2], mass.shape[-1])
        corners = grid.corners(shape).to(mass.dtype)
        if grid.separable:
            across, down = _axis_overlaps(corners, size)
            return down.mT[:, None] @ mass @ across[:, None]
        return _spread(mass, corners, size)


def unzoom_mass_window(
    mass: Float[Tensor, "b k h w"],
    grid: ZoomGrid,
    size: tuple[int, int],
    first: Int[Tensor, "b k 2"],
    window: tuple[int, int],
) -> Float[Tensor, "b k n m"]:
    """`unzoom_mass` in one window of each map alone, which for separable grids costs a small part of all cells.

    Args:
        mass: (b, k, h, w) over the zoomed picture.
        grid: of the zoomed picture.
        size: (oh, ow) cells that divide the source.
        first: (b, k, 2) column and row of each window's first cell; the windows lie within `size`.
        window: (n, m) rows and columns.

    Returns:
        (b, k, n, m), float32 at least.
    """
    rows = first[..., 1:] + torch.arange(window[0], device=first.device)
    columns = first[..., :1] + torch.arange(window[1], device=first.device)
    if not grid.separable:
        every = unzoom_mass(mass, grid, size)
        every = every.gather(-2, rows[..., None].expand(-1, -1, -1, size[1]))
        return every.gather(-1, columns[..., None, :].expand(-1, -1, window[0], -1))
    grid.refuse_legacy()
    with no_autocast(mass.device.type):
        mass = mass.to(torch.promote_types(mass.dtype, torch.float32))
        across, down = _axis_overlaps(grid.corners((mass.shape[-2], mass.shape[-1])).to(mass.dtype), size)
        return _picked(down, rows) @ mass @ _picked(across, columns).mT


def _axis_overlaps(corners: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The shares (b, w, ow) and (b, h, oh) of a separable grid's columns and rows."""
    return (
        _overlaps(corners[:, 0, :, 0] * size[1], size[1]),
        _overlaps(corners[:, :, 0, 1] * size[0], size[0]),
    )


def _picked(overlaps: Tensor, cells: Tensor) -> Tensor:
    """(b, k, n, w): of overlaps (b, w, cells) those of the cells (b, k, n)."""
    b, _, length = overlaps.shape
    flat = (cells + torch.arange(b, device=cells.device)[:, None, None] * length).flatten()
    return overlaps.mT.flatten(0, 1).index_select(0, flat).unflatten(0, cells.shape)


def _overlaps(edges: Tensor, cells: int) -> Tensor:
    """(b, n, cells): the share of interval j, between edges j and j + 1 (b, n + 1), that lies in each cell [i, i + 1]."""
    low, high = edges[:, :-1, None], edges[:, 1:, None]
    low, high = torch.minimum(low, high), torch.maximum(low, high)
    # A collapsed interval lies where it lies, as one of a thousandth of a cell.
    thin = (1e-3 - (high - low)).clamp(min=0) / 2
    low, high = low - thin, high + thin
    start = torch.arange(cells, device=edges.device, dtype=edges.dtype)
    overlap = (torch.minimum(high, start + 1) - torch.maximum(low, start)).clamp(min=0)
    return overlap / (high - low)


def _spread(mass: Tensor, corners: Tensor, size: tuple[int, int]) -> Tensor:
    b, k, h, w = mass.shape
    cells = corners * torch.tensor([size[1], size[0]], device=mass.device, dtype=mass.dtype)
    p00, p01, p10, p11 = cells[:, :-1, :-1], cells[:, :-1, 1:], cells[:, 1:, :-1], cells[:, 1:, 1:]
    extent = ((p01 + p11 - p00 - p10) / 2).abs() + ((p10 + p11 - p00 - p01) / 2).abs()
    parts = min(PARTS, max(1, math.ceil(float(extent.detach().nan_to_num().max()) - 1e-3)))
    rows = mass.permute(0, 2, 3, 1).reshape(b * h * w, k) / parts**2
    first = torch.arange(b, device=mass.device)[:, None, None] * (size[0] * size[1])
    out = rows.new_zeros((b * size[0] * size[1], k))
    steps = [(i + 0.5) / parts for i in range(parts)]
    for fy in steps:
        for fx in steps:
            middle = (1 - fy) * ((1 - fx) * p00 + fx * p01) + fy * ((1 - fx) * p10 + fx * p11)
            # At most a cell wide, so it touches two cells an axis.
            half = (extent / (2 * parts)).clamp(5e-4, 0.5)
            low, high = middle - half, middle + half
            begin = low.detach().add(1e-5).floor().nan_to_num()  # what is nowhere stays NaN by its share
            near = (torch.minimum(high, begin + 1) - low).clamp(min=0) / (high - low)
            near = near.clamp(max=1)
            for ty in (0, 1):
                for tx in (0, 1):
                    x, y = begin[..., 0] + tx, begin[..., 1] + ty
                    share_x = near[..., 0] if tx == 0 else 1 - near[..., 0]
                    share_y = near[..., 1] if ty == 0 else 1 - near[..., 1]
                    there = (x >= 0) & (x < size[1]) & (y >= 0) & (y < size[0])
                    share = torch.where(there, share_x * share_y, torch.zeros_like(share_x))
                    index = first + y.clamp(0, size[0] - 1).long() * size[1] + x.clamp(0, size[1] - 1).long()
                    out = out.index_add(0, index.reshape(-1), rows * share.reshape(-1, 1))
    return out.view(b, *size, k).permute(0, 3, 1, 2)
