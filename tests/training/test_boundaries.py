"""Boundary F-scores, the checkerboard measure and PSNR, against hand-worked values and independent formulas."""

import math

import numpy as np
import pytest
import torch

from snellen.training.boundaries import boundary_f_scores, boundary_pixels, boundary_scores, checkerboard, psnr


def halves(column, size=(10, 20)):
    """Label 1 from a column on, 0 left of it."""
    labels = torch.zeros(size, dtype=torch.uint8)
    labels[:, column:] = 1
    return labels


def pixels_of(tolerance_pixels, size=(10, 20)):
    return tolerance_pixels / math.hypot(*size)


def test_boundary_pixels_are_those_beside_another_label():
    labels = torch.zeros(5, 5, dtype=torch.int64)
    labels[1:4, 1:4] = 1
    inner = boundary_pixels(labels, 1)
    assert inner.sum() == 8  # the square's rim, not its middle
    assert not inner[2, 2]
    outer = boundary_pixels(labels, 0)
    assert outer.sum() == 12
    assert not outer[0, 0]  # corners touch at a corner only
    # What is next to ignored pixels alone is no boundary.
    labels[labels == 0] = 9
    assert not boundary_pixels(labels, 1, ignore=9).any()


def test_a_shifted_line_is_found_within_the_tolerance_alone():
    truth, shifted = halves(8), halves(10)
    assert boundary_f_scores(truth, truth, 3)[:2].tolist() == [1, 1]
    assert math.isnan(boundary_f_scores(truth, truth, 3)[2])
    assert boundary_f_scores(truth, shifted, 2, tolerance=pixels_of(2)).tolist() == [1, 1]
    assert boundary_f_scores(truth, shifted, 2, tolerance=pixels_of(1.99)).tolist() == [0, 0]


def test_distance_is_euclidean():
    def dot(y, x):
        labels = torch.zeros(10, 20, dtype=torch.int64)
        labels[y, x] = 1
        return labels

    # 3 across and 4 down are 5 pixels.
    for radius, score in ((5.0, 1.0), (4.9, 0.0)):
        assert boundary_f_scores(dot(2, 2), dot(6, 5), 2, tolerance=pixels_of(radius))[1] == score


def test_precision_and_recall_by_hand():
    truth = halves(8)
    predicted = truth.clone()
    predicted[:5] = 0  # the upper half of the region is missed
    # Class 1: truth 10 pixels in column 8; predicted: column 8 of rows 5..9 (5) and the top row 5, columns 9..19 (11).
    # Tolerance 0: all 5 agree; precision 5/16, recall 5/10.
    p, r = 5 / 16, 5 / 10
    score = boundary_f_scores(truth, predicted, 2, tolerance=0.0)[1]
    assert score == pytest.approx(2 * p * r / (p + r))


def test_one_sided_classes_score_nothing_and_ignored_pixels_do_not_count():
    truth, nothing = halves(8), torch.zeros(10, 20, dtype=torch.uint8)
    assert boundary_f_scores(truth, nothing, 2).tolist() == [0, 0]
    assert boundary_f_scores(nothing, truth, 2).tolist() == [0, 0]
    assert np.isnan(boundary_f_scores(nothing, nothing, 2)).all()
    # A wrong block inside ignored pixels changes nothing.
    hidden, wrong = truth.clone(), truth.clone()
    hidden[:4, 14:18] = 255
    wrong[:4, 14:18] = 0
    assert boundary_f_scores(hidden, wrong, 2, ignore=255).tolist() == [1, 1]


def brute_force(truth, predicted, label, radius):
    def rim(labels):
        own = labels == label
        found = []
        for y, x in np.argwhere(own):
            near = [(y + dy, x + dx) for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))]
            if any(0 <= i < own.shape[0] and 0 <= j < own.shape[1] and not own[i, j] for i, j in near):
                found.append((y, x))
        return np.array(found, dtype=float).reshape(-1, 2)

    a, b = rim(truth), rim(predicted)
    if not len(a) and not len(b):
        return math.nan
    if not len(a) or not len(b):
        return 0.0
    distance = np.linalg.norm(a[:, None] - b[None], axis=-1)
    recall, precision = (distance.min(1) <= radius).mean(), (distance.min(0) <= radius).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("radius", [0.0, 1.0, 1.5, 3.3])
