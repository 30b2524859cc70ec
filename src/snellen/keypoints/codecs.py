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
from jaxtyping import Float
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


def _masks(size: int, centre: Float[Tensor, "b k"], radius: float) -> Float[Tensor, "b k size"]:
    cells = torch.arange(size, device=centre.device, dtype=torch.float32) + 0.5
    return ((cells - centre[..., None]).abs() <= radius).to(torch.float32)


def window_mass(
    probability: Float[Tensor, "b k h w"], xy: Float[Tensor, "b k 2"], radius: float
) -> Float[Tensor, "b k"]:
    """The mass of each map whose cell centres lie within `radius` cells of `xy` (a disc, not a square)."""
    h, w = probability.shape[-2:]
    dx = torch.arange(w, device=xy.device, dtype=torch.float32) + 0.5 - xy[..., 0, None]
    dy = torch.arange(h, device=xy.device, dtype=torch.float32) + 0.5 - xy[..., 1, None]
    inside = (dx[..., None, :] ** 2 + dy[..., :, None] ** 2) <= radius**2
    return (probability * inside).sum(dim=(-2, -1))


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

    "argmax" answers the centre of the likeliest cell, as the paper does. "local" (our choice) answers the mean of the
    softmax within `window` cells of that cell: sub-pixel, and blind to far away second modes, which would pull a mean
    over the whole map between two candidates.

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
    probability = probability.unflatten(-1, (h, w))
    x = (best % w).to(torch.float32) + 0.5
    y = torch.div(best, w, rounding_mode="floor").to(torch.float32) + 0.5
    if method == "local":
        # Columns and rows of the window as 0/1 masks: no gather, so the graph exports with any batch size.
        near = probability * _masks(h, y, window + 0.25)[..., :, None] * _masks(w, x, window + 0.25)[..., None, :]
        mass = near.sum(dim=(-2, -1)).clamp(min=torch.finfo(torch.float32).tiny)
        columns = torch.arange(w, device=logits.device, dtype=torch.float32) + 0.5
        rows = torch.arange(h, device=logits.device, dtype=torch.float32) + 0.5
        x = (near.sum(dim=-2) * columns).sum(dim=-1) / mass
        y = (near.sum(dim=-1) * rows).sum(dim=-1) / mass
    cells = torch.stack((x, y), dim=-1)
    xy = cells * stride
    if canvas is not None:
        xy = torch.stack((xy[..., 0].clamp(max=canvas[1]), xy[..., 1].clamp(max=canvas[0])), dim=-1)
    return Decoded(xy, window_mass(probability, cells, radius))
