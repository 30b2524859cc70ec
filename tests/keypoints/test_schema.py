"""Schemas: names, mirror images and normalisers."""

import json

import numpy as np
import pytest

from snellen.keypoints import Normaliser, Schema, get_schema, list_schemas
from snellen.keypoints.schema import GENERIC_NORMALISERS

EYES = Schema("eyes", ("left", "right", "chin"), swaps=(("left", "right"),), skeleton=(("left", "chin"),))


@pytest.fixture(params=list_schemas())
def schema(request):
    return get_schema(request.param)


def test_sizes_of_the_built_in_schemas():
    sizes = {"mtfl-5": 5, "ibug-68": 68, "wflw-98": 98, "wings-12": 12}
    assert {name: len(get_schema(name)) for name in list_schemas()} == sizes


def test_mirroring_twice_restores_the_order(schema):
    order = schema.flip_order
    assert sorted(order) == list(range(len(schema)))
    assert [order[i] for i in order] == list(range(len(schema)))


def test_mirror_images_exchange_left_and_right_in_their_names(schema):
    # Whatever the table says, a name with "left" must meet the same name with "right".
    for i, j in enumerate(schema.flip_order):
        a, b = schema.points[i], schema.points[j]
        if a.startswith(("left_", "right_")):
            assert {a.split("_", 1)[0], b.split("_", 1)[0]} == {"left", "right"}


def test_flip_order_by_hand():
    assert EYES.flip_order == (1, 0, 2)
    assert get_schema("mtfl-5").flip_order == (1, 0, 2, 4, 3)
    # A wing's veins keep their names in a mirror.
    assert get_schema("wings-12").flip_order == tuple(range(12))


def test_flip_order_of_a_face_follows_its_geometry():
    # The published iBUG drawing, counted from 1: pairs read off it, and points on the midline that stay.
    order = get_schema("ibug-68").flip_order
    pairs = [(1, 17), (8, 10), (18, 27), (22, 23), (32, 36), (33, 35), (37, 46), (40, 43), (41, 48), (42, 47)]
    pairs += [(49, 55), (51, 53), (60, 56), (61, 65), (68, 66)]
    for a, b in pairs:
        assert order[a - 1] == b - 1
        assert order[b - 1] == a - 1
    midline = [i + 1 for i, j in enumerate(order) if i == j]
    assert midline == [9, 28, 29, 30, 31, 34, 52, 58, 63, 67]


def test_wflw_mirrors_by_the_published_mapping():
    # The mirrored order of public baselines for WFLW (PFLD's Mirror98.txt, PIPNet, mmpose agree), counted from 0.
    order = get_schema("wflw-98").flip_order
    assert list(order[:33]) == list(range(32, -1, -1))
    assert list(order[33:51]) == [46, 45, 44, 43, 42, 50, 49, 48, 47, 37, 36, 35, 34, 33, 41, 40, 39, 38]
    assert list(order[51:60]) == [51, 52, 53, 54, 59, 58, 57, 56, 55]
    assert list(order[60:76]) == [72, 71, 70, 69, 68, 75, 74, 73, 64, 63, 62, 61, 60, 67, 66, 65]
    assert list(order[76:88]) == [82, 81, 80, 79, 78, 77, 76, 87, 86, 85, 84, 83]
    assert list(order[88:]) == [92, 91, 90, 89, 88, 95, 94, 93, 97, 96]


def test_edges_are_indices_of_the_skeleton(schema):
    assert EYES.edges == ((0, 2),)
    used = {schema.points[i] for edge in schema.edges for i in edge}
    # Pupils are dots of their own.
    assert used | {p for p in schema.points if p.endswith("pupil")} == set(schema.points)
    assert len(set(schema.edges)) == len(schema.edges)


def test_a_schema_survives_json(schema):
    again = Schema.from_dict(json.loads(json.dumps(schema.to_dict())))
    assert again == schema
    assert hash(again) == hash(schema)
    assert again.description == schema.description


# --- normalisers


