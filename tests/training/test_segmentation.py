"""Losses and scores of label maps, against values worked out by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snellen.training.segmentation import (
    confusion_matrix,
    label_counts,
    label_loss,
    label_scores,
    median_frequency_weights,
)

LOG3 = torch.tensor([0.0, math.log(3.0)]).view(1, 2, 1, 1)  # probabilities 1/4 and 3/4


def test_loss_by_hand():
    labels = torch.tensor([[[0, 1, 1, 255]]])
    logits = LOG3.expand(1, 2, 1, 4).clone().requires_grad_()
    # -log 1/4 once and -log 3/4 twice, over three pixels.
    expected = (math.log(4) + 2 * math.log(4 / 3)) / 3
    loss = label_loss(logits, labels, ignore=255)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    loss.backward()
    assert not logits.grad[..., 3].any()
    weights = torch.tensor([3.0, 0.5])
    weighed = (3 * math.log(4) + 2 * 0.5 * math.log(4 / 3)) / (3 + 2 * 0.5)
    assert label_loss(logits, labels, ignore=255, weights=weights).item() == pytest.approx(weighed, rel=1e-6)


def test_loss_is_torchs_where_something_counts():
    noise = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(2, 5, 6, 7, generator=noise), torch.randint(0, 6, (2, 6, 7), generator=noise)
    weights = torch.rand(5, generator=noise)
    for w in (None, weights):
        theirs = torch.nn.functional.cross_entropy(logits, labels, w, ignore_index=5)
        torch.testing.assert_close(label_loss(logits, labels, ignore=5, weights=w), theirs)
    assert label_loss(logits.bfloat16(), labels, ignore=5).dtype == torch.float32


def test_nothing_labelled_is_no_loss_and_no_gradient():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = label_loss(logits, torch.full((1, 2, 2), 9), ignore=9, weights=torch.ones(3))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()
    with pytest.raises(ValueError, match="one batch and size"):
        label_loss(logits, torch.zeros(1, 3, 2, dtype=torch.int64))


def test_median_frequency_by_hand():
    # Class 0: 1 of 4 pixels of the one image that holds it; 1: 5 of 8; 2: 2 of 4; 3 nowhere. Median 1/2.
    np.testing.assert_allclose(median_frequency_weights([[1, 3, 0, 0], [0, 2, 2, 0]]), [2, 0.8, 1, 0])
    # A balanced set needs no balancing, and more of the same pixels change nothing.
    np.testing.assert_allclose(median_frequency_weights([[5, 5, 5]] * 3), 1)
    counts = np.random.default_rng(0).integers(0, 50, (6, 4))
    np.testing.assert_allclose(median_frequency_weights(counts), median_frequency_weights(7 * counts))
    for wrong in (np.zeros((2, 3)), [1, 2, 3]):
        with pytest.raises(ValueError, match="a row an image"):
            median_frequency_weights(wrong)


def test_counts():
    counts = label_counts(torch.tensor([[0, 2], [2, 255]], dtype=torch.uint8), 4)
    assert counts.tolist() == [1, 0, 2, 0]
    assert counts.dtype == torch.int64


def test_scores_by_hand():
    truth = torch.tensor([[0, 0, 0, 1], [1, 2, 2, 9]])
    found = torch.tensor([[0, 0, 1, 1], [1, 2, 0, 0]])
    table = confusion_matrix(truth, found, 4, ignore=9)
    assert table.dtype == torch.int64
    assert table.tolist() == [[2, 1, 0, 0], [0, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    scores = label_scores(table)
    assert scores.iou[:3] == pytest.approx((2 / 4, 2 / 3, 1 / 2))
    assert math.isnan(scores.iou[3])  # in neither
    assert scores.mean_iou == pytest.approx((1 / 2 + 2 / 3 + 1 / 2) / 3)
    assert scores.pixel_accuracy == pytest.approx(5 / 7)
    assert scores.per_class_accuracy[:3] == pytest.approx((2 / 3, 1, 1 / 2))
    assert scores.class_accuracy == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
    assert scores.pixels == 7


def test_a_class_that_is_only_predicted_counts_against_the_mean():
    scores = label_scores(confusion_matrix(torch.tensor([0, 0]), torch.tensor([0, 1]), 3))
    assert scores.iou[:2] == (0.5, 0.0)
    assert scores.mean_iou == 0.25
    assert math.isnan(scores.per_class_accuracy[1])
    assert scores.class_accuracy == 0.5


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=40), st.integers(0, 40))
def test_sums_over_parts_are_the_whole(pairs, cut):
    truth, found = (torch.tensor(column) for column in zip(*pairs, strict=True))
    whole = confusion_matrix(truth, found, 3, ignore=3)
    parts = [confusion_matrix(truth[s], found[s], 3, ignore=3) for s in (slice(cut), slice(cut, None))]
    assert torch.equal(sum(parts), whole)
    assert whole.sum() == (truth != 3).sum()
    if whole.sum():
        scores = label_scores(whole)
        # Each class's IoU as sets of pixels.
        kept = truth != 3
        for label in range(3):
            a, b = (truth == label) & kept, (found == label) & kept
            union = (a | b).sum().item()
            expected = (a & b).sum().item() / union if union else math.nan
            assert scores.iou[label] == pytest.approx(expected, nan_ok=True)


def test_strange_labels_are_refused():
    with pytest.raises(ValueError, match="a predicted label is 3; the 3 classes are 0 to 2"):
        confusion_matrix(torch.tensor([0]), torch.tensor([3]), 3)
    with pytest.raises(ValueError, match="a true label is 255"):
        confusion_matrix(torch.tensor([255]), torch.tensor([0]), 3)
    with pytest.raises(ValueError, match="cannot be compared"):
        confusion_matrix(torch.tensor([0]), torch.tensor([0, 1]), 3)
    with pytest.raises(ValueError, match="without pixels"):
        label_scores(torch.zeros(3, 3, dtype=torch.int64))
