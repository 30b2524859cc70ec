"""The numbers of classifiers, by hand."""

import json
import math

import numpy as np
import pytest
import torch

from snellen.training.classification import (
    confusion_matrix,
    corruption_error,
    flip_probability,
    flip_rate,
    probabilities,
    shift_consistency,
    summarise_classes,
    top_k_correct,
)


def test_top_k():
    logits = [[5, 4, 3, 2, 1, 0], [0, 1, 2, 3, 4, 5], [1, 1, 0, 0, 0, 0]]
    assert top_k_correct(logits, [0, 0, 1]).tolist() == [True, False, False]  # of equal ones the first is the answer
    assert top_k_correct(logits, [1, 4, 1], 2).tolist() == [True, True, True]
    assert top_k_correct(logits, [5, 0, 5], 5).tolist() == [False, False, False]
    assert top_k_correct(logits, [5, 0, 5], 6).all()
    assert not top_k_correct([[math.nan, 1.0]], [1]).any()  # a diverged network does not look good


def test_top_k_agrees_with_torch():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(200, 12, generator=generator), torch.randint(0, 12, (200,), generator=generator)
    for k in (1, 5):
        expected = (logits.topk(k).indices == labels[:, None]).any(1)
        np.testing.assert_array_equal(top_k_correct(logits, labels, k), expected)


def test_confusion():
    matrix = confusion_matrix([0, 2, 2, 1, 0], [0, 2, 1, 1, 2], 3)
    assert matrix.tolist() == [[1, 0, 0], [0, 1, 1], [1, 0, 1]]
    with pytest.raises(ValueError, match="class 3 does not exist"):
        confusion_matrix([3], [0], 3)
    with pytest.raises(ValueError, match="2 images"):
        confusion_matrix([0], [0, 1], 3)


def test_all_numbers_by_hand():
    # Probabilities 0.8/0.2 by logit differences of log 4, 0.6/0.4 by log 1.5.
    logits = [[math.log(4), 0], [math.log(4), 0], [0, math.log(1.5)], [0, math.log(1.5)]]
    np.testing.assert_allclose(probabilities(logits)[0], [0.8, 0.2])
    scores = summarise_classes(logits, [0, 1, 1, 0])
    assert scores.top1 == 0.5
    assert scores.top5 == 1.0
    assert scores.loss == pytest.approx(-(math.log(0.8) + math.log(0.2) + math.log(0.6) + math.log(0.4)) / 4)
    assert scores.confidence == pytest.approx(0.7)
    # Two bins, each half right: |0.5 - 0.8| and |0.5 - 0.6|, half of the images in each.
    assert scores.ece == pytest.approx(0.2)
    assert scores.per_class == (0.5, 0.5)
    assert scores.images == 4
    assert 0 <= scores.interval[0] <= 0.5 <= scores.interval[1] <= 1


def test_the_loss_is_torchs_and_large_logits_do_no_harm():
    generator = torch.Generator().manual_seed(0)
    logits = 300 * torch.randn(50, 8, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 8, (50,), generator=generator)
    expected = torch.nn.functional.cross_entropy(logits, labels).item()
    scores = summarise_classes(logits, labels)
    assert scores.loss == pytest.approx(expected)
    shifted = summarise_classes(logits + 1000, labels)
    assert (shifted.top1, shifted.loss) == pytest.approx((scores.top1, scores.loss))


def test_numbers_are_json():
    scores = summarise_classes([[1.0, 0.0, 0.0]], [0])
    assert math.isnan(scores.per_class[1])
    assert json.loads(json.dumps(scores.to_dict(), allow_nan=False))["per_class"] == [1.0, None, None]


@pytest.mark.parametrize(
    ("logits", "labels", "says"),
    [
        ([[0.0, 1.0]], [2], "class 2 does not exist; classes are 0 to 1"),
        ([[0.0, 1.0]], [-1], "class -1"),
        ([[0.0, 1.0]], [0.5], "class 0.5"),
        ([[0.0, 1.0]], [0, 1], "1 images"),
        ([0.0, 1.0], [0], "images, classes"),
        (np.zeros((0, 2)), [], "at least one image"),
        ([[0.0, math.inf]], [0], "diverged"),
    ],
)
def test_wrong_predictions(logits, labels, says):
    with pytest.raises(ValueError, match=says):
        summarise_classes(logits, labels)


def test_the_mean_corruption_error_by_hand():
    errors = {"fog": [0.1, 0.3], "snow": [0.5, 0.5]}
    base = {"fog": [0.4, 0.4], "snow": [0.4, 0.6], "frost": [1.0]}
    scores = corruption_error(errors, base)
    assert scores.error == pytest.approx({"fog": 0.2, "snow": 0.5})
    assert scores.mean_error == pytest.approx(0.35)
    assert scores.relative == pytest.approx({"fog": 0.5, "snow": 1.0})
    assert scores.mce == pytest.approx(0.75)
    # A network is its own measure; without a baseline there is none.
    assert corruption_error(base, base).mce == 1
    alone = corruption_error(errors)
    assert alone.mean_error == scores.mean_error
    assert alone.relative == {}
    assert math.isnan(alone.mce)


@pytest.mark.parametrize(
    ("errors", "base", "says"),
    [
        ({}, None, "at least one kind"),
        ({"fog": []}, None, "one fraction"),
        ({"fog": [20.0]}, None, "from 0 to 1"),
        ({"fog": [0.2]}, {}, "no errors for 'fog'"),
        ({"fog": [0.2]}, {"fog": [0.2, 0.3]}, "1 severities, but 2"),
        ({"fog": [0.2]}, {"fog": [0.0]}, "makes no error"),
    ],
)
def test_wrong_errors(errors, base, says):
    with pytest.raises(ValueError, match=says):
        corruption_error(errors, base)


def test_flips_by_hand():
    sequences = [[0, 0, 1, 1, 0], [2, 2, 2, 2, 2]]
    assert flip_probability(sequences) == 2 / 8
    assert flip_probability(sequences, against="first") == 2 / 8
    assert flip_probability([[0, 1, 1, 1]]) == pytest.approx(1 / 3)
    assert flip_probability([[0, 1, 1, 1]], against="first") == 1
    rates, mean = flip_rate({"tilt": 0.1, "scale": 0.3}, {"tilt": 0.2, "scale": 0.2, "more": 1})
    assert rates == pytest.approx({"tilt": 0.5, "scale": 1.5})
    assert mean == pytest.approx(1.0)
    for wrong in ([0, 1], [[0]], np.zeros((0, 3))):
        with pytest.raises(ValueError, match="at least two frames"):
            flip_probability(wrong)
    with pytest.raises(ValueError, match="no flips on 'tilt'"):
        flip_rate({"tilt": 0.1}, {"tilt": 0.0})
    with pytest.raises(ValueError, match="previous"):
        flip_probability(sequences, against="last")
    with pytest.raises(ValueError, match="at least one kind"):
        flip_rate({}, {})


def test_consistency():
    assert shift_consistency([0, 1, 2, 2], [0, 1, 1, 2]) == 0.75
    for wrong in (([0], [0, 1]), ([], [])):
        with pytest.raises(ValueError, match="two shifts"):
            shift_consistency(*wrong)
