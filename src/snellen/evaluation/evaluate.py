"""Scoring a run: its answers on a split, the numbers, the robustness to the box, and what the report shows."""

import csv
import dataclasses
import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snellen.config import AugmentConfig, ConfigError, RunConfig, nearest, override, to_dict
from snellen.data import SPLITS, InMemory, KeypointDataset, Perturbed, Spread, build_dataset
from snellen.data.files import AnnotatedImages
from snellen.evaluation.groups import group_scores
from snellen.evaluation.pictures import canvas_picture, choose, coarse_to_fine
from snellen.evaluation.record import CoarseToFine, EvaluationRecord, JitterPoint, SampleEntry
from snellen.inference import Localiser, Predictions, load, predict_dataset
from snellen.training.calibration import reliability
from snellen.training.metrics import grid80_error, image_errors, normalised_errors, summarise
from snellen.training.runs import RunFolder, environment, write_atomically

__all__ = ["JITTER_IMAGES", "box_jitter", "evaluate_run", "report_run", "score"]

log = logging.getLogger("snellen")

#: Box shifts, as shares of the box's side, and box scales at which the error is measured again.
SHIFTS = (0.05, 0.1, 0.15, 0.2)
SCALES = (0.7, 0.8, 0.9, 1.1, 1.2, 1.3, 1.4)
#: Robustness is measured on at most this many images: a dozen passes over a large test set would take longer than training.
JITTER_IMAGES = 200


def score(
    localiser: Localiser,
    predictions: Predictions,
    config: RunConfig,
    groups: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, Any]:
    """The numbers of a set of predictions and of its named groups, JSON-able; errors are fractions of the normaliser."""
    schema = localiser.schema
    normaliser = config.evaluate.normaliser or schema.default_normaliser
    p = predictions
    scores = summarise(p.pred, p.true, schema, normaliser, threshold=config.evaluate.failure)
    correct = _within_radius(p, localiser.radius)
    known = np.isfinite(p.true_canvas).all(axis=-1)
    calibration = reliability(np.clip(p.confidence[known], 0, 1), correct[known])
    result = scores.to_dict()
    result["failure_threshold"] = result.pop("threshold")
    of_images = image_errors(normalised_errors(p.pred, p.true, schema, normaliser))
    others = [n.name for n in schema.normalisers if n.name != normaliser]
    return {
        **result,
        "per_keypoint": dict(zip(schema.points, result["per_keypoint"], strict=True)),
        "other_normalisers": {n: summarise(p.pred, p.true, schema, n, resamples=1).nme for n in others},
        "grid80": grid80_error(p.pred_canvas, p.true_canvas, schema, normaliser, localiser.canvas),
        "calibration_error": calibration.ece,
        "groups": {name: dataclasses.asdict(s) for name, s in group_scores(of_images, groups or {}).items()},
    }


