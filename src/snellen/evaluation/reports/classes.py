"""The report of a classification run, from a `ClassRecord`."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from snellen.evaluation.class_record import ClassRecord
from snellen.evaluation.figures.curves import learning_curves, reliability_plot
from snellen.evaluation.figures.drawing import BLUE, INK, RED, new_figure, note, tidy
from snellen.evaluation.reports.inside import NOTHING, Inside, stored_inside
from snellen.evaluation.reports.page import picture, render_page
from snellen.evaluation.reports.tables import number
from snellen.evaluation.run_record import image_tag
from snellen.training.runs import write_atomically

__all__ = ["figure_corruptions", "render_class_report", "write_class_report"]


def write_class_report(record: ClassRecord, path: str | Path) -> Path:
    """Write the report of a record; returns the path of the HTML file."""
    file = Path(path)
    write_atomically(file, render_class_report(record, stored_inside(file.parent, record.split)))
    return file


def render_class_report(record: ClassRecord, inside: Inside = NOTHING) -> str:
    """The report as HTML text."""
    learning = partial(
        learning_curves, record.history, "val/top1", "Validation accuracy, %", factor=100, unit="%", better="max"
    )
    figures = {
        "learning": picture(
            learning, "Learning curves: loss, and validation accuracy below it.", "learning",
            "Loss, and the validation accuracy below it, against the training step.",
        ),
        "reliability": picture(
            partial(reliability_plot, record.calibration, "images"),
            "Reliability plot: share of right images against stated probability.", "reliability",
            "Dots on the dashed line would be honest; red is the gap. ECE is the mean gap.",
        ),
        "corruptions": picture(
            partial(figure_corruptions, record), "Error by kind of corruption, from severity 1 to 5.", "corruptions",
            "A line spans the errors at severities 1 to 5, the dot is their mean. The dashed line is "
            "the error on all images of the split as they are.",
        ),
    }  # fmt: skip
    context = {
        "record": record,
        "inside": inside,
        "percent": lambda value, digits=1: "not known" if value is None else number(100 * value, digits),
        "figures": figures,
        "gallery": _gallery(record),
        "classes": sorted(
            ((n, s) for n, s in zip(record.classes, record.scores["per_class"], strict=True) if s is not None),
            key=lambda pair: pair[1],
        ),
    }
    return render_page("classes.html.j2", record.page(), context)


def figure_corruptions(record: ClassRecord) -> Figure:
    """Error at severities 1 to 5, a row a kind, worst first."""
    errors = record.robustness.get("corruptions", {})
    if not errors:
        raise ValueError("Corruptions were not measured.")
    order = sorted(errors, key=lambda kind: float(np.mean(errors[kind])))
    figure = new_figure(0.28 * len(order) + 0.9)
    axes = figure.subplots()
    tidy(axes, x="Error, %", grid="x")
    for row, kind in enumerate(order):
        values = 100 * np.asarray(errors[kind])
        axes.plot([values.min(), values.max()], [row, row], color=RED, linewidth=1.4)
        axes.plot(values.mean(), row, "o", color=BLUE, markersize=5)
    axes.set_yticks(range(len(order)), [kind.replace("_", " ") for kind in order])
    clean = 100 * (1 - record.scores["top1"])
    axes.axvline(clean, color=INK, linewidth=1.0, dashes=(3, 3))
    note(axes, 0.99, 0.06, f"clean {clean:.1f} %", INK)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    return figure


def _gallery(record: ClassRecord) -> list[dict[str, Any]]:
    rows = []
    for kind in dict.fromkeys(s.kind for s in record.samples):
        entries = [
            {
                "image": image_tag(s.picture),
                "true": s.true,
                "answer": s.answer,
                "score": number(100 * s.score, 0),
            }
            for s in record.samples
            if s.kind == kind
        ]
        rows.append({"kind": kind.capitalize(), "entries": entries})
    return rows
