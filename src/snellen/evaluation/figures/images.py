"""The report's pictures of single images: answers beside the truth, and heatmaps from coarse to fine."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from snellen.evaluation.figures.drawing import FONT_SIZE, INK, new_figure
from snellen.evaluation.figures.keypoints import display, unit
from snellen.evaluation.record import CoarseToFine, EvaluationRecord, SampleEntry

__all__ = ["KINDS", "POINT_COLOURS", "figure_coarse_to_fine", "figure_gallery", "shown_points"]

#: The order of the gallery.
KINDS = ("best", "median", "worst")

# On photographs the colours must not follow the page: white and orange, both with a dark rim, stand out on any ground.
TRUTH, ANSWER, RIM = "#ffffff", "#ff8f1f", "#16181b"
#: Colours of the points whose heatmaps are laid over the image (Okabe and Ito).
POINT_COLOURS = ("#d55e00", "#0072b2", "#009e73")
LARGEST = 320  # pixels of an embedded picture's longer side: sharp enough for its place, and the report stays small


def figure_gallery(record: EvaluationRecord, samples: Sequence[SampleEntry] | None = None) -> Figure:
    """Images with the truth (rings), the answer (crosses) and the error between them (lines); a row a kind.

    Args:
        record: gives the pictures, the unit and the schema.
        samples: the pictures to show; by default all of the record's.

    Raises:
        ValueError: where there are none.
    """
    chosen = list(record.samples if samples is None else samples)
    if not chosen:
        raise ValueError("No pictures were kept.")
    kinds = list(dict.fromkeys([k for k in KINDS if any(s.kind == k for s in chosen)] + [s.kind for s in chosen]))
    rows = [[s for s in chosen if s.kind == kind] for kind in kinds]
    columns = max(len(row) for row in rows)
    height, width = chosen[0].canvas.shape[:2]
    tile = len(chosen) == 1  # the picture from edge to edge; the page writes the rest
    figure = new_figure(len(rows) * (2.3 * height / width + (0 if tile else 0.3)), 2.3 * columns, bleed=tile)
    if tile:
        figure.subplots_adjust(0, 0, 1, 1)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for row, panels in zip(rows, grid, strict=True):
        for sample, axes in zip(row, panels, strict=False):
            _draw_sample(axes, sample)
            if not tile:
                title = f"{sample.kind}, {float(display(record, sample.error)):.2f} {unit(record)}"
                axes.set_title(title, fontsize=FONT_SIZE, color=INK, loc="left", parse_math=False)
    return figure


def figure_coarse_to_fine(record: EvaluationRecord, index: int = 0, stages: Sequence[int] | None = None) -> Figure:
    """A column a stage: a few points' heatmaps over the image, and below the sum of all heatmaps.

    Every heatmap is scaled to its own maximum, so colours show where a stage looks, not how sure it is.

    Args:
        record: gives the heatmaps.
        index: which of `record.coarse_to_fine`.
        stages: the stages to show; by default all.

    Raises:
        ValueError: where there are none.
    """
    if not record.coarse_to_fine:
        raise ValueError("No heatmaps were kept.")
    view = record.coarse_to_fine[index]
    chosen = list(range(len(view.stages)) if stages is None else stages)
    height, width = view.canvas.shape[:2]
    panel, title = 2.0 * height / width, 0.26
    total = 2 * panel + 0.1 + title
    figure = new_figure(total, 2.0 * len(chosen) + 0.1 * (len(chosen) - 1), bleed=True)
    figure.subplots_adjust(0, 0, 1, 1 - title / total, wspace=0.05, hspace=0.1 / panel)
    grid = figure.subplots(2, len(chosen), squeeze=False)
    for column, stage in enumerate(chosen):
        above, below = grid[:, column]
        above.set_title(view.stages[stage], fontsize=FONT_SIZE + 1, color=INK, loc="left", parse_math=False)
        _show(above, _overlay(view, stage))
        _show(below, _summed(view, stage))
    return figure


def shown_points(view: CoarseToFine) -> list[int]:
    """The points whose heatmaps are laid over the image: up to three, spread evenly over the schema's order."""
    k = view.heatmaps.shape[1]
    count = min(k, len(POINT_COLOURS))
    return [i * k // count for i in range(count)]


def _draw_sample(axes: Axes, sample: SampleEntry) -> None:
    height, width = sample.canvas.shape[:2]
    _show(axes, sample.canvas, (width, height))
    known = ~np.isnan(sample.true).any(axis=1) & np.isfinite(sample.pred).all(axis=1)
    true, pred = sample.true[known], sample.pred[known]
    size = 8.0 if len(sample.true) <= 20 else 4.0
    # Twice, a wider dark line below a coloured one: readable on dark and on bright ground.
    for wider, line, ring in ((1.0, RIM, RIM), (0.0, ANSWER, TRUTH)):
        for t, p in zip(true, pred, strict=True):
            axes.plot([t[0], p[0]], [t[1], p[1]], color=line, linewidth=1.0 + wider)
        axes.plot(
            *true.T, "o", markerfacecolor="none", markeredgecolor=ring, markersize=size, markeredgewidth=0.9 + wider
        )
        axes.plot(*pred.T, "x", color=line, markersize=0.5 * size, markeredgewidth=1.0 + wider)


def _show(axes: Axes, picture: NDArray[np.uint8], size: tuple[int, int] | None = None) -> None:
    """Show (h, w, 3) in `size` (width, height) units, the corner of the image at (0, 0): the convention of geometry.py."""
    height, width = picture.shape[:2]
    scale = LARGEST / max(height, width)
    if scale < 1:
        smaller = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize(smaller, Image.Resampling.BOX))
    w, h = size or (width, height)
    axes.set_axis_off()
    axes.imshow(picture, extent=(0, w, h, 0), interpolation="none", aspect="equal")
    axes.set(xlim=(0, w), ylim=(h, 0))


def _overlay(view: CoarseToFine, stage: int) -> NDArray[np.uint8]:
    """The image, grey and pale, with the chosen points' heatmaps in colour."""
    grey = view.canvas.astype(np.float64).mean(axis=-1, keepdims=True)
    picture = np.repeat(0.5 * grey + 0.5 * 255, 3, axis=-1)
    for colour, point in zip(POINT_COLOURS, shown_points(view), strict=False):
        rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], dtype=np.float64)
        alpha = 0.9 * _scaled(view.heatmaps[stage, point], view.canvas.shape[:2])[..., None]
        picture = picture * (1 - alpha) + rgb * alpha
    return picture.round().astype(np.uint8)


def _summed(view: CoarseToFine, stage: int) -> NDArray[np.uint8]:
    """The sum of all points' heatmaps as colours."""
    total = view.heatmaps[stage].astype(np.float64).sum(axis=0)
    shades = colormaps["cividis"](_scaled(total, view.canvas.shape[:2]))
    return np.asarray((255 * shades[..., :3]).round(), dtype=np.uint8)


def _scaled(heatmap: NDArray[np.floating[Any]], size: tuple[int, ...]) -> NDArray[np.float64]:
    """Stretched to (height, width), its maximum at 1; the square root keeps faint spread visible."""
    values = np.nan_to_num(np.asarray(heatmap, dtype=np.float32))
    peak = float(values.max(initial=0.0))
    values = values / peak if peak > 0 else values
    stretched = Image.fromarray(values).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.sqrt(np.clip(np.asarray(stretched, dtype=np.float64), 0.0, 1.0))