def _within_radius(predictions: Predictions, radius: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(n, k) whether the truth lies within `radius` canvas pixels of the answer."""
    distance = np.linalg.norm(predictions.pred_canvas - predictions.true_canvas, axis=-1)
    return np.nan_to_num(distance, nan=np.inf) <= radius


def box_jitter(localiser: Localiser, samples: KeypointDataset, config: RunConfig) -> list[dict[str, Any]]:
    """Error against box shift and scale, on `JITTER_IMAGES` images of the data: [{kind, amount, nme}, ...]."""
    part = Spread(samples, JITTER_IMAGES)
    normaliser = config.evaluate.normaliser or localiser.schema.default_normaliser

    def nme(**change: float) -> float:
        p = predict_dataset(localiser, Perturbed(part, **change), batch_size=config.evaluate.batch_size)
        return summarise(p.pred, p.true, localiser.schema, normaliser, resamples=1).nme

    unmoved = nme()
    rows = [("shift", 0.0, unmoved), *(("shift", s, nme(shift=s)) for s in SHIFTS)]
    rows += [("scale", s, unmoved if s == 1 else nme(scale=s)) for s in sorted((*SCALES, 1.0))]
    return [{"kind": kind, "amount": amount, "nme": value} for kind, amount, value in rows]


def evaluate_run(
    run: str | Path,
    *,
    split: str = "val",
    data: str | None = None,
    on_error: str | None = None,
    robustness: bool = True,
    flip: bool | None = None,
    decoder: str | None = None,
) -> dict[str, Any]:
    """Score a run on a split; writes evaluation-SPLIT.json and what the report needs into the run folder.

    The validation split is scored as it was during training, with the run's validation changes drawn once an image; other
    splits are scored as they are. See `snellen.api.evaluate`.
    """
    folder = RunFolder(run)
    config = folder.config()
    if split not in SPLITS:
        raise ConfigError(f"there is no split {split!r}{nearest(split, SPLITS)}; choose one of {', '.join(SPLITS)}")
    if data is not None and config.data.format == "wings":
        raise ConfigError(f"{folder.path} was trained on drawn wings, which have no folder; leave --data out")
    asked = {"data.root": data, "data.on_error": on_error, "evaluate.flip": flip, "evaluate.decoder": decoder}
    config = override(to_dict(config), {key: value for key, value in asked.items() if value is not None})
    localiser = load(run)
    localiser.flip, localiser.decoder = config.evaluate.flip, config.evaluate.decoder
    samples = build_dataset(config.data, split)  # type: ignore[arg-type]  # checked against SPLITS above
    changes = config.validation if split == "val" else AugmentConfig()
    predictions = predict_dataset(localiser, samples, batch_size=config.evaluate.batch_size, augment=changes)
    scores = score(localiser, predictions, config, _groups(samples))
    jitter = box_jitter(localiser, samples, config) if robustness else []
    result = {
        "run": str(folder.path),
        "data": config.data.format,
        "split": split,
        "flip": localiser.flip,
        "decoder": localiser.decoder,
        **scores,
        "box_jitter": jitter,
        "parameters": localiser.card["parameters"],
        "skipped": len(samples.skipped) if isinstance(samples, AnnotatedImages) else 0,
    }
    result = _finite(result)
    now = environment()
    text = json.dumps({"scores": result, **now}, indent=1, allow_nan=False)
    write_atomically(folder / f"evaluation-{split}.json", text + "\n")
    if split == "test" and not isinstance(samples, InMemory):
        _count_test_look(folder, config, result, now)
    record = _record(folder, config, localiser, samples, predictions, jitter, split)
    record.save(folder / f"predictions-{split}")
    return result


def _finite(value: Any) -> Any:
    """JSON knows no NaN: what is not known becomes None."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _groups(samples: KeypointDataset) -> dict[str, list[int]]:
    return samples.groups if isinstance(samples, AnnotatedImages) else {}


def _count_test_look(folder: RunFolder, config: RunConfig, result: dict[str, Any], now: dict[str, Any]) -> None:
    """Add a line to the ledger of test evaluations: how often a test was looked at is part of the result.

    The ledger stands in results/ of the working directory where that is a checkout of snellen, else in the run's folder. Drawn
    data is not counted: every seed of it is new.
    """
    project = Path("pyproject.toml")
    checkout = project.is_file() and 'name = "snellen"' in project.read_text(encoding="utf-8")
    ledger = Path("results") if checkout and Path("results").is_dir() else folder.path
    line = {
        "date": now["date"],
        "commit": now["commit"],
        "recipe": config.recipe,
        "run": folder.path.name,
        "seed": config.seed,
        "metric": f"nme / {result['normaliser']}",
        "value": result["nme"],
        "data": Path(config.data.root or "").name,
        "flip": result["flip"],
        "decoder": result["decoder"],
    }
    with (ledger / "test-evaluations.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _record(
    folder: RunFolder,
    config: RunConfig,
    localiser: Localiser,
    samples: KeypointDataset,
    predictions: Predictions,
    jitter: list[dict[str, Any]],
    split: str,
) -> EvaluationRecord:
    """Everything the report shows, so that it can be drawn again without the data."""
    p, info = predictions, folder.info()
    changes = config.validation if split == "val" else AugmentConfig()
    record = EvaluationRecord(
        run=folder.path.name,
        dataset=config.data.format,
        split=split,
        schema=localiser.schema,
        normaliser=config.evaluate.normaliser or localiser.schema.default_normaliser,
        names=list(samples.names),
        pred=p.pred,
        true=p.true,
        pred_canvas=p.pred_canvas,
        true_canvas=p.true_canvas,
        canvas_size=localiser.canvas,
        confidence=p.confidence,
        correct=_within_radius(p, localiser.radius),
        radius_cells=localiser.radius / localiser.stride,
        threshold=config.evaluate.failure,
        box_jitter=[JitterPoint(row["kind"], row["amount"], row["nme"]) for row in jitter],
        groups=_groups(samples),
        config=to_dict(config),
        command=str(info.get("command", "")),
        versions={
            **info.get("versions", {}),
            **{k: str(info[k]) for k in ("hardware", "device", "commit") if k in info},
        },
        train_seconds=info.get("train_seconds"),
        steps=info.get("steps"),
        parameters=localiser.card["parameters"],
        history=_history(folder),
    )
    errors = record.errors_of_images()
    chosen = choose(errors)
    entries = []
    for kind, indices in chosen.items():
        for i in indices:
            picture, _ = canvas_picture(localiser, samples, i, changes)
            entry = SampleEntry(kind, picture, p.pred_canvas[i], p.true_canvas[i], float(errors[i]), samples.names[i])
            entries.append(entry)
    views = []
    for kind in ("median", "worst"):
        for i in chosen[kind][:1]:
            picture, canvas = canvas_picture(localiser, samples, i, changes)
            stages, maps = coarse_to_fine(localiser, canvas)
            note = f"The {kind} image; at each stage the branches finer than the one named are switched off."
            views.append(CoarseToFine(samples.names[i], picture, stages, maps, note))
    return dataclasses.replace(record, samples=entries, coarse_to_fine=views)


def _history(folder: RunFolder) -> list[dict[str, Any]]:
    file = folder / "metrics.csv"
    if not file.exists():
        return []
    with file.open(newline="") as opened:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(opened)]


def report_run(run: str | Path, *, split: str = "") -> Path:
    """Write report.html from the newest evaluation (or that of `split`), evaluating where there is none."""
    from snellen.evaluation.report import write_report

    folder = RunFolder(run)
    folder.config()  # refuses what is no run folder
    found = sorted(folder.path.glob(f"predictions-{split or '*'}.npz"), key=lambda f: f.stat().st_mtime)
    if not found:
        evaluate_run(run, split=split or "val")
        found = [folder / f"predictions-{split or 'val'}.npz"]
    return write_report(EvaluationRecord.load(found[-1]), folder / "report.html")
