"""How a model zooms, in a few numbers that are logged while it trains."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from snellen.layers.zoom_back import zoom_boxes
from snellen.layers.zoom_grid import ZoomGrid, magnification
from snellen.layers.zoom_saliency import clamped_share

__all__ = ["DIAGNOSTICS", "ZoomView", "object_magnification", "zoom_diagnostics"]

#: The columns of metrics.csv.
DIAGNOSTICS = ("zoom/object", "zoom/largest", "zoom/entropy", "zoom/clamped")


class ZoomView(NamedTuple):
    """A batch as it was zoomed.

    Attributes:
        image: (b, c, h, w) canvases, 0..255.
        grid: of them.
        saliency: (b, gh, gw), where there is one.
    """

    image: Float[Tensor, "b c h w"]
    grid: ZoomGrid
    saliency: Float[Tensor, "b gh gw"] | None


@torch.no_grad()
def object_magnification(grid: ZoomGrid, boxes: Float[Tensor, "b k 4"], canvas: tuple[int, int]) -> Float[Tensor, " n"]:
    """How many times larger than by a plain resize boxes appear (the root of the areas' ratio), of those that are there.

    >>> from snellen.layers.zoom_grid import box_grid
    >>> half = box_grid(torch.tensor([[0.0, 0.0, 0.5, 0.5]]), (10, 10))
    >>> object_magnification(half, torch.tensor([[[10.0, 10.0, 30.0, 20.0]]]), (100, 100))
    tensor([2.])
    """
    there = torch.isfinite(boxes).all(dim=-1)
    boxes = torch.nan_to_num(boxes)
    shown = zoom_boxes(boxes, grid, canvas)
    (width, height), (wide, tall) = ((b[..., 2] - b[..., 0], b[..., 3] - b[..., 1]) for b in (boxes, shown))
    plain = width * height * (grid.size[0] * grid.size[1] / (canvas[0] * canvas[1]))
    return (wide * tall / plain.clamp(min=1e-6)).sqrt()[there & (plain > 0)]


@torch.no_grad()
def zoom_diagnostics(
    grid: ZoomGrid, saliency: Tensor | None, canvas: tuple[int, int], boxes: Tensor | None = None
) -> dict[str, Tensor]:
    """What a validation logs of a zoom.

    Args:
        grid: of a batch.
        saliency: (b, gh, gw), sum 1, where there is one.
        canvas: (height, width) of the pictures.
        boxes: (b, k, 4) of the objects, canvas pixels, where the data have them.

    Returns:
        zoom/object: mean magnification of the objects, 1 for a plain resize; zoom/largest: the largest magnification of a
        cell, mean over images; zoom/entropy: of the saliency, 1 for a uniform one; zoom/clamped: share of the nodes that
        were pulled beyond the picture (replicate padding only). What cannot be known is left out.
    """
    values: dict[str, Tensor] = {}
    if not grid.legacy:
        values["zoom/largest"] = magnification(grid).flatten(1).amax(dim=1).mean()
        if boxes is not None:
            found = object_magnification(grid, boxes, canvas)
            if found.numel():
                values["zoom/object"] = found.mean()
    if saliency is not None:
        s = saliency.flatten(1).float()
        entropy = -(s * s.clamp(min=1e-30).log()).sum(dim=1)
        values["zoom/entropy"] = (entropy / math.log(s.shape[1])).mean()
        values["zoom/clamped"] = clamped_share(grid).mean()
    return values
