"""`Keypoints`: what is labelled, and what a mirror does to names."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from snellen.geometry import hflip, transform_points
from snellen.keypoints import OCCLUDED, UNLABELLED, VISIBLE, Keypoints, get_schema

MTFL = get_schema("mtfl-5")
XY = np.array([[10.0, 20.0], [30.0, 21.0], [19.0, 30.0], [12.0, 40.0], [28.0, 41.0]])


def test_nan_and_unlabelled_mean_the_same():
    xy = XY.copy()
    xy[1, 0] = np.nan  # half a point is no point
    points = Keypoints(xy, [VISIBLE, VISIBLE, UNLABELLED, OCCLUDED, VISIBLE], MTFL)
    assert points.visibility.tolist() == [VISIBLE, UNLABELLED, UNLABELLED, OCCLUDED, VISIBLE]
    assert points.labelled.tolist() == [True, False, False, True, True]
    assert np.isnan(points.xy[1:3]).all()
    np.testing.assert_array_equal(points.xy[[0, 3, 4]], XY[[0, 3, 4]])


def test_infinite_coordinates_are_no_label():
    xy = XY.copy()
    xy[0] = np.inf
    assert Keypoints.visible(xy, MTFL).labelled.tolist() == [False, True, True, True, True]


def test_the_callers_array_is_not_changed():
    xy = XY.copy()
    points = Keypoints(xy, [0, 2, 2, 2, 2], MTFL)
    np.testing.assert_array_equal(xy, XY)
    xy[3] = -1
    np.testing.assert_array_equal(points.xy[3], XY[3])


def test_a_mirror_exchanges_names_visibility_and_scores():
    points = Keypoints(XY, [1, 2, 2, 2, 1], MTFL, np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    mirrored = points.mirrored(100)
    # The left eye of the mirrored image is the former right eye, seen from the other side.
    np.testing.assert_array_equal(mirrored.xy, [[70, 21], [90, 20], [81, 30], [72, 41], [88, 40]])
    assert mirrored.visibility.tolist() == [2, 1, 2, 1, 2]
    np.testing.assert_array_equal(mirrored.score, [0.2, 0.1, 0.3, 0.5, 0.4])


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["mtfl-5", "ibug-68", "wings-12"]), st.integers(1, 500), st.data())
def test_mirrored_twice_is_the_same(name, width, data):
    schema = get_schema(name)
    k = len(schema)
    xy = data.draw(arrays(np.float64, (k, 2), elements=st.floats(-1000, 1000) | st.just(np.nan)))
    visibility = data.draw(arrays(np.int64, k, elements=st.integers(0, 2)))
    points = Keypoints(xy, visibility, schema, np.linspace(0, 1, k))
    twice = points.mirrored(width).mirrored(width)
    np.testing.assert_allclose(twice.xy, points.xy, atol=1e-9)
    np.testing.assert_array_equal(twice.visibility, points.visibility)
    np.testing.assert_array_equal(twice.score, points.score)


def test_a_map_keeps_names_with_their_points():
    moved = Keypoints.visible(XY, MTFL).transformed(hflip(100))
    np.testing.assert_array_equal(moved.xy, transform_points(hflip(100), XY))
    # `mirrored` is that map and the exchange of names.
    np.testing.assert_array_equal(moved.xy[list(MTFL.flip_order)], Keypoints.visible(XY, MTFL).mirrored(100).xy)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((XY[:4], [2, 2, 2, 2]), r"has 5 points, so xy must be \(5, 2\), not \(4, 2\)"),
        ((XY, [2, 2, 2, 2]), "visibility must be 5 codes"),
        ((XY, [2, 2, 2, 2, 3]), "visibility must be 5 codes"),
    ],
)
def test_wrong_shapes_and_codes_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        Keypoints(*arguments, MTFL)


def test_one_score_a_point():
    with pytest.raises(ValueError, match=r"score must be 5 numbers"):
        Keypoints(XY, [2] * 5, MTFL, np.zeros(4))
