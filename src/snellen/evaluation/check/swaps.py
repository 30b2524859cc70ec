"""Objects whose left and right points are probably exchanged: exchanging them brings the object nearer to the mean shape."""

import numpy as np
from numpy.typing import NDArray

from snellen.geometry import transform_points
from snellen.keypoints import Schema

__all__ = ["mean_shape", "suspect_swaps"]

#: An object is suspect where the exchange leaves at most this share of its distance to the mean shape...
_GAIN = 0.5
#: ... and moves the pair further than this share of the shape's size (root mean square radius).
_APART = 0.1
_ROUNDS = 5


def _align(points: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """`points` moved onto `target` by the best similarity without reflection; NaN points take no part."""
    both = np.isfinite(points).all(axis=1) & np.isfinite(target).all(axis=1)
    if both.sum() < 2:
        return np.full_like(points, np.nan)
    a, b = points[both], target[both]
    a0, b0 = a.mean(axis=0), b.mean(axis=0)
    # As complex numbers, scale and rotation are one factor: least squares in closed form.
    u, v = (a - a0) @ [1, 1j], (b - b0) @ [1, 1j]
    norm = float((np.abs(u) ** 2).sum())
    factor = (np.conj(u) * v).sum() / norm if norm > 0 else 0
    matrix = np.array([[factor.real, -factor.imag, 0], [factor.imag, factor.real, 0], [0, 0, 1.0]])
    matrix[:2, 2] = b0 - matrix[:2, :2] @ a0
    return transform_points(matrix, points)


def mean_shape(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """The median of shapes after alignment (generalised Procrustes), of unit root mean square radius.

    The median, so that some exchanged pairs do not move it.

    Args:
        xy: (n, k, 2), NaN where unlabelled.

    Returns:
        (k, 2) about the origin; NaN for points that are labelled nowhere.
    """
    complete = np.isfinite(xy).all(axis=2).sum(axis=1)
    mean = xy[int(complete.argmax())]
    if not complete.any():
        return mean
    for _ in range(_ROUNDS):
        centred = mean - np.nanmean(mean, axis=0)
        mean = centred / max(float(np.sqrt(np.nanmean((centred**2).sum(axis=1)))), 1e-12)
        aligned = np.stack([_align(shape, mean) for shape in xy])
        known = np.isfinite(aligned).all(axis=2).any(axis=0)
        mean = np.full_like(mean, np.nan)
        mean[known] = np.nanmedian(aligned[:, known], axis=0)
    return mean


def suspect_swaps(xy: NDArray[np.float64], schema: Schema) -> list[tuple[int, tuple[tuple[str, str], ...], float]]:
    """Objects with exchanged pairs, the surest first.

    Each pair is exchanged alone, and all together; the exchange that brings the object nearest to the mean shape is named.
    An object seen from its other side is no suspect of it where its mirror image fits no better.

    Args:
        xy: (n, k, 2), NaN where unlabelled.
        schema: the points, with swap pairs.

    Returns:
        (position, pairs to exchange, share of the distance that remains afterwards).
    """
    pairs = [(schema.index(a), schema.index(b)) for a, b in schema.swaps]
    if not pairs or len(xy) < 4:
        return []
    mean = mean_shape(xy)
    found = []
    for i, shape in enumerate(xy):
        usable = [(a, b) for a, b in pairs if np.isfinite(shape[[a, b]]).all() and np.isfinite(mean[[a, b]]).all()]
        before = _distance(shape, mean)
        trials = [(pair,) for pair in usable] + ([tuple(usable)] if len(usable) > 1 else [])
        after = [_distance(_exchanged(shape, trial), mean) for trial in trials]
        if not after or not before > 0:
            continue
        best = int(np.argmin(after))
        apart = max(float(np.linalg.norm(mean[a] - mean[b])) for a, b in trials[best])
        if after[best] <= _GAIN * before and apart > _APART and before > _APART:
            names = tuple((schema.points[a], schema.points[b]) for a, b in trials[best])
            found.append((i, names, after[best] / before))
    return sorted(found, key=lambda item: item[2])


def _exchanged(shape: NDArray[np.float64], pairs: tuple[tuple[int, int], ...]) -> NDArray[np.float64]:
    result = shape.copy()
    for a, b in pairs:
        result[[a, b]] = result[[b, a]]
    return result


def _distance(shape: NDArray[np.float64], mean: NDArray[np.float64]) -> float:
    """Root mean square distance to the mean shape after alignment, in units of its radius."""
    aligned = _align(shape, mean)
    squares = ((aligned - mean) ** 2).sum(axis=1)
    return float(np.sqrt(np.nanmean(squares))) if np.isfinite(squares).any() else 0.0
