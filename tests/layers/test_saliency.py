"""Saliency that no network says: what a Gaussian fitted to a peak must give back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snellen.layers.saliency import saliency_of_peak


def gaussian(size, middle, spread, share):
    """A Gaussian of sum `share` on a grid, cells."""
    rows, columns = (
        torch.exp(-0.5 * ((torch.arange(n, dtype=torch.float64) - m) / s) ** 2)
        for n, m, s in zip(size, middle, spread, strict=True)
    )
    both = rows[:, None] * columns
    return share * both / both.sum()


def even(size, share):
    return torch.full(size, share / (size[0] * size[1]), dtype=torch.float64)


@given(
    st.floats(10, 20),
    st.floats(12, 28),
    st.floats(1, 3),
    st.floats(1, 3),
    st.floats(0.05, 1),
    st.sampled_from([0.16, 0.3]),
)
@settings(max_examples=30, deadline=None)
def test_a_gaussian_beside_an_even_rest_comes_back(y, x, down, across, share, near):
    size = (31, 41)
    saliency = gaussian(size, (y, x), (down, across), share) + even(size, 1 - share)
    torch.testing.assert_close(saliency_of_peak(saliency[None], near)[0], saliency, atol=0.02 * saliency.max(), rtol=0)


def test_a_lower_peak_far_away_becomes_part_of_the_even_rest():
    size = (31, 31)
    high = gaussian(size, (9, 10), (2.5, 2), 0.5)
    found = saliency_of_peak((high + gaussian(size, (26, 27), (2, 2), 0.3) + even(size, 0.2))[None])[0]
    torch.testing.assert_close(found, high + even(size, 0.5), atol=0.02 * high.max(), rtol=0)


@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_any_saliency_stays_one_and_turns_with_its_grid(rows, columns, seed):
    saliency = torch.rand(2, rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    saliency = saliency / saliency.sum((1, 2), keepdim=True)
    found = saliency_of_peak(saliency)
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum((1, 2)), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(saliency_of_peak(saliency.mT).mT, found)
    torch.testing.assert_close(saliency_of_peak(saliency.flip(-1)).flip(-1), found)


@pytest.mark.parametrize("size", [(2, 2), (7, 31)])
def test_an_even_saliency_stays_even_and_a_single_node_stays_finite(size):
    flat = torch.full((1, *size), 1 / (size[0] * size[1]))
    torch.testing.assert_close(saliency_of_peak(flat), flat)
    one = torch.zeros(1, *size)
    one[0, 1, 0] = 1.0
    found = saliency_of_peak(one)
    assert found.isfinite().all()
    assert found.flatten().argmax() == size[1]


def test_a_window_of_no_width_is_refused():
    with pytest.raises(ValueError, match="near=0"):
        saliency_of_peak(torch.rand(1, 3, 3), near=0)


def test_what_is_wider_than_the_window_stays_as_it_is():
    size = (31, 31)
    wide = gaussian(size, (14, 16), (9, 8), 0.3) + even(size, 0.7)
    torch.testing.assert_close(saliency_of_peak(wide[None])[0], wide, atol=1e-9, rtol=1e-6)
    between = gaussian(size, (14, 16), (6, 6), 0.3) + even(size, 0.7)
    torch.testing.assert_close(saliency_of_peak(between[None])[0], between, atol=0.05 * between.max(), rtol=0)
