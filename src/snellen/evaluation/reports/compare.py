"""The report of a comparison, one HTML file."""

from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from snellen.evaluation.compare.comparison import Comparison, RowResult
from snellen.evaluation.compare.sentences import ALPHA, amount, duration
from snellen.evaluation.compare.statistics import LEAST_SEEDS
from snellen.evaluation.figures.drawing import BLUE, FONT_SIZE, GREEN, INK, MUTED, RED, new_figure, tidy
from snellen.evaluation.reports.page import Page, picture, render_page
from snellen.training.runs import write_atomically

__all__ = ["figure_curves", "figure_gains", "render_compare_report", "write_compare_report"]

#: Okabe and Ito's colours; beyond them the lines are dashed.
_COLOURS = (BLUE, RED, GREEN, "#cc79a7", "#e69f00", "#56b4e9", MUTED)


def write_compare_report(comparison: Comparison, folder: Path) -> Path:
    """Write comparison.html into a folder; returns its path."""
    file = folder / "comparison.html"
    write_atomically(file, render_compare_report(comparison))
    return file


def render_compare_report(comparison: Comparison) -> str:
    """The report as HTML text."""
    c = comparison
    figures = {
        "gains": picture(
            partial(figure_gains, c), f"Gain of each row over {c.rows[0].name} with its 95 % interval.", "gains",
            f"Gain over {c.rows[0].name} in {c.unit}; lines are 95 % intervals, right of 0 is better. Grey: no difference can "
            "be told from chance.",
        ),
        "curves": picture(
            partial(figure_curves, c), "Validation score against the training step, a line a row.", "curves",
            "The number that validations follow during training: thick the mean over seeds, thin the seeds.",
        ),
    }  # fmt: skip
    page = Page(run=c.title, dataset=c.dataset, split=c.split, command=c.command, config=c.config, versions=c.versions)
    context = {
        "comparison": c,
        "figures": figures,
        "scores": _score_rows(c),
        "costs": [_cost_row(row, c.rows[0]) for row in c.rows],
        "made_of": [(row.name, _settings(row), row.command) for row in c.rows],
        "alpha": ALPHA,
        "least_seeds": LEAST_SEEDS,
        "over_seeds": [g.row for g in c.gains if g.over != c.things],
        "direction": "higher" if c.better == "max" else "lower",
    }
    return render_page("compare.html.j2", page, context)


def figure_gains(comparison: Comparison) -> Figure:
    """A dot and its interval for each row."""
    gains = comparison.gains
    if not gains:
        raise ValueError("There is one row, so there is no gain to show.")
    figure = new_figure(0.42 * len(gains) + 0.9)
    axes = figure.subplots()
    tidy(axes, x=f"gain over {comparison.rows[0].name}, {comparison.unit}".replace("$", r"\$"), grid="x")
    places = range(len(gains) - 1, -1, -1)
    for y, g in zip(places, gains, strict=True):
        low, high = g.interval
        colour = MUTED if low <= 0 <= high or g.p_adjusted > ALPHA else BLUE if g.gain > 0 else RED
        axes.plot([low, high], [y, y], color=colour, linewidth=2, solid_capstyle="round")
        axes.plot(g.gain, y, "o", color=colour, markersize=7)
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(places, [g.row for g in gains], parse_math=False)
    axes.set_ylim(-0.6, len(gains) - 0.4)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    return figure


def figure_curves(comparison: Comparison) -> Figure:
    """Validation scores against steps."""
    rows = [row for row in comparison.rows if any(len(curve) > 1 for curve in row.curves)]
    if not rows:
        raise ValueError("The runs were validated once, so there are no learning curves.")
    figure = new_figure(3.6 + 0.22 * ((len(rows) + 1) // 2))
    axes = figure.subplots()
    tidy(axes, x="step", y=f"Validation: {comparison.metric}, {comparison.unit}".replace("$", r"\$"))
    for i, (row, colour) in enumerate(zip(rows, cycle(_COLOURS), strict=False)):
        style = "-" if i < len(_COLOURS) else "--"
        curves = [np.asarray(curve) for curve in row.curves if len(curve) > 1]
        for curve in curves if len(curves) > 1 else []:
            axes.plot(curve[:, 0], curve[:, 1], style, color=colour, linewidth=0.7, alpha=0.45)
        steps, mean = _mean_curve(curves)
        marker = "o" if len(steps) < 30 else ""
        axes.plot(
            steps, mean, style, color=colour, linewidth=1.9, marker=marker, markersize=3, label=_literal(row.name)
        )
    # Below: curves leave no room that is free in every comparison.
    figure.legend(frameon=False, fontsize=FONT_SIZE, labelcolor=INK, loc="outside lower center", ncols=2)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
    return figure


def _literal(name: str) -> str:
    """A name that matplotlib neither reads as mathematics nor, for an underscore in front, leaves out."""
    return " " * name.startswith("_") + name.replace("$", r"\$")


def _mean_curve(curves: list[np.ndarray[Any, Any]]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The mean over seeds at the steps that all of them validated."""
    steps = sorted(set.intersection(*(set(curve[:, 0]) for curve in curves)))
    at = [dict(zip(curve[:, 0], curve[:, 1], strict=True)) for curve in curves]
    return np.array(steps), np.array([np.mean([found[step] for found in at]) for step in steps])


def _score_rows(comparison: Comparison) -> list[dict[str, str]]:
    gains = {g.row: g for g in comparison.gains}
    rows = []
    for row in comparison.rows:
        gain = gains.get(row.name)
        rows.append(
            {
                "name": row.name,
                "mean": amount(row.mean),
                "spread": "" if row.spread is None else f" ± {amount(row.spread)}",
                "seeds": str(len(row.seeds)),
                "gain": "" if gain is None else f"{'+' if gain.gain > 0 else ''}{amount(gain.gain)}",
                "interval": "" if gain is None else f"{amount(gain.interval[0])} to {amount(gain.interval[1])}",
                "p": "" if gain is None else _p(gain.p),
                "p_adjusted": "" if gain is None else _p(gain.p_adjusted),
                "over": "" if gain is None else gain.over,
            }
        )
    return rows


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1g}"


def _cost_row(row: RowResult, base: RowResult) -> dict[str, str]:
    def ratio(value: float | None, of: float | None) -> str:
        return f" ({value / of:.2f}x)" if value is not None and of and row is not base else ""

    return {
        "name": row.name,
        "parameters": f"{row.parameters:,}",
        "macs": "not known" if row.macs is None else f"{row.macs / 1e6:,.1f}",
        "milliseconds": "not known"
        if row.milliseconds is None
        else amount(row.milliseconds) + ratio(row.milliseconds, base.milliseconds),
        "step": "not known"
        if row.step_milliseconds is None
        else amount(row.step_milliseconds) + ratio(row.step_milliseconds, base.step_milliseconds),
        "train": duration(row.train_seconds),
        "memory": "not known" if row.peak_memory_mb is None else f"{row.peak_memory_mb:,.0f}",
    }


def _settings(row: RowResult) -> str:
    return ", ".join(f"{key} {value}" for key, value in row.settings.items()) or "the recipe as it is"