def test_both_normalisers_of_68_points_by_hand():
    xy = np.full((68, 2), 999.0)  # no other point may enter
    # Outer corners 37 and 46, inner corners 40 and 43, counted from 1.
    xy[36], xy[39], xy[42], xy[45] = (10, 20), (20, 24), (40, 24), (50, 32)
    schema = get_schema("ibug-68")
    assert schema.default_normaliser == "inter-ocular"
    assert schema.normalising_distance("inter-ocular", xy) == pytest.approx(np.hypot(40, 12))
    # Eye centres (15, 22) and (45, 28).
    assert schema.normalising_distance("inter-pupil", xy) == pytest.approx(np.hypot(30, 6))


def test_both_normalisers_of_98_points_by_hand():
    xy = np.full((98, 2), 999.0)
    # Outer corners 60 and 72, pupils 96 and 97, counted from 0.
    xy[60], xy[72], xy[96], xy[97] = (10, 20), (50, 32), (15, 22), (45, 28)
    schema = get_schema("wflw-98")
    assert schema.default_normaliser == "inter-ocular"
    assert schema.normalising_distance("inter-ocular", xy) == pytest.approx(np.hypot(40, 12))
    assert schema.normalising_distance("inter-pupil", xy) == pytest.approx(np.hypot(30, 6))


def test_inter_pupil_of_5_points_by_hand():
    xy = [[10.0, 10.0], [13.0, 14.0], [0, 0], [0, 0], [0, 0]]
    assert get_schema("mtfl-5").normalising_distance("inter-pupil", xy) == pytest.approx(5.0)


def test_wing_length_by_hand():
    xy = np.zeros((12, 2))
    xy[6], xy[3] = (5, 5), (65, 85)
    assert get_schema("wings-12").normalising_distance("wing-length", xy) == pytest.approx(100.0)


def test_generic_normalisers_by_hand():
    xy = [[[2.0, 1.0], [18.0, 10.0], [4.0, 3.0]]]  # extent 16 x 9
    assert EYES.normalising_distance("box", xy).tolist() == pytest.approx([12.0])
    assert EYES.normalising_distance("diagonal", xy).tolist() == pytest.approx([np.hypot(16, 9)])
    assert EYES.normalising_distance("pixels", xy).tolist() == [1.0]
    assert EYES.default_normaliser == "box"
    assert EYES.normaliser_names == GENERIC_NORMALISERS


def test_unlabelled_points_make_a_distance_unknown_only_where_it_needs_them():
    schema = get_schema("mtfl-5")
    xy = np.array([[[0.0, 0.0], [3.0, 4.0], [1.0, 1.0], [2.0, 8.0], [6.0, 8.0]]] * 3)
    xy[1, 0] = np.nan  # an eye
    xy[2, 2] = np.nan  # the nose
    found = schema.normalising_distance("inter-pupil", xy)
    np.testing.assert_allclose(found, [5.0, np.nan, 5.0])
    # The box is that of the points there are.
    np.testing.assert_allclose(schema.normalising_distance("diagonal", xy), [10.0, np.hypot(5, 7), 10.0])
    nothing = schema.normalising_distance("box", np.full((2, 5, 2), np.nan))
    assert np.isnan(nothing).all()


# --- refusals


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"points": ()}, "names no points"),
        ({"points": ("a", "b", "a")}, "more than once"),
        ({"points": ("a", "b", "c"), "swaps": (("a", "b"), ("b", "c"))}, "two swap pairs"),
        ({"points": ("left_eye", "nose"), "skeleton": (("left_eye", "nosee"),)}, "nearest: nose"),
        ({"points": ("left_eye",), "swaps": (("left_eye", "left_eyes"),)}, "nearest: left_eye"),
        ({"points": ("a",), "normalisers": (Normaliser("n", ("a",), ("zz",)),)}, "no point 'zz'"),
    ],
)
def test_a_contradiction_is_refused_at_construction(arguments, says):
    with pytest.raises(ValueError, match=says) as error:
        Schema("mine", **arguments)
    assert "'mine'" in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match="nearest: left_eye"):
        get_schema("mtfl-5").index("left_eyee")
    with pytest.raises(ValueError, match="nearest: mtfl-5"):
        get_schema("mtfl5")
    with pytest.raises(ValueError, match=r"no normaliser 'inter-pupils'; it has inter-pupil, box"):
        get_schema("mtfl-5").normalising_distance("inter-pupils", np.zeros((5, 2)))
