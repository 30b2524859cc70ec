"""The losses against their definitions."""

import math

import pytest
import torch
import torch.nn.functional as F

from snellen.keypoints.codecs import TARGETS, axis_targets
from snellen.training.losses import keypoint_loss, sum_of_squares


def case(b=3, k=5, h=24, w=30, seed=0):
    """Random maps, points on the canvas and a full mask."""
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(b, k, h, w, generator=rng) * 3
    xy = torch.rand(b, k, 2, generator=rng) * torch.tensor([w, h])
    return logits, xy, torch.ones(b, k, dtype=torch.bool)


def test_it_is_cross_entropy_over_positions_times_the_keypoints():
    logits, xy, mask = case()
    b, k, h, w = logits.shape
    cells = xy[..., 1].floor().long() * w + xy[..., 0].floor().long()
    expected = k * F.cross_entropy(logits.reshape(b * k, h * w), cells.reshape(-1))
    torch.testing.assert_close(keypoint_loss(logits, xy, mask), expected)


def test_masked_points_do_not_count():
    logits, xy, mask = case()
    k, h, w = logits.shape[1:]
    mask[0, 1] = mask[2, 3] = mask[2, 4] = False
    xy[0, 1] = torch.tensor([-400.0, 9999.0])
    cells = (xy[..., 1].floor() * w + xy[..., 0].floor()).long()
    # Their weight goes to the points that are left: the mean over those, times the number of keypoints.
    expected = k * F.cross_entropy(logits[mask].reshape(-1, h * w), cells[mask])
    loss = keypoint_loss(logits.requires_grad_(), xy, mask)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert logits.grad[0, 1].abs().max() == 0
    assert logits.grad[0, 0].abs().max() > 0


def test_the_first_loss_of_a_silent_network():
    # rcn.md 8: K ln(6400), 43.8 for 5 keypoints on 80 x 80.
    loss = keypoint_loss(torch.zeros(2, 5, 80, 80), torch.full((2, 5, 2), 33.3), torch.ones(2, 5, dtype=torch.bool))
    assert loss.item() == pytest.approx(5 * math.log(6400), rel=1e-5)
    assert loss.item() == pytest.approx(43.8, abs=0.05)


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_starts_at_the_same_loss(target):
    # For zero logits every distribution costs ln(cells): true only if targets sum to 1.
    _, xy, mask = case()
    assert keypoint_loss(torch.zeros(3, 5, 24, 30), xy, mask, target=target).item() == pytest.approx(
        5 * math.log(24 * 30), rel=1e-5
    )


@pytest.mark.parametrize("target", TARGETS)
def test_all_masked_costs_nothing(target):
    logits, xy, mask = case()
    loss = keypoint_loss(logits.requires_grad_(), xy, ~mask, target=target)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("target", TARGETS)
def test_extreme_logits_and_points_give_no_nan(target):
    logits, xy, mask = case()
    logits[0] = 1e4 * torch.sign(logits[0])
    logits[1] = -1e4
    xy[0, 0] = 0.0
    xy[0, 1] = torch.tensor([30.0, 24.0])  # the far corner
    xy[0, 2] = torch.tensor([-1e6, 1e6])
    loss = keypoint_loss(logits.requires_grad_(), xy, mask, target=target)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("target", ["split", "gauss"])
def test_soft_targets_are_the_minimum(target):
    _, xy, mask = case(b=1)
    columns, rows = axis_targets(xy[..., 0], 30, target), axis_targets(xy[..., 1], 24, target)
    wanted = rows[..., :, None] * columns[..., None, :]
    logits = wanted.clamp(min=1e-12).log().requires_grad_()
    loss = keypoint_loss(logits, xy, mask, target=target)
    loss.backward()
    # Where the softmax is the target, the slope is zero and the loss is the target's entropy.
    assert logits.grad.abs().max() < 1e-5
    entropy = -(wanted * wanted.clamp(min=1e-12).log()).sum((-2, -1)).mean() * 5
    assert loss.item() == pytest.approx(entropy.item(), abs=1e-3)
    for seed in range(3):
        other = logits.detach() + 0.1 * torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed))
        assert keypoint_loss(other, xy, mask, target=target) > loss + 1e-4


@pytest.mark.parametrize("target", ["split", "gauss"])
def test_soft_targets_see_fractions_of_a_cell_and_hard_ones_do_not(target):
    logits, xy, mask = case()
    middle = xy.floor() + 0.5
    torch.testing.assert_close(keypoint_loss(logits, middle, mask), keypoint_loss(logits, middle + 0.3, mask))
    soft = [keypoint_loss(logits, points, mask, target=target) for points in (middle, middle + 0.3)]
    assert (soft[0] - soft[1]).abs() > 1e-3


@pytest.mark.parametrize("target", ["hard", "split", "gauss"])
def test_points_are_compared_in_the_cells_of_the_maps(target):
    logits, xy, mask = case()
    torch.testing.assert_close(
        keypoint_loss(logits, 4 * xy, mask, stride=4, target=target), keypoint_loss(logits, xy, mask, target=target)
    )


def test_low_precision_maps_are_scored_in_float32():
    logits, xy, mask = case(h=80, w=80)
    low = keypoint_loss(logits.bfloat16(), xy, mask)
    assert low.dtype == torch.float32
    # The same numbers, rounded before and not during the sum over 6400 cells.
    torch.testing.assert_close(low, keypoint_loss(logits.bfloat16().float(), xy, mask))


def test_sum_of_squares_by_hand():
    a = torch.tensor([[1.0, -2.0], [3.0, 0.0]], requires_grad=True)
    total = sum_of_squares([a, torch.tensor([4.0])])
    assert total.item() == 30  # 1 + 4 + 9 + 16, without a half
    total.backward()
    torch.testing.assert_close(a.grad, 2 * a.detach())
