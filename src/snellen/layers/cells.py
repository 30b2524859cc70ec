"""Cells of a map: values and gates that are constant on them.

A map of h by w is cut into n_h by n_w *cells*, and pixel (y, x) belongs to cell (floor(y n_h / h), floor(x n_w / w)), as in
nearest interpolation. `regions.py` says what MS-SAR averages around each.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from snellen.layers.grid_forms import (
    channels_last,
    constant,
    is_compiled,
    is_open,
    is_transformed,
    matrices_pay,
    number,
    outer,
)

__all__ = ["cell_mean", "common_cells", "scale_cells", "spread_cells"]

#: Pixels of a row that is too short for the compiler to fill vectors from a product (AVX-512 holds 16 numbers).
SHORT_ROW = 16


def common_cells(counts: Sequence[int], side: int) -> int:
    """How many cells along an axis tell all scales' cells apart: where grids nest, those of the finest.

    Args:
        counts: cells of each scale.
        side: pixels.

    >>> common_cells((1, 2, 4), 32), common_cells((1, 2, 3), 32), common_cells((2, 3), 5)
    (4, 6, 5)
    """
    if is_open(side):
        # A comparison would pin the side, and more cells than pixels tell them apart too. Windows have as many as pixels.
        return math.lcm(*counts) if all(isinstance(count, int) for count in counts) else side
    if side in counts:
        return side
    return min(math.lcm(*map(number, counts)), side)


def spread_cells(z: Float[Tensor, "*b n m"], cells: tuple[int, int]) -> Float[Tensor, "*b oh ow"]:
    """Values of cells repeated on finer ones: cell j of `cells` takes cell floor(j n / cells).

    >>> spread_cells(torch.tensor([[[1.0, 2.0, 3.0]]]), (1, 5))
    tensor([[[1., 1., 2., 2., 3.]]])
    """
    n, m = z.shape[-2:]
    if _is(n, cells[0]) and _is(m, cells[1]):
        return z
    if not is_open(*cells) and cells[0] % n == 0 and cells[1] % m == 0:
        rows, columns = cells[0] // n, cells[1] // m
        return z[..., :, None, :, None].expand(*z.shape[:-1], rows, m, columns).reshape(*z.shape[:-2], *cells)
    for dim, wanted in ((-2, cells[0]), (-1, cells[1])):
        have = z.shape[dim]
        if is_open(wanted) or have != wanted:
            z = z.index_select(dim, torch.arange(wanted, device=z.device) * have // wanted)
    return z


def cell_mean(z: Float[Tensor, "b c n m"], size: tuple[int, int]) -> Float[Tensor, "b c 1 1"]:
    """Mean over the pixels of a map of `size` whose cells have these values.

    >>> cell_mean(torch.tensor([[[[1.0, 4.0]]]]), (1, 3))
    tensor([[[[2.]]]])
    """
    for dim, side in ((2, size[0]), (3, size[1])):
        n = z.shape[dim]
        if not is_open(side) and side % n == 0:
            z = z.mean(dim, keepdim=True)
        else:
            first = (torch.arange(n + 1, device=z.device) * side + n - 1) // n  # the first pixel of each cell
            share = first.diff().to(z.dtype) / side
            z = (z * (share[:, None] if dim == 2 else share)).sum(dim, keepdim=True)
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
    if (n == 1 or _is(n, h)) and (m == 1 or _is(m, w)):
        return x * gate
    if torch.compiler.is_exporting() and (is_open(h, w) or h % n or w % m):
        return x * spread_cells(gate, (h, w))
    if h % n or w % m or matrices_pay(x):
        return _scale_in_full(x, gate)
    if channels_last(x):
        rows = gate.permute(0, 2, 3, 1).unsqueeze(3).expand(-1, -1, -1, w // m, -1).flatten(2, 3).unsqueeze(2)
        return (x.permute(0, 2, 3, 1).unflatten(1, (n, h // n)) * rows).flatten(1, 2).permute(0, 3, 1, 2)
    return (x.unflatten(2, (n, h // n)) * _along_rows(gate, w).unsqueeze(3)).flatten(2, 3)


def _is(cells: int, side: int) -> bool:
    """Whether there are as many cells as `side`; not asked of a number and a side left open, which that would pin."""
    return (not is_open(side) or isinstance(cells, torch.SymInt)) and cells == side


def _along_rows(gate: Float[Tensor, "b c n m"], w: int) -> Float[Tensor, "b c n w"]:
    """A gate repeated along the rows of a map."""
    if gate.device.type != "cpu" or not is_compiled(w) or w < SHORT_ROW:
        return spread_cells(gate, (gate.shape[-2], w))
    # The compiler copies runs of a number one by one; a product with zeros and ones is exact and fills vectors.
    columns = constant(_map_owners, gate, (1, w), (1, gate.shape[-1]), gate.dtype)
    return (gate.reshape(-1, gate.shape[-1]) @ columns).view(*gate.shape[:3], w)


def _scale_in_full(x: Tensor, gate: Tensor) -> Tensor:
    """The same with a gate of the map's size, which the answer then takes the memory of."""
    if torch.is_grad_enabled() and (x.requires_grad or gate.requires_grad) and not is_transformed():
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
        if matrices_pay(x):
            owners, gradient = _all_owners(x, gate), gradient.flatten(2)
            of_gate = torch.bmm(gradient * x.flatten(2), owners.mT)
            return (gradient * torch.bmm(gate.flatten(2), owners)).view(x.shape), of_gate.view(gate.shape)
        rows, columns = (
            _owners(side, n, x.dtype, x.device) for side, n in zip(x.shape[2:], gate.shape[2:], strict=True)
        )
        return gradient * _full_size(gate, x), rows @ ((gradient * x) @ columns.mT)