def test_against_all_distances(radius):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 3, (2, 4, 5)).repeat(4, 1).repeat(4, 2)
    truth, predicted = torch.from_numpy(coarse[0]), torch.from_numpy(np.roll(coarse[0], 1, 1))
    predicted[:4] = torch.from_numpy(coarse[1][:4])
    scores = boundary_f_scores(truth, predicted, 3, tolerance=radius / math.hypot(16, 20))
    expected = [brute_force(truth.numpy(), predicted.numpy(), label, radius) for label in range(3)]
    np.testing.assert_allclose(scores, expected)


def test_images_are_averaged_over_the_classes_they_have():
    found = boundary_scores([np.array([1.0, 0.5, np.nan]), np.array([0.0, np.nan, np.nan]), np.full(3, np.nan)])
    assert found.mean == pytest.approx((0.75 + 0.0) / 2)
    assert found.per_class[:2] == (0.5, 0.5)
    assert math.isnan(found.per_class[2])
    assert found.images == 2
    with pytest.raises(ValueError, match="without any boundary"):
        boundary_scores([np.full(3, np.nan)])
    with pytest.raises(ValueError, match="two maps of one size"):
        boundary_f_scores(halves(8), halves(8, (4, 4)), 2)
    with pytest.raises(ValueError, match="tolerance=-1"):
        boundary_f_scores(halves(8), halves(8), 2, tolerance=-1)


# --- the checkerboard


def nyquist_share(x):
    """The energy of three Fourier coefficients over that of all but the mean's."""
    energy = torch.fft.fft2(x.double()).abs().square()
    h, w = x.shape[-2] // 2, x.shape[-1] // 2
    return (
        (energy[..., h, 0] + energy[..., 0, w] + energy[..., h, w]) / (energy.sum((-2, -1)) - energy[..., 0, 0])
    ).mean()


def test_fixed_patterns_are_the_energy_at_the_nyquist_frequencies():
    noise = torch.randn(2, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    pattern = torch.tensor([[1.0, -0.5], [0.25, 0.0]]).repeat(6, 8)
    for strength in (0.0, 0.3, 3.0):
        x = noise + strength * pattern
        assert checkerboard(x).fixed == pytest.approx(nyquist_share(x).item(), rel=1e-9)


def test_ends_of_the_scale():
    board = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(4, 4)[None, None]
    assert checkerboard(board).fixed == pytest.approx(1)
    assert checkerboard(board + 1000).fixed == pytest.approx(1)
    # Repeated pixels, as of enlarging by repetition, show no pattern.
    noise = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    repeated = checkerboard(noise.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert repeated.fixed == pytest.approx(0, abs=1e-12)
    assert repeated.modulated == pytest.approx(0, abs=1e-12)
    # A zero-mean feature at one phase of four: hardly a fixed pattern, but a modulated one.
    sparse = torch.zeros(1, 1, 64, 64)
    sparse[..., ::2, ::2] = torch.randn(32, 32, generator=torch.Generator().manual_seed(1))
    assert checkerboard(sparse).fixed < 0.01
    assert checkerboard(sparse).modulated > 0.95
    large = checkerboard(torch.randn(1, 4, 256, 256, generator=torch.Generator().manual_seed(2)))
    assert large.fixed < 1e-3
    assert large.modulated < 1e-3


def test_odd_sides_and_constant_maps():
    board = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).repeat(4, 4)[None, None]
    odd = torch.nn.functional.pad(board, (0, 1, 0, 1), value=9.0)
    assert checkerboard(odd) == checkerboard(board)
    constant = torch.full((1, 1, 8, 8), 0.1)
    assert checkerboard(constant).fixed == 0
    both, alone = checkerboard(torch.cat((board, constant), 1)), checkerboard(board)
    assert (both.fixed, both.modulated) == pytest.approx((alone.fixed, alone.modulated))
    with pytest.raises(ValueError, match="at least 2x2"):
        checkerboard(torch.zeros(1, 1, 1, 8))


def test_psnr_by_hand():
    black, grey = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    grey[1] = 25.5
    assert psnr(grey, black).tolist() == [math.inf, pytest.approx(20.0)]
    assert psnr(grey / 255, black / 255, peak=1.0)[1].item() == pytest.approx(20.0, abs=1e-4)
    with pytest.raises(ValueError, match="cannot be compared"):
        psnr(grey, black[:1])
