"""Named subsets of a split, each scored on its own: 300-W's common and challenging, WFLW's attributes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["GroupScore", "group_scores"]


@dataclass(frozen=True)
class GroupScore:
    """The error of a subset.

    Attributes:
        nme: normalised mean error over its images, a fraction; None where no image counts.
        images: images that count.
    """

    nme: float | None
    images: int


def group_scores(errors: ArrayLike, groups: Mapping[str, Sequence[int]]) -> dict[str, GroupScore]:
    """The mean error of each group.

    The total of a split is the mean over all its images, so a group weighs by its number of images, as in the field's
    tables: 300-W's Full is (554 Common + 135 Challenging) / 689 (rcn.md 3.6). Groups may overlap and need not cover it.

    Args:
        errors: (n,) mean errors of the images, fractions; NaN for images that do not count.
        groups: positions of each group's images.

    >>> group_scores([0.1, 0.2, 0.6], {"common": [0, 1], "challenging": [2]})["common"].images
    2
    """
    of_images: np.ndarray[Any, np.dtype[np.float64]] = np.asarray(errors, dtype=np.float64)
    scores = {}
    for name, positions in groups.items():
        known = of_images[list(positions)]
        known = known[~np.isnan(known)]
        finite = len(known) > 0 and bool(np.isfinite(known).all())
        scores[name] = GroupScore(float(known.mean()) if finite else None, len(known))
    return scores
