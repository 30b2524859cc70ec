"""Precision, recall and their area, by hand and by exhaustion."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snellen.evaluation.detection import detection


def test_by_hand():
    found = detection([5, 4, 3, 2, 1], [True, False, True, False, False], threshold=2.5)
    assert found.area == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert (found.precision, found.recall, found.share, found.count) == (pytest.approx(2 / 3), 1.0, 0.4, 5)


def test_ends():
    assert detection([3, 2, 1], [True, True, False], threshold=9).area == 1
    assert detection([3, 2, 1], [True, True, False], threshold=9).precision == 1  # nothing is reported
    assert detection([1, 2, 3, 4], [True, False, False, False], threshold=0).area == 0.25


def test_a_ranking_that_cannot_tell_has_the_share_as_its_area():
    assert detection([0] * 8, [True] + [False] * 7, threshold=0).area == pytest.approx(1 / 8)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=5).filter(any))
def test_the_area_is_between_the_worst_and_the_best_order(true):
    values = [detection(order, true, threshold=0).area for order in itertools.permutations(range(len(true)))]
    assert max(values) == pytest.approx(1)
    worst = np.sort(np.flatnonzero(sorted(true)) + 1)
    assert min(values) == pytest.approx(np.mean(np.arange(1, len(worst) + 1) / worst))


def test_refusals():
    for scores, true in (([1], [True, False]), ([np.nan], [True]), ([1, 2], [False, False])):
        with pytest.raises(ValueError, match="must be"):
            detection(scores, true, threshold=0)
