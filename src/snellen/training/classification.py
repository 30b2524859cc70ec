"""What the error of a classifier means: accuracy, calibration, and how it stands up to corruptions and small shifts.

Pure functions on arrays, float64 inside. Rates are fractions; multiply by 100 where a person reads them, nowhere else.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snellen.training.calibration import reliability
from snellen.training.metrics import bootstrap_interval

Array = NDArray[np.float64]

__all__ = [
    "ClassScores",
    "CorruptionScores",
    "confusion_matrix",
    "corruption_error",
    "flip_probability",
    "flip_rate",
    "probabilities",
    "shift_consistency",
    "summarise_classes",
    "top_k_correct",
]


@dataclass(frozen=True)
class ClassScores:
    """The numbers of one set of predictions.

    Attributes:
        top1: share of images whose class has the highest logit.
        top5: share of images whose class is among the five highest (all of them where there are fewer classes).
        interval: 95 % bootstrap interval of `top1` over images (percentiles).
        loss: mean cross-entropy, nats.
        ece: expected calibration error of the highest probability, 15 bins of equal width, see `reliability`.
        confidence: mean highest probability.
        per_class: share right of the images of each class; NaN for a class without images.
        images: how many.
    """

    top1: float
    top5: float
    interval: tuple[float, float]
    loss: float
    ece: float
    confidence: float
    per_class: tuple[float, ...]
    images: int

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists for JSON; what is not finite becomes None."""
        return {
            name: [_finite(v) for v in value] if isinstance(value, tuple) else _finite(value)
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True)
class CorruptionScores:
    """Errors on corrupted images (Hendrycks and Dietterich 2019, 4.1).

    Attributes:
        error: kind -> mean error over its severities: the corruption error without normalisation.
        mean_error: mean of these over kinds.
        relative: kind -> CE, sum of errors over the sum of the baseline's; empty without a baseline. 1 is as bad as it.
        mce: mean of `relative` over kinds, the mean corruption error; NaN without a baseline.
    """

    error: dict[str, float]
    mean_error: float
    relative: dict[str, float]
    mce: float


def probabilities(logits: ArrayLike) -> Array:
    """Softmax over classes: (n, k) logits to (n, k) probabilities, in float64.

    >>> probabilities([[0.0, 0.0]])
    array([[0.5, 0.5]])
    """
    return np.exp(_log_softmax(_logits(logits)))


def top_k_correct(logits: ArrayLike, labels: ArrayLike, k: int = 1) -> NDArray[np.bool_]:
    """Whether the true class is among the `k` highest logits.

    Of equal logits the class of the lower number ranks first, as with argmax. A logit of NaN makes the image wrong.

    Args:
        logits: (n, classes).
        labels: (n,) positions of the true classes.
        k: at least 1.

    Raises:
        ValueError: for shapes that do not belong together, a label without a logit, or k below 1.

    >>> top_k_correct([[0.1, 0.5, 0.4]], [2], k=2)
    array([ True])
    """
    values = _logits(logits)
    true = _labels(labels, len(values), values.shape[1])
    if k < 1:
        raise ValueError(f"k is {k}; give at least 1")
    own = values[np.arange(len(values)), true][:, None]
    ahead = (values > own) | ((values == own) & (np.arange(values.shape[1]) < true[:, None]))
    return np.asarray((ahead.sum(axis=1) < k) & ~np.isnan(values).any(axis=1))


