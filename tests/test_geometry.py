"""The pixel convention: maps, boxes, and that an image and its points move together."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snellen.geometry import (
    Box,
    box_map,
    box_of_points,
    compose,
    hflip,
    rotation,
    scaling,
    transform_points,
    translation,
    warp,
)

POINTS = np.array([[0.0, 0.0], [0.5, 0.5], [12.25, 3.0], [-4.0, 31.5]])
angles = st.floats(-180, 180)
factors = st.floats(0.2, 5.0)
offsets = st.floats(-50, 50)


@pytest.mark.parametrize(
    ("there", "back"),
    [
        (translation(3.0, -2.5), translation(-3.0, 2.5)),
        (scaling(2.0, 0.25), scaling(0.5, 4.0)),
        (scaling(1.7, centre=(5.0, 9.0)), scaling(1 / 1.7, centre=(5.0, 9.0))),
        (rotation(33.0, centre=(5.0, 9.0)), rotation(-33.0, centre=(5.0, 9.0))),
        (hflip(17.0), hflip(17.0)),
    ],
)
def test_a_map_and_its_opposite_cancel(there, back):
    np.testing.assert_allclose(compose(there, back), np.eye(3), atol=1e-12)
    assert not np.allclose(transform_points(there, POINTS), POINTS)


@settings(max_examples=50, deadline=None)
@given(angles, factors, offsets, offsets)
def test_inverse_returns_every_point(angle, factor, dx, dy):
    matrix = compose(rotation(angle), scaling(factor, centre=(3, 4)), translation(dx, dy), hflip(20))
    back = transform_points(np.linalg.inv(matrix), transform_points(matrix, POINTS))
    np.testing.assert_allclose(back, POINTS, atol=1e-9)


def test_compose_applies_the_first_map_first():
    # Shift then double, not double then shift.
    np.testing.assert_allclose(transform_points(compose(translation(1, 0), scaling(2)), [[3.0, 5.0]]), [[8.0, 10.0]])
    np.testing.assert_array_equal(compose(), np.eye(3))


def test_resizing_multiplies_and_flipping_subtracts():
    # The module's convention: the image is [0, W] x [0, H], so neither needs half a pixel.
    np.testing.assert_allclose(transform_points(scaling(3.0), POINTS), POINTS * 3)
    np.testing.assert_allclose(transform_points(hflip(32.0), [[0.5, 7.0]]), [[31.5, 7.0]])


def test_rotation_turns_x_towards_y():
    np.testing.assert_allclose(transform_points(rotation(90), [[1.0, 0.0]]), [[0.0, 1.0]], atol=1e-12)
    np.testing.assert_allclose(transform_points(rotation(70, centre=(4, 6)), [[4.0, 6.0]]), [[4.0, 6.0]])


def test_nan_points_stay_nan():
    moved = transform_points(compose(rotation(20), translation(1, 1)), [[1.0, 2.0], [np.nan, np.nan]])
    assert np.isfinite(moved[0]).all()
    assert np.isnan(moved[1]).all()


# --- boxes


def test_box_of_points_ignores_unlabelled_points():
    assert box_of_points([[3, 9], [np.nan, np.nan], [7, 4]]) == Box(3, 4, 7, 9)


def test_box_of_no_points_says_what_to_do():
    with pytest.raises(ValueError, match=r"no finite point .*; give a box") as error:
        box_of_points([[np.nan, np.nan]])
    assert "\n" not in str(error.value)


def test_box_changes_by_hand():
    box = Box(2, 4, 8, 8)
    assert (box.width, box.height, box.centre) == (6, 4, (5, 6))
    assert box.scaled(2) == Box(-1, 2, 11, 10)
    assert box.shifted(1, -1) == Box(3, 3, 9, 7)


@settings(max_examples=60, deadline=None)
@given(offsets, offsets, st.floats(1, 100), st.floats(1, 100))
def test_box_inside_moves_and_only_shrinks_where_it_must(left, top, width, height):
    box = Box(left, top, left + width, top + height)
    kept = box.inside(60, 40)
    assert kept.left >= -1e-9
    assert kept.top >= -1e-9
    assert kept.right <= 60 + 1e-9
    assert kept.bottom <= 40 + 1e-9
    assert math.isclose(kept.width, min(width, 60), abs_tol=1e-9)
    assert math.isclose(kept.height, min(height, 40), abs_tol=1e-9)
    if left >= 0 and top >= 0 and box.right <= 60 and box.bottom <= 40:
        np.testing.assert_allclose(kept, box, atol=1e-9)


def test_box_inside_takes_the_shortest_way():
    assert Box(-5, 10, 5, 20).inside(60, 40) == Box(0, 10, 10, 20)
    assert Box(55, 35, 65, 45).inside(60, 40) == Box(50, 30, 60, 40)


def test_box_map_fits_the_whole_box_centred():
    # A 40 x 20 box in an 80 x 80 canvas: twice as large, with 20 rows above and below it.
    matrix = box_map(Box(10, 10, 50, 30), (80, 80))
    np.testing.assert_allclose(transform_points(matrix, [[10, 10], [50, 30]]), [[0, 20], [80, 60]], atol=1e-9)
    stretched = box_map(Box(10, 10, 50, 30), (80, 80), keep_aspect=False)
    np.testing.assert_allclose(transform_points(stretched, [[10, 10], [50, 30]]), [[0, 0], [80, 80]], atol=1e-9)


def test_box_map_takes_height_before_width():
    matrix = box_map(Box(0, 0, 10, 10), (20, 40))
    np.testing.assert_allclose(transform_points(matrix, [[0, 0], [10, 10]]), [[10, 0], [30, 20]], atol=1e-9)


@pytest.mark.parametrize("box", [Box(3, 3, 3, 9), Box(3, 9, 8, 2)])
def test_an_empty_box_is_refused_in_one_sentence(box):
    with pytest.raises(ValueError, match="is empty; right must exceed left") as error:
        box_map(box, (8, 8))
    assert "\n" not in str(error.value)


# --- warping


@pytest.mark.parametrize("size", [(80, 80), (37, 53), (1, 1), (192, 256)])
def test_identity_returns_the_image(size):
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    same = warp(image, np.eye(3), size)
    assert same.dtype == torch.float32
    # Sampling coordinates are float32: far below a grey level, so the 8-bit image comes back exactly.
    torch.testing.assert_close(same, image.float(), atol=0.02, rtol=0)
    torch.testing.assert_close(same.round().to(torch.uint8), image, atol=0, rtol=0)


def test_whole_pixel_shift_and_flip_are_exact():
    image = torch.arange(4 * 6, dtype=torch.float32).reshape(1, 4, 6)
    torch.testing.assert_close(warp(image, hflip(6), (4, 6)), image.flip(-1), atol=1e-4, rtol=0)
    shifted = warp(image, translation(2, 1), (4, 6))
    torch.testing.assert_close(shifted[:, 1:, 2:], image[:, :-1, :-2], atol=1e-4, rtol=0)
    assert shifted[:, :1].abs().max() < 1e-4
    assert shifted[:, :, :2].abs().max() < 1e-4


def blob(xy, sigma, size):
    """A Gaussian centred at `xy`, sampled at pixel centres."""
    x, y = torch.arange(size[1]) + 0.5 - xy[0], torch.arange(size[0]) + 0.5 - xy[1]
    return 200 * torch.exp(-(x**2 + y[:, None] ** 2) / (2 * sigma**2))[None]


def centroid(image):
    """Centre of mass of one channel, pixels."""
    mass = image[0].double()
    x, y = torch.arange(mass.shape[1]) + 0.5, torch.arange(mass.shape[0]) + 0.5
    return np.array([(mass.sum(0) * x).sum() / mass.sum(), (mass.sum(1) * y).sum() / mass.sum()])


@settings(max_examples=60, deadline=None)
@given(
    source=st.tuples(st.floats(60, 100), st.floats(60, 100)),
    target=st.tuples(st.floats(26, 54), st.floats(26, 54)),
    angle=angles,
    factor=st.floats(0.2, 2.0),
    mirror=st.booleans(),
    enlarge_box=st.booleans(),
)
def test_image_and_points_move_together(source, target, angle, factor, mirror, enlarge_box):
    # Wide enough to be smooth on the canvas at any factor, and to stay wholly on it.
    sigma = max(2.0, 1.4 / factor)
    image = blob(source, sigma, (160, 160))
    matrix = compose(
        translation(-source[0], -source[1]), scaling(factor), rotation(angle), translation(target[0], target[1])
    )
    size = (90, 80) if enlarge_box else (80, 100)
    if mirror:
        matrix = compose(matrix, hflip(size[1]))
    expected = transform_points(matrix, [source])[0]
    distance = np.linalg.norm(centroid(warp(image, matrix, size)) - expected)
    assert distance < 0.05


@pytest.mark.parametrize("factor", [0.2, 0.31, 0.5, 1.0, 2.0])
def test_brightness_is_kept_when_the_size_changes(factor):
    # Total intensity grows with the area: neither the blocks nor the taps of the shrinking may lose any.
    image = blob((80.3, 79.1), 8.0, (160, 160))
    size = (round(160 * factor), round(160 * factor))
    changed = warp(image, scaling(size[1] / 160), size)
    assert changed.sum().item() == pytest.approx(image.sum().item() * (size[1] / 160) ** 2, rel=2e-3)


@pytest.mark.parametrize(("shrink", "angle"), [(4, 0), (4, 45), (5, 20), (3.5, 0)])
def test_a_fine_checkerboard_shrinks_to_grey(shrink, angle):
    board = (torch.arange(240)[:, None] + torch.arange(240)) % 2 * 255.0
    matrix = compose(rotation(angle, centre=(120, 120)), scaling(1 / shrink))
    small = warp(board[None], matrix, (int(240 / shrink), int(240 / shrink)))
    middle = small[0, 12:-12, 12:-12]
    # Point sampling would give stripes or noise of the full 0..255.
    assert middle.numel() > 100
    assert (middle - 127.5).abs().max() < 8


@pytest.mark.parametrize("shrink", [2, 3, 4, 5.5, 7])
def test_noise_is_averaged_over_the_whole_footprint(shrink):
    # The mean of s x s independent pixels has a standard deviation s times smaller; sampling fewer of them leaves more.
    noise = torch.rand(1, 400, 400, generator=torch.Generator().manual_seed(0))
    small = warp(noise, scaling(1 / shrink), (int(400 / shrink), int(400 / shrink)))[0, 2:-2, 2:-2]
    assert small.std() < 1.15 * noise.std() / shrink


@pytest.mark.parametrize("side", [40, 41, 42, 43])
def test_the_last_pixels_count_where_the_blocks_do_not_divide_the_image(side):
    small = warp(torch.ones(1, side, side), scaling(0.25), (12, 12))
    assert small.sum().item() == pytest.approx(side**2 / 16, rel=1e-3)


def test_a_pattern_coarse_enough_survives_shrinking():
    # The other side of anti-aliasing: 16-pixel checks shrunk 4x are still 0 and 255 in their middles.
    board = ((torch.arange(160)[:, None] // 16 + torch.arange(160) // 16) % 2 * 255.0)[None]
    small = warp(board, scaling(0.25), (40, 40))
    np.testing.assert_allclose(small[0, 1, 1::4][:4], [0, 255, 0, 255], atol=1e-3)


@pytest.mark.parametrize("factor", [1.0, 0.2])
def test_outside_is_filled(factor):
    image = torch.full((1, 40, 40), 10.0)
    warped = warp(image, compose(scaling(factor), translation(20, 0)), (50, 80), fill=99.0)
    assert warped[0, 5, 22].item() == pytest.approx(10, abs=1e-3)
    assert warped[0, 5, 5].item() == pytest.approx(99, abs=1e-3)
    assert warped[0, 48, 70].item() == pytest.approx(99, abs=1e-3)


@pytest.mark.parametrize("factor", [1.0, 0.25, 2.0])
@pytest.mark.parametrize("fill", [0.0, 31.0])
def test_a_map_wholly_outside_gives_fill(factor, fill):
    image = torch.full((3, 40, 40), 200, dtype=torch.uint8)
    warped = warp(image, compose(scaling(factor), translation(500, 500)), (16, 24), fill=fill)
    assert warped.shape == (3, 16, 24)
    torch.testing.assert_close(warped, torch.full((3, 16, 24), fill))


@pytest.mark.parametrize("size", [(72, 96), (192, 256), (250, 300), (31, 57)])
def test_an_image_stretched_over_the_canvas_has_no_dark_edge(size):
    matrix = box_map(Box(0, 0, 256, 192), size, keep_aspect=False)
    assert warp(torch.full((1, 192, 256), 200.0), matrix, size).sub(200).abs().max() < 0.05
