"""The report of a denoiser, from a `DenoisingRecord`."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray

from snellen.evaluation.denoising import DenoisingRecord, PointSample
from snellen.evaluation.figures.curves import learning_curves
from snellen.evaluation.figures.drawing import BLUE, GRID, INK, RED, new_figure, svg
from snellen.evaluation.reports.page import picture, render_page, slug
from snellen.evaluation.reports.tables import number
from snellen.training.runs import write_atomically

__all__ = ["figure_points", "render_denoising_report", "write_denoising_report"]


def write_denoising_report(record: DenoisingRecord, path: str | Path) -> Path:
    """Write the report of a record; returns the path of the HTML file."""
    file = Path(path)
    write_atomically(file, render_denoising_report(record))
    return file


def render_denoising_report(record: DenoisingRecord) -> str:
    """The report as HTML text."""
    normaliser = record.scores["normaliser"]
    factor, unit = (1, "px") if normaliser == "pixels" else (100, f"% of {normaliser}")
    curve = partial(
        learning_curves, record.history, "val/nme", f"Validation error, {unit}", factor=factor, unit=unit, better="min"
    )
    nats = sorted(record.scores["per_keypoint"].items(), key=lambda row: -(row[1] or 0.0))
    context = {
        "record": record,
        "number": number,
        "factor": factor,
        "unit": unit,
        "learning": picture(
            curve, "Learning curves: loss, and the error of changed points below it.", "learning",
            "Loss, and the validation error of the points that were changed below it, against the training step.",
        ),
        "gallery": _gallery(record, factor, unit),
        "points": [(name.replace("_", " "), number(value)) for name, value in nats],
    }  # fmt: skip
    return render_page("denoising.html.j2", record.page(), context)


def figure_points(record: DenoisingRecord, sample: PointSample) -> Figure:
    """One object on its canvas: the truth as rings on the skeleton, what was shown wrongly as dots, answers as crosses."""
    height, width = record.canvas
    figure = new_figure(2.2 * height / width, 2.2, bleed=True)
    figure.subplots_adjust(0, 0, 1, 1)
    axes = figure.subplots()
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[], aspect="equal")
    axes.patch.set_alpha(0.0)
    for spine in axes.spines.values():
        spine.set_color(GRID)
    truth, noisy = (_array(p) for p in (sample.truth, sample.noisy))
    answer, changed = np.array(sample.answer), np.array(sample.changed)
    for a, b in record.edges:
        axes.plot(*truth[[a, b]].T, color=GRID, linewidth=1.0)
    size = 5.0 if len(truth) <= 20 else 3.0
    for t, p, n in zip(truth[changed], answer[changed], noisy[changed], strict=True):
        axes.plot([n[0], p[0]], [n[1], p[1]], color=RED, linewidth=0.5, alpha=0.5)
        axes.plot([t[0], p[0]], [t[1], p[1]], color=BLUE, linewidth=0.9)
    axes.plot(*truth.T, "o", markerfacecolor="none", markeredgecolor=INK, markersize=size, markeredgewidth=0.7)
    axes.plot(*noisy[changed].T, ".", color=RED, markersize=size)
    axes.plot(*answer[changed].T, "x", color=BLUE, markersize=size, markeredgewidth=1.2)
    return figure


def _array(points: list[list[float] | None]) -> NDArray[np.float64]:
    return np.array([[np.nan, np.nan] if p is None else p for p in points], dtype=np.float64)


def _gallery(record: DenoisingRecord, factor: float, unit: str) -> list[dict[str, Any]]:
    rows = []
    for kind in dict.fromkeys(s.kind for s in record.samples):
        entries = []
        for i, sample in enumerate(s for s in record.samples if s.kind == kind):
            error = f"{number(factor * sample.error)} {unit}"
            alt = f"{sample.name}: true points, points that were changed, and answers, mean error {error}"
            drawn = svg(figure_points(record, sample), alt, f"{slug(kind)}-{i}")
            entries.append({"svg": Markup(drawn), "error": error, "name": sample.name})
        rows.append({"kind": kind.capitalize(), "entries": entries})
    return rows
