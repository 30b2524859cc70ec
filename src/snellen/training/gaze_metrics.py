"""What the error of a gaze means: angles or distances, by person, with intervals over people.

Pure functions on numpy arrays, float64 inside. Pictures of one person err together, so an interval over pictures is too narrow
for people that are not in the data: the main interval resamples people, the other one pictures.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snellen.data.gaze_angles import Answer, angular_error
from snellen.training.metrics import bootstrap_interval

__all__ = ["GazeScores", "gaze_errors", "people_interval", "summarise_gaze"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class GazeScores:
    """The numbers of one set of answers; errors are in `unit`.

    Attributes:
        unit: "degrees" between directions, or "cm" between points.
        error: mean over pictures.
        interval: 95 % bootstrap interval of `error`, people resampled with all their pictures.
        interval_pictures: the same, pictures resampled.
        median: over pictures.
        person_mean: mean over people of each one's mean.
        axes: mean absolute error of each number, pitch and yaw in degrees or x and y in cm.
        by_person: error of each person, and how many pictures.
        by_head_yaw: error at each head yaw, where it is known: it is never an input.
        images: pictures.
        people: people.
    """

    unit: str
    error: float
    interval: tuple[float, float]
    interval_pictures: tuple[float, float]
    median: float
    person_mean: float
    axes: dict[str, float]
    by_person: dict[str, dict[str, float]]
    by_head_yaw: dict[str, dict[str, float]]
    images: int
    people: int

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists for JSON."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}


def gaze_errors(pred: ArrayLike, true: ArrayLike, answer: Answer) -> Array:
    """Errors of answers: the angle between directions in degrees, or the distance of points in centimetres.

    An answer that is not finite is as wrong as can be, 180 degrees or infinity, so that a diverged model cannot look good.

    Args:
        pred: (n, 2).
        true: (n, 2), finite.
        answer: what both are.

    Returns:
        (n,).

    Raises:
        ValueError: where the shapes differ or are not (n, 2), or the truth is not finite.
    """
    p, t = np.asarray(pred, dtype=np.float64), np.asarray(true, dtype=np.float64)
    if p.shape != t.shape or t.ndim != 2 or t.shape[-1] != 2:
        raise ValueError(f"pred {p.shape} and true {t.shape} must both be (pictures, 2)")
    if not np.isfinite(t).all():
        raise ValueError("a true gaze is not finite; leave its picture out")
    found = np.asarray(np.isfinite(p).all(axis=-1))
    p = np.where(found[:, None], p, 0.0)
    errors = angular_error(p, t) if answer == "angles" else np.hypot(*(p - t).T)
    return np.where(found, errors, 180.0 if answer == "angles" else np.inf)


def people_interval(
    errors: ArrayLike, people: Sequence[str], *, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean error over pictures, people resampled with replacement.

    A draw takes as many people as there are, each with all pictures. One person gives no interval: NaN.
    """
    values = np.asarray(errors, dtype=np.float64)
    _, which = np.unique(np.asarray(people), return_inverse=True)
    sums, counts = np.bincount(which, weights=values), np.bincount(which)
    if len(counts) < 2:
        return math.nan, math.nan
    drawn = np.random.default_rng(seed).integers(0, len(counts), (draws, len(counts)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def summarise_gaze(
    pred: ArrayLike,
    true: ArrayLike,
    people: Sequence[str],
    head_yaw: Sequence[float | None],
    answer: Answer = "angles",
) -> GazeScores:
    """All numbers of a set of answers; arguments and errors as for `gaze_errors`, with a person and a head yaw a picture.

    >>> summarise_gaze([[0, 0], [0, 4]], [[0, 0], [0, 0]], ["a", "b"], [None, 15]).error
    2.0
    """
    errors = gaze_errors(pred, true, answer)
    if not len(errors) or len(people) != len(errors) or len(head_yaw) != len(errors):
        raise ValueError(
            f"{len(errors)} answers for {len(people)} people and {len(head_yaw)} head yaws; give one a picture, at least one"
        )
    apart = np.abs(np.asarray(pred, dtype=np.float64) - np.asarray(true, dtype=np.float64)).mean(axis=0)
    by_person = _groups(errors, people)
    known = [i for i, yaw in enumerate(head_yaw) if yaw is not None]
    yaws = _groups(errors[known], [float(head_yaw[i] or 0.0) for i in known])
    return GazeScores(
        unit="degrees" if answer == "angles" else "cm",
        error=float(errors.mean()),
        interval=people_interval(errors, people),
        interval_pictures=bootstrap_interval(errors),
        median=float(np.median(errors)),
        person_mean=float(np.mean([group["error"] for group in by_person.values()])),
        axes=dict(zip(("pitch", "yaw") if answer == "angles" else ("x", "y"), apart.tolist(), strict=True)),
        by_person=by_person,
        by_head_yaw={f"{float(key):g}": value for key, value in yaws.items()},
        images=len(errors),
        people=len(by_person),
    )


def _groups(errors: Array, keys: Sequence[Any]) -> dict[str, dict[str, float]]:
    """Mean error and number of pictures of each key, in order."""
    of_key: dict[Any, list[float]] = {}
    for key, error in zip(keys, errors.tolist(), strict=True):
        of_key.setdefault(key, []).append(error)
    return {str(key): {"error": float(np.mean(found)), "images": len(found)} for key, found in sorted(of_key.items())}