def confusion_matrix(predicted: ArrayLike, labels: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Counts (classes, classes): row the true class, column the predicted one.

    Raises:
        ValueError: for lengths that differ, or numbers outside 0..classes-1.

    >>> confusion_matrix([0, 1, 1], [0, 0, 1], 2)
    array([[1, 1],
           [0, 1]])
    """
    true = np.asarray(labels)
    answered = _labels(predicted, len(true), classes)
    cells = _labels(true, len(true), classes) * classes + answered
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def summarise_classes(logits: ArrayLike, labels: ArrayLike, *, resamples: int = 2000, seed: int = 0) -> ClassScores:
    """All numbers of a set of predictions.

    Args:
        logits: (n, classes), finite.
        labels: (n,) positions of the true classes.
        resamples: draws of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ValueError: for shapes that do not belong together, logits that are not finite, or no image.

    >>> summarise_classes([[2.0, 0.0], [0.0, 2.0]], [0, 0]).top1
    0.5
    """
    values = _logits(logits)
    n, classes = values.shape
    true = _labels(labels, n, classes)
    if not n:
        raise ValueError("there is no prediction to score; give at least one image")
    if not np.isfinite(values).all():
        raise ValueError("a logit is not finite; the network has diverged, train it with a lower learning rate")
    log_p = _log_softmax(values)
    first = top_k_correct(values, true, 1)
    highest = np.exp(log_p.max(axis=1))
    counts = np.bincount(true, minlength=classes)
    with np.errstate(invalid="ignore"):
        per_class = np.bincount(true, first, classes) / counts
    return ClassScores(
        top1=float(first.mean()),
        top5=float(top_k_correct(values, true, 5).mean()),
        interval=bootstrap_interval(first, resamples=resamples, seed=seed),
        loss=float(-log_p[np.arange(n), true].mean()),
        ece=reliability(highest, first).ece,
        confidence=float(highest.mean()),
        per_class=tuple(per_class.tolist()),
        images=n,
    )


def corruption_error(
    errors: Mapping[str, Sequence[float]], baseline: Mapping[str, Sequence[float]] | None = None
) -> CorruptionScores:
    """Errors on corrupted images, by kind, and relative to a baseline network's.

    CE_c = (sum over s of E_s,c) / (sum over s of E^baseline_s,c) and mCE is its mean over c (Hendrycks and Dietterich 2019,
    4.1; their baseline is AlexNet).

    Args:
        errors: kind -> top-1 errors at its severities, fractions.
        baseline: the same of the baseline; it may know further kinds.

    Raises:
        ValueError: where there is no kind or no severity, an error is no fraction, or the baseline lacks a kind or a
            severity, or makes no error at one.

    >>> corruption_error({"fog": [0.25, 0.5]}, {"fog": [0.5, 1.0]}).mce
    0.5
    """
    if not errors:
        raise ValueError("there is no corruption to average over; give the errors of at least one kind")
    own = {kind: _fractions(kind, values) for kind, values in errors.items()}
    mean = {kind: float(values.mean()) for kind, values in own.items()}
    relative: dict[str, float] = {}
    for kind, values in own.items() if baseline is not None else ():
        if baseline is None or kind not in baseline:
            raise ValueError(f"the baseline has no errors for {kind!r}; score it on the same corruptions")
        reference = _fractions(kind, baseline[kind])
        if len(reference) != len(values):
            raise ValueError(
                f"{kind!r} has {len(values)} severities, but {len(reference)} in the baseline; score the same ones"
            )
        if not reference.sum():
            raise ValueError(f"the baseline makes no error on {kind!r}, so nothing can be relative to it; leave it out")
        relative[kind] = float(values.sum() / reference.sum())
    mce = float(np.mean(list(relative.values()))) if relative else math.nan
    return CorruptionScores(mean, float(np.mean(list(mean.values()))), relative, mce)


def flip_probability(predicted: ArrayLike, *, against: Literal["previous", "first"] = "previous") -> float:
    """How often the predicted class changes along sequences of slightly perturbed images.

    FP = 1 / (m (n - 1)) * sum over sequences and over j = 2..n of [f(x_j) != f(x_j-1)] (Hendrycks and Dietterich 2019,
    4.2). Frames of noise do not follow from one another and are compared with the first, clean one.

    Args:
        predicted: (m sequences, n frames) predicted classes.
        against: "previous" frame, or the "first".

    Raises:
        ValueError: for another shape, fewer than two frames, or an unknown comparison.

    >>> flip_probability([[1, 2, 2, 1]]), flip_probability([[1, 2, 2, 1]], against="first")
    (0.6666666666666666, 0.6666666666666666)
    """
    classes = np.asarray(predicted)
    if classes.ndim != 2 or classes.shape[0] < 1 or classes.shape[1] < 2:
        raise ValueError(f"predicted is {classes.shape}; give (sequences, frames) with at least two frames")
    if against not in ("previous", "first"):
        raise ValueError(f"against={against!r} is not known; give 'previous' or 'first'")
    reference = classes[:, :-1] if against == "previous" else classes[:, :1]
    return float((classes[:, 1:] != reference).mean())


def flip_rate(probability: Mapping[str, float], baseline: Mapping[str, float]) -> tuple[dict[str, float], float]:
    """Flip probabilities relative to a baseline network's, FR_p = FP_p / FP_p^baseline, and their mean, the mFR.

    Args:
        probability: kind of perturbation -> flip probability.
        baseline: the same of the baseline; it may know further kinds.

    Raises:
        ValueError: where there is no kind, or the baseline lacks one or never flips on it.

    >>> flip_rate({"tilt": 0.1}, {"tilt": 0.2})
    ({'tilt': 0.5}, 0.5)
    """
    if not probability:
        raise ValueError("there is no perturbation to average over; give the flip probability of at least one kind")
    for kind in probability:
        if not baseline.get(kind):
            raise ValueError(f"the baseline has no flips on {kind!r}, so nothing can be relative to it; leave it out")
    rates = {kind: value / baseline[kind] for kind, value in probability.items()}
    return rates, float(np.mean(list(rates.values())))


def shift_consistency(first: ArrayLike, second: ArrayLike) -> float:
    """How often two shifts of the same image get the same class (Zhang 2019, 4.1), right or wrong.

    Args:
        first: (n,) predicted classes of one random shift of each image.
        second: (n,) of another.

    Raises:
        ValueError: for lengths that differ, or no image.

    >>> shift_consistency([1, 2, 3, 4], [1, 2, 3, 5])
    0.75
    """
    one, other = np.asarray(first), np.asarray(second)
    if one.ndim != 1 or one.shape != other.shape or not len(one):
        raise ValueError(f"the classes of the two shifts are {one.shape} and {other.shape}; give one of each an image")
    return float((one == other).mean())


def _logits(logits: ArrayLike) -> Array:
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 1:
        raise ValueError(f"logits are {values.shape}; give (images, classes)")
    return values


def _labels(labels: ArrayLike, images: int, classes: int) -> NDArray[np.int64]:
    true = np.asarray(labels)
    if true.shape != (images,):
        raise ValueError(f"labels are {true.shape}, but there are {images} images; give one class an image")
    numbers = true.astype(np.int64)
    wrong = (numbers != true) | (numbers < 0) | (numbers >= classes)
    if wrong.any():
        raise ValueError(f"class {true[wrong][0]} does not exist; classes are 0 to {classes - 1}")
    return numbers


def _log_softmax(values: Array) -> Array:
    shifted = values - values.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _fractions(kind: str, values: Sequence[float]) -> Array:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or not len(found) or not ((found >= 0) & (found <= 1)).all():
        raise ValueError(f"the errors of {kind!r} are {list(values)}; give one fraction from 0 to 1 a severity")
    return found


def _finite(value: Any) -> Any:
    return value if not isinstance(value, float) or math.isfinite(value) else None
