"""Metrics against numbers worked out by hand."""

import json
import math

import numpy as np
import pytest

from snellen.keypoints import Schema, get_schema
from snellen.training.calibration import reliability
from snellen.training.metrics import (
    bootstrap_interval,
    cumulative_curve,
    grid80_error,
    grid80_normaliser,
    image_errors,
    normalised_errors,
    point_errors,
    summarise,
)

FACE = get_schema("ibug-68")
PAIR = Schema("pair", ("a", "b"))


def hand_made_face() -> np.ndarray:
    """All points at (50, 80) but the eye corners: outer at x = 20 and 80, inner at x = 40 and 60, all at y = 40."""
    face = np.tile([50.0, 80.0], (68, 1))
    # iBUG, counted from 1: 37 outer left, 40 inner left, 43 inner right, 46 outer right.
    face[[36, 39, 42, 45]] = [[20, 40], [40, 40], [60, 40], [80, 40]]
    return face


def pair_errors(*errors: float) -> tuple[np.ndarray, np.ndarray]:
    """One image per error: both points are off by it, in units of the true points' box (100 x 100)."""
    true = np.tile([[0.0, 0.0], [100.0, 100.0]], (len(errors), 1, 1))
    pred = true + np.array(errors)[:, None, None] * [100.0, 0.0]
    return pred, true


def test_point_errors_are_distances_and_nan_without_truth() -> None:
    true = np.array([[[0.0, 0.0], [np.nan, np.nan]]])
    pred = np.array([[[3.0, 4.0], [1.0, 1.0]]])
    np.testing.assert_array_equal(point_errors(pred, true), [[5.0, np.nan]])


def test_a_prediction_that_is_not_finite_is_infinitely_wrong() -> None:
    pred, true = pair_errors(0.01, 0.02, 0.03)
    pred[0, 0] = np.nan
    assert point_errors(pred, true)[0, 0] == math.inf
    scores = summarise(pred, true, PAIR, "box")
    assert scores.nme == math.inf
    assert scores.median == pytest.approx(0.03)
    assert scores.failure_rate == pytest.approx(1 / 3)
    assert json.loads(json.dumps(scores.to_dict(), allow_nan=False))["nme"] is None
    assert cumulative_curve([0.1, math.inf])[1].tolist() == [0.0, 0.5]


def test_shapes_that_differ_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"must both be \(images, points, 2\)"):
        point_errors(np.zeros((2, 5, 2)), np.zeros((2, 4, 2)))


@pytest.mark.parametrize(
    ("normaliser", "distance"),
    # Outer corners 80 - 20; eye centres 70 - 30; box 60 wide and 40 high.
    [
        ("inter-ocular", 60.0),
        ("inter-pupil", 40.0),
        ("box", math.sqrt(2400)),
        ("diagonal", math.hypot(60, 40)),
        ("pixels", 1),
    ],
)
def test_normalisers_on_a_hand_made_face(normaliser: str, distance: float) -> None:
    true = hand_made_face()[None]
    pred = true + np.array([3.0, 4.0])
    errors = normalised_errors(pred, true, FACE, normaliser)
    np.testing.assert_allclose(errors, np.full((1, 68), 5 / distance), rtol=1e-12)
    assert summarise(pred, true, FACE, normaliser).nme == pytest.approx(5 / distance, rel=1e-12)


def test_mean_of_means_weighs_images_not_points() -> None:
    pred, true = pair_errors(0.02, 0.06)
    pred[0, 1] += [8.0, 0.0]  # errors of image 0: 0.02 and 0.10
    true[1, 0] = np.nan  # image 1 keeps one point of 0.06 (its box is empty then, so pixels)
    scores = summarise(pred, true, PAIR, "pixels", threshold=10)
    assert scores.nme == pytest.approx((6 + 6) / 2)
    assert scores.points == 3
    assert scores.images == 2
    np.testing.assert_allclose(scores.per_keypoint, [2.0, 8.0])
    assert scores.point_median == scores.point_median_pixels == pytest.approx(6.0)


def test_unlabelled_points_and_unusable_normalisers_never_count() -> None:
    pred, true = pair_errors(0.05, 0.05, 0.9, 0.9)
    true[2] = [[10, 10], [10, 10]]  # a box of size zero
    true[3] = np.nan  # nothing labelled
    scores = summarise(pred, true, PAIR, "box")
    assert scores.nme == pytest.approx(0.05)
    assert (scores.images, scores.points, scores.unnormalised) == (2, 4, 1)
    empty = summarise(np.zeros((0, 2, 2)), np.zeros((0, 2, 2)), PAIR, "box")
    assert math.isnan(empty.nme)
    assert empty.images == 0


def test_failure_rate_auc_and_pck_of_known_errors() -> None:
    scores = summarise(*pair_errors(0.0, 0.02, 0.05, 0.2), PAIR, "box", threshold=0.1, pck_thresholds=(0.02, 0.049))
    assert scores.failure_rate == 0.25
    # Steps: 1/4 on [0, 0.02), 1/2 on [0.02, 0.05), 3/4 on [0.05, 0.1].
    assert scores.auc == pytest.approx((0.25 * 0.02 + 0.5 * 0.03 + 0.75 * 0.05) / 0.1)
    assert scores.pck == ((0.02, 0.5), (0.049, 0.5))
    assert scores.median == pytest.approx(0.035)


def test_auc_is_the_integral_of_the_cumulative_curve() -> None:
    errors = np.random.default_rng(1).gamma(2.0, 0.03, 200)
    scores = summarise(*pair_errors(*errors), PAIR, "box", threshold=0.08)
    x, y = cumulative_curve(errors)
    fine = np.linspace(0, 0.08, 200_001)
    steps = y[np.searchsorted(x, fine, side="right") - 1]
    assert scores.auc == pytest.approx(steps.mean(), abs=1e-5)


