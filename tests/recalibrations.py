"""A layer and maps to test MS-SAR with, and it as its definition reads (ms-sar.md 2.2): each pixel of each scale by itself."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from snellen.layers import MultiScaleRecalibration


def cell(pixel: int, k: int, side: int) -> int:
    """The cell of a pixel along one axis."""
    return pixel * min(k, side) // side


def interval(i: int, k: int, side: int) -> tuple[int, int]:
    """First pixel of a cell's region, and the first behind it."""
    k = min(k, side)
    return math.floor(i * side / k), math.ceil((i + 1) * side / k)


def grid_region(y: int, x: int, k: int, h: int, w: int) -> tuple[slice, slice]:
    """The region of a pixel at scale K."""
    rows, columns = interval(cell(y, k, h), k, h), interval(cell(x, k, w), k, w)
    return slice(*rows), slice(*columns)


def naive_means(x: Tensor, k: int) -> Tensor:
    """For each pixel the mean over its region, (b, c, h, w)."""
    out = torch.empty_like(x)
    h, w = x.shape[-2:]
    for y in range(h):
        for z in range(w):
            rows, columns = grid_region(y, z, k, h, w)
            out[:, :, y, z] = x[:, :, rows, columns].mean((2, 3))
    return out


def naive_scores(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, grids: tuple[int, ...]) -> Tensor:
    """The gate of every pixel."""
    means = torch.cat([naive_means(x, k) for k in grids], dim=1)  # (b, L c, h, w)
    first = torch.cat(list(w1), dim=1)  # (d, L c)
    hidden = torch.relu(torch.einsum("di,bihw->bdhw", first, means) + b1[:, None, None])
    return torch.sigmoid(torch.einsum("cd,bdhw->bchw", w2, hidden) + b2[:, None, None])


def layer(channels: int = 3, **options: Any) -> MultiScaleRecalibration:
    """A layer whose every weight is drawn."""
    torch.manual_seed(0)
    made = MultiScaleRecalibration(channels, **{"rd_channels": 4, **options})
    for parameter in made.parameters():  # maps and factors start at constants, which show little
        nn.init.normal_(parameter)
    return made.eval()


def images(*size: int, batch: int = 2, channels: int = 3) -> Tensor:
    """The same numbers at each call."""
    return torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(1))
