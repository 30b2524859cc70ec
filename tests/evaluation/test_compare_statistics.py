"""Statistics of paired differences against cases whose answer is known."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snellen.evaluation.compare.statistics import Side, holm, paired_difference


def means(values):
    """A side of (trainings, images) values whose score is their mean."""
    values = np.asarray(values, dtype=np.float64)
    return Side(values[..., None], np.ones((*values.shape, 1)))


def test_holm_by_hand():
    """Holm 1979, four values: 0.005*4, then 0.01*3, then 0.03*2, then 0.04*1 raised to the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, 1.5])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.randoms())
def test_holm_lies_between_no_correction_and_bonferronis_and_keeps_the_order(values, chance):
    adjusted = holm(values)
    assert all(p <= a <= min(1, len(values) * p) + 1e-12 for p, a in zip(values, adjusted, strict=True))
    ranked = [adjusted[i] for i in sorted(range(len(values)), key=lambda i: values[i])]
    assert ranked == sorted(ranked)
    order = list(range(len(values)))
    chance.shuffle(order)
    assert holm([values[i] for i in order]) == pytest.approx([adjusted[i] for i in order])


def test_a_constant_difference_is_known_exactly():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1, 60))
    found = paired_difference(means(values), means(values + 0.25))
    assert found.difference == pytest.approx(0.25)
    assert found.interval == pytest.approx((0.25, 0.25))
    assert found.p == 1 / 10_000  # no exchange of images gives as much
    assert not found.over_seeds


def test_no_difference_is_none():
    values = np.random.default_rng(0).normal(size=(3, 20))
    found = paired_difference(means(values), means(values))
    assert (found.difference, found.interval, found.p) == (0, (0, 0), 1)


def test_the_p_value_is_that_of_all_flips_of_signs():
    """Six images have 64 flips; the exact share as extreme as the one seen, by listing them."""
    gaps = np.array([0.9, -0.2, 0.5, 0.4, -0.1, 0.7])
    flips = [np.mean(gaps * signs) for signs in itertools.product((1, -1), repeat=6)]
    exact = np.mean(np.abs(flips) >= abs(gaps.mean()) - 1e-12)
    found = paired_difference(means(np.zeros((1, 6))), means(gaps[None]), permutations=20_000)
    assert found.p == pytest.approx(exact, abs=0.01)


def test_swapping_the_sides_changes_the_sign_alone():
    rng = np.random.default_rng(1)
    one, other = means(rng.normal(size=(4, 30))), means(rng.normal(size=(4, 30)))
    forth, back = paired_difference(one, other), paired_difference(other, one)
    assert forth.difference == pytest.approx(-back.difference)
    assert forth.interval == pytest.approx((-back.interval[1], -back.interval[0]), abs=0.05)
    assert forth.p == pytest.approx(back.p, abs=0.03)


def test_pairing_removes_what_the_images_share():
    """Images that differ a hundred times more than the sides do hide nothing; unpaired, the interval would be 0.5 wide."""
    rng = np.random.default_rng(2)
    hard = rng.normal(scale=2, size=(1, 200))
    noise = rng.normal(scale=0.02, size=(2, 1, 200))
    found = paired_difference(means(hard + noise[0]), means(hard + noise[1] + 0.02))
    assert found.interval[0] > 0
    assert found.interval[1] - found.interval[0] < 0.02


def test_the_mean_iou_is_scored_as_a_whole_and_not_image_by_image():
    """Two classes: pixels in both over pixels in either are summed before they are divided."""
    above = np.array([[[8.0, 0.0], [0.0, 5.0]]])
    below = np.array([[[10.0, 2.0], [10.0, 8.0]]])
    better = Side(above + np.array([[[2.0, 0.0], [0.0, 0.0]]]), below)
    assert Side(above, below).scores()[0, 0] == pytest.approx((8 / 20 + 5 / 10) / 2)
    found = paired_difference(Side(above, below), better)
    assert found.difference == pytest.approx(0.05)
    assert (found.images, found.seeds) == (2, 1)


def test_a_class_that_no_image_has_does_not_count():
    above, below = np.array([[[3.0, 0.0]]]), np.array([[[4.0, 0.0]]])
    assert Side(above, below).scores()[0, 0] == 0.75


@pytest.mark.parametrize(
    ("seeds", "of_seeds", "of_images"), [(1, 0.0, 1.0), (3, 0.5, 0.0), (3, 0.2, 1.0), (5, 0.5, 0.3)]
)
def test_intervals_cover_the_truth_and_p_values_reject_it_seldom(seeds, of_seeds, of_images):
    """200 experiments whose true difference is 0.4: seeds and images each add chance of their own to it.

    95 % should cover it; 200 experiments tell a coverage to 3 points (two standard errors). Where seeds and images
    both matter the method is on the safe side.
    """
    rng = np.random.default_rng(seeds)
    images, covered, rejected = 40, 0, 0
    for _ in range(200):
        hard = rng.normal(scale=3, size=(1, images))
        first = hard + 0.2 * rng.normal(size=(seeds, images))
        second = hard + 0.2 * rng.normal(size=(seeds, images)) + 0.4
        second += of_images * rng.normal(size=(1, images)) + of_seeds * rng.normal(size=(seeds, 1))
        one, other, truth = means(first), means(second), means(second - 0.4)
        found = paired_difference(one, other, resamples=400, permutations=19)
        covered += found.interval[0] <= 0.4 <= found.interval[1]
        rejected += paired_difference(one, truth, resamples=20, permutations=199).p <= 0.05
    assert covered >= 0.9 * 200
    assert rejected <= 0.09 * 200


def test_the_chance_of_training_widens_the_interval():
    """Trainings that differ by 1 between seeds, images that agree: Student's t with two degrees of freedom, 4.303."""
    gaps = np.array([-1.0, 0.0, 1.0])[:, None] + np.zeros((3, 50))
    found = paired_difference(means(np.zeros((3, 50))), means(gaps), resamples=40_000)
    assert found.over_seeds
    assert found.interval == pytest.approx((-4.303 / math.sqrt(3), 4.303 / math.sqrt(3)), rel=0.06)
    two = paired_difference(means(np.zeros((2, 50))), means(gaps[:2]))
    assert not two.over_seeds
    assert two.interval == (-0.5, -0.5)


def test_sides_that_cannot_be_paired_are_refused():
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_difference(means(np.zeros((1, 3))), means(np.zeros((1, 4))))
    with pytest.raises(ValueError, match="at least one image"):
        paired_difference(means(np.zeros((1, 0))), means(np.zeros((1, 0))))
