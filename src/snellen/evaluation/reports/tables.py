"""The report's tables as rows of text."""

import math
from typing import Any

import numpy as np

from snellen.evaluation.figures.keypoints import display, hardest, of_normaliser, unit
from snellen.evaluation.groups import GroupScore, group_scores
from snellen.evaluation.millimetres import millimetre_scores
from snellen.evaluation.record import EvaluationRecord
from snellen.keypoints.schema import Schema
from snellen.training.metrics import KeypointScores, point_errors

__all__ = [
    "gain_rows",
    "group_rows",
    "keypoint_table",
    "millimetre_words",
    "normaliser_in_words",
    "normaliser_rows",
    "number",
]


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


def number(value: float | None, digits: int = 2) -> str:
    """A number with thousands apart, or the words for one that is missing or infinite."""
    if value is None or math.isnan(value):
        return "not known"
    return "infinite" if math.isinf(value) else f"{value:,.{digits}f}"


def normaliser_rows(record: EvaluationRecord) -> list[dict[str, str]]:
    """The same predictions by every normaliser the schema has."""
    rows = []
    for name in record.schema.normaliser_names:
        scores, factor = record.scores(name), 1 if name == "pixels" else 100
        words = normaliser_in_words(record.schema, name)
        low, high = (number(factor * v) for v in scores.interval)
        rows.append(
            {
                "name": name,
                "words": "not normalised: pixels of the original image" if name == "pixels" else words,
                "nme": f"{number(factor * scores.nme)} {'px' if name == 'pixels' else '%'}",
                "interval": f"{low} to {high}",
                "median": number(factor * scores.median),
            }
        )
    return rows


def group_rows(record: EvaluationRecord, scores: KeypointScores) -> list[dict[str, str]]:
    """The named subsets and, last, all images; empty where there are no subsets."""
    parts = group_scores(record.errors_of_images(), record.groups)
    parts |= {"all": GroupScore(scores.nme, scores.images)} if parts else {}
    return [
        {
            "name": name,
            "nme": "not known" if part.nme is None else f"{number(float(display(record, part.nme)))} {unit(record)}",
            "images": f"{part.images:,}",
        }
        for name, part in parts.items()
    ]


def gain_rows(record: EvaluationRecord) -> list[dict[str, str]]:
    """The joint model beside the image model alone, on all images and the hardest; empty without a denoiser."""
    rows = []
    for name, gain in record.denoiser.get("gains", {}).items():
        first, second = (number(float(display(record, gain[key]))) for key in ("first", "second"))
        low, high, difference = (float(display(record, v)) for v in (*gain["interval"], gain["difference"]))
        rows.append(
            {
                "name": f"{name}, {gain['images']:,}",
                "first": f"{first} {unit(record)}",
                "second": f"{second} {unit(record)}",
                "difference": f"{difference:+.2f}",
                "interval": f"{low:+.2f} to {high:+.2f}",
            }
        )
    return rows


def millimetre_words(record: EvaluationRecord) -> dict[str, Any]:
    """Errors in millimetres as text: error, deviation, interval, success (limit, percent), counts; empty where unknown."""
    if record.scales is None:
        return {}
    scores = millimetre_scores(record.pred, record.true, record.scales).get("millimetres")
    if scores is None:
        return {}
    return {
        "error": number(scores["mean_radial_error"]),
        "deviation": number(scores["deviation"]),
        "interval": [number(value) for value in scores["interval"]],
        "success": [(limit, number(100 * share, 1)) for limit, share in scores["success"].items()],
        "points": f"{scores['points']:,}",
        "images": f"{scores['images']:,} of {len(record.names):,}",
    }


def keypoint_table(record: EvaluationRecord, scores: KeypointScores) -> dict[str, Any]:
    """A row a point: heads, rows of text, and the indices of the hardest."""
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
            number(float(display(record, scores.per_keypoint[i]))),
        ]
        row += [number(float(p50)), number(float(p95))]
        if record.confidence is not None and record.correct is not None:
            labelled = ~np.isnan(pixels[:, i])
            row += [_percent(record.confidence[labelled, i]), _percent(record.correct[labelled, i])]
        rows.append(row)
    if judged:
        heads += ["confidence, %", "right, %"]
    return {"heads": heads, "rows": rows, "hard": set(hardest(scores.per_keypoint)) if scores.images else set()}


def _percent(values: Any) -> str:
    return f"{100 * float(np.mean(values)):.1f}" if len(values) else "not known"
