"""The report of a run: one HTML file that asks for nothing else, from an `EvaluationRecord`."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from snellen.evaluation import figures, figures_images
from snellen.evaluation.drawing import svg
from snellen.evaluation.figures import display, hardest, of_normaliser, unit
from snellen.evaluation.record import EvaluationRecord
from snellen.evaluation.shapes import constant_guess_error
from snellen.evaluation.tables import group_rows, keypoint_table, normaliser_in_words, normaliser_rows, number
from snellen.training.metrics import KeypointScores
from snellen.training.runs import write_atomically

__all__ = ["render_report", "write_report"]

SPLITS = {"train": "training split", "val": "validation split", "test": "test split"}


@dataclass(frozen=True)
class Picture:
    """A figure in the page, or the sentence that stands in its place.

    Attributes:
        svg: the figure, or None.
        reason: why there is none.
        caption: text below it.
    """

    svg: Markup | None
    reason: str
    caption: str = ""


def write_report(record: EvaluationRecord, path: str | Path) -> Path:
    """Write the report of a record.

    Args:
        record: what to report. Parts it lacks are left out with a sentence.
        path: of the HTML file; its folder is made where needed.

    Returns:
        The path.
    """
    file = Path(path)
    write_atomically(file, render_report(record))
    return file


def render_report(record: EvaluationRecord) -> str:
    """The report as HTML text: no scripts, nothing loaded from elsewhere, names escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = resources.files("snellen.evaluation").joinpath("report.html.j2").read_text(encoding="utf-8")
    scores = record.scores()
    context = {
        "record": record,
        "scores": scores,
        "split": SPLITS.get(record.split, record.split),
        "of": of_normaliser(record),
        "normaliser_words": normaliser_in_words(record.schema, record.normaliser),
        "headline": _headline(record, scores),
        "figures": _figures(record, scores),
        "gallery": _gallery(record),
        "stages": _stages(record),
        "groups": group_rows(record, scores),
        "normalisers": normaliser_rows(record),
        "keypoints": keypoint_table(record, scores),
        "facts": _facts(record),
        "settings": _flat(record.config),
    }
    return environment.from_string(template).render(context)


def _headline(record: EvaluationRecord, scores: KeypointScores) -> dict[str, Any]:
    def shown(value: float | None) -> str:
        return "not known" if value is None else number(float(display(record, value)))

    def limit(value: float) -> str:
        return f"{float(display(record, value)):g} {unit(record)}"

    guess, grid80 = constant_guess_error(record), record.grid80()
    easiest = [i for i in np.argsort(scores.per_keypoint) if np.isfinite(scores.per_keypoint[i])][:1]
    return {
        "value": shown(scores.nme),
        "unit": unit(record),
        "interval": [shown(v) for v in scores.interval],
        "median": shown(scores.median),
        "threshold": limit(scores.threshold),
        "failures": number(100 * scores.failure_rate, 1),
        "failed": ""
        if not scores.images
        else f"{round(scores.failure_rate * scores.images):,} of {scores.images:,} images",
        "auc": number(scores.auc, 3),
        "pck": [(limit(t), number(100 * share, 1)) for t, share in scores.pck],
        "point_median": number(scores.point_median_pixels),
        "point_p95": number(scores.point_p95_pixels),
        "grid80": None if grid80 is None else shown(grid80),
        "guess": None if guess is None else shown(guess),
        "hard": [_name(record, i) for i in hardest(scores.per_keypoint)] if easiest else [],
        "easy": [_name(record, i) for i in easiest],
    }


def _name(record: EvaluationRecord, index: int) -> str:
    return record.schema.points[int(index)].replace("_", " ")


