"""Scoring a keypoint run: its answers on a split, the numbers, the robustness to the box, and what the report shows."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from snellen.config import AugmentConfig, ConfigError, KeypointConfig, to_dict
from snellen.data import KeypointDataset, Perturbed, Split, Spread, build_dataset
from snellen.data.files import AnnotatedImages
from snellen.evaluation.groups import group_scores
from snellen.evaluation.joint import Conditions, fit_weight, occluded, paired_gains, plain_gains, three_voices
from snellen.evaluation.millimetres import millimetre_scores
from snellen.evaluation.outcomes import ImageOutcomes
from snellen.evaluation.record import CoarseToFine, EvaluationRecord, JitterPoint, SampleEntry
from snellen.evaluation.reports.history import read_history
from snellen.evaluation.reports.inside import keep_inside
from snellen.evaluation.reports.pictures import canvas_picture, choose, coarse_to_fine
from snellen.inference import Localiser, Predictions, load_joint, load_localiser, predict_dataset
from snellen.inference.stream import DIVERGED
from snellen.models import JointNet
from snellen.training.calibration import reliability
from snellen.training.metrics import grid80_error, grid80_normaliser, image_errors, normalised_errors, summarise
from snellen.training.runs import RunFolder

__all__ = ["JITTER_IMAGES", "box_jitter", "evaluate_keypoints", "score"]

#: Box shifts, as shares of the box's side, and box scales at which the error is measured again.
SHIFTS = (0.05, 0.1, 0.15, 0.2)
SCALES = (0.7, 0.8, 0.9, 1.1, 1.2, 1.3, 1.4)
#: Robustness is measured on at most this many images: a dozen passes over a large test set would take longer than training.
JITTER_IMAGES = 200


def score(
    localiser: Localiser,
    predictions: Predictions,
    config: KeypointConfig,
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
    on_grid = grid80_normaliser(schema, normaliser)
    others = [n.name for n in schema.normalisers if n.name != normaliser]
    return {
        **result,
        "per_keypoint": dict(zip(schema.points, result["per_keypoint"], strict=True)),
        "other_normalisers": {n: summarise(p.pred, p.true, schema, n, resamples=1).nme for n in others},
        "grid80": grid80_error(p.pred_canvas, p.true_canvas, schema, on_grid, localiser.canvas),
        "grid80_normaliser": on_grid,
        "calibration_error": calibration.ece,
        "groups": {name: dataclasses.asdict(s) for name, s in group_scores(of_images, groups or {}).items()},
    }


def _within_radius(predictions: Predictions, radius: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(n, k) whether the truth lies within `radius` canvas pixels of the answer."""
    distance = np.linalg.norm(predictions.pred_canvas - predictions.true_canvas, axis=-1)
    return np.nan_to_num(distance, nan=np.inf) <= radius


def box_jitter(localiser: Localiser, samples: KeypointDataset, config: KeypointConfig) -> list[dict[str, Any]]:
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


def evaluate_keypoints(
    folder: RunFolder,
    config: KeypointConfig,
    split: Split,
    *,
    robustness: bool,
    conditions: Conditions = Conditions(),  # noqa: B008  # frozen
) -> dict[str, Any]:
    """Score a keypoint run on a split, and keep what its report needs in the run folder.

    Args:
        folder: the run.
        config: its configuration, with what the caller asked to be different.
        split: "train", "val" or "test".
        robustness: also measure the error against box shift and scale.
        conditions: a denoiser to join, and whether parts of the images are hidden.

    Returns:
        The scores of `score`, the box's, the files that were skipped; with a denoiser under `denoiser` its weight and the
        differences to the model without it (`paired_gains`).
    """
    localiser = _localiser(folder, config, conditions)
    samples = build_dataset(config.data, split)
    changes = _changes(config, split, conditions)
    joined: dict[str, Any] = {}
    if conditions.denoiser is not None:
        joined = _join(localiser, folder, config, conditions)
    predictions = predict_dataset(localiser, samples, batch_size=config.evaluate.batch_size, augment=changes)
    if not np.isfinite(predictions.pred).all():
        raise ConfigError(f"the network's {DIVERGED}")
    scores = score(localiser, predictions, config, _groups(samples))
    scales = samples.scales if isinstance(samples, AnnotatedImages) else None
    if scales is not None:
        scores |= millimetre_scores(predictions.pred, predictions.true, scales)
    if joined:
        joined["gains"] = _gains(localiser, folder, config, samples, changes, predictions)
    jitter = box_jitter(localiser, samples, config) if robustness else []
    record = _record(folder, config, localiser, samples, predictions, jitter, split, changes)
    record = dataclasses.replace(record, denoiser=joined, occluded=conditions.occlude, scales=scales)
    record.save(folder / f"predictions-{split}{conditions.suffix}")
    pixels = record.normaliser == "pixels"
    ImageOutcomes.of_means(
        record.errors_of_images(), record.names, metric="mean error", unit="px" if pixels else f"% of {record.normaliser}",
        factor=1 if pixels else 100, better="min", curve="val/nme",
        how={
            "flip": localiser.flip, "decoder": localiser.decoder,
            **({"denoiser_weight": joined["weight"]} if joined else {}),
            **({"occluded": True} if conditions.occlude else {}),
        },
    ).save(folder.path, f"{split}{conditions.suffix}")  # fmt: skip
    return {
        "flip": localiser.flip,
        "decoder": localiser.decoder,
        **scores,
        "box_jitter": jitter,
        "parameters": localiser.card["parameters"],
        "skipped": len(samples.skipped) if isinstance(samples, AnnotatedImages) else 0,
        **({"denoiser": joined} if joined else {}),
        **({"occluded": True} if conditions.occlude else {}),
    }


