"""The average arrangement of a data set's points, for drawing and as the guess that a model has to beat."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snellen.evaluation.record import EvaluationRecord
from snellen.training.metrics import summarise

__all__ = ["constant_guess_error", "mean_shape"]


def mean_shape(true: ArrayLike, rounds: int = 5) -> NDArray[np.float64]:
    """The mean of shapes after Procrustes alignment: shift, size, rotation and, where it fits better, a mirror.

    Args:
        true: (n, k, 2) points; NaN where unlabelled.
        rounds: repetitions of "align all to the mean, average".

    Returns:
        (k, 2), centred, of unit root-mean-square radius, turned as the shapes are on average; NaN for a point that is
        labelled nowhere (all NaN where no shape has two labelled points).
    """
    shapes = np.asarray(true, dtype=np.float64)
    z = shapes[..., 0] + 1j * shapes[..., 1]
    known = ~np.isnan(z)
    enough = known.sum(axis=1) >= 2
    if not enough.any():
        return np.full(shapes.shape[1:], np.nan)
    z, known = z[enough], known[enough]
    mean = _unit(z[int(known.sum(axis=1).argmax())])
    turns = np.zeros(len(z), dtype=complex)
    for _ in range(rounds):
        aligned = np.full_like(z, np.nan)
        for i, shape in enumerate(z):
            both = known[i] & ~np.isnan(mean)
            if both.sum() < 2:
                continue
            fits = [_fit(candidate, mean, both) for candidate in (shape, -shape.conj())]  # -conj: left for right
            turns[i], moved, cost = min(fits, key=lambda fit: fit[2])
            if not np.isfinite(cost):
                continue
            aligned[i] = moved
        count = (~np.isnan(aligned)).sum(axis=0)
        with np.errstate(invalid="ignore"):
            mean = _unit(np.nansum(aligned, axis=0) / count)
    # The reference was one arbitrary shape; undo the average turn that led to it. Where turns cancel, keep it.
    lengths = np.abs(turns)
    total = (np.divide(turns, lengths, out=np.zeros_like(turns), where=lengths > 0)).sum()
    if abs(total) > 0.1 * len(turns):
        mean = mean * np.conj(total / abs(total))
    return np.stack((mean.real, mean.imag), axis=-1)


def constant_guess_error(record: EvaluationRecord) -> float | None:
    """The error of always answering the mean position of each point on the canvas, a fraction of the normaliser.

    The mean is taken over the very images that are scored, so an honest constant guess does a little worse. None where
    there are no canvas coordinates.
    """
    if record.true_canvas is None:
        return None
    known = ~np.isnan(record.true_canvas)
    with np.errstate(invalid="ignore"):
        guess = np.where(known, record.true_canvas, 0.0).sum(axis=0) / known.sum(axis=0)
    answers = np.broadcast_to(guess, record.true_canvas.shape)
    if record.normaliser == "pixels":  # canvas pixels are not the image's
        return None
    return summarise(answers, record.true_canvas, record.schema, record.normaliser, resamples=1).nme


def _unit(z: NDArray[np.complex128]) -> NDArray[np.complex128]:
    centred = z - np.nanmean(z)
    size = np.sqrt(np.nanmean(np.abs(centred) ** 2))
    return centred / size if size > 0 else centred


def _fit(
    shape: NDArray[np.complex128], mean: NDArray[np.complex128], both: NDArray[np.bool_]
) -> tuple[complex, NDArray[np.complex128], float]:
    """The similarity that moves `shape` onto `mean`: its turn and size as one number, the moved shape, what is left."""
    centre, goal = shape[both].mean(), mean[both].mean()
    s, m = shape[both] - centre, mean[both] - goal
    power = float((np.abs(s) ** 2).sum())
    if power == 0:
        return 0j, shape, np.inf
    turn = complex((s.conj() * m).sum() / power)
    return turn, turn * (shape - centre) + goal, float((np.abs(turn * s - m) ** 2).sum())