def _figures(record: EvaluationRecord, scores: KeypointScores) -> dict[str, Picture]:
    share = f"{100 * (1 - scores.failure_rate):.1f}" if scores.images else "0"
    threshold = f"{float(display(record, scores.threshold)):g} {unit(record)}"
    hard = ", ".join(_name(record, i) for i in hardest(scores.per_keypoint))
    radius = f"{record.radius_cells:g} heatmap cells"
    entries: dict[str, tuple[Callable[[EvaluationRecord], Figure], str, str]] = {
        "learning": (
            figures.figure_learning_curves,
            "Learning curves: loss, and validation error below it, against the training step.",
            "Loss, and the validation error below it, against the training step.",
        ),
        "cumulative": (
            figures.figure_cumulative_error,
            f"Cumulative error curve: {share} % of the images err by at most {threshold}; area {number(scores.auc, 3)}.",
            f"Share of images with at most a given mean error. {share} % stay within {threshold}; the shaded area over "
            "that range, as a fraction of all of it, is the AUC.",
        ),
        "map": (
            figures.figure_keypoint_map,
            f"The mean shape with a circle per point sized by its error; the largest errors are at {hard}.",
            "The mean shape (Procrustes). A circle's radius is the point's mean error at the scale of the drawing, or "
            "as many times larger as noted; vermilion marks the hardest.",
        ),
        "bars": (
            figures.figure_keypoint_bars,
            f"Bar chart of the mean error of each point; the largest errors are at {hard}.",
            f"Mean error of each point over the images, {of_normaliser(record)}.",
        ),
        "jitter": (
            figures.figure_box_jitter,
            "The error against shift and scale of the box that is shown to the model.",
            "The error when the box is off: moved in a random direction, or too tight (below 1) or too loose (above 1). "
            "The dashed line is the error at the box as it is.",
        ),
        "reliability": (
            figures.figure_reliability,
            "Reliability plot: share of right points against stated confidence, and a histogram of confidences.",
            f"A point's confidence is the heatmap's mass within {radius} of the answer; it is right where the truth lies "
            "within that radius. Dots on the dashed line would be honest; red is the gap, and a dot's area grows with its "
            "number of points. ECE is the mean gap.",
        ),
    }
    return {key: _picture(make, record, alt, key, caption) for key, (make, alt, caption) in entries.items()}


def _picture(
    make: Callable[[EvaluationRecord], Figure], record: EvaluationRecord, alt: str, key: str, caption: str = ""
) -> Picture:
    try:
        figure = make(record)
    except ValueError as reason:
        return Picture(None, str(reason))
    return Picture(Markup(svg(figure, alt, key)), "", caption)


def _gallery(record: EvaluationRecord) -> list[dict[str, Any]]:
    kinds = dict.fromkeys([*figures_images.KINDS, *(s.kind for s in record.samples)])
    rows = []
    for kind in kinds:
        entries = []
        for i, sample in enumerate(s for s in record.samples if s.kind == kind):
            error = f"{number(float(display(record, sample.error)))} {unit(record)}"
            alt = f"{sample.name}: true and predicted points, mean error {error}"
            drawn = svg(figures_images.figure_gallery(record, [sample]), alt, f"{_slug(kind)}-{i}")
            entries.append({"svg": Markup(drawn), "error": error, "name": sample.name})
        if entries:
            rows.append({"kind": kind.capitalize(), "entries": entries})
    return rows


def _stages(record: EvaluationRecord) -> list[dict[str, Any]]:
    views = []
    for i, view in enumerate(record.coarse_to_fine):
        columns = []
        for stage, words in enumerate(view.stages):
            drawn = svg(
                figures_images.figure_coarse_to_fine(record, i, [stage]),
                f"{view.name}, stage {words}: heatmaps of a few points over the image, and the sum of all heatmaps.",
                f"view{i}-{stage}",
            )
            columns.append(Markup(drawn))
        points = [
            {"name": _name(record, point), "colour": colour}
            for point, colour in zip(figures_images.shown_points(view), figures_images.POINT_COLOURS, strict=False)
        ]
        views.append({"name": view.name, "note": view.note, "columns": columns, "points": points})
    return views


def _facts(record: EvaluationRecord) -> list[tuple[str, str]]:
    facts = [
        ("Trained for", f"{record.steps:,} steps" if record.steps is not None else ""),
        ("Training time", _duration(record.train_seconds)),
        ("Parameters", f"{record.parameters:,}" if record.parameters is not None else ""),
        ("Canvas", f"{record.canvas_size[1]} by {record.canvas_size[0]} px" if record.canvas_size else ""),
        *((str(k), str(v)) for k, v in record.versions.items()),
    ]
    return [(name, value) for name, value in facts if value]


def _duration(seconds: float | None) -> str:
    if seconds is None or not math.isfinite(seconds):
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as dotted names, as the command line takes them."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", str(value)))
    return rows


def _slug(words: str) -> str:
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in words.lower())
