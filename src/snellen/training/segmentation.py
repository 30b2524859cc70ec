"""What segmentation is trained by and scored with: losses, class weights, confusion, intersection over union.

Labels are whole numbers from 0 on; pixels whose true label is `ignore` enter nothing. Scores are fractions. NaN marks a class
that no number can be given for; it is left out of means.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

__all__ = [
    "LabelScores",
    "confusion_matrix",
    "label_counts",
    "label_loss",
    "label_scores",
    "mean_iou_interval",
    "median_frequency_weights",
]


def label_loss(
    logits: Float[Tensor, "b c h w"],
    labels: Int[Tensor, "b h w"],
    *,
    ignore: int | None = None,
    weights: Float[Tensor, " c"] | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy over the pixels that have a label, each weighed by its class and divided by the sum of the weights.

    Args:
        logits: (b, classes, h, w); the loss runs in float32.
        labels: (b, h, w), whole numbers.
        ignore: label of pixels that do not count.
        weights: (classes,), such as `median_frequency_weights`; None weighs all classes alike.

    Returns:
        A scalar; 0 with zero gradients where no pixel counts.

    Raises:
        ValueError: where logits and labels are of other sizes.

    >>> label_loss(torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64)).item()
    1.386...
    """
    if logits.shape[0] != labels.shape[0] or logits.shape[2:] != labels.shape[1:]:
        raise ValueError(
            f"logits of {tuple(logits.shape)} do not fit labels of {tuple(labels.shape)}; they need one batch and size"
        )
    labels = labels.to(torch.int64)
    skipped = -100 if ignore is None else ignore
    each = F.cross_entropy(logits.float(), labels, weights, ignore_index=skipped, reduction="none")
    counted = labels != skipped
    share = counted.to(each.dtype) if weights is None else weights[labels.where(counted, 0)] * counted
    return each.sum() / share.sum().clamp_min(torch.finfo(each.dtype).tiny)


def label_counts(labels: Int[Tensor, "*size"], classes: int) -> Int[Tensor, " c"]:
    """Pixels of each class in one label map (classes,), int64; other labels are not counted.

    >>> label_counts(torch.tensor([[0, 2], [2, 255]]), 3).tolist()
    [1, 0, 2]
    """
    return torch.bincount(labels.flatten().long(), minlength=classes)[:classes]


def median_frequency_weights(counts: ArrayLike) -> NDArray[np.float64]:
    """Weights of classes that balance rare and frequent ones (Eigen and Fergus 2015; SegNet 2017, section 4).

    A class's frequency is its share of the labelled pixels of those images that hold it; its weight is the median of all
    frequencies over its own. Only classes that occur enter the median.

    Args:
        counts: (n, classes), pixels of each class in each image, as `label_counts` has them.

    Returns:
        (classes,), 0 for classes that occur nowhere (our choice: no loss ever reads them).

    Raises:
        ValueError: where nothing is labelled, or the shape is another.

    >>> median_frequency_weights([[1, 3, 0], [0, 2, 2]])
    array([2. , 0.8, 1. ])
    """
    table = np.asarray(counts, dtype=np.int64)
    if table.ndim != 2 or not table.sum():
        raise ValueError(f"counts of shape {table.shape} hold no labelled pixel; give a row an image, a column a class")
    sums = table.sum(axis=0)
    around = (table.sum(axis=1)[:, None] * (table > 0)).sum(axis=0)
    present = sums > 0
    frequency = sums[present] / around[present]
    weights = np.zeros(table.shape[1])
    weights[present] = np.median(frequency) / frequency
    return weights


def confusion_matrix(
    truth: Int[Tensor, "*size"], predicted: Int[Tensor, "*size"], classes: int, *, ignore: int | None = None
) -> Int[Tensor, "c c"]:
    """How many pixels of each true class (rows) were given each label (columns); int64, so that sums over images are exact.

    Raises:
        ValueError: for sizes that differ, or labels that are no class.

    >>> confusion_matrix(torch.tensor([0, 1, 1, 9]), torch.tensor([0, 0, 1, 0]), 2, ignore=9).tolist()
    [[1, 0], [1, 1]]
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"true labels of {tuple(truth.shape)} cannot be compared with {tuple(predicted.shape)}")
    t, p = truth.flatten().long(), predicted.flatten().long()
    if ignore is not None:
        counted = t != ignore
        t, p = t[counted], p[counted]
    for name, found in (("true", t), ("predicted", p)):
        strange = found[(found < 0) | (found >= classes)]
        if len(strange):
            raise ValueError(f"a {name} label is {int(strange[0])}; the {classes} classes are 0 to {classes - 1}")
    return torch.bincount(t * classes + p, minlength=classes**2).view(classes, classes)


@dataclass(frozen=True)
class LabelScores:
    """The numbers of one confusion matrix, fractions.

    Attributes:
        mean_iou: mean of `iou` over the classes that have one.
        iou: of each class, true positives over the pixels that truth or prediction call it; NaN where neither does.
        pixel_accuracy: share of pixels with their true label.
        class_accuracy: mean over the classes that occur of the share of their pixels found.
        per_class_accuracy: that share; NaN for classes that do not occur.
        pixels: how many count.
    """

    mean_iou: float
    iou: tuple[float, ...]
    pixel_accuracy: float
    class_accuracy: float
    per_class_accuracy: tuple[float, ...]
    pixels: int


def label_scores(confusion: Int[Tensor, "c c"]) -> LabelScores:
    """Scores of a confusion matrix, of one image or summed over many.

    Raises:
        ValueError: for an empty matrix, or one that is not square.

    >>> label_scores(torch.tensor([[1, 0], [1, 2]])).iou
    (0.5, 0.666...)
    """
    table = confusion.to(torch.float64).cpu().numpy()
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not table.sum():
        raise ValueError(f"a confusion matrix of shape {table.shape} without pixels has no scores; give a square one")
    right, true, said = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    with np.errstate(invalid="ignore"):
        iou, recall = right / (true + said - right), right / true
    return LabelScores(
        mean_iou=float(np.nanmean(iou)),
        iou=tuple(iou.tolist()),
        pixel_accuracy=float(right.sum() / table.sum()),
        class_accuracy=float(np.nanmean(recall)),
        per_class_accuracy=tuple(recall.tolist()),
        pixels=int(confusion.sum()),
    )


def mean_iou_interval(
    confusions: Int[Tensor, "n c c"], *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean IoU of a set of images: whole images are drawn with replacement, their
    confusion matrices summed and scored as the set's own. (The mean IoU is no mean over images, so nothing less will do.)

    Args:
        confusions: a matrix an image.
        level: coverage, e.g. 0.95.
        resamples: number of draws.
        seed: of numpy's generator; the same seed gives the same interval.

    Raises:
        ValueError: for another shape, or no image with a labelled pixel.

    >>> mean_iou_interval(torch.tensor([[[2, 0], [0, 2]], [[2, 0], [0, 2]]]))
    (1.0, 1.0)
    """
    table = confusions.to(torch.float64).cpu().numpy()
    if table.ndim != 3 or table.shape[1] != table.shape[2] or not table.sum():
        raise ValueError(f"confusion matrices of shape {table.shape} without pixels have no interval; give (n, c, c)")
    table = table[table.sum(axis=(1, 2)) > 0]
    n = len(table)
    right = np.diagonal(table, axis1=1, axis2=2)
    either = table.sum(axis=1) + table.sum(axis=2) - right
    rng = np.random.default_rng(seed)
    times = rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)
    with np.errstate(invalid="ignore"):
        means = np.nanmean((times @ right) / (times @ either), axis=1)
    low, high = np.quantile(means, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)