def _times_full(x: Tensor, gate: Tensor) -> Tensor:
    """`x * gate`, pixels in one axis where that is the fast way."""
    h, w = x.shape[-2:]
    if x.device.type == "cpu" and is_compiled(h, w) and not channels_last(x):
        if w < SHORT_ROW:
            # A view by strides makes the compiler store the gate. Otherwise it would compute it anew for every pixel.
            gate = gate.contiguous()
            gate = gate.as_strided(gate.shape, gate.stride())
        return x * spread_cells(_along_rows(gate, w), (h, w))
    if not matrices_pay(x):
        return x * _full_size(gate, x)
    # A product with zeros and ones: exact, and on small maps many times as fast as copying by index. In place, since fresh
    # memory takes as long as the multiplication.
    return torch.bmm(gate.flatten(2), _all_owners(x, gate)).mul_(x.flatten(2))


def _full_size(gate: Tensor, x: Tensor) -> Tensor:
    (h, w), (n, m) = x.shape[-2:], gate.shape[-2:]
    if not channels_last(x):
        return spread_cells(gate, (h, w))
    y, z = (torch.arange(side, device=x.device) * k // side for side, k in ((h, n), (w, m)))
    places = (y[:, None] * m + z).flatten()
    rows = gate.permute(0, 2, 3, 1).flatten(1, 2).index_select(1, places)
    return rows.unflatten(1, (h, w)).permute(0, 3, 1, 2)


def _all_owners(x: Tensor, gate: Tensor) -> Float[Tensor, "b nm hw"]:
    """`_map_owners` of a map and its gate, for each image."""
    (h, w), (n, m) = x.shape[-2:], gate.shape[-2:]
    return constant(_map_owners, x, (h, w), (n, m), gate.dtype).expand(x.shape[0], -1, -1)


def _owners(side: int, n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(n, side): 1 where a pixel belongs to a cell."""
    owner = torch.arange(side, device=device) * n // side
    return (owner == torch.arange(n, device=device)[:, None]).to(dtype)


def _map_owners(
    size: tuple[int, int], cells: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "nm hw"]:
    """The same for the pixels and cells of a map."""
    rows, columns = (_owners(side, n, dtype, device) for side, n in zip(size, cells, strict=True))
    return outer(rows, columns)
