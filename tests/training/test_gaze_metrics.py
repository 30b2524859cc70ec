"""Errors of gaze against hand-made answers."""

import numpy as np
import pytest

from snellen.training.gaze_metrics import gaze_errors, people_interval, summarise_gaze


def test_errors_of_hand():
    np.testing.assert_allclose(
        gaze_errors([[0, 90], [10, 0], [0, 0]], [[0, 0], [-10, 0], [0, 0]], "angles"), [90, 20, 0]
    )
    np.testing.assert_allclose(gaze_errors([[3, 4]], [[0, 0]], "point"), [5])


def test_a_diverged_answer_is_as_wrong_as_can_be():
    assert gaze_errors([[np.nan, 0]], [[0, 0]], "angles").tolist() == [180]
    assert gaze_errors([[np.inf, 0]], [[0, 0]], "point").tolist() == [np.inf]
    for pred, true in (([[0, 0, 0]], [[0, 0, 0]]), ([[0, 0]], [[0, 0], [1, 1]]), ([[0, 0]], [[np.nan, 0]])):
        with pytest.raises(ValueError, match=r"must both be|not finite"):
            gaze_errors(pred, true, "angles")


def test_interval_over_people_is_wider_where_people_differ_and_pictures_do_not():
    """Four people whose pictures all err alike: resampling pictures hides that there are only four."""
    errors, people = np.repeat([2.0, 4.0, 6.0, 8.0], 100), np.repeat(list("abcd"), 100)
    low, high = people_interval(errors, people)
    # The mean of four draws of 2, 4, 6, 8 has a deviation of sqrt(5) / 2.
    assert low == pytest.approx(5 - 1.96 * np.sqrt(5) / 2, abs=0.4)
    assert high == pytest.approx(5 + 1.96 * np.sqrt(5) / 2, abs=0.4)
    scores = summarise_gaze(np.stack([errors, 0 * errors], 1), np.zeros((400, 2)), people, [None] * 400)
    narrow = scores.interval_pictures
    assert narrow[1] - narrow[0] < 0.25 * (high - low)
    assert scores.interval == (low, high)
    assert people_interval(errors[:100], people[:100]) == pytest.approx((np.nan, np.nan), nan_ok=True)


def test_scores_by_person_and_head_yaw():
    pred = np.array([[1.0, 0], [3, 0], [0, 8], [0, -2]])
    scores = summarise_gaze(pred, np.zeros((4, 2)), ["a", "a", "b", "c"], [-15, 30, -15, None])
    assert scores.error == pytest.approx(3.5)
    assert scores.median == pytest.approx(2.5)
    assert scores.person_mean == pytest.approx((2 + 8 + 2) / 3)
    assert scores.axes == pytest.approx({"pitch": 1.0, "yaw": 2.5})
    assert scores.by_person["a"] == pytest.approx({"error": 2.0, "images": 2})
    assert list(scores.by_head_yaw) == ["-15", "30"]
    assert scores.by_head_yaw["-15"] == pytest.approx({"error": 4.5, "images": 2})
    assert (scores.images, scores.people, scores.unit) == (4, 3, "degrees")
    with pytest.raises(ValueError, match="give one a picture"):
        summarise_gaze(pred, np.zeros((4, 2)), ["a"], [None] * 4)
