"""The report of a segmentation run, from a `LabelRecord`."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from snellen.evaluation.figures.curves import learning_curves
from snellen.evaluation.figures.drawing import BLUE, RED, new_figure, tidy
from snellen.evaluation.figures.palette import COLOURS, NO_CLASS, colour, coloured
from snellen.evaluation.label_record import LabelRecord
from snellen.evaluation.reports.inside import NOTHING, Inside, stored_inside
from snellen.evaluation.reports.page import picture, render_page
from snellen.evaluation.reports.tables import number
from snellen.evaluation.run_record import image_tag
from snellen.training.runs import write_atomically

__all__ = ["figure_classes", "render_label_report", "write_label_report"]

#: More names than this are not read in a chart; the table has them all.
BARS = 24


def write_label_report(record: LabelRecord, path: str | Path) -> Path:
    """Write the report of a record; returns the path of the HTML file."""
    file = Path(path)
    write_atomically(file, render_label_report(record, stored_inside(file.parent, record.split)))
    return file


def render_label_report(record: LabelRecord, inside: Inside = NOTHING) -> str:
    """The report as HTML text."""
    learning = partial(
        learning_curves, record.history, "val/miou", "Validation mean IoU on canvases, %", factor=100, unit="%",
        better="max",
    )  # fmt: skip
    figures = {
        "learning": picture(
            learning, "Learning curves: loss, and validation mean IoU below it.", "learning",
            "Loss, and the validation mean IoU below it, against the training step. It is measured on canvases, so it may "
            "differ a little from the number above, which is measured on the images' own pixels.",
        ),
        "classes": picture(
            partial(figure_classes, record), "Intersection over union and boundary F-score of each class.", "classes",
            "Bars: IoU. Dots: boundary F-score.",
        ),
    }  # fmt: skip
    known = [v for v in record.image_iou if v is not None]
    context = {
        "record": record,
        "inside": inside,
        "percent": _percent,
        "figures": figures,
        "gallery": _gallery(record),
        "legend": [(name, colour(i)) for i, name in enumerate(record.classes)],
        "no_class": NO_CLASS,
        "colours": len(COLOURS),
        "images": {"median": _percent(float(np.median(known))), "count": len(known)} if known else None,
        "classes": _class_rows(record),
    }
    return render_page("labels.html.j2", record.page(), context)


def figure_classes(record: LabelRecord) -> Figure:
    """IoU (bars) and boundary F-score (dots) of each class, best first; of many classes the weakest."""
    iou, lines = (_of_classes(record, key) for key in ("per_class_iou", "per_class_boundary_f"))
    order = [int(i) for i in np.argsort(-iou, kind="stable") if np.isfinite(iou[i])][-BARS:]
    if not order:
        raise ValueError("No class occurs.")
    figure = new_figure(0.29 * len(order) + 0.95)
    axes = figure.subplots()
    tidy(axes, x="%", grid="x")
    rows = range(len(order) - 1, -1, -1)
    axes.barh(rows, 100 * iou[order], height=0.62, color=BLUE)
    axes.plot(100 * lines[order], rows, "o", color=RED, markersize=6, markeredgecolor="white", markeredgewidth=0.8)
    axes.set_yticks(rows, [record.classes[i].replace("_", " ") for i in order], parse_math=False)
    axes.set(xlim=(0, 100), ylim=(-0.6, len(order) - 0.4))
    axes.tick_params(axis="y", length=0)
    return figure


def _percent(value: float | None, digits: int = 1) -> str:
    return "not known" if value is None else number(100 * value, digits)


def _of_classes(record: LabelRecord, key: str) -> NDArray[np.float64]:
    """A score of each class in order, NaN where it is not known."""
    values = [record.scores[key][name] for name in record.classes]
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _class_rows(record: LabelRecord) -> list[dict[str, str]]:
    keys = ("per_class_share", "per_class_iou", "per_class_accuracy", "per_class_boundary_f")
    return [
        {"name": name, "colour": colour(i), **{key: _percent(record.scores[key][name]) for key in keys}}
        for i, name in enumerate(record.classes)
    ]


def _gallery(record: LabelRecord) -> list[dict[str, Any]]:
    classes, rows = len(record.classes), []
    for kind in dict.fromkeys(s.kind for s in record.samples):
        entries = []
        for s in (s for s in record.samples if s.kind == kind):
            maps = (
                ("image", s.picture),
                ("truth", coloured(s.truth, classes)),
                ("answer", coloured(s.answer, classes)),
            )
            images = [image_tag(pixels, words, "photo" if words == "image" else "map") for words, pixels in maps]
            entries.append({"images": images, "name": s.name, "score": _percent(s.score)})
        rows.append({"kind": kind.capitalize(), "entries": entries})
    return rows
