"""Corruption errors and flip probabilities relative to another run's."""

import json

import pytest

from snellen.config import ConfigError
from snellen.evaluation.baselines import against_baseline, read_baseline

SCORES = {
    "run": "runs/one",
    "robust_images": 4,
    "corrupted_images": 4,
    "corruptions": {"fog": [0.1, 0.2, 0.3, 0.4, 0.5], "noise": [0.2] * 5},
    "flip_probability": {"tilt": 0.1, "shift": 0.3},
}
BASELINE = {
    **SCORES,
    "run": "runs/alexnet",
    "corruptions": {"fog": [0.6] * 5, "noise": [0.1] * 5, "snow": [0.5] * 5},
    "flip_probability": {"tilt": 0.2, "shift": 0.3},
}


def test_the_papers_ratios():
    found = against_baseline(SCORES, BASELINE)
    assert found["relative_corruption_error"] == pytest.approx({"fog": 1.5 / 3, "noise": 2.0})
    assert found["mce"] == pytest.approx(1.25)
    assert found["relative_flip_probability"] == pytest.approx({"tilt": 0.5, "shift": 1.0})
    assert found["mfr"] == pytest.approx(0.75)
    assert found["baseline"] == "runs/alexnet"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"robust_images": 5}, "4 images were looked at for robustness, but 5 for the baseline runs/alexnet"),
        (
            {"corruptions": {"fog": [0.6] * 5}},
            "runs/alexnet cannot be the baseline: the baseline has no errors for 'noise'",
        ),
        ({"flip_probability": {"tilt": 0.2, "shift": 0}}, "no flips on 'shift'"),
    ],
)
def test_what_cannot_be_compared_is_said(change, says):
    with pytest.raises(ConfigError, match=says):
        against_baseline(SCORES, {**BASELINE, **change})


def test_a_baseline_has_been_scored_on_corrupted_images(tmp_path):
    with pytest.raises(ConfigError, match=r"has no errors on corrupted images of the test split; score it first"):
        read_baseline(tmp_path, "test")
    (tmp_path / "evaluation-test.json").write_text(json.dumps({"scores": BASELINE}))
    assert read_baseline(tmp_path, "test") == BASELINE
