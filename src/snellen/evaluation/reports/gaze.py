"""The report of a gaze run, from a `GazeRecord`."""

import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from snellen.data.gaze_angles import direction
from snellen.evaluation.figures.curves import learning_curves
from snellen.evaluation.figures.drawing import BLUE, GREEN, INK, MUTED, RED, new_figure, tidy
from snellen.evaluation.gaze_record import GazeExample, GazeRecord
from snellen.evaluation.reports.inside import NOTHING, Inside, stored_inside
from snellen.evaluation.reports.page import Picture, picture, render_page
from snellen.evaluation.reports.tables import number
from snellen.evaluation.run_record import image_tag
from snellen.training.runs import write_atomically

__all__ = ["figure_people", "figure_scatter", "render_gaze_report", "write_gaze_report"]

#: A person's name is written beside its bar up to so many people.
NAMED = 60


def write_gaze_report(record: GazeRecord, path: str | Path) -> Path:
    """Write the report of a record; returns the path of the HTML file."""
    file = Path(path)
    write_atomically(file, render_gaze_report(record, stored_inside(file.parent, record.split)))
    return file


def render_gaze_report(record: GazeRecord, inside: Inside = NOTHING) -> str:
    """The report as HTML text."""
    unit = record.scores["unit"]
    names = list(record.scores["axes"])
    learning = partial(
        learning_curves, record.history, "val/error", f"Validation error, {unit}", factor=1, unit=unit, better="min"
    )
    scatter: list[Picture] = [
        picture(
            partial(figure_scatter, record, axis), f"{name} answered against true {name}.", f"scatter-{name}",
            f"{name.capitalize()} in {unit}: a dot a picture, the truth across, the answer up. On the dashed line it would be "
            "right; the red line joins the mean answers.",
        )
        for axis, name in enumerate(names)
    ]  # fmt: skip
    context = {
        "record": record,
        "inside": inside,
        "number": number,
        "scatter": scatter,
        "people": picture(
            partial(figure_people, record), "Error by person, largest above.", "people",
            "The dot is a person's mean error; the dashed line is the mean over all pictures.",
        ),
        "learning": picture(
            learning, "Learning curves: loss, and the validation error below it.", "learning",
            "Loss, and the validation error below it, against the training step.",
        ),
        "gallery": _gallery(record),
    }  # fmt: skip
    return render_page("gaze.html.j2", record.page(), context)


def figure_scatter(record: GazeRecord, axis: int) -> Figure:
    """Answers against truth, of one of the two numbers."""
    true, pred = (np.array(values, dtype=np.float64)[:, axis] for values in (record.true, record.pred))
    finite = np.isfinite(pred)
    if not finite.any():
        raise ValueError("No answer is finite.")
    true, pred = true[finite], pred[finite]
    figure = new_figure(4.2)
    axes = figure.subplots()
    tidy(axes, x="truth", y="answer", grid="both")
    low, high = float(min(true.min(), pred.min())), float(max(true.max(), pred.max()))
    axes.plot([low, high], [low, high], color=INK, linewidth=1.0, dashes=(3, 3))
    levels = np.unique(true)
    gap = np.diff(levels).min() if len(levels) > 1 else 1.0
    few = len(levels) <= 40
    # Truth that takes a few values would draw lines: dots are spread a little across, in the picture alone.
    spread = np.random.default_rng(0).uniform(-0.2, 0.2, len(true)) * gap if few else 0.0
    # Thousands of dots are drawn as pixels, which keeps the page small.
    axes.plot(true + spread, pred, ".", color=BLUE, markersize=3, alpha=0.35, markeredgewidth=0, rasterized=True)
    if few and len(levels) > 1:
        axes.plot(
            levels, [pred[true == level].mean() for level in levels], "-o", color=RED, linewidth=1.4, markersize=4
        )
    figure.set_dpi(150)
    return figure


def figure_people(record: GazeRecord) -> Figure:
    """The error of each person, in order."""
    people = record.scores["by_person"]
    order = sorted(people, key=lambda p: float(people[p]["error"]))
    figure = new_figure(min(9.0, 0.24 * len(order) + 1.0))
    axes = figure.subplots()
    mean = record.scores["error"]
    tidy(axes, x=f"Mean error, {record.scores['unit']}", y=f"dashed: all pictures, {mean:.2f}", grid="x")
    rows = range(len(order))
    values = [people[p]["error"] for p in order]
    axes.hlines(rows, 0, values, color=MUTED, linewidth=0.8)
    axes.plot(values, rows, "o", color=BLUE, markersize=5)
    axes.axvline(mean, color=INK, linewidth=1.0, dashes=(3, 3))
    axes.set_xlim(left=0)
    named = len(order) <= NAMED
    axes.set_yticks(rows if named else [], [f"person {p}" for p in order] if named else [])
    return figure


def _gallery(record: GazeRecord) -> list[dict[str, Any]]:
    rows = []
    for kind in dict.fromkeys(s.kind for s in record.samples):
        entries = [
            {
                "image": _drawn(sample, record.answer),
                "error": number(sample.error, 1),
                "true": ", ".join(f"{v:.1f}" for v in sample.true),
                "answer": ", ".join(f"{v:.1f}" for v in sample.answer),
                "name": sample.name,
            }
            for sample in record.samples
            if sample.kind == kind
        ]
        rows.append({"kind": kind.capitalize(), "entries": entries})
    return rows


def _drawn(sample: GazeExample, answer: str) -> Markup:
    """The picture, with an arrow for the truth and one for the answer where they are directions."""
    height, width = sample.picture.shape[:2]
    if answer != "angles":
        return image_tag(sample.picture)
    figure = Figure(figsize=(2.2 * width / height, 2.2), dpi=100)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.imshow(np.broadcast_to(sample.picture, (height, width, 3)), extent=(0, width, height, 0))
    side = min(height, width)
    for told, colour in ((sample.true, GREEN), (sample.answer, RED)):
        # So long that 15 degrees are plain to see.
        x, y, _ = direction(told) * 1.5 * side
        if np.hypot(x, y) < side / 12:  # too short for an arrow's head: straight into the camera
            axes.plot(width / 2 + x, height / 2 + y, "o", color=colour, markeredgecolor="white", markersize=7)
            continue
        for shade, thickness in (("white", 4.0), (colour, 2.2)):
            look = {"arrowstyle": "-|>", "mutation_scale": 11, "shrinkA": 0, "shrinkB": 0}
            axes.annotate(
                "", (width / 2 + x, height / 2 + y), (width / 2, height / 2),
                arrowprops={**look, "color": shade, "linewidth": thickness},
            )  # fmt: skip
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    from PIL import Image

    return image_tag(np.array(Image.open(buffer).convert("RGB")))
