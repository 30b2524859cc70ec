"""How well a ranking finds a few needles: precision, recall and the area under their curve."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Detection", "detection"]


@dataclass(frozen=True)
class Detection:
    """A ranking against the truth.

    Attributes:
        area: area under the precision-recall curve (average precision): the mean over the true ones of the precision at their
            rank; a random ranking has about `share`.
        precision: share of true ones among those scored above `threshold`; 1 where nothing is.
        recall: share of the true ones that are scored above it.
        threshold: that of the two.
        share: share of true ones in all.
        count: how many were ranked.
    """

    area: float
    precision: float
    recall: float
    threshold: float
    share: float
    count: int


def detection(scores: ArrayLike, true: ArrayLike, *, threshold: float) -> Detection:
    """Judge a ranking.

    Args:
        scores: (n,) the higher the more suspect; equal ones are taken as one step of the curve.
        true: (n,) whether it is one of those looked for.
        threshold: score above which one counts as reported.

    Raises:
        ValueError: for other lengths, scores that are not numbers, or nothing to look for.

    >>> detection([3, 2, 1, 0], [True, False, True, False], threshold=1.5).area
    0.83...
    """
    values, wanted = np.asarray(scores, dtype=np.float64), np.asarray(true, dtype=np.bool_)
    if values.shape != wanted.shape or values.ndim != 1:
        raise ValueError(f"scores {values.shape} and true {wanted.shape} must be two lists of the same length")
    if np.isnan(values).any() or not wanted.any():
        raise ValueError("there must be a score for each, and at least one true one to look for")
    order = np.argsort(-values, kind="stable")
    hits = np.cumsum(wanted[order])
    # The curve has a point after each group of equal scores; within one the order is arbitrary.
    ends = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))
    gained = np.diff(hits[ends], prepend=0)
    reported = values > threshold
    return Detection(
        area=float((gained * hits[ends] / (ends + 1)).sum() / wanted.sum()),
        precision=float(wanted[reported].mean()) if reported.any() else 1.0,
        recall=float(reported[wanted].mean()),
        threshold=threshold,
        share=float(wanted.mean()),
        count=len(values),
    )
