"""Scoring a super-resolution run: how close doubled pictures come, beside bicubic enlargement."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from snellen.config import SuperResolutionConfig
from snellen.data import ClassificationCanvas, Split, evaluation_loader
from snellen.evaluation.outcomes import ImageOutcomes
from snellen.evaluation.reports.history import run_facts
from snellen.evaluation.reports.pictures import choose
from snellen.evaluation.run_record import RunRecord
from snellen.inference import Enlarger, load
from snellen.training.boundaries import checkerboard, psnr
from snellen.training.jobs.classification import class_images
from snellen.training.metrics import bootstrap_interval
from snellen.training.runs import RunFolder
from snellen.training.tasks.superresolution import HIGHEST, halve

__all__ = ["PictureSample", "SuperRecord", "bicubic", "evaluate_pictures"]

#: Pictures of each row of the report's gallery.
GALLERY = 4


@dataclass(frozen=True, eq=False)
class PictureSample:
    """One picture of the gallery, all (h, w, c) uint8.

    Attributes:
        kind: the row it stands in.
        seen: what the network saw, half as large.
        plain: that, enlarged bicubically.
        answer: the network's.
        truth: the picture.
        gain: decibels over the bicubic one.
        name: of the picture.
    """

    kind: str
    seen: NDArray[np.uint8]
    plain: NDArray[np.uint8]
    answer: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    gain: float
    name: str


@dataclass(frozen=True, eq=False, kw_only=True)
class SuperRecord(RunRecord):
    """The numbers of a super-resolution run on a split (`evaluate_pictures`), some of its pictures, and the circumstances."""

    format: ClassVar[str] = "snellen-pictures/1"
    sample: ClassVar[type] = PictureSample


def bicubic(pictures: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 2*h 2*w"]:
    """Pictures of 0..255 enlarged bicubically (Keys, a = -0.75 as torch has it), in whole grey levels of 0..255."""
    return F.interpolate(pictures, scale_factor=2, mode="bicubic", align_corners=False).round().clamp(0, 255)


def evaluate_pictures(folder: RunFolder, config: SuperResolutionConfig, split: Split) -> dict[str, Any]:
    """Score a super-resolution run on a split, and keep what its report needs in the run folder.

    Args:
        folder: the run.
        config: its configuration, with what the caller asked to be different.
        split: "train", "val" or "test".

    Returns:
        `psnr` (decibels, mean over pictures), its 95 % bootstrap `interval` over pictures, `bicubic_psnr`, `gain` (the mean
        difference of the two), `checkerboard` of the answers and of the truth (training/boundaries.py, `fixed` and
        `modulated`), `images`.
    """
    enlarger = load(folder.path)
    assert isinstance(enlarger, Enlarger)  # the card says so, as the configuration does
    enlarger.flip = config.evaluate.flip
    data = class_images(config, split)
    canvases = ClassificationCanvas(data, config.data.canvas, fit=config.data.fit, zoom=config.data.zoom)
    found, plain, patterns = [], [], []
    for batch in evaluation_loader(canvases, config.evaluate.batch_size):
        truth = batch.image.round()
        seen = halve(truth)
        answer = enlarger.enlarge(seen)
        found.append(psnr(answer, truth).clamp(max=HIGHEST).numpy())
        plain.append(psnr(bicubic(seen), truth).clamp(max=HIGHEST).numpy())
        for maps in (answer, truth):
            pattern = checkerboard(maps)
            patterns.append((pattern.fixed * len(truth), pattern.modulated * len(truth)))
    ours, theirs = np.concatenate(found).astype(np.float64), np.concatenate(plain).astype(np.float64)
    totals = [np.sum(patterns[i::2], axis=0) / len(ours) for i in (0, 1)]
    scores = {
        "flip": enlarger.flip,
        "psnr": float(ours.mean()),
        "interval": list(bootstrap_interval(ours)),
        "bicubic_psnr": float(theirs.mean()),
        "gain": float((ours - theirs).mean()),
        "checkerboard": {
            of: {"fixed": float(t[0]), "modulated": float(t[1])}
            for of, t in zip(("answers", "truth"), totals, strict=True)
        },
        "images": len(ours),
    }
    samples = []
    for kind, indices in choose(theirs - ours, GALLERY).items():
        for i in indices:
            truth = canvases[i]["image"][None].round()
            seen = halve(truth)
            shown = [_picture(maps) for maps in (seen, bicubic(seen), enlarger.enlarge(seen), truth)]
            gain = float(ours[i] - theirs[i])
            samples.append(PictureSample(kind, shown[0], shown[1], shown[2], shown[3], gain, data.names[i]))
    SuperRecord(
        dataset=config.data.format,
        split=split,
        scores=scores,
        samples=samples,
        canvas=config.data.canvas,
        **run_facts(folder, config),
    ).save(folder / f"predictions-{split}")
    ImageOutcomes.of_means(
        ours,
        data.names,
        metric="PSNR",
        unit="dB",
        factor=1,
        better="max",
        curve="val/psnr",
        how={"flip": enlarger.flip},
    ).save(folder.path, split)
    return {**scores, "parameters": enlarger.card["parameters"], "skipped": len(data.skipped)}


def _picture(maps: Float[Tensor, "1 c h w"]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(maps[0].permute(1, 2, 0).numpy().astype(np.uint8))
