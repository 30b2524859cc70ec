"""A second pair of eyes, judged by a denoiser whose knowledge is exact."""

import math

import numpy as np
import pytest
from PIL import Image

from snellen.config import ConfigError
from snellen.data.boxes import square_box
from snellen.evaluation.suspect_pictures import write_suspect_pictures
from snellen.evaluation.suspects import rank_suspects
from snellen.geometry import Box
from snellen.keypoints import Keypoints, Schema
from structures import SCHEMA, SIZE, known_structure, shapes

WHOLE = Box(0, 0, SIZE, SIZE)


def ranked(xy, judge=None, **options):
    objects = [Keypoints.visible(points, SCHEMA) for points in xy]
    made = {"boxes": [WHOLE] * len(objects), "sizes": [(SIZE, SIZE)] * len(objects), **options}
    return rank_suspects(objects, judge or known_structure(), **made)


@pytest.fixture
def planted():
    """Six objects: the second has a moved nose, the fourth exchanged eyes, the fifth a moved mouth corner."""
    xy = shapes(6, still=True)
    xy[1, 2] += [9, -7]
    xy[3, [0, 1]] = xy[3, [1, 0]]
    xy[4, 3] += [-6, 3]
    return xy


def test_planted_errors_head_the_list_and_are_named(planted):
    found = ranked(planted)
    assert {(s.index, s.kind, s.points) for s in found[:3]} == {
        (1, "moved", ("nose",)),
        (3, "swapped", ("left_eye", "right_eye")),
        (4, "moved", ("left_mouth",)),
    }
    # Everything else is as it should be: an exchange is not counted as two moved points more.
    assert max(s.score for s in found[3:]) < 0.1


def test_every_point_and_pair_is_ranked_once(planted):
    found = ranked(planted)
    assert len(found) == 6 * (5 + 2)
    assert len({(s.index, s.kind, s.points) for s in found}) == len(found)
    assert [s.score for s in found] == sorted((s.score for s in found), reverse=True)


def test_scores_are_the_densities_ratio():
    """One pixel off a Gaussian of half a pixel: 2 nats, the uniform floor aside; far off, the floor alone is left."""
    xy = shapes(2, still=True)
    xy[0, 2, 0] += 1
    xy[1, 2, 0] += 20
    scores = {(s.index, s.points): s.score for s in ranked(xy, rounds=1) if s.kind == "moved"}
    peak, floor = 0.99 * 4 / (2 * math.pi), 0.01 / SIZE**2  # a square pixel
    expected = math.log((peak + floor) / (peak * math.exp(-2) + floor))
    assert scores[0, ("nose",)] == pytest.approx(expected, abs=1e-3)
    assert scores[1, ("nose",)] == pytest.approx(math.log((peak + floor) / floor), abs=1e-3)


def test_expected_places_are_in_the_images_pixels(planted):
    nose = next(s for s in ranked(planted) if s.index == 1)
    np.testing.assert_allclose(nose.annotated, [planted[1, 2]])
    np.testing.assert_allclose(nose.expected, [planted[1, 2] - [9, -7]], atol=1e-3)
    assert "nose lies where it hardly can" in str(nose)
    swap = next(s for s in ranked(planted) if s.kind == "swapped")
    np.testing.assert_allclose(swap.expected, swap.annotated[::-1], atol=1e-3)
    assert "left for right" in str(swap)


def test_unlabelled_points_are_not_judged(planted):
    planted[:, 0] = np.nan
    found = ranked(planted)
    assert not [s for s in found if "left_eye" in s.points]
    assert (found[0].index, found[0].points) == (1, ("nose",))
    assert ranked(np.full((1, 5, 2), np.nan)) == []


def test_the_box_is_made_of_the_points_that_are_trusted(planted):
    """One point far outside stretches the square box; the others must not look wrong for it."""
    judge = known_structure()
    side = 48 / 10  # the template's height is 10 of 48 pixels
    judge.card["box"] = {"rule": "square", "scale": side}
    xy = shapes(2, still=True)
    xy[0, 2] += [60, 60]
    boxes = [square_box(Keypoints.visible(p, SCHEMA), side) for p in xy]
    found = ranked(xy, judge, boxes=boxes)
    assert (found[0].index, found[0].points) == (0, ("nose",))
    np.testing.assert_allclose(found[0].expected, [xy[0, 2] - 60], atol=0.05)


def test_refusals(planted):
    other = Schema("six", (*SCHEMA.points, "chin"))
    with pytest.raises(ConfigError, match=r"'five' \(5 points, left_eye first\), but these points follow 'six'"):
        rank_suspects([Keypoints.visible(np.zeros((6, 2)), other)], known_structure(), boxes=[WHOLE], sizes=[(9, 9)])
    unpaired = Schema("five", SCHEMA.points)
    with pytest.raises(ConfigError, match="other left and right pairs"):
        rank_suspects([Keypoints.visible(planted[0], unpaired)], known_structure(), boxes=[WHOLE], sizes=[(9, 9)])
    with pytest.raises(ValueError, match="equally many"):
        ranked(planted, boxes=[WHOLE])
    with pytest.raises(ValueError, match="rounds=0"):
        ranked(planted, rounds=0)


def test_pictures(planted, tmp_path):
    objects = [Keypoints.visible(points, SCHEMA) for points in planted]
    found = ranked(planted)
    asked = []

    def image(index):
        asked.append(index)
        return np.full((SIZE, SIZE, 3), 200, dtype=np.uint8)

    files = write_suspect_pictures(found, objects, [WHOLE] * 6, tmp_path / "new", image=image, count=3)
    assert asked == [s.index for s in found[:3]]
    assert [f.name for f in files] == [f"{i:03d}-object{s.index}-{s.kind}.png" for i, s in enumerate(found[:3], 1)]
    for file in files:
        picture = np.asarray(Image.open(file).convert("RGB")).reshape(-1, 3)
        assert (np.abs(picture.astype(int) - [0xD5, 0x5E, 0x00]).sum(axis=1) < 60).any()  # the ring
    assert len(write_suspect_pictures(found[:1], objects, [WHOLE] * 6, tmp_path / "white")) == 1
