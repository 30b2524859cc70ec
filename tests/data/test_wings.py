import itertools
import pickle
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from snellen.data.base import KeypointDataset
from snellen.data.wing_anatomy import CURVES, MEAN_KNOTS, curve_points, landmarks, sample_knots
from snellen.data.wing_drawing import blurred, vein_coverage
from snellen.data.wing_occlusion import KINDS, Occluder, paint_occluder
from snellen.data.wing_textures import splat
from snellen.data.wings import Wings
from snellen.geometry import Box, compose, rotation, scaling, transform_points, translation
from snellen.keypoints.built_in import WINGS_12

MANY = 600


@pytest.fixture(scope="module")
def truth():
    wings = Wings(MANY, seed=3)
    return [wings.keypoints(i) for i in range(MANY)]


@pytest.fixture(scope="module")
def points(truth):
    return np.stack([k.xy for k in truth])


def distance(a, b):
    return float(np.linalg.norm(a - b, axis=-1).mean())


def test_is_a_keypoint_dataset():
    wings = Wings(3, seed=7)
    sample = wings[2]
    assert isinstance(wings, KeypointDataset)
    assert len(wings) == 3
    assert wings.schema is WINGS_12
    assert sample.name == wings.names[2] == "wing-7-000002"
    assert sample.image.shape == (3, 192, 256)
    assert sample.image.dtype == torch.uint8
    assert sample.box == Box(0, 0, 256, 192)
    assert len(list(itertools.islice(iter(wings), 10))) == 3  # stops by IndexError
    assert torch.equal(wings[-1].image, sample.image)
    for index in (3, -4):
        with pytest.raises(IndexError, match="of 3"):
            wings[index]


@pytest.mark.parametrize(("count", "arguments"), [(-1, {}), (1, {"seed": -1}), (1, {"size": (8, 256)})])
def test_wrong_arguments_are_refused_with_a_sentence(count, arguments):
    with pytest.raises(ValueError, match="not"):
        Wings(count, **arguments)


def test_an_image_depends_on_seed_and_index_alone():
    few, many = Wings(6, seed=1), pickle.loads(pickle.dumps(Wings(1000, seed=1)))
    expected = [few[i] for i in range(6)]
    for i in (5, 0, 3):
        again = many[i]
        assert torch.equal(again.image, expected[i].image)
        np.testing.assert_array_equal(again.keypoints.xy, expected[i].keypoints.xy)
        np.testing.assert_array_equal(again.keypoints.visibility, expected[i].keypoints.visibility)
        np.testing.assert_array_equal(many.keypoints(i).xy, expected[i].keypoints.xy)
        assert not torch.equal(Wings(6, seed=2)[i].image, again.image)
    assert len({s.image.numpy().tobytes() for s in expected}) == 6


def test_all_landmarks_lie_in_the_image_and_are_labelled(truth, points):
    assert (points >= 2.9).all()
    assert (points <= np.array([256, 192]) - 2.9).all()
    assert all(k.labelled.all() for k in truth)


@settings(max_examples=15, deadline=None)
@given(height=st.integers(40, 300), width=st.integers(40, 300), index=st.integers(0, 99))
def test_any_size_of_image(height, width, index):
    sample = Wings(100, size=(height, width))[index]
    assert sample.image.shape == (3, height, width)
    assert (sample.keypoints.xy > 0).all()
    assert (sample.keypoints.xy < [width, height]).all()


def test_a_larger_image_shows_the_same_wing():
    small, large = Wings(20), Wings(20, size=(384, 512))
    for i in range(20):
        np.testing.assert_allclose(large.keypoints(i).xy, 2 * small.keypoints(i).xy, atol=1e-9)
        np.testing.assert_array_equal(large.keypoints(i).visibility, small.keypoints(i).visibility)


def test_guessing_the_mean_shape_errs_by_more_than_eight_pixels(points):
    assert distance(points, points.mean(axis=0)) > 8
    low, high = points.min(axis=1, keepdims=True), points.max(axis=1, keepdims=True)
    in_box = (points - low) / (high - low)
    assert distance(points, low + in_box.mean(axis=0) * (high - low)) > 8
    tip, base = WINGS_12.index("l3_end"), WINGS_12.index("costal_break")
    left = points[:, tip, 0] < points[:, base, 0]
    assert 0.4 < left.mean() < 0.6
    for side in (left, ~left):  # even told which wing it is
        guess = low[side] + in_box[side].mean(axis=0) * (high - low)[side]
        assert distance(points[side], guess) > 8