def _changes(config: KeypointConfig, split: str, conditions: Conditions) -> AugmentConfig:
    changes = config.validation if split == "val" else AugmentConfig()
    return occluded(changes) if conditions.occlude else changes


def _localiser(folder: RunFolder, config: KeypointConfig, conditions: Conditions) -> Localiser:
    if conditions.denoiser is None:
        localiser = load_localiser(folder.path)
    else:
        weight = 1.0 if conditions.weight == "fit" else conditions.weight
        localiser = load_joint(folder.path, conditions.denoiser, weight=weight)
    localiser.flip, localiser.decoder = config.evaluate.flip, config.evaluate.decoder
    return localiser


def _join(localiser: Localiser, folder: RunFolder, config: KeypointConfig, conditions: Conditions) -> dict[str, Any]:
    """Set the weight of the denoiser, fitted on validation images where asked for; what the scores say of it."""
    assert isinstance(localiser.model, JointNet)  # loaded with a denoiser
    said: dict[str, Any] = {"run": str(conditions.denoiser), "fitted": conditions.weight == "fit"}
    if conditions.weight == "fit":
        images = build_dataset(config.data, "val")
        localiser.model.weight, curve = fit_weight(localiser, images, config, augment=config.validation)
        said["curve"] = [{"weight": w, "nme": e} for w, e in curve.items()]
    return {**said, "weight": localiser.model.weight}


def _gains(
    joint: Localiser,
    folder: RunFolder,
    config: KeypointConfig,
    samples: KeypointDataset,
    changes: AugmentConfig,
    predictions: Predictions,
) -> dict[str, Any]:
    """The joint model beside the image model alone, on the same images."""
    alone = _localiser(folder, config, Conditions())
    p = predict_dataset(alone, samples, batch_size=config.evaluate.batch_size, augment=changes)
    normaliser = config.evaluate.normaliser or joint.schema.default_normaliser
    first, second = (
        image_errors(normalised_errors(of.pred, of.true, joint.schema, normaliser)) for of in (p, predictions)
    )
    return plain_gains(paired_gains(first, second))


def _groups(samples: KeypointDataset) -> dict[str, list[int]]:
    return samples.groups if isinstance(samples, AnnotatedImages) else {}


def _record(
    folder: RunFolder,
    config: KeypointConfig,
    localiser: Localiser,
    samples: KeypointDataset,
    predictions: Predictions,
    jitter: list[dict[str, Any]],
    split: str,
    changes: AugmentConfig,
) -> EvaluationRecord:
    """Everything the report shows, so that it can be drawn again without the data."""
    p, info = predictions, folder.info()
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
        radius_cells=localiser.radius / localiser.model.cell(localiser.canvas),
        threshold=config.evaluate.failure,
        box_jitter=[JitterPoint(row["kind"], row["amount"], row["nme"]) for row in jitter],
        groups=_groups(samples),
        config=to_dict(config),
        command=str(info.get("command", "")),
        versions={
            **info.get("versions", {}),
            **{k: str(info[k]) for k in ("hardware", "device", "threads", "commit", "date") if k in info},
        },
        train_seconds=info.get("train_seconds"),
        steps=info.get("steps"),
        parameters=localiser.card["parameters"],
        history=read_history(folder),
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
    # A model that looks at given boxes cannot be asked without them.
    for kind in () if localiser.model.needs_boxes else ("median", "worst"):
        for i in chosen[kind][:1]:
            picture, canvas = canvas_picture(localiser, samples, i, changes)
            if kind == "median":
                keep_inside(localiser.model, canvas, folder.path, split)
            if isinstance(localiser.model, JointNet):
                views.append(three_voices(localiser, samples.names[i], picture, canvas))
            stages, maps = coarse_to_fine(localiser, canvas)
            note = f"The {kind} image; at each stage the branches finer than the one named are switched off."
            views.append(CoarseToFine(samples.names[i], picture, stages, maps, note))
    return dataclasses.replace(record, samples=entries, coarse_to_fine=views)
