"""What the error of keypoints means: distances, their normalisers, curves and intervals.

Pure functions on numpy arrays, float64 inside. Errors are *fractions* of a normaliser that is always reported by name;
multiply by 100 where a person reads them, nowhere else. NaN marks an unlabelled true point: it never enters a number.
A prediction that is not finite counts as infinitely wrong rather than as missing, so a diverged model cannot look good.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snellen.keypoints.schema import Schema

Array = NDArray[np.float64]

__all__ = [
    "KeypointScores",
    "bootstrap_interval",
    "cumulative_curve",
    "grid80_error",
    "grid80_normaliser",
    "image_errors",
    "normalised_errors",
    "point_errors",
    "summarise",
]


@dataclass(frozen=True)
class KeypointScores:
    """The numbers of one set of predictions. Fractions are of the distance named by `normaliser`.

    Attributes:
        normaliser: what errors are divided by, e.g. "inter-pupil"; "pixels" leaves them in pixels.
        nme: normalised mean error: mean over images of the mean over an image's points, a fraction.
        interval: 95 % bootstrap interval of `nme` over images (percentiles), fractions.
        median: median over images of the images' mean errors, a fraction.
        point_median: median over points, a fraction.
        point_p95: 95th percentile over points, a fraction.
        point_median_pixels: median over points, pixels.
        point_p95_pixels: 95th percentile over points, pixels.
        per_keypoint: K means over images, fractions; NaN for a point that is labelled nowhere.
        threshold: where `failure_rate` and `auc` look, a fraction.
        failure_rate: fraction of images with an error above `threshold`.
        auc: area under the cumulative error curve from 0 to `threshold`, divided by `threshold`: 0 to 1.
        pck: (threshold, fraction of points with an error of at most that), one pair a threshold.
        images: images that count: at least one labelled point and a usable normaliser.
        points: points that count.
        unnormalised: images with labelled points left out because their normalising distance is zero or unknown.
        intervals: 95 % bootstrap intervals over images of `median`, `failure_rate`, `auc`, and of the shares of `pck`, a pair a
            threshold.
    """

    normaliser: str
    nme: float
    interval: tuple[float, float]
    median: float
    point_median: float
    point_p95: float
    point_median_pixels: float
    point_p95_pixels: float
    per_keypoint: tuple[float, ...]
    threshold: float
    failure_rate: float
    auc: float
    pck: tuple[tuple[float, float], ...]
    images: int
    points: int
    unnormalised: int
    intervals: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists for JSON; what is not finite becomes None."""
        return {name: _jsonable(value) for name, value in asdict(self).items()}


def point_errors(pred: ArrayLike, true: ArrayLike) -> Array:
    """Distances between predicted and true points.

    Args:
        pred: (n, k, 2) pixels.
        true: (n, k, 2) pixels in the same frame; NaN where unlabelled.

    Returns:
        (n, k) pixels: NaN where the truth is NaN, infinity where the truth is known and the prediction is not finite.

    Raises:
        ValueError: where the shapes differ or are not (n, k, 2).
    """
    p, t = np.asarray(pred, dtype=np.float64), np.asarray(true, dtype=np.float64)
    if p.shape != t.shape or t.ndim != 3 or t.shape[-1] != 2:
        raise ValueError(f"pred {p.shape} and true {t.shape} must both be (images, points, 2)")
    found = np.asarray(np.isfinite(p).all(axis=-1))
    distance = np.hypot(*np.moveaxis(np.where(found[..., None], p, 0.0) - t, -1, 0))
    return np.where(np.isnan(t).any(axis=-1), np.nan, np.where(found, distance, np.inf))


def normalised_errors(pred: ArrayLike, true: ArrayLike, schema: Schema, normaliser: str) -> Array:
    """`point_errors` divided by each image's normalising distance.

    Args:
        pred: (n, k, 2) pixels.
        true: (n, k, 2) pixels; NaN where unlabelled.
        schema: names of the k points.
        normaliser: one of `schema.normaliser_names`.

    Returns:
        (n, k) fractions; NaN where the truth, or anything the normalising distance needs, is unlabelled or the distance
        is zero. `summarise` counts such images as `unnormalised`.
    """
    errors = point_errors(pred, true)
    distance = np.asarray(schema.normalising_distance(normaliser, true))
    usable = np.asarray(np.isfinite(distance) & (distance > 0))
    with np.errstate(invalid="ignore"):
        return np.asarray(errors / np.where(usable, distance, np.nan)[:, None])


