"""The report's plots, one function a figure: from an `EvaluationRecord` to a matplotlib `Figure`.

Pictures of single images are in `figures_images`. Where the record lacks what a figure shows, the function raises a
ValueError with the reason, and the report prints it in the figure's place.
"""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from snellen.evaluation.figures.curves import learning_curves, reliability_plot
from snellen.evaluation.figures.drawing import BLUE, FONT_SIZE, INK, MUTED, RED, label, new_figure, note, tidy
from snellen.evaluation.figures.shapes import mean_shape
from snellen.evaluation.record import EvaluationRecord
from snellen.training.metrics import cumulative_curve

__all__ = [
    "display",
    "figure_box_jitter",
    "figure_cumulative_error",
    "figure_keypoint_bars",
    "figure_keypoint_map",
    "figure_learning_curves",
    "figure_reliability",
    "hardest",
    "of_normaliser",
    "unit",
]

BARS = 20  # more names than this are not read in a chart; the report's table has them all
NUMBERED = 24  # likewise for numbers beside the points of a drawing


def unit(record: EvaluationRecord) -> str:
    """What displayed errors are in: "px" for the normaliser "pixels", else "%"."""
    return "px" if record.normaliser == "pixels" else "%"


def of_normaliser(record: EvaluationRecord) -> str:
    """The unit with the normaliser's name: "% of inter-pupil", or "px"."""
    return "px" if record.normaliser == "pixels" else f"% of {record.normaliser}"


def display(record: EvaluationRecord, values: Any) -> NDArray[np.float64]:
    """Errors as they are shown: x 100 unless they are pixels. The only place where fractions become per cent."""
    return np.asarray(values, dtype=np.float64) * (1.0 if record.normaliser == "pixels" else 100.0)


