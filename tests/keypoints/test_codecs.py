"""Coordinates to heatmaps and back."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snellen.keypoints.codecs import DECODERS, TARGETS, axis_targets, decode

CELLS = 80


def uniform(count, low=0.0, high=float(CELLS), seed=0):
    """(1, count) positions."""
    return torch.empty(1, count).uniform_(low, high, generator=torch.Generator().manual_seed(seed))


def encode(x, y, kind, sigma=1.0, size=(CELLS, CELLS)):
    """Logits whose softmax is the target map of each point; `x`, `y` are (1, n)."""
    columns, rows = axis_targets(x, size[1], kind, sigma), axis_targets(y, size[0], kind, sigma)
    return (rows[..., :, None] * columns[..., None, :]).clamp(min=1e-30).log()


# --- targets


@pytest.mark.parametrize("kind", TARGETS)
@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-500, 500), min_size=1, max_size=20), st.integers(1, 90))
def test_every_target_is_a_distribution(kind, positions, cells):
    # Points outside the canvas included: a loss masks them, but must not meet a NaN.
    rows = axis_targets(torch.tensor([positions]), cells, kind)
    assert rows.shape == (1, len(positions), cells)
    assert (rows >= 0).all()
    torch.testing.assert_close(rows.sum(-1), torch.ones(1, len(positions)), atol=1e-5, rtol=0)


def test_hard_targets_by_hand():
    rows = axis_targets(torch.tensor([[0.0, 0.99, 1.0, 3.5, 4.0, -2.0, 9.0]]), 4, "hard")
    # 4.0 is the canvas's far border and belongs to its last cell; what is outside is clipped to the border.
    assert rows[0].argmax(-1).tolist() == [0, 0, 1, 3, 3, 0, 3]
    assert set(rows.unique().tolist()) == {0.0, 1.0}


def test_split_targets_by_hand():
    rows = axis_targets(torch.tensor([[1.5, 2.25, 0.2]]), 4, "split")
    torch.testing.assert_close(rows[0], torch.tensor([[0, 1.0, 0, 0], [0, 0.25, 0.75, 0], [1.0, 0, 0, 0]]))


@pytest.mark.parametrize(("kind", "tolerance"), [("split", 1e-4), ("gauss", 1e-3)])
def test_the_mean_of_soft_targets_is_the_point(kind, tolerance):
    # A Gaussian of one cell, sampled at the cells, has the point as its mean to 1e-4 cells; at 6 cells from the border
    # what is cut off does not matter.
    position = uniform(2000, 6, CELLS - 6) if kind == "gauss" else uniform(2000, 0.5, CELLS - 0.5)
    mean = (axis_targets(position, CELLS, kind) * (torch.arange(CELLS) + 0.5)).sum(-1)
    torch.testing.assert_close(mean, position, atol=tolerance, rtol=0)


def test_gauss_has_the_asked_width():
    rows = axis_targets(torch.tensor([[40.3]]), CELLS, "gauss", sigma=2.5)
    centres = torch.arange(CELLS) + 0.5
    variance = (rows * (centres - 40.3) ** 2).sum(-1)
    assert variance.item() == pytest.approx(2.5**2, rel=1e-3)


def test_an_unknown_target_is_refused():
    with pytest.raises(ValueError, match=r"'soft' is not known; choose one of hard, split, gauss"):
        axis_targets(torch.zeros(1, 1), 4, "soft")


# --- strides


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([1, 2, 4, 8]), st.integers(17, 90), st.integers(17, 90), st.floats(0, 1), st.floats(0, 1),
    st.sampled_from(["hard", "split", "gauss"]),
)  # fmt: skip
def test_positions_survive_encoding_and_decoding_at_any_size_and_stride(stride, height, width, u, v, kind):
    """In canvas pixels, the last cells included, which reach past a canvas that the stride does not divide."""
    x, y = torch.tensor([[u * width]]), torch.tensor([[v * height]])
    size = (-(-height // stride), -(-width // stride))
    maps = encode(x / stride, y / stride, kind, size=size)
    true = torch.stack((x, y), dim=-1)
    cell = decode(maps, "argmax", stride=stride, canvas=(height, width)).xy
    assert (cell - true).abs().max() <= stride * (0.5 + 1e-4)
    assert (cell <= torch.tensor([width, height])).all()
    inside = (true / stride >= 0.5).all() and (true / stride <= torch.tensor([size[1], size[0]]) - 0.5).all()
    if kind == "split" and inside:
        fine = decode(maps, "local", stride=stride, canvas=(height, width)).xy
        torch.testing.assert_close(fine, true, atol=1e-3 * stride, rtol=0)


def test_a_planted_cell_is_decoded_to_the_canvas_by_hand():
    logits = torch.zeros(1, 1, 13, 21)  # a canvas of 51 x 83 at stride 4
    logits[0, 0, 5, 7] = 50.0
    for method in DECODERS:
        found = decode(logits, method, stride=4, radius=2.5)
        torch.testing.assert_close(found.xy, torch.tensor([[[30.0, 22.0]]]), atol=1e-3, rtol=0)
        assert found.confidence.item() == pytest.approx(1, abs=1e-4)  # the radius is in cells
    # The centre of the last cell of 49 pixels lies at 50: outside, so on the border.
    logits = torch.zeros(1, 1, 13, 13)
    logits[0, 0, 12, 12] = 50.0
    assert decode(logits, "argmax", stride=4).xy.tolist() == [[[50.0, 50.0]]]
    assert decode(logits, "argmax", stride=4, canvas=(49, 51)).xy.tolist() == [[[50.0, 49.0]]]


def test_confidence_does_not_change_with_the_stride():
    logits = torch.randn(2, 3, 12, 9, generator=torch.Generator().manual_seed(0)) * 3
    one, four = decode(logits), decode(logits, stride=4)
    assert torch.equal(one.confidence, four.confidence)
    assert torch.equal(4 * one.xy, four.xy)


# --- decoding


@pytest.mark.parametrize("kind", TARGETS)
def test_argmax_is_within_half_a_cell(kind):
    x, y = uniform(1200, seed=1), uniform(1200, seed=2)
    found = decode(encode(x, y, kind), "argmax").xy
    error = found - torch.stack((x, y), -1)
    assert error.abs().max() <= 0.5 + 1e-4
    # Uniform positions err by the mean distance of a unit square's points from its centre: 0.3826.
    assert error.norm(dim=-1).mean().item() == pytest.approx(0.3826, abs=0.01)


def test_local_recovers_fractions_of_a_cell():
    x, y = uniform(500, 3, CELLS - 3, seed=1), uniform(500, 3, CELLS - 3, seed=2)
    for kind in ("split", "gauss"):
        found = decode(encode(x, y, kind), "local").xy
        error = (found - torch.stack((x, y), -1)).norm(dim=-1)
        assert error.max() < 0.1, kind


@pytest.mark.parametrize("method", DECODERS)
def test_any_shape_of_map_and_x_before_y(method):
    logits = torch.zeros(2, 3, 7, 31)
    logits[1, 2, 5, 20] = 50.0
    found = decode(logits, method)
    assert found.xy.shape == (2, 3, 2)
    assert found.confidence.shape == (2, 3)
    torch.testing.assert_close(found.xy[1, 2], torch.tensor([20.5, 5.5]), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("row", "column"), [(60, 70), (60, 10), (20, 70)])
def test_a_far_second_mode_does_not_pull_the_local_decoder(row, column):
    logits = torch.full((1, 1, CELLS, CELLS), -30.0)
    logits[0, 0, 20, 10] = 1.0
    logits[0, 0, row, column] = 0.9  # almost as likely; a mean over the map would answer the middle
    torch.testing.assert_close(decode(logits, "local").xy[0, 0], torch.tensor([10.5, 20.5]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("times", [(1, 1), (2, 3), (5, 4), (8, 8), (16, 6)])
def test_a_repeated_map_is_read_in_the_middle_of_its_blocks(times):
    """As a coarse branch of SumNet answers alone: its largest value fills a block of cells."""
    coarse = torch.randn(1, 30, 6, 5, generator=torch.Generator().manual_seed(0))
    best = coarse.flatten(2).argmax(dim=-1)[0]
    middles = torch.stack((best % 5 + 0.5, best // 5 + 0.5), dim=-1) * torch.tensor([times[1], times[0]])
    fine = coarse.repeat_interleave(times[0], dim=2).repeat_interleave(times[1], dim=3)
    window = (min(times) - 1) // 2  # inside the block: its neighbours have no say
    torch.testing.assert_close(decode(fine, "local", window=window).xy[0], middles, rtol=0, atol=1e-4)
    torch.testing.assert_close(decode(torch.zeros(1, 1, 6, 9)).xy[0, 0], torch.tensor([4.5, 3.0]))


def test_a_near_second_cell_does_pull_it():
    logits = torch.full((1, 1, 20, 20), -30.0)
    logits[0, 0, 8, 8] = 1.0
    logits[0, 0, 8, 9] = 1.0
    torch.testing.assert_close(decode(logits, "local").xy[0, 0], torch.tensor([9.0, 8.5]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("scale", [0.0, 3.0, 1e4])
def test_confidence_is_a_probability(scale):
    logits = torch.randn(4, 5, 24, 30, generator=torch.Generator().manual_seed(0)) * scale
    found = decode(logits)
    assert torch.isfinite(found.xy).all()
    assert (found.confidence >= 0).all()
    assert (found.confidence <= 1 + 1e-5).all()
    inside = (found.xy >= 0).all() and (found.xy[..., 0] <= 30).all() and (found.xy[..., 1] <= 24).all()
    assert inside


def test_confidence_follows_the_evidence():
    flat, sharp = torch.zeros(1, 1, 40, 40), torch.zeros(1, 1, 40, 40)
    sharp[0, 0, 20, 20] = 30.0
    two = sharp.clone()
    two[0, 0, 5, 5] = 30.0
    assert decode(sharp).confidence.item() == pytest.approx(1.0, abs=1e-4)
    assert decode(two).confidence.item() == pytest.approx(0.5, abs=1e-4)
    assert decode(flat).confidence.item() < 21 / 1600 + 1e-4


def test_low_precision_maps_are_decoded_in_float32():
    x, y = uniform(200, 3, CELLS - 3, seed=1), uniform(200, 3, CELLS - 3, seed=2)
    logits = encode(x, y, "gauss")
    half = decode((logits - logits.amax((-2, -1), keepdim=True)).clamp(min=-60).bfloat16())
    assert half.xy.dtype == torch.float32
    # bfloat16 logits cost a little; a softmax in bfloat16 would cost whole cells.
    assert (half.xy - torch.stack((x, y), -1)).norm(dim=-1).mean() < 0.05


def test_an_unknown_decoder_is_refused():
    with pytest.raises(ValueError, match=r"'mean' is not known; choose one of argmax, local"):
        decode(torch.zeros(1, 1, 4, 4), "mean")


@pytest.mark.parametrize("method", DECODERS)
@pytest.mark.parametrize(("window", "radius"), [(2, 2.5), (1, 0.7), (3, 40.0), (20, 1.1)])
def test_positions_and_confidences_are_as_defined_cell_by_cell(method, window, radius):
    """Also where windows and discs reach past the borders of a small map."""
    h, w = 9, 11
    logits = 3 * torch.randn(2, 6, h, w, generator=torch.Generator().manual_seed(0))
    logits[0, 0, 0, 10] = logits[0, 1, 8, 0] = logits[0, 2, 4, 5] = 12.0  # two corners and the middle
    found = decode(logits, method, window=window, radius=radius)
    p = logits.double().flatten(2).softmax(-1).unflatten(-1, (h, w))
    for b, k in itertools.product(range(2), range(6)):
        best = max(itertools.product(range(h), range(w)), key=lambda cell, b=b, k=k: p[b, k][cell].item())
        reach = window if method == "local" else 0
        near = [(i, j) for i in range(h) for j in range(w) if max(abs(i - best[0]), abs(j - best[1])) <= reach]
        mass = sum(p[b, k][cell].item() for cell in near)
        x = sum(p[b, k][cell].item() * (cell[1] + 0.5) for cell in near) / mass
        y = sum(p[b, k][cell].item() * (cell[0] + 0.5) for cell in near) / mass
        assert found.xy[b, k].tolist() == pytest.approx([x, y], abs=1e-4)
        cells = [(i, j) for i in range(h) for j in range(w) if (j + 0.5 - x) ** 2 + (i + 0.5 - y) ** 2 <= radius**2]
        assert found.confidence[b, k].item() == pytest.approx(sum(p[b, k][c].item() for c in cells), abs=1e-4)


def test_the_disc_about_a_cell_centre_by_hand():
    # 21 cell centres lie within 2.5 of a cell's centre: 5 x 5 without its corners.
    flat = torch.zeros(1, 1, 20, 20)
    flat[0, 0, 10, 10] = 1e-3
    assert 400 * decode(flat, "argmax", radius=2.5).confidence.item() == pytest.approx(21, abs=0.01)