def image_errors(errors: ArrayLike) -> Array:
    """The mean over an image's labelled points: (n, k) to (n,); NaN where an image has none."""
    return _nanmean(np.asarray(errors, dtype=np.float64), axis=1)


def cumulative_curve(errors: ArrayLike) -> tuple[Array, Array]:
    """The fraction of images with an error of at most x.

    Args:
        errors: (n,) errors of images; NaN ones are left out, infinite ones count but are never reached.

    Returns:
        x, y of a right-continuous step function ("post" steps) that starts at (0, 0); y ends at the fraction of finite
        errors.
    """
    known = np.sort(_known(errors))
    finite = known[np.isfinite(known)]
    y = np.arange(1, len(finite) + 1) / max(len(known), 1)
    return np.concatenate(([0.0], finite)), np.concatenate(([0.0], y))


def bootstrap_interval(
    values: ArrayLike, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean, resampling the values (here: images) with replacement.

    Args:
        values: (n,) numbers; NaN ones are left out.
        level: coverage, e.g. 0.95.
        resamples: number of draws.
        seed: of numpy's generator; the same seed gives the same interval.

    Returns:
        Lower and upper bound; NaN where there is no value, the whole line's end (infinity) where a value is infinite.
    """
    known = _known(values)
    if not len(known):
        return math.nan, math.nan
    means = np.concatenate([known[rows].mean(axis=1) for rows in _draws(len(known), resamples, seed)])
    return _quantile(means, (1 - level) / 2), _quantile(means, (1 + level) / 2)


def _draws(count: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Indices (draws, count) of resampled values, some 30 MB at a time."""
    rng = np.random.default_rng(seed)
    rows = max(1, 4_000_000 // count)
    for start in range(0, resamples, rows):
        yield rng.integers(count, size=(min(rows, resamples - start), count))


def _intervals(
    of_images: Array, of_points: Array, threshold: float, pck_thresholds: Sequence[float], resamples: int, seed: int
) -> dict[str, Any]:
    """`KeypointScores.intervals`, from errors of images (n,) and of their points (n, k)."""
    labelled = (~np.isnan(of_points)).sum(axis=1)
    within = np.stack([(of_points <= t).sum(axis=1) for t in pck_thresholds], axis=1)
    area = np.clip(1 - of_images / threshold, 0, None)
    if not len(of_images):
        unknown = (math.nan, math.nan)
        return {**dict.fromkeys(("median", "failure_rate", "auc"), unknown), "pck": (unknown,) * len(pck_thresholds)}
    found: dict[str, list[Array]] = {"median": [], "failure_rate": [], "auc": [], "pck": []}
    for rows in _draws(len(of_images), resamples, seed):
        found["median"].append(np.median(of_images[rows], axis=1))
        found["failure_rate"].append((of_images[rows] > threshold).mean(axis=1))
        found["auc"].append(area[rows].mean(axis=1))
        found["pck"].append(within[rows].sum(axis=1) / labelled[rows].sum(axis=1)[:, None])

    def ends(values: Array) -> tuple[float, float]:
        return _quantile(values, 0.025), _quantile(values, 0.975)

    drawn = {name: np.concatenate(parts) for name, parts in found.items()}
    return {name: ends(v) if v.ndim == 1 else tuple(ends(column) for column in v.T) for name, v in drawn.items()}


def summarise(
    pred: ArrayLike,
    true: ArrayLike,
    schema: Schema,
    normaliser: str | None = None,
    *,
    threshold: float = 0.1,
    pck_thresholds: Sequence[float] = (0.02, 0.05, 0.1),
    resamples: int = 2000,
    seed: int = 0,
) -> KeypointScores:
    """All numbers of a set of predictions.

    Args:
        pred: (n, k, 2) pixels of the original images.
        true: (n, k, 2) pixels of the original images; NaN where unlabelled.
        schema: names of the k points.
        normaliser: one of `schema.normaliser_names`; None takes the schema's default.
        threshold: error of an image above which it counts as a failure, and the end of the curve's area; a fraction.
        pck_thresholds: fractions.
        resamples: draws of the bootstrap.
        seed: of the bootstrap.

    >>> from snellen.keypoints import Schema
    >>> pair = Schema("pair", ("a", "b"))
    >>> summarise([[[0, 0], [10, 13]]], [[[0, 0], [10, 10]]], pair, "pixels", threshold=2).nme
    1.5
    """
    if threshold <= 0:
        raise ValueError(f"threshold is {threshold}, but an error is never below 0; give a positive fraction")
    normaliser = schema.default_normaliser if normaliser is None else normaliser
    pixels = point_errors(pred, true)
    fractions = normalised_errors(pred, true, schema, normaliser)
    of_all = image_errors(fractions)
    of_images = _known(of_all)
    of_points, of_points_pixels = _known(fractions), pixels[~np.isnan(fractions)]
    return KeypointScores(
        normaliser=normaliser,
        nme=_mean(of_images),
        interval=bootstrap_interval(of_images, resamples=resamples, seed=seed),
        median=_quantile(of_images, 0.5),
        point_median=_quantile(of_points, 0.5),
        point_p95=_quantile(of_points, 0.95),
        point_median_pixels=_quantile(of_points_pixels, 0.5),
        point_p95_pixels=_quantile(of_points_pixels, 0.95),
        per_keypoint=tuple(_nanmean(fractions, axis=0).tolist()),
        threshold=threshold,
        failure_rate=_mean(of_images > threshold),
        # The step function has risen by 1/n for all x from an image's error to the threshold, so its area is a mean.
        auc=_mean(np.clip(1 - of_images / threshold, 0, None)),
        pck=tuple((t, _mean(of_points <= t)) for t in pck_thresholds),
        images=len(of_images),
        points=len(of_points),
        unnormalised=int((~np.isnan(pixels)).any(axis=1).sum()) - len(of_images),
        intervals=_intervals(of_images, fractions[~np.isnan(of_all)], threshold, pck_thresholds, resamples, seed),
    )


def grid80_normaliser(schema: Schema, normaliser: str) -> str:
    """What the Recombinator Networks code divides by: the distance of the eye centres on faces, elsewhere `normaliser`."""
    return "inter-pupil" if "inter-pupil" in schema.normaliser_names else normaliser


def grid80_error(
    pred_canvas: ArrayLike,
    true_canvas: ArrayLike,
    schema: Schema,
    normaliser: str,
    size: tuple[int, int],
    grid: int = 80,
) -> float:
    """The metric of the Recombinator Networks code (rcn.md 3.6), for comparison with its published numbers only.

    Prediction and truth are floored to integer pixels of a `grid` x `grid` picture of the crop before they are
    compared: no sub-pixel accuracy, no way back to the image, and points outside the crop are clipped to its border.
    The normalising distance is taken between the floored true points too (our reading of the paper's code).

    Args:
        pred_canvas: (n, k, 2) pixels of the crop.
        true_canvas: (n, k, 2) pixels of the crop; NaN where unlabelled.
        schema: names of the k points.
        normaliser: one of `schema.normaliser_names`; see `grid80_normaliser` for the paper's.
        size: (height, width) of the crop. Cells are square, `grid` of them along its longer side.
        grid: 80 in the paper.

    Returns:
        Mean over images of the mean over points, a fraction; NaN where nothing counts.
    """
    height, width = size
    cell = max(height, width) / grid

    def floored(points: ArrayLike) -> Array:
        xy = np.asarray(points, dtype=np.float64)
        return np.floor(np.clip(xy / [width, height], 0.0, 0.99999) * [width / cell, height / cell])

    fractions = normalised_errors(floored(pred_canvas), floored(true_canvas), schema, normaliser)
    return _mean(_known(image_errors(fractions)))


def _known(values: ArrayLike) -> Array:
    flat = np.asarray(values, dtype=np.float64).ravel()
    return flat[~np.isnan(flat)]


def _mean(values: ArrayLike) -> float:
    flat = np.asarray(values, dtype=np.float64)
    return float(flat.mean()) if flat.size else math.nan


def _nanmean(values: Array, axis: int) -> Array:
    count = (~np.isnan(values)).sum(axis=axis)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN we want; np.nanmean warns about it
        return np.asarray(np.nansum(values, axis=axis) / count)


def _quantile(values: Array, q: float) -> float:
    """Linear interpolation between order statistics; np.quantile gives NaN next to an infinite value."""
    if not len(values):
        return math.nan
    position = q * (len(values) - 1)
    low, high = math.floor(position), math.ceil(position)
    ordered = np.partition(values, (low, high))
    if ordered[low] == ordered[high]:
        return float(ordered[low])
    return float(ordered[low] + (ordered[high] - ordered[low]) * (position - low))


def _jsonable(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _jsonable(v) for name, v in value.items()}
    return [_jsonable(v) for v in value] if isinstance(value, tuple) else value
