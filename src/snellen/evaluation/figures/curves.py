"""Plots that the reports of all tasks share: learning curves and reliability."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from snellen.evaluation.figures.drawing import BLUE, FONT_SIZE, INK, MUTED, RED, label, new_figure, note, tidy
from snellen.training.calibration import Reliability

__all__ = ["learning_curves", "reliability_plot"]


def learning_curves(
    history: Sequence[dict[str, Any]],
    metric: str,
    words: str,
    *,
    factor: float,
    unit: str,
    better: Literal["min", "max"],
) -> Figure:
    """Loss (above) and a number of the validation (below) against the step; the best one is marked.

    Args:
        history: rows of metrics.csv; a row may lack keys.
        metric: name of the number, e.g. "val/nme".
        words: what it is, for the axis.
        factor: from stored to shown values, e.g. 100 for fractions shown as per cent.
        unit: of shown values.
        better: which way the number is better.

    Raises:
        ValueError: where there is no curve.
    """
    steps, losses = _series(history, "train/loss", "train/loss_step", "train/loss_epoch")
    val_steps, val_losses = _series(history, "val/loss")
    metric_steps, values = _series(history, metric)
    if max(len(steps), len(val_steps), len(metric_steps)) < 2:
        raise ValueError("The run's history holds no learning curve.")
    figure = new_figure(4.2)
    above, below = figure.subplots(2, 1, sharex=True)
    tidy(above, y="Loss")
    many = len(steps) > 40
    above.plot(steps, losses, color=BLUE, linewidth=0.6 if many else 1.6, alpha=0.35 if many else 1.0)
    if many:
        above.plot(steps, _smoothed(losses), color=BLUE, linewidth=1.6)
    above.plot(val_steps, val_losses, color=RED, **_line(val_steps))
    note(above, 0.99, 0.97, "training" + (" (thick: smoothed)" if many else ""), BLUE)
    if len(val_steps):
        note(above, 0.99, 0.83, "validation", RED)
    _scale(above, np.concatenate((losses, val_losses)))
    tidy(below, x="step", y=words)
    shown = values * factor
    below.plot(metric_steps, shown, color=RED, **_line(metric_steps))
    if len(shown):
        best = int(np.argmin(shown) if better == "min" else np.argmax(shown))
        below.plot(metric_steps[best], shown[best], "o", color=INK, markersize=5)
        marked = "lowest" if better == "min" else "highest"
        height = 0.97 if better == "min" else 0.13  # where the curve is not
        note(below, 0.99, height, f"{marked} {shown[best]:.2f} {unit}, step {metric_steps[best]:,.0f}", INK)
        _scale(below, shown)
    else:
        note(below, 0.99, 0.97, "not measured", MUTED)
    below.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 2.5, 5, 10]))
    below.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
    return figure


def reliability_plot(result: Reliability, things: str) -> Figure:
    """How often answers of a stated confidence are right (above) and how many there are (below).

    Args:
        result: the bins.
        things: what is counted, e.g. "points".
    """
    figure = new_figure(4.0)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    tidy(above, y=f"Right, % of {things}", grid="both")
    above.plot([0, 100], [0, 100], color=MUTED, linewidth=1.0, dashes=(3, 3))
    full = result.counts > 0
    confidence, accuracy = 100 * result.confidence[full], 100 * result.accuracy[full]
    above.vlines(confidence, confidence, accuracy, color=RED, linewidth=1.4)
    # Area by the number of points, so that a bin of three does not look like one of three hundred.
    area = 14 + 60 * np.sqrt(result.counts[full] / result.counts.max())
    above.scatter(confidence, accuracy, s=area, color=BLUE, linewidth=0, zorder=3)
    above.set(xlim=(0, 101), ylim=(0, 103), yticks=range(0, 101, 25))
    label(above, 62, 62, "calibrated", MUTED, xytext=(6, -8))
    note(above, 0.02, 0.97, f"ECE {100 * result.ece:.1f} %", INK, ha="left", fontsize=FONT_SIZE + 2)
    note(above, 0.02, 0.85, f"{len(result.counts)} bins of equal {result.binning.split('-')[1]}", MUTED, ha="left")
    tidy(below, x="confidence, %", y=things.capitalize())
    edges = 100 * result.edges
    below.bar(edges[:-1], result.counts, np.diff(edges) * 0.92, align="edge", color=BLUE)
    below.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    below.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
    return figure


def _series(history: Sequence[dict[str, Any]], *names: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and values of the first of `names` that the history has; rows without it, or without a step, are skipped."""
    for name in names:
        rows = []
        for row in history:
            try:
                pair = float(row["step"]), float(row[name])
            except (KeyError, TypeError, ValueError):  # absent, None, or an empty cell of the CSV
                continue
            if np.isfinite(pair).all():
                rows.append(pair)
        if rows:
            steps, values = np.array(sorted(rows)).T
            return steps, values
    return np.empty(0), np.empty(0)


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A centred moving average over a fortieth of the curve, narrower at the ends."""
    reach = max(1, len(values) // 80)
    sums = np.concatenate(([0.0], np.cumsum(values)))
    i = np.arange(len(values))
    low, high = np.maximum(i - reach, 0), np.minimum(i + reach + 1, len(values))
    return np.asarray((sums[high] - sums[low]) / (high - low))


def _line(steps: NDArray[np.float64]) -> dict[str, Any]:
    return {"linewidth": 1.6, "marker": "o" if len(steps) < 30 else "", "markersize": 3.5}


def _scale(axes: Axes, values: NDArray[np.float64]) -> None:
    """A logarithmic axis where values span more than a factor of five, labelled with plain numbers."""
    if len(values) and values.min() > 0 and values.max() > 5 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(which="minor", left=False)
