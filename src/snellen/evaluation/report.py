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
from snellen.keypoints.schema import Schema
from snellen.training.metrics import KeypointScores, point_errors
from snellen.training.runs import write_atomically

__all__ = ["normaliser_in_words", "render_report", "write_report"]

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
        "normalisers": _normalisers(record),
        "keypoints": _keypoints(record, scores),
        "facts": _facts(record),
        "settings": _flat(record.config),
    }
    return environment.from_string(template).render(context)


def normaliser_in_words(schema: Schema, name: str) -> str:
    """What a normaliser measures, e.g. "the distance from “left eye” to “right eye”"."""
    for n in schema.normalisers:
        if n.name == name:
            return f"the distance from {_ends(n.start)} to {_ends(n.end)}"
    return {
        "box": "the square root of the area of the tight box around the true points",
        "diagonal": "the diagonal of the tight box around the true points",
        "pixels": "nothing: errors are in pixels of the original image",
    }[name]


def _ends(points: tuple[str, ...]) -> str:
    names = [f"“{p.replace('_', ' ')}”" for p in points]
    return names[0] if len(names) == 1 else "the mean of " + " and ".join((", ".join(names[:-1]), names[-1]))


def _number(value: float | None, digits: int = 2) -> str:
    if value is None or math.isnan(value):
        return "not known"
    return "infinite" if math.isinf(value) else f"{value:,.{digits}f}"


def _headline(record: EvaluationRecord, scores: KeypointScores) -> dict[str, Any]:
    def shown(value: float | None) -> str:
        return "not known" if value is None else _number(float(display(record, value)))

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
        "failures": _number(100 * scores.failure_rate, 1),
        "failed": ""
        if not scores.images
        else f"{round(scores.failure_rate * scores.images):,} of {scores.images:,} images",
        "auc": _number(scores.auc, 3),
        "pck": [(limit(t), _number(100 * share, 1)) for t, share in scores.pck],
        "point_median": _number(scores.point_median_pixels),
        "point_p95": _number(scores.point_p95_pixels),
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
            f"Cumulative error curve: {share} % of the images err by at most {threshold}; area {_number(scores.auc, 3)}.",
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
            error = f"{_number(float(display(record, sample.error)))} {unit(record)}"
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


def _normalisers(record: EvaluationRecord) -> list[dict[str, str]]:
    """The same predictions by every normaliser the schema has."""
    rows = []
    for name in record.schema.normaliser_names:
        scores, factor = record.scores(name), 1 if name == "pixels" else 100
        words = normaliser_in_words(record.schema, name)
        low, high = (_number(factor * v) for v in scores.interval)
        rows.append(
            {
                "name": name,
                "words": "not normalised: pixels of the original image" if name == "pixels" else words,
                "nme": f"{_number(factor * scores.nme)} {'px' if name == 'pixels' else '%'}",
                "interval": f"{low} to {high}",
                "median": _number(factor * scores.median),
            }
        )
    return rows


def _keypoints(record: EvaluationRecord, scores: KeypointScores) -> dict[str, Any]:
    pixels = point_errors(record.pred, record.true)
    judged = record.confidence is not None and record.correct is not None
    heads = ["no.", "point", "labelled", f"mean, {of_normaliser(record)}", "median, px", "95 % within, px"]
    rows = []
    for i, name in enumerate(record.schema.points):
        known = pixels[:, i][~np.isnan(pixels[:, i])]
        p50, p95 = np.quantile(known, (0.5, 0.95), method="higher") if len(known) else (math.nan, math.nan)
        row = [
            str(i + 1),
            name.replace("_", " "),
            f"{len(known):,}",
            _number(float(display(record, scores.per_keypoint[i]))),
        ]
        row += [_number(float(p50)), _number(float(p95))]
        if record.confidence is not None and record.correct is not None:
            labelled = ~np.isnan(pixels[:, i])
            row += [_percent(record.confidence[labelled, i]), _percent(record.correct[labelled, i])]
        rows.append(row)
    if judged:
        heads += ["confidence, %", "right, %"]
    return {"heads": heads, "rows": rows, "hard": set(hardest(scores.per_keypoint)) if scores.images else set()}


def _percent(values: Any) -> str:
    return f"{100 * float(np.mean(values)):.1f}" if len(values) else "not known"


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
