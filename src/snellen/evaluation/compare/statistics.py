"""Is one model better than another? Statistics of two sets of runs that were scored on the same images.

Differences are paired: both sides answer on the same images, so an image that is hard for both tells nothing against either.
Two chances are accounted for. The images are a sample: they are drawn again with replacement for the interval (the paired
bootstrap), and exchanged between the sides at random for the p value (a permutation test; for mean scores it is the test of
flipped signs). A training is a sample too: where both sides were trained from the same three or more seeds, Student's t of the
differences of the seeds is added to either. Drawing three seeds with replacement, the plain hierarchical bootstrap, would
claim 95 % and cover some 75 %, since the smallest and largest of three bound its intervals (our choice; tests/evaluation/
test_compare_statistics.py measures the coverage).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy.random import Generator

__all__ = ["LEAST_SEEDS", "PairedDifference", "Side", "holm", "paired_difference"]

#: Trainings from which on their chance is estimated from themselves.
LEAST_SEEDS = 3
#: Numbers in the largest matrix of draws at a time: 64 MB.
_CHUNK = 8_000_000

Scores = Float64[np.ndarray, "r s"]


@dataclass(frozen=True, eq=False)
class Side:
    """What several trainings of one thing achieved on n images; see `ImageOutcomes` for numerator and denominator.

    Attributes:
        numerator: (s, n, c), a slice a training.
        denominator: likewise.
    """

    numerator: Float64[np.ndarray, "s n c"]
    denominator: Float64[np.ndarray, "s n c"]

    def scores(self, times: Float64[np.ndarray, "r n"] | None = None) -> Scores:
        """(r, s) score of each training where image i counts `times[r, i]` times; once each by default."""
        weights = np.ones((1, self.numerator.shape[1])) if times is None else times
        return _ratios(weights @ self.numerator, weights @ self.denominator)


@dataclass(frozen=True)
class PairedDifference:
    """How much higher the second side's score is, averaged over trainings.

    Attributes:
        difference: second minus first, in stored units.
        interval: its 95 % interval.
        p: of the hypothesis that there is no difference, two-sided.
        images: how many.
        seeds: trainings a side.
        over_seeds: whether interval and p value account for the chance of training beside that of the images.
    """

    difference: float
    interval: tuple[float, float]
    p: float
    images: int
    seeds: int
    over_seeds: bool


def paired_difference(
    first: Side, second: Side, *, level: float = 0.95, resamples: int = 4000, permutations: int = 9999, seed: int = 0
) -> PairedDifference:
    """Compare two sides image by image.

    Args:
        first: the side that is compared with.
        second: the other; its slices are of the same seeds in the same order, and its images the same in the same order.
        level: coverage of the interval.
        resamples: draws of the images.
        permutations: random exchanges; the smallest p value is 1 / (permutations + 1).
        seed: of numpy's generator.

    Raises:
        ValueError: for sides of different shapes, or without an image.

    >>> one = Side(np.array([[[1.0], [2.0], [3.0]]]), np.ones((1, 3, 1)))
    >>> paired_difference(one, one).interval
    (0.0, 0.0)
    """
    shape = first.numerator.shape
    if shape != second.numerator.shape or 0 in shape:
        raise ValueError(
            f"sides of {shape} and {second.numerator.shape} (trainings, images, classes) cannot be paired; give both the same, "
            "and at least one image"
        )
    seeds, images, _ = shape
    rng = np.random.default_rng(seed)
    of_seeds = (second.scores() - first.scores())[0]
    difference = float(of_seeds.mean())
    over_seeds = seeds >= LEAST_SEEDS
    # Standard error of the mean over seeds.
    error = float(of_seeds.std(ddof=1)) / np.sqrt(seeds) if over_seeds else 0.0

    def resampled(count: int) -> Float64[np.ndarray, " r"]:
        times = rng.multinomial(images, np.full(images, 1 / images), size=count).astype(np.float64)
        return np.asarray((second.scores(times) - first.scores(times)).mean(axis=1))

    draws = _in_parts(resampled, resamples, images) + error * _student(rng, seeds, resamples)
    low, high = np.quantile(draws, ((1 - level) / 2, (1 + level) / 2))
    gap_above = second.numerator - first.numerator
    gap_below = second.denominator - first.denominator
    totals = [side.sum(axis=1, keepdims=True) for side in (first.numerator, first.denominator)]
    totals += [side.sum(axis=1, keepdims=True) for side in (second.numerator, second.denominator)]

    def exchanged(count: int) -> Float64[np.ndarray, " r"]:
        swap = rng.integers(0, 2, size=(count, images), dtype=np.int8).astype(np.float64)
        above, below = swap @ gap_above, swap @ gap_below
        gap = _ratios(totals[2] - above, totals[3] - below) - _ratios(totals[0] + above, totals[1] + below)
        return np.asarray(gap.mean(axis=1))

    chance = _in_parts(exchanged, permutations, images) + error * _student(rng, seeds, permutations)
    # Equal differences count as extreme: rounding must not make them smaller.
    extreme = np.abs(chance) >= abs(difference) * (1 - 1e-9) - 1e-15
    p = (1 + int(extreme.sum())) / (permutations + 1)
    return PairedDifference(difference, (float(low), float(high)), p, images, seeds, over_seeds)


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for their number by Holm's step-down method (1979), in the order given.

    Calling those at most 0.05 a difference is wrong of any true absence of one in at most 5 % of such families.

    Raises:
        ValueError: for a value outside 0 to 1.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"p values lie between 0 and 1, not {list(p_values)}")
    adjusted, reached = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        reached = max(reached, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = reached
    return adjusted


def _ratios(above: Float64[np.ndarray, "s r c"], below: Float64[np.ndarray, "s r c"]) -> Scores:
    """(r, s) mean over classes of the ratios, of the classes that have one."""
    counted = below > 0
    parts = np.divide(above, below, out=np.zeros_like(above), where=counted)
    return np.asarray((parts.sum(axis=-1) / np.maximum(counted.sum(axis=-1), 1)).T)


def _student(rng: Generator, seeds: int, count: int) -> Float64[np.ndarray, " r"]:
    return rng.standard_t(seeds - 1, size=count) if seeds >= LEAST_SEEDS else np.zeros(count)


def _in_parts(draw: Callable[[int], Float64[np.ndarray, " r"]], count: int, images: int) -> Float64[np.ndarray, " r"]:
    """`count` draws, a number at a time that memory allows."""
    rows = max(1, _CHUNK // images)
    return np.concatenate([draw(min(rows, count - start)) for start in range(0, count, rows)])
