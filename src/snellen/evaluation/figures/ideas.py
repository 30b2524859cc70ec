"""What three of the papers are about, shown on drawn wings without any trained network (docs/understand)."""

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from snellen.data import Wings, WingSpecies
from snellen.evaluation.figures.drawing import FONT_SIZE, INK, RED, new_figure
from snellen.evaluation.figures.pooling import Pooled, figure_put_back, maps_in_rows
from snellen.layers import LiftDown2d, ZoomGrid, saliency_from_boxes, saliency_to_grid, uniform_grid, zoom, zoom_boxes
from snellen.layers.cells import spread_cells
from snellen.layers.regions import pool_regions

__all__ = ["figure_lift", "figure_surroundings", "figure_zoom"]

#: What a network sees in the zoom's figure: (height, width).
SMALL = (72, 96)


def figure_zoom(index: int = 8) -> Figure:
    """A wing of `WingSpecies` in full, by a plain resize and by a zoom to `SMALL`, and below what is left of its junction.

    The saliency is that of the junction's true box, what a learned one has to find.
    """
    species = WingSpecies(index + 1, channels=1)
    picture, box = species[index].image[None].float(), species.junction(index)
    height, width = species.wings.size
    boxes = torch.tensor([[[box.left, box.top, box.right, box.bottom]]])
    saliency = saliency_from_boxes(boxes, (31, 41), (height, width), beta=width / 30)
    grids = {
        "a plain resize": uniform_grid(1, SMALL),
        "a zoom": saliency_to_grid(saliency, SMALL, sigma=0.1, separable=True, max_zoom=5.0),
    }
    columns = [(f"{width} x {height}, and the grid", picture[0, 0], boxes)]
    for words, grid in grids.items():
        seen = zoom(picture, grid)[0, 0]
        columns.append((f"{words} to {SMALL[1]} x {SMALL[0]}", seen, zoom_boxes(boxes, grid, (height, width))))
    figure = new_figure(5.0, 9.2, bleed=True)
    figure.subplots_adjust(0, 0, 1, 0.95, wspace=0.04, hspace=0.12)
    panels = figure.subplots(2, 3)
    for (words, shown, where), above, below in zip(columns, *panels, strict=True):
        left, top, right, bottom = where[0, 0].tolist()
        _show(above, shown, words)
        above.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=RED, linewidth=1.2))
        _show(below, shown, f"the junction: {right - left:.0f} x {bottom - top:.0f} pixels")
        below.set(xlim=(left, right), ylim=(bottom, top))
    _lines(panels[0, 0], grids["a zoom"], (height, width))
    return figure


def figure_lift(index: int = 3) -> Figure:
    """A piece of a wing, and what is left of it after pooling and enlarging in four ways; LiftPool untrained."""
    x = _piece(index)
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        layer = LiftDown2d(1)
        return figure_put_back([Pooled("pool", x, layer.bands(x[None]), layer)])


def figure_surroundings(index: int = 8) -> Figure:
    """How dark a wing is, as a stand-in for a response, and its means over MS-SAR's regions: of the whole map, 2x2 and 4x4."""
    dark = 1 - Wings(index + 1, size=(96, 128))[index].image.float().mean(dim=0)[None, None] / 255
    row = [("a response, 128 x 96", (dark[0, 0] / dark.max()).numpy())]
    for extent, means in zip((1, 2, 4), pool_regions(dark, (1, 2, 4)), strict=True):
        spread = spread_cells(means, (96, 128))[0, 0]
        words = "one mean: SE" if extent == 1 else f"means of {extent} x {extent} regions"
        row.append((words, (spread / pool_regions(dark, (4,))[0].max()).numpy()))
    return maps_in_rows([row])


def _piece(index: int) -> Float[Tensor, "1 48 64"]:
    """48 x 64 pixels around a wing's posterior crossvein, of mean 0 and deviation 1."""
    sample = Wings(index + 1)[index]
    names = ("posterior_crossvein_l4", "posterior_crossvein_l5")
    middle = sample.keypoints.xy[[sample.keypoints.schema.index(n) for n in names]].mean(axis=0)
    height, width = sample.image.shape[-2:]
    left, top = (
        int(np.clip(c - s / 2, 0, limit - s)) for c, s, limit in zip(middle, (64, 48), (width, height), strict=True)
    )
    cut = sample.image[:, top : top + 48, left : left + 64].float().mean(dim=0, keepdim=True)
    return (cut - cut.mean()) / cut.std()


def _show(axes: Axes, values: Float[Tensor, "h w"], words: str) -> None:
    """A grey picture in units of its own pixels, its corner at (0, 0)."""
    height, width = values.shape
    axes.set_axis_off()
    frame = (0, width, height, 0)
    axes.imshow(values.numpy(), cmap="gray", vmin=0, vmax=255, extent=frame, interpolation="nearest", aspect="equal")
    axes.set_title(words, fontsize=FONT_SIZE, color=INK, loc="left", parse_math=False, pad=3)


def _lines(axes: Axes, grid: ZoomGrid, source: tuple[int, int]) -> None:
    """Every third border between the pixels that a grid reads."""
    x, y = (edges[0, ::3].numpy() * side for edges, side in zip(_edges(grid), source[::-1], strict=True))
    axes.vlines(x, 0, source[0], color=RED, linewidth=0.4, alpha=0.6)
    axes.hlines(y, 0, source[1], color=RED, linewidth=0.4, alpha=0.6)


def _edges(grid: ZoomGrid) -> tuple[Tensor, Tensor]:
    """x of the columns' and y of the rows' borders of a separable grid, fractions of the source."""
    corners = grid.corners()
    return corners[:, 0, :, 0], corners[:, :, 0, 1]