def test_rotation_and_scale_cover_the_documented_range(points):
    # Measured with hypot and atan2 on the axis from the fork to L3's end, folded so that mirrored wings count alike.
    axis = points[:, WINGS_12.index("l3_end")] - points[:, WINGS_12.index("l2_l3_fork")]
    mirrored = axis[:, 0] < 0
    angle = np.degrees(np.arctan2(axis[:, 1], np.abs(axis[:, 0]))) * np.where(mirrored, -1, 1)
    length = np.hypot(*axis.T)
    assert angle.min() < -40
    assert angle.max() > 40
    assert np.abs(angle).max() < 50
    assert abs(np.abs(angle).mean() - 22.5) < 2.5  # uniform
    assert 1.4 / 0.6 * 0.9 < length.max() / length.min() < 1.4 / 0.6 * 1.15


def test_a_fifth_of_the_images_is_occluded(truth):
    occluded = np.array([(k.visibility == 1).sum() for k in truth])
    assert 0.15 < (occluded > 0).mean() < 0.25  # three standard deviations are 0.05
    assert 1 <= occluded[occluded > 0].mean() < 4


@pytest.mark.parametrize("kind", KINDS)
def test_an_occluder_is_opaque(kind):
    # Painted over two different pictures, it leaves the same grey levels inside its rim and nothing far outside.
    unit, target = 1.0, np.array([70.0, 40.0])
    occluder = next(
        o for o in (Occluder.sample(target, unit, np.random.default_rng(k)) for k in range(50)) if o.kind == kind
    )
    y, x = np.mgrid[0:96, 0:128] + 0.5
    inside = occluder.covers(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(x.shape)
    plain, veined = np.full((3, 96, 128), 200, np.float32), np.full((3, 96, 128), 200, np.float32)
    veined[:, 38:42] = 20
    before = veined.copy()
    for image in (plain, veined):
        paint_occluder(image, occluder, unit, np.random.default_rng(9))
    core = torch.from_numpy(inside.astype(np.float32))[None]
    core = -F.max_pool2d(-core, 5, 1, 2)[0].numpy() > 0  # without the soft rim
    assert core.sum() > 50
    np.testing.assert_allclose(plain[:, core], veined[:, core], atol=2)
    far = np.hypot(x - 70, y - 40) > 55
    np.testing.assert_array_equal(veined[:, far], before[:, far])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_an_occluder_always_covers_its_target(seed):
    target = np.array([70.0, 40.0])
    assert Occluder.sample(target, 1.0, np.random.default_rng(seed)).covers(target[None])[0]


def test_landmarks_are_points_of_the_curves():
    wings = Wings(20, seed=5)
    for i in range(20):
        curves, xy = wings.curves(i), wings.keypoints(i).xy
        for name, knots in CURVES.items():
            for position, knot in enumerate(knots):
                if knot in WINGS_12.points:
                    np.testing.assert_allclose(curves[name][16 * position], xy[WINGS_12.index(knot)], atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(x=st.floats(2, 20), y=st.floats(2, 10))
def test_splat_keeps_amount_and_place(x, y):
    plane = splat(np.array([[x, y]]), np.array([3.0]), (12, 22)).astype(np.float64)
    assert plane.sum() == pytest.approx(3)
    across, down = plane.sum(axis=0) / 3, plane.sum(axis=1) / 3
    assert (across * (np.arange(22) + 0.5)).sum() == pytest.approx(x, abs=1e-5)
    assert (down * (np.arange(12) + 0.5)).sum() == pytest.approx(y, abs=1e-5)


def test_blur_keeps_the_amount_and_the_centre():
    plane = np.zeros((21, 31), np.float32)
    plane[10, 15] = 1
    soft = blurred(plane, 1.3)
    assert soft.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(soft, soft[::-1, ::-1], atol=1e-7)


def dark_centres(darkness, curve, reach):
    """Where darkness lies across a curve: signed offset along the normal at each point, by its centroid.

    Reads the picture through torch's grid_sample (align_corners=False), which knows nothing of how it was drawn.
    """
    height, width = darkness.shape
    tangent = np.gradient(curve, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1) / np.linalg.norm(tangent, axis=1)[:, None]
    offset = np.linspace(-reach, reach, 41)
    at = curve[:, None] + offset[:, None] * normal[:, None]
    grid = torch.from_numpy(at / [width, height] * 2 - 1).float()[None]
    profile = F.grid_sample(torch.from_numpy(darkness).float()[None, None], grid, align_corners=False)[0, 0].numpy()
    profile = profile - np.minimum(profile[:, :1], profile[:, -1:])
    return (profile * offset).sum(axis=1) / profile.sum(axis=1), normal


def lonely(curve, others, clearance):
    """Which points of a curve are further than `clearance` from every point of the other curves."""
    return (np.linalg.norm(curve[:, None] - others[None], axis=-1) > clearance).all(axis=1)


def test_drawn_veins_run_where_the_truth_says():
    wings = Wings(8, seed=11)
    offsets = []
    for i in range(8):
        knots, to_pixels, _ = wings._draw_lots(i)
        coverage = vein_coverage(transform_points(to_pixels, knots), float(np.hypot(*to_pixels[:2, 0])), wings.size)
        curves = wings.curves(i)
        for name in ("l2", "l3", "l4", "l5", "posterior_crossvein"):
            others = np.concatenate([c for n, c in curves.items() if n != name])
            keep = lonely(curves[name], others, 7)
            offset, _ = dark_centres(coverage, curves[name], 4)
            offsets.append(offset[keep])
    offsets = np.concatenate(offsets)
    assert len(offsets) > 500
    assert np.abs(offsets).max() < 0.1
    assert abs(offsets.mean()) < 0.01


def test_photographed_veins_run_where_the_truth_says():
    # The finished picture, with everything on it. Half a pixel of wrong convention would show at once in dx or dy.
    wings = Wings(60, seed=12)
    shifts = []
    for i in range(60):
        if (wings.keypoints(i).visibility == 1).any():
            continue
        darkness = 255 - wings[i].image[1].numpy().astype(np.float32)
        curves = wings.curves(i)
        for name in ("l3", "l4", "l5"):
            others = np.concatenate([c for n, c in curves.items() if n != name])
            keep = lonely(curves[name], others, 7)
            offset, normal = dark_centres(darkness, curves[name], 3.5)
            keep &= np.abs(offset) < 1  # dust beside the vein
            # The normal equations of the shift (dx, dy) that best explains offsets along the normals.
            shifts.append((normal[keep].T @ normal[keep], normal[keep].T @ offset[keep]))
    shift = np.linalg.solve(sum(a for a, _ in shifts), sum(b for _, b in shifts))
    assert np.abs(shift).max() < 0.05


@pytest.mark.parametrize("degrees", [0.0, 33.0])
def test_crossveins_meet_the_long_veins_at_the_landmarks(degrees):
    # Measure both veins beside the junction only, continue them into it, and see where they cross. The crossveins are
    # straightened first, as a line can be continued without guessing at its curvature.
    size, scale = (700, 1000), 850.0
    knots = sample_knots(np.random.default_rng(4))
    names = list(MEAN_KNOTS)
    crossveins = ("anterior_crossvein", "posterior_crossvein")
    for cross in crossveins:
        start, middle, end = (names.index(k) for k in CURVES[cross])
        knots[middle] = (knots[start] + knots[end]) / 2
    pose = compose(scaling(scale), rotation(degrees), translation(110, 260 if not degrees else 90))
    placed = transform_points(pose, knots)
    coverage = vein_coverage(placed, scale, size)
    curves = curve_points(placed, 200)
    for cross in crossveins:
        span = np.linalg.norm(curves[cross][-1] - curves[cross][0])
        for end in (0, -1):
            landmark = landmarks(placed)[WINGS_12.index(CURVES[cross][end])]
            lines = []
            for name, degree in ((CURVES[cross][end][-2:], 3), (cross, 1)):
                away = np.linalg.norm(curves[name] - landmark, axis=1)
                offset, normal = dark_centres(coverage, curves[name], 5)
                near = (away > 11) & (away < 0.75 * span)
                measured = (curves[name] + offset[:, None] * normal)[near] - landmark
                along = measured[-1] - measured[0]
                along /= np.linalg.norm(along)
                across = np.array([-along[1], along[0]])
                t = np.linspace(-6, 6, 1201)
                course = np.polyval(np.polyfit(measured @ along, measured @ across, degree), t)
                lines.append(t[:, None] * along + course[:, None] * across)
            gap = np.linalg.norm(lines[0][:, None] - lines[1][None], axis=-1)
            crossing = lines[0][np.unravel_index(gap.argmin(), gap.shape)[0]]
            # 850 px of wing are 3.6 times the largest one at 256 px width: 0.36 px here are 0.1 px there.
            assert np.linalg.norm(crossing) < 0.36, (cross, end)


def test_drawing_is_fast_enough_to_train_on():
    wings = Wings(40)
    wings[0]  # the textures are made once
    start = time.process_time()
    for i in range(1, 31):
        wings[i]
    assert (time.process_time() - start) / 30 < 0.05  # about 0.008 on one core; the bound allows for a busy machine
