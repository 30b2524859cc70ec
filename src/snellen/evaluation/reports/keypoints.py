"""The report of a keypoint run, from an `EvaluationRecord`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from snellen.evaluation.figures import images as figures_images
from snellen.evaluation.figures import keypoints as figures
from snellen.evaluation.figures.drawing import svg
from snellen.evaluation.figures.keypoints import display, hardest, of_normaliser, unit
from snellen.evaluation.figures.shapes import constant_guess_error
from snellen.evaluation.joint import VOICES
from snellen.evaluation.record import EvaluationRecord
from snellen.evaluation.reports.inside import NOTHING, Inside, stored_inside
from snellen.evaluation.reports.page import Page, Picture, picture, render_page, slug
from snellen.evaluation.reports.tables import (
    gain_rows,
    group_rows,
    keypoint_table,
    millimetre_words,
    normaliser_in_words,
    normaliser_rows,
    number,
)
from snellen.training.metrics import KeypointScores, grid80_normaliser
from snellen.training.runs import write_atomically

__all__ = ["render_report", "write_report"]


def write_report(record: EvaluationRecord, path: str | Path) -> Path:
    """Write the report of a record.

    Args:
        record: what to report. Parts it lacks are left out with a sentence.
        path: of the HTML file; its folder is made where needed.

    Returns:
        The path.
    """
    file = Path(path)
    write_atomically(file, render_report(record, stored_inside(file.parent, record.split)))
    return file


def render_report(record: EvaluationRecord, inside: Inside = NOTHING) -> str:
    """The report as HTML text: no scripts, nothing loaded from elsewhere."""
    scores = record.scores()
    page = Page(
        run=record.run,
        dataset=record.dataset,
        split=record.split,
        command=record.command,
        config=record.config,
        versions=record.versions,
        train_seconds=record.train_seconds,
        steps=record.steps,
        parameters=record.parameters,
        canvas=record.canvas_size,
    )
    views = _stages(record)
    context = {
        "record": record,
        "inside": inside,
        "scores": scores,
        "of": of_normaliser(record),
        "normaliser_words": normaliser_in_words(record.schema, record.normaliser),
        "headline": _headline(record, scores),
        "figures": _figures(record, scores),
        "gallery": _gallery(record),
        "stages": [v for v in views if v["stages"] != VOICES],
        "voices": [v for v in views if v["stages"] == VOICES],
        "gains": gain_rows(record),
        "groups": group_rows(record, scores),
        "normalisers": normaliser_rows(record),
        "millimetres": millimetre_words(record),
        "keypoints": keypoint_table(record, scores),
    }
    return render_page("keypoints.html.j2", page, context)


def _headline(record: EvaluationRecord, scores: KeypointScores) -> dict[str, Any]:
    def shown(value: float | None) -> str:
        return "not known" if value is None else number(float(display(record, value)))

    def limit(value: float) -> str:
        return f"{float(display(record, value)):g} {unit(record)}"

    guess, grid80 = constant_guess_error(record), record.grid80()
    on_grid = grid80_normaliser(record.schema, record.normaliser)
    in_cells = on_grid == "pixels"
    easiest = [i for i in np.argsort(scores.per_keypoint) if np.isfinite(scores.per_keypoint[i])][:1]
    return {
        "value": shown(scores.nme),
        "unit": unit(record),
        "interval": [shown(v) for v in scores.interval],
        "median": shown(scores.median),
        "median_interval": [shown(v) for v in scores.intervals["median"]],
        "threshold": limit(scores.threshold),
        "failures": number(100 * scores.failure_rate, 1),
        "failed": ""
        if not scores.images
        else f"{round(scores.failure_rate * scores.images):,} of {scores.images:,} images",
        "failures_interval": [number(100 * v, 1) for v in scores.intervals["failure_rate"]],
        "auc": number(scores.auc, 3),
        "auc_interval": [number(v, 3) for v in scores.intervals["auc"]],
        "pck": [
            (limit(t), number(100 * share, 1), [number(100 * v, 1) for v in ends])
            for (t, share), ends in zip(scores.pck, scores.intervals["pck"], strict=True)
        ],
        "point_median": number(scores.point_median_pixels),
        "point_p95": number(scores.point_p95_pixels),
        "grid80": None if grid80 is None else number(grid80 if in_cells else 100 * grid80),
        "grid80_unit": "cells" if in_cells else "%",
        "grid80_normaliser": "" if in_cells else f"over {on_grid}; ",
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
    return {key: picture(partial(make, record), alt, key, caption) for key, (make, alt, caption) in entries.items()}


def _gallery(record: EvaluationRecord) -> list[dict[str, Any]]:
    kinds = dict.fromkeys([*figures_images.KINDS, *(s.kind for s in record.samples)])
    rows = []
    for kind in kinds:
        entries = []
        for i, sample in enumerate(s for s in record.samples if s.kind == kind):
            error = f"{number(float(display(record, sample.error)))} {unit(record)}"
            alt = f"{sample.name}: true and predicted points, mean error {error}"
            drawn = svg(figures_images.figure_gallery(record, [sample]), alt, f"{slug(kind)}-{i}")
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
        views.append(
            {"name": view.name, "note": view.note, "columns": columns, "points": points, "stages": view.stages}
        )
    return views
