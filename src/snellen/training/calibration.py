"""Whether a stated confidence can be believed: reliability in bins and the expected calibration error."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

__all__ = ["Reliability", "reliability"]


@dataclass(frozen=True)
class Reliability:
    """How often points of a stated confidence are right, bin by bin.

    Attributes:
        binning: "equal-width" (bins of the same width on [0, 1]) or "equal-mass" (the same number of points in each).
        edges: (bins + 1,) confidences between the bins.
        confidence: (bins,) mean confidence, NaN for an empty bin.
        accuracy: (bins,) fraction right, NaN for an empty bin.
        counts: (bins,) points.
        ece: expected calibration error: mean over points of |accuracy - confidence| of their bin, 0 to 1.
    """

    binning: str
    edges: Array
    confidence: Array
    accuracy: Array
    counts: NDArray[np.int64]
    ece: float


def reliability(confidence: ArrayLike, correct: ArrayLike, bins: int = 15, *, equal_mass: bool = False) -> Reliability:
    """Compare what a model says it knows with what it knows.

    In this project the confidence of a point is the softmax mass within a stated radius of the decoded location, and
    the point is correct where the truth lies within that radius. Of the points of confidence c, a calibrated model gets
    a fraction c right.

    Args:
        confidence: (m,) in [0, 1].
        correct: (m,) True or False.
        bins: number of bins.
        equal_mass: True sorts the points and gives every bin the same number (fewer bins where there are fewer points);
            False cuts [0, 1] into equal widths, the usual definition of the ECE.

    Raises:
        ValueError: for lengths that differ, a confidence outside [0, 1], or no bins.
    """
    c, right = np.asarray(confidence, dtype=np.float64).ravel(), np.asarray(correct, dtype=np.float64).ravel()
    if len(c) != len(right):
        raise ValueError(f"{len(c)} confidences but {len(right)} judgements; give one of each per point")
    if bins < 1:
        raise ValueError(f"bins is {bins}; give at least one")
    # float32 sums of a softmax overshoot 1 by a few units in the last place.
    if not ((c >= -1e-5) & (c <= 1 + 1e-5)).all():
        raise ValueError("a confidence lies outside [0, 1] or is NaN; leave out points that have none")
    c = np.clip(c, 0.0, 1.0)
    if equal_mass:
        bins = max(1, min(bins, len(c)))
        ranks = np.empty(len(c), dtype=np.int64)
        ranks[np.argsort(c, kind="stable")] = np.arange(len(c))
        index = ranks * bins // max(len(c), 1)
        firsts = np.searchsorted(np.sort(index), np.arange(1, bins))
        edges = np.concatenate(([0.0], np.sort(c)[firsts], [1.0]))
    else:
        index = np.minimum((c * bins).astype(np.int64), bins - 1)
        edges = np.linspace(0.0, 1.0, bins + 1)
    counts = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(index, c, bins) / counts
        accuracy = np.bincount(index, right, bins) / counts
    gaps = np.where(counts > 0, np.abs(accuracy - mean_confidence), 0.0)
    ece = float((gaps * counts).sum() / len(c)) if len(c) else math.nan
    binning = "equal-mass" if equal_mass else "equal-width"
    return Reliability(binning, edges, mean_confidence, accuracy, counts.astype(np.int64), ece)
