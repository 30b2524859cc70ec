"""Between coordinates and heatmaps: training targets one way, positions with a confidence the other way.

A heatmap of `stride` s has a cell for every s x s pixels of the canvas, from its top-left corner (0, 0): cell (i, j)
covers [j s, (j + 1) s] x [i s, (i + 1) s] and is centred at ((j + 0.5) s, (i + 0.5) s). An (H, W) canvas needs
ceil(H / s) by ceil(W / s) cells; where s does not divide, the last ones reach past the canvas's border. A position in cells
is the canvas position over s, with nothing added. The softmax over all cells is the model's distribution over where a point
lies (papers: Honari et al. 2016, section 3, where s is 1).

Targets are products of one distribution a row and one a column, so a cross-entropy never builds a dense target map::

    hard    all mass on the cell that holds the point              (the paper's)
    split   mass shared by the two nearest cells of each axis, so that the target's mean is the point exactly
    gauss   a Gaussian of `sigma` cells around the point, cut at the border and renormalised
"""

from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["DECODERS", "TARGETS", "Decoded", "Decoder", "Target", "axis_targets", "decode", "window_mass"]

Target = Literal["hard", "split", "gauss"]
Decoder = Literal["argmax", "local"]
TARGETS: tuple[str, ...] = get_args(Target)
DECODERS: tuple[str, ...] = get_args(Decoder)


class Decoded(NamedTuple):
    """Positions read off heatmaps.

    Attributes:
        xy: (b, k, 2), canvas pixels.
        confidence: (b, k), the probability mass within `radius` cells of `xy`, which is `radius` times stride pixels: the
            model's own estimate of how likely the true point lies that close.
    """

    xy: Float[Tensor, "b k 2"]
    confidence: Float[Tensor, "b k"]


def axis_targets(
    coordinate: Float[Tensor, "b k"], cells: int, kind: Target = "hard", sigma: float = 1.0
) -> Float[Tensor, "b k cells"]:
    """The target distribution along one axis.

    Args:
        coordinate: positions in cells, the border of the first cell at 0. Positions outside [0, cells] are clipped to it,
            as the paper clips them (rcn.md 3.1); mask them where that is not wanted.
        cells: length of the axis.
        kind: "hard", "split" or "gauss" (see the module).
        sigma: standard deviation of "gauss", in cells.

    Returns:
        (b, k, cells), each row sums to 1.

    >>> axis_targets(torch.tensor([[1.0]]), 4, "split")
    tensor([[[0.5000, 0.5000, 0.0000, 0.0000]]])
    """
    position = coordinate.to(torch.float32).clamp(0, cells)[..., None]
    centres = torch.arange(cells, device=position.device, dtype=torch.float32) + 0.5
    if kind == "hard":
        index = position.floor().clamp(max=cells - 1)
        return (centres.floor() == index).to(torch.float32)
    if kind == "split":
        # Half a cell from the border there is no second cell to share with: all mass goes to the first or last one.
        return (1 - (centres - position.clamp(0.5, cells - 0.5)).abs()).clamp(min=0)
    if kind == "gauss":
        return torch.softmax(-0.5 * ((centres - position) / sigma) ** 2, dim=-1)
    raise ValueError(f"target {kind!r} is not known; choose one of {', '.join(TARGETS)}")


