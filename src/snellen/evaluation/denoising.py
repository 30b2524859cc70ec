"""Scoring a denoiser: how well it puts back points that were made wrong, and how much the truth surprises it."""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from snellen.config import AugmentConfig, DenoisingConfig
from snellen.data import PointCanvas, Split, build_points, evaluation_loader
from snellen.evaluation.outcomes import ImageOutcomes
from snellen.evaluation.reports.history import run_facts
from snellen.evaluation.reports.pictures import choose
from snellen.evaluation.run_record import RunRecord
from snellen.inference import load_denoiser
from snellen.keypoints.codecs import decode
from snellen.training.metrics import bootstrap_interval
from snellen.training.runs import RunFolder
from snellen.training.tasks.denoising import errors_of_changed

__all__ = ["DenoisingRecord", "PointSample", "evaluate_denoising"]

#: Objects of each row of the report's gallery.
GALLERY = 4


@dataclass(frozen=True, eq=False)
class PointSample:
    """One object of the gallery; points are lists of [x, y] in canvas pixels.

    Attributes:
        kind: the row it stands in.
        noisy: what the denoiser was shown; None for points taken away.
        answer: where it would put each point.
        truth: None for points that are unlabelled.
        changed: whether a point was changed.
        error: mean error of the changed points, a fraction of the normaliser.
        name: of the object.
    """

    kind: str
    noisy: list[list[float] | None]
    answer: list[list[float]]
    truth: list[list[float] | None]
    changed: list[bool]
    error: float
    name: str


@dataclass(frozen=True, eq=False, kw_only=True)
class DenoisingRecord(RunRecord):
    """The numbers of a denoiser on a split (`evaluate_denoising`), some of its objects, and the circumstances.

    Attributes:
        edges: pairs of points to join by a line when drawing.
    """

    format: ClassVar[str] = "snellen-points/1"
    sample: ClassVar[type] = PointSample

    edges: list[list[int]]


@torch.inference_mode()
def evaluate_denoising(folder: RunFolder, config: DenoisingConfig, split: Split) -> dict[str, Any]:
    """Score a denoiser on the annotations of a split, with noise drawn once an object, and keep what its report needs.

    Args:
        folder: the run.
        config: its configuration, with what the caller asked to be different.
        split: "train", "val" or "test"; the validation split has the run's validation changes, others none.

    Returns:
        `nme` (mean error of the changed points, an object at a time, a fraction of `normaliser`), its 95 % bootstrap
        `interval` over objects, `noise_nme` (the error before, of those that were shown), `nats` (mean surprise of
        the true places of changed points), `uniform_nats` (that of a blind guess), `per_keypoint` (nats), `images`.
    """
    structure = load_denoiser(folder.path)
    schema, canvas, device = structure.schema, structure.canvas, next(structure.model.parameters()).device
    normaliser = config.evaluate.normaliser or schema.default_normaliser
    changes = config.validation if split == "val" else AugmentConfig()
    points = build_points(config.data, split)
    data = PointCanvas(points, canvas, changes, config.noise)
    size = torch.tensor([canvas[1], canvas[0]], dtype=torch.float32)
    found, before, answers, nats = [], [], [], []
    for batch in evaluation_loader(data, config.evaluate.batch_size):
        here = batch.to(device)
        logits = structure.model(here.xy, here.given).logits
        xy = decode(logits, "local").xy.cpu() * (canvas[0] / logits.shape[-2])
        answers.append(xy.double().numpy())
        found.append(errors_of_changed(xy, batch, schema, normaliser, canvas))
        shown = replace(batch, mask=batch.mask & batch.given)  # points taken away were nowhere before
        before.append(errors_of_changed(batch.xy * size, shown, schema, normaliser, canvas))
        surprise = structure.model.surprise(here.xy, here.given, here.truth).double().cpu().numpy()
        nats.append(np.where(batch.mask.numpy(), surprise, np.nan))
    errors, of_points, xy_all = np.concatenate(found), np.concatenate(nats), np.concatenate(answers)
    known = errors[np.isfinite(errors)]
    with np.errstate(invalid="ignore"):
        per_keypoint = np.nansum(of_points, axis=0) / np.isfinite(of_points).sum(axis=0)
    scores = {
        "normaliser": normaliser,
        "nme": _mean(errors),
        "interval": list(bootstrap_interval(known)),
        "noise_nme": _mean(np.concatenate(before)),
        "nats": _mean(of_points),
        "uniform_nats": math.log(structure.model.size[0] * structure.model.size[1]),
        "per_keypoint": dict(zip(schema.points, per_keypoint.tolist(), strict=True)),
        "images": len(known),
    }
    samples = [
        _sample(kind, data, i, xy_all[i], float(errors[i]), points.names[i])
        for kind, indices in choose(errors, GALLERY).items()
        for i in indices
    ]
    DenoisingRecord(
        dataset=config.data.format,
        split=split,
        scores=scores,
        samples=samples,
        canvas=canvas,
        edges=[list(edge) for edge in schema.edges],
        **run_facts(folder, config),
    ).save(folder / f"predictions-{split}")
    pixels = normaliser == "pixels"
    ImageOutcomes.of_means(
        errors, points.names, metric="mean error of changed points", unit="px" if pixels else f"% of {normaliser}",
        factor=1 if pixels else 100, better="min", curve="val/nme", things="objects",
    ).save(folder.path, split)  # fmt: skip
    return {**scores, "parameters": structure.card["parameters"]}


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def _sample(
    kind: str, data: PointCanvas, index: int, answer: NDArray[np.float64], error: float, name: str
) -> PointSample:
    drawn = data[index]
    size = np.array([data.canvas[1], data.canvas[0]])

    def places(xy: torch.Tensor, known: torch.Tensor) -> list[list[float] | None]:
        return [p.tolist() if k else None for p, k in zip(xy.double().numpy() * size, known.tolist(), strict=True)]

    return PointSample(
        kind,
        places(drawn["xy"], drawn["given"]),
        answer.tolist(),
        places(drawn["truth"], drawn["labelled"]),
        drawn["mask"].tolist(),
        error,
        name,
    )
