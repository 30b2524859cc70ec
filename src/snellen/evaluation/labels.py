"""Scoring a segmentation run: overlap and boundaries of the classes, the checkerboard, and the answers under a shift."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from snellen.config import AugmentConfig, SegmentationConfig
from snellen.data import DataError, SegmentationCanvas, SegmentationDataset, Split
from snellen.evaluation.label_record import LabelRecord, LabelSample, thumbnail
from snellen.evaluation.outcomes import ImageOutcomes
from snellen.evaluation.reports.history import run_facts
from snellen.evaluation.reports.inside import keep_inside
from snellen.evaluation.reports.pictures import choose
from snellen.inference import Segmenter, load
from snellen.inference.tiles import read_off
from snellen.training.boundaries import boundary_f_scores, boundary_scores, checkerboard
from snellen.training.jobs.segmentation import label_images
from snellen.training.metrics import bootstrap_interval
from snellen.training.runs import RunFolder
from snellen.training.segmentation import confusion_matrix, label_scores, mean_iou_interval

__all__ = ["LabelMeasures", "evaluate_labels", "measure", "shifted"]

#: Images of each row of the report's gallery.
GALLERY = 3


@dataclass(frozen=True, eq=False)
class LabelMeasures:
    """What is measured of every image of a split; `measure` fills it.

    Attributes:
        confusion: (n, classes, classes) int64, pixels of each true class (rows) and answer.
        boundary: (n, classes) boundary F-scores, NaN where a class has no boundary.
        checkerboard: (n, 2), the logits' `fixed` and `modulated` (training/boundaries.py), as the network gives them.
        same: (n,) share of the pixels whose label a shift leaves as it is; NaN where it was not measured.
        shifted: (n, classes, classes) as `confusion`, of the answers under the shift, over the pixels both show; zeros
            where it was not measured.
    """

    confusion: Int[Tensor, "n c c"]
    boundary: NDArray[np.float64]
    checkerboard: NDArray[np.float64]
    same: NDArray[np.float64]
    shifted: Int[Tensor, "n c c"]

    @property
    def image_iou(self) -> NDArray[np.float64]:
        """(n,) mean IoU of each image on its own, over the classes that its truth or answer has; NaN without a label."""
        return np.array([label_scores(c).mean_iou if c.any() else math.nan for c in self.confusion])


def evaluate_labels(folder: RunFolder, config: SegmentationConfig, split: Split, *, robustness: bool) -> dict[str, Any]:
    """Score a segmentation run on a split, every image at its own size, and keep what its report needs in the run folder.

    Args:
        folder: the run.
        config: its configuration, with what the caller asked to be different.
        split: "train", "val" or "test".
        robustness: also answer on every image moved by one pixel to the right and down, which doubles the time.

    Returns:
        Fractions, by class under the classes' names:

        - `mean_iou`, of one confusion matrix over all pixels; `interval`, its 95 % bootstrap interval over images, each
          resample scored anew; `pixel_accuracy`, `class_accuracy`;
        - `per_class_share` (of the labelled pixels), `per_class_iou`, `per_class_accuracy`, `per_class_boundary_f`;
        - `boundary_f`, the mean over images of the mean over an image's classes, at the tolerance `boundary_tolerance`;
          `boundary_interval`, the 95 % bootstrap interval of that mean;
        - `checkerboard` of the logits (`fixed` and `modulated`, means over images; training/boundaries.py);
        - with `robustness`: `shift_consistency`, the share of pixels (labelled or not; mean over images) with the same
          label after the move, moved back, and `shifted_mean_iou`, of those answers;
        - the numbers `images` and `pixels`.
    """
    segmenter = load(folder.path)
    assert isinstance(segmenter, Segmenter)  # the card says so, as the configuration does
    segmenter.flip = config.evaluate.flip
    data = label_images(config, split)
    if tuple(data.classes) != tuple(segmenter.classes):
        raise DataError(
            f"{data.source} has the classes {', '.join(data.classes)}, but {folder.path} was trained on "
            f"{', '.join(segmenter.classes)}; score it on data of the same classes in the same order"
        )
    found = measure(segmenter, data, tolerance=config.evaluate.boundary, robustness=robustness)
    scores = {"flip": segmenter.flip, **_scores(found, data, config.evaluate.boundary)}
    _record(folder, config, split, segmenter, data, found, scores).save(folder / f"predictions-{split}")
    shown = SegmentationCanvas(data, segmenter.canvas, AugmentConfig(), crop=config.data.crop)[0]["image"]
    keep_inside(segmenter.model, shown, folder.path, split)
    table = found.confusion.to(torch.float64).numpy()
    right = np.diagonal(table, axis1=1, axis2=2)
    ImageOutcomes(
        metric="mean IoU", unit="%", factor=100, better="max", curve="val/miou", names=tuple(data.names),
        numerator=right.copy(), denominator=table.sum(axis=1) + table.sum(axis=2) - right, how={"flip": segmenter.flip},
    ).save(folder.path, split)  # fmt: skip
    return {**scores, "parameters": segmenter.card["parameters"], "skipped": len(data.skipped)}


def measure(
    segmenter: Segmenter, data: SegmentationDataset, *, tolerance: float = 0.0075, robustness: bool = True
) -> LabelMeasures:
    """Answer on every image of a data set and compare with the truth; arguments as for `evaluate_labels`.

    Args:
        segmenter: the model.
        data: images and label maps.
        tolerance: of the boundary F-score, as a share of the image's diagonal.
        robustness: whether `same` and `shifted` are measured.
    """
    n, classes, ignore = len(data), len(data.classes), data.ignore
    confusion, moved = torch.zeros(2, n, classes, classes, dtype=torch.int64)
    boundary, pattern, same = np.full((n, classes), np.nan), np.full((n, 2), np.nan), np.full(n, np.nan)
    for i in range(n):
        sample = data[i]
        truth, size = sample.labels.long(), (sample.labels.shape[0], sample.labels.shape[1])
        logits = segmenter.logits(sample.image)
        answer = read_off(logits, size).labels.cpu()
        confusion[i] = confusion_matrix(truth, answer, classes, ignore=ignore)
        boundary[i] = boundary_f_scores(truth, answer, classes, ignore=ignore, tolerance=tolerance)
        if min(logits.shape[-2:]) > 1:
            energy = checkerboard(logits[None].float().cpu())
            pattern[i] = energy.fixed, energy.modulated
        if robustness and min(size) > 1:
            # The last row and column are moved out of the image, the first ones are not of the image.
            again = read_off(segmenter.logits(shifted(sample.image)), size).labels.cpu()[1:, 1:]
            same[i] = (again == answer[:-1, :-1]).float().mean().item()
            moved[i] = confusion_matrix(truth[:-1, :-1], again, classes, ignore=ignore)
    return LabelMeasures(confusion, boundary, pattern, same, moved)


def shifted(image: UInt8[Tensor, "c h w"]) -> UInt8[Tensor, "c h w"]:
    """An image moved by one pixel to the right and down; its first row and column are repeated there.

    >>> shifted(torch.tensor([[[1, 2], [3, 4]]], dtype=torch.uint8)).tolist()
    [[[1, 1], [1, 1]]]
    """
    h, w = image.shape[-2:]
    return F.pad(image[None].float(), (1, 0, 1, 0), mode="replicate")[0, :, :h, :w].to(image.dtype)


def _scores(found: LabelMeasures, data: SegmentationDataset, tolerance: float) -> dict[str, Any]:
    total = found.confusion.sum(dim=0)
    if not total.any():
        raise DataError(f"none of the {len(data)} images has a labelled pixel, so there is nothing to score")
    overlap = label_scores(total)
    lines = boundary_scores(found.boundary) if np.isfinite(found.boundary).any() else None  # type: ignore[arg-type]
    per_class = lines.per_class if lines else (math.nan,) * len(data.classes)
    per_image = [np.mean(row[np.isfinite(row)]) if np.isfinite(row).any() else math.nan for row in found.boundary]
    measured = np.isfinite(found.checkerboard[:, 0])
    fixed, modulated = found.checkerboard[measured].mean(axis=0).tolist() if measured.any() else (math.nan, math.nan)
    scores: dict[str, Any] = {
        "mean_iou": overlap.mean_iou,
        "interval": mean_iou_interval(found.confusion),
        "per_class_share": dict(zip(data.classes, (total.sum(dim=1) / total.sum()).tolist(), strict=True)),
        "per_class_iou": dict(zip(data.classes, overlap.iou, strict=True)),
        "pixel_accuracy": overlap.pixel_accuracy,
        "class_accuracy": overlap.class_accuracy,
        "per_class_accuracy": dict(zip(data.classes, overlap.per_class_accuracy, strict=True)),
        "boundary_f": lines.mean if lines else math.nan,
        "boundary_interval": bootstrap_interval(per_image),
        "per_class_boundary_f": dict(zip(data.classes, per_class, strict=True)),
        "boundary_tolerance": tolerance,
        "checkerboard": {"fixed": fixed, "modulated": modulated},
        "images": len(data),
        "pixels": overlap.pixels,
    }
    if np.isfinite(found.same).any():
        again = found.shifted.sum(dim=0)
        scores["shift_consistency"] = float(np.nanmean(found.same))
        scores["shifted_mean_iou"] = label_scores(again).mean_iou if again.any() else math.nan
    return scores


def _record(
    folder: RunFolder,
    config: SegmentationConfig,
    split: str,
    segmenter: Segmenter,
    data: SegmentationDataset,
    found: LabelMeasures,
    scores: dict[str, Any],
) -> LabelRecord:
    """Everything the report shows, so that it can be drawn again without the data."""
    iou = found.image_iou
    samples = []
    for kind, indices in choose(1 - iou, GALLERY).items():
        for i in indices:
            sample = data[i]
            answer = segmenter.predict(sample.image)[0].labels.to(torch.uint8)
            pictures = thumbnail(sample.image, sample.labels, answer)
            samples.append(LabelSample(kind, *pictures, score=float(iou[i]), name=sample.name))
    return LabelRecord(
        dataset=config.data.format,
        split=split,
        classes=list(data.classes),
        scores=scores,
        image_iou=[None if math.isnan(v) else v for v in iou.tolist()],
        samples=samples,
        canvas=config.data.canvas,
        **run_facts(folder, config),
    )