def decode(
    logits: Float[Tensor, "b k h w"],
    method: Decoder = "local",
    *,
    window: int = 2,
    radius: float = 2.5,
    stride: int = 1,
    canvas: tuple[int, int] | None = None,
) -> Decoded:
    """Positions and confidences from pre-softmax heatmaps.

    "argmax" answers the centre of the likeliest cell, as the paper does, of equals the first in reading order. "local" (our
    choice) answers the mean of the softmax within `window` cells of that cell: sub-pixel, and blind to far away second modes,
    which would pull a mean over the whole map between two candidates. A coarse map that was repeated has its largest value in a
    whole block of cells; there the window lies about the block's middle, where "argmax" answers its upper left cell.

    Args:
        logits: (b, k, h, w), any float type; the softmax runs in float32.
        method: "argmax" or "local".
        window: half side of the local window, in cells; 2 is 5 x 5.
        radius: radius in cells of the disc whose mass is the confidence.
        stride: side of a cell in canvas pixels.
        canvas: (height, width) in pixels; where given, answers in the part of the last cells that lies outside are moved
            onto the border.

    Returns:
        Positions in canvas pixels, and confidences.

    Raises:
        ValueError: for an unknown `method`.

    >>> maps = torch.zeros(1, 1, 8, 8); maps[0, 0, 2, 5] = 20.0
    >>> decode(maps, "argmax").xy
    tensor([[[5.5000, 2.5000]]])
    >>> decode(maps, "argmax", stride=4).xy
    tensor([[[22., 10.]]])
    """
    if method not in DECODERS:
        raise ValueError(f"decoder {method!r} is not known; choose one of {', '.join(DECODERS)}")
    h, w = logits.shape[-2:]
    probability = torch.softmax(logits.to(torch.float32).flatten(2), dim=-1)
    best = probability.argmax(dim=-1)
    row = torch.div(best, w, rounding_mode="floor")
    column = best - row * w
    # All that is read besides lies around the likeliest cell: the window, and the disc about a mean inside the window. Nothing
    # but the softmax is made at the size of the maps, which for 68 points would cost as much as a small network.
    window = window if method == "local" else 0
    wide, tall = torch.ones_like(column), torch.ones_like(row)
    if method == "local":
        # How far the equals of the likeliest cell go on to its right and below it.
        maps, top = probability.unflatten(-1, (h, w)), probability.amax(dim=-1, keepdim=True)
        wide = _equals(maps.gather(2, row[..., None, None].expand(-1, -1, 1, w))[:, :, 0], top, column)
        tall = _equals(maps.gather(3, column[..., None, None].expand(-1, -1, h, 1))[..., 0], top, row)
        column, row = column + (wide - 1) // 2, row + (tall - 1) // 2
    reach = min(int(window + 1 + radius), max(h, w))
    steps = torch.arange(-reach, reach + 1, device=logits.device)
    patch = _patches(probability, row[..., None] + steps, column[..., None] + steps, (h, w))
    # A block of an even number of cells has its middle between two: the window is one cell longer then.
    across, down = ((steps >= -window) & (steps <= window + (n[..., None] + 1) % 2) for n in (wide, tall))
    near = patch * (down[..., :, None] & across[..., None, :]).to(torch.float32)
    offsets = steps.to(torch.float32)
    mass = near.sum(dim=(-2, -1)).clamp(min=torch.finfo(torch.float32).tiny)
    dx = (near.sum(dim=-2) * offsets).sum(dim=-1) / mass
    dy = (near.sum(dim=-1) * offsets).sum(dim=-1) / mass
    xy = torch.stack((column + 0.5 + dx, row + 0.5 + dy), dim=-1) * stride
    if canvas is not None:
        xy = torch.stack((xy[..., 0].clamp(max=canvas[1]), xy[..., 1].clamp(max=canvas[0])), dim=-1)
    # A disc, not a square: cells whose centres lie within the radius.
    far_x, far_y = (offsets - dx[..., None]) ** 2, (offsets - dy[..., None]) ** 2
    disc = (far_x[..., None, :] + far_y[..., :, None] <= radius**2).to(torch.float32)
    return Decoded(xy, (patch * disc).sum(dim=(-2, -1)))


def window_mass(
    probability: Float[Tensor, "b k h w"], cells: Float[Tensor, "b k 2"], radius: float
) -> Float[Tensor, "b k"]:
    """The probability of the cells whose centres lie within `radius` cells of a position.

    Args:
        probability: maps.
        cells: positions (x, y), in cells.
        radius: in cells.

    >>> window_mass(torch.full((1, 1, 4, 4), 1 / 16), torch.tensor([[[2.0, 2.0]]]), 1.0)
    tensor([[0.2500]])
    """
    h, w = probability.shape[-2:]
    reach = min(int(radius) + 1, max(h, w))
    steps = torch.arange(-reach, reach + 1, device=probability.device)
    column, row = cells.floor().long().unbind(-1)
    patch = _patches(probability.flatten(2), row[..., None] + steps, column[..., None] + steps, (h, w))
    across = (column[..., None] + steps + 0.5 - cells[..., :1]) ** 2
    down = (row[..., None] + steps + 0.5 - cells[..., 1:]) ** 2
    disc = (across[..., None, :] + down[..., :, None] <= radius**2).to(probability.dtype)
    return (patch * disc).sum(dim=(-2, -1))


def _equals(line: Float[Tensor, "b k n"], top: Float[Tensor, "b k 1"], first: Int[Tensor, "b k"]) -> Int[Tensor, "b k"]:
    """How many values of a line from `first` on equal `top` without a gap."""
    n = line.shape[-1]
    at = torch.arange(n, device=line.device)
    ends = torch.where((line < top) & (at > first[..., None]), at, n)
    return ends.amin(dim=-1) - first


def _patches(
    maps: Float[Tensor, "b k cells"], rows: Int[Tensor, "b k n"], columns: Int[Tensor, "b k m"], size: tuple[int, int]
) -> Float[Tensor, "b k n m"]:
    """The values of maps of `size` (height, width) at every pair of `rows` and `columns`; 0 outside."""
    h, w = size
    inside = ((rows >= 0) & (rows < h))[..., :, None] & ((columns >= 0) & (columns < w))[..., None, :]
    index = rows.clamp(0, h - 1)[..., :, None] * w + columns.clamp(0, w - 1)[..., None, :]
    values = maps.gather(-1, index.flatten(2)).unflatten(-1, (rows.shape[-1], columns.shape[-1]))
    return values * inside.to(values.dtype)