def hardest(per_keypoint: ArrayLike, count: int = 3) -> list[int]:
    """Indices of the largest errors, the largest first: at most `count`, at most a quarter of the points, at least one."""
    values = np.asarray(per_keypoint, dtype=np.float64)
    order = [int(i) for i in np.argsort(-values, kind="stable") if not np.isnan(values[i])]
    return order[: max(1, min(count, len(values) // 4))]


def figure_learning_curves(record: EvaluationRecord) -> Figure:
    """Loss (above) and validation error (below) against the step; the lowest validation error is marked."""
    factor = 1.0 if record.normaliser == "pixels" else 100.0
    words = f"Validation error, {of_normaliser(record)}"
    return learning_curves(record.history, "val/nme", words, factor=factor, unit=unit(record), better="min")


def figure_cumulative_error(record: EvaluationRecord) -> Figure:
    """The share of images with at most a given error; the area up to the failure threshold is shaded."""
    scores = record.scores()
    if not scores.images:
        raise ValueError("No image has a labelled point and a usable normaliser, so there is no error to show.")
    x, y = cumulative_curve(record.errors_of_images())
    end = float(display(record, scores.threshold))
    x, y = np.append(display(record, x), max(2 * end, float(display(record, x[-1])))), 100 * np.append(y, y[-1])
    figure = new_figure(4.2)
    axes = figure.add_subplot()
    tidy(axes, x=f"error of an image, {of_normaliser(record)}", y="Share of images, %", grid="both")
    axes.plot(x, y, drawstyle="steps-post", color=BLUE, linewidth=1.8)
    inside = x < end
    area_x, area_y = np.append(x[inside], end), np.append(y[inside], y[inside][-1])
    axes.fill_between(area_x, area_y, step="post", color=BLUE, alpha=0.14, linewidth=0)
    axes.axvline(end, color=RED, linewidth=1.0)
    axes.set(xlim=(0, 1.35 * end), ylim=(0, 103))
    words = f"failure: above\n{end:g} {unit(record)}, {100 * scores.failure_rate:.1f} %\nof images"
    label(axes, end, 5, words, RED, va="bottom")
    label(axes, end, 5, f"AUC {scores.auc:.3f}", BLUE, xytext=(-7, 0), ha="right", va="bottom", fontsize=FONT_SIZE + 3)
    return figure


def figure_keypoint_map(record: EvaluationRecord) -> Figure:
    """The mean shape with a circle a point: its radius is the point's mean error, enlarged by a factor that is stated."""
    errors = np.asarray(record.scores().per_keypoint)
    shape = mean_shape(record.true)
    if np.isnan(shape).all():
        raise ValueError("No image has two labelled points, so there is no shape to draw.")
    shape = shape * _size_in_normalisers(record, shape)
    extent = float(max(np.nanmax(shape, axis=0) - np.nanmin(shape, axis=0)))
    drawable = np.where(np.isfinite(errors), errors, 0.0)
    factor = next((f for f in (1, 2, 3, 5, 10) if f * drawable.max() >= 0.035 * extent), 20)
    radii = factor * drawable
    low, high = np.nanmin(shape - radii[:, None], axis=0), np.nanmax(shape + radii[:, None], axis=0)
    low, high = low - np.array([0.09, 0.02]) * extent, high + np.array([0.09, 0.08]) * extent
    figure = new_figure(float(np.clip(4.6 * (high - low)[1] / (high - low)[0], 1.6, 4.6)))
    axes = figure.add_subplot()
    axes.patch.set_alpha(0.0)
    axes.set_axis_off()
    axes.set(aspect="equal", xlim=(low[0], high[0]), ylim=(high[1], low[1]))
    for a, b in record.schema.edges:
        axes.plot(*shape[[a, b]].T, color=MUTED, linewidth=0.9, alpha=0.6, zorder=1)
    worst, centre = hardest(errors), np.nanmean(shape, axis=0)
    for i, ((x, y), radius) in enumerate(zip(shape, radii, strict=True)):
        colour = RED if i in worst else BLUE
        axes.add_patch(Circle((x, y), radius, facecolor=colour, alpha=0.28, linewidth=0, zorder=2))
        axes.add_patch(Circle((x, y), radius, fill=False, edgecolor=colour, linewidth=1.0, zorder=3))
        axes.plot(x, y, "o", color=colour, markersize=2.2, zorder=4)
        words = str(i + 1) if len(shape) <= NUMBERED or i in worst else ""  # the bars and the table give the names
        side = -1 if x < centre[0] else 1
        away = {"xytext": (4 * side, 0), "ha": "right" if side < 0 else "left", "zorder": 5}
        label(axes, x + side * radius, y, words, RED if i in worst else INK, **away)
    note(axes, 1.0, 0.0, f"circles {factor} times as large" if factor > 1 else "", MUTED, va="bottom")
    return figure


def figure_keypoint_bars(record: EvaluationRecord) -> Figure:
    """Mean error of each point by name, the largest first; only the largest ones where the schema has many."""
    errors = np.asarray(record.scores().per_keypoint)
    order = [int(i) for i in np.argsort(-errors, kind="stable") if np.isfinite(errors[i])][:BARS]
    if not order:
        raise ValueError("No point is labelled in any image, so there is no error to list.")
    worst, shown = hardest(errors), display(record, errors[order])
    figure = new_figure(max(1.4, 0.6 + 0.205 * len(order)))
    axes = figure.add_subplot()
    some = f", the {len(order)} hardest of {len(errors)}" if len(order) < int(np.isfinite(errors).sum()) else ""
    tidy(axes, y=f"Mean error, {of_normaliser(record)}{some}", grid="")
    bars = axes.barh(range(len(order)), shown, height=0.62, color=[RED if i in worst else BLUE for i in order])
    bars_end = float(shown.max())
    for row, value in enumerate(shown):
        label(axes, float(value), row, f"{value:.2f}", INK, xytext=(4, 0))
    names = [f"{i + 1}  {_words(record.schema.points[i])}" for i in order]
    axes.set_yticks(range(len(order)), names, parse_math=False)
    axes.set(xlim=(0, 1.15 * bars_end), xticks=[], ylim=(len(order) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    bars.set_label("mean error")
    return figure


def figure_box_jitter(record: EvaluationRecord) -> Figure:
    """Error at boxes that are shifted (above) and scaled (below), on the same error axis."""
    if not record.box_jitter:
        raise ValueError("The error at boxes that are off was not measured.")
    figure = new_figure(4.0)
    panels = figure.subplots(2, 1, sharey=True)
    titles = {"shift": "shift of the box, % of its side", "scale": "factor on the box's side"}
    for axes, (kind, title) in zip(panels, titles.items(), strict=True):
        rows = sorted((p.amount, p.nme) for p in record.box_jitter if p.kind == kind and np.isfinite(p.nme))
        tidy(axes, x=title, y=f"Error, {of_normaliser(record)}" if kind == "shift" else "")
        if not rows:
            note(axes, 0.5, 0.5, "not measured", MUTED, ha="center")
            continue
        amounts, nmes = np.array(rows).T
        x, y = amounts * (100 if kind == "shift" else 1), display(record, nmes)
        axes.plot(x, y, "o-", color=BLUE, linewidth=1.6, markersize=4)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        none = np.flatnonzero(np.isclose(amounts, 0.0 if kind == "shift" else 1.0))
        if len(none):
            axes.plot(x[none[0]], y[none[0]], "o", color=INK, markersize=6)
            axes.axhline(y[none[0]], color=MUTED, linewidth=0.9, dashes=(3, 3))
    every = display(record, [p.nme for p in record.box_jitter if np.isfinite(p.nme)])
    panels[0].set_ylim(0, 1.08 * float(every.max(initial=1e-9)))
    panels[0].yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    return figure


def figure_reliability(record: EvaluationRecord) -> Figure:
    """How often points of a stated confidence are right (above) and how many there are (below)."""
    result = record.reliability()
    if result is None:
        raise ValueError("The predictions carry no confidences, so there is nothing to calibrate.")
    return reliability_plot(result, "points")


def _size_in_normalisers(record: EvaluationRecord, shape: NDArray[np.float64]) -> float:
    """The factor that draws `shape` as large as the objects are, in units of the normaliser."""
    schema = record.schema
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = schema.normalising_distance("diagonal", record.true) / schema.normalising_distance(
            record.normaliser, record.true
        )
    usable = ratio[np.isfinite(ratio) & (ratio > 0)]
    drawn = float(schema.normalising_distance("diagonal", shape))
    return float(np.median(usable)) / drawn if len(usable) and drawn > 0 else 1.0


def _words(name: str) -> str:
    return name.replace("_", " ")