def test_cumulative_curve_starts_at_zero_and_ignores_nan() -> None:
    x, y = cumulative_curve([0.3, np.nan, 0.1])
    assert x.tolist() == [0.0, 0.1, 0.3]
    assert y.tolist() == [0.0, 0.5, 1.0]


def test_image_errors_of_an_image_without_points_is_nan() -> None:
    np.testing.assert_array_equal(image_errors([[1.0, np.nan, 3.0], [np.nan] * 3]), [2.0, np.nan])


def test_bootstrap_interval_repeats_and_covers() -> None:
    values = np.random.default_rng(0).normal(5.0, 1.0, 100)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)
    low, high = bootstrap_interval(values)
    # 1.96 standard errors each side, by the central limit theorem.
    half = 1.96 * values.std() / 10
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)
    rng = np.random.default_rng(7)
    inside = 0
    for i in range(200):
        low, high = bootstrap_interval(rng.exponential(1.0, 60), resamples=500, seed=i)
        inside += low <= 1.0 <= high
    assert 0.87 <= inside / 200 <= 0.99


def test_intervals_of_the_other_numbers_are_as_wide_as_theory_says() -> None:
    """Normal errors of 900 images of two points: standard errors of a median, a share and a mean, 1.96 times."""
    n, threshold = 900, 1.0
    errors = np.random.default_rng(1).normal(0.8, 0.15, n).clip(0.01)
    true = np.zeros((n, 2, 2))
    pred = np.stack((errors, 0 * errors), axis=-1)[:, None].repeat(2, axis=1)
    scores = summarise(pred, true, Schema("pair", ("a", "b")), "pixels", threshold=threshold, pck_thresholds=(0.8, 2.0))
    share, area = scores.failure_rate, np.clip(1 - errors / threshold, 0, None)
    within = np.mean(errors <= 0.8)
    for name, value, error in (
        ("median", scores.median, 1.2533 * errors.std() / np.sqrt(n)),
        ("failure_rate", share, np.sqrt(share * (1 - share) / n)),
        ("auc", scores.auc, area.std() / np.sqrt(n)),
    ):
        low, high = scores.intervals[name]
        assert low <= value <= high
        assert high - low == pytest.approx(2 * 1.96 * error, rel=0.2), name
    (low, high), all_within = scores.intervals["pck"]
    # Both points of an image are equally wrong: images are what is resampled, not points.
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(within * (1 - within) / n), rel=0.2)
    assert all_within == (1.0, 1.0)
    assert scores.to_dict()["intervals"]["pck"][1] == [1.0, 1.0]


def test_grid80_floors_both_ends() -> None:
    schema = get_schema("mtfl-5")
    true = np.array([[[40.0, 40.0], [120.0, 40.0], [80.0, 80.0], [50.0, 120.0], [110.0, 120.0]]])
    # A canvas of 160 px has cells of 2 px: 1.9 px stay in the cell, 2.1 px leave it. The eyes are 40 cells apart.
    assert grid80_error(true + np.array([1.9, 0.0]), true, schema, "inter-pupil", (160, 160)) == 0.0
    assert grid80_error(true + np.array([2.1, 0.0]), true, schema, "inter-pupil", (160, 160)) == pytest.approx(1 / 40)
    far = true.copy()
    far[0, 2] = [80.0, 1e6]  # clipped to cell 79, 39 below the true cell 40
    assert grid80_error(far, true, schema, "inter-pupil", (160, 160)) == pytest.approx(39 / 40 / 5)


def test_on_the_grid_faces_are_divided_by_the_papers_distance_whatever_else_is() -> None:
    """By another one the number would stand beside the published ones and look a third better (rcn.md 3.6)."""
    assert grid80_normaliser(get_schema("ibug-68"), "inter-ocular") == "inter-pupil"
    assert grid80_normaliser(get_schema("mtfl-5"), "box") == "inter-pupil"
    assert grid80_normaliser(get_schema("wings-12"), "wing-length") == "wing-length"


@pytest.mark.parametrize("equal_mass", [False, True])
def test_calibrated_confidence_has_a_small_ece_and_overconfidence_its_gap(equal_mass: bool) -> None:
    rng = np.random.default_rng(5)
    confidence = rng.uniform(0, 1, 40_000)
    calibrated = reliability(confidence, rng.uniform(size=40_000) < confidence, equal_mass=equal_mass)
    assert calibrated.ece < 0.015
    assert calibrated.counts.sum() == 40_000
    assert calibrated.binning == ("equal-mass" if equal_mass else "equal-width")
    # Says 0.9, is right in 6 of 10.
    over = reliability(
        np.full(1000, 0.9), np.arange(1000) % 10 < 6, bins=1 if equal_mass else 15, equal_mass=equal_mass
    )
    assert over.ece == pytest.approx(0.3)
    if equal_mass:
        assert calibrated.counts.max() - calibrated.counts.min() <= 1
        assert (np.diff(calibrated.edges) > 0).all()


def test_reliability_bins_by_hand() -> None:
    result = reliability([0.1, 0.2, 0.8, 1.0], [False, True, True, True], bins=2)
    np.testing.assert_allclose(result.confidence, [0.15, 0.9])
    np.testing.assert_allclose(result.accuracy, [0.5, 1.0])
    assert result.counts.tolist() == [2, 2]
    assert result.ece == pytest.approx((0.35 + 0.1) / 2)
    with pytest.raises(ValueError, match="outside"):
        reliability([1.5], [True])
    assert math.isnan(reliability([], []).ece)
