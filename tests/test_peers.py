"""What benchmarks/peers.py compares by: the table of mesh vertices, boxes for others' detectors, scores, turns of timing."""

import dataclasses
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from snellen import api
from snellen.geometry import Box
from snellen.keypoints import get_schema

IBUG = get_schema("ibug-68")
#: Vertices of mediapipe's mesh that mirror each other, from its drawing; vertices of the middle line mirror themselves.
MIRRORED = {
    127: 356, 234: 454, 93: 323, 132: 361, 58: 288, 172: 397, 136: 365, 150: 379, 176: 400,
    70: 300, 63: 293, 105: 334, 66: 296, 107: 336, 75: 305, 97: 326,
    33: 263, 160: 387, 158: 385, 133: 362, 153: 380, 144: 373,
    61: 291, 39: 269, 37: 267, 91: 321, 84: 314, 78: 308, 82: 312, 87: 317,
}  # fmt: skip
MIDDLE = {152, 168, 6, 197, 195, 5, 4, 2, 0, 17, 13, 14}


@pytest.fixture(scope="module")
def scripts():
    folder = str(Path(__file__).parents[1] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("peers"), importlib.import_module("peer_models")
    finally:
        sys.path.remove(folder)


def test_a_mirrored_mesh_is_mirrored_points(scripts):
    table = scripts[1].MESH_TO_IBUG
    assert len(table) == len(IBUG)
    both = MIRRORED | {b: a for a, b in MIRRORED.items()} | {v: v for v in MIDDLE}
    for vertices, partner in zip(table, IBUG.flip_order, strict=True):
        assert {both[v] for v in vertices} == set(table[partner])


def test_vertices_become_points(scripts):
    vertices = np.stack((np.arange(478.0), -np.arange(478.0)), axis=1)
    points = scripts[1].from_mesh(vertices)
    assert points.shape == (68, 2)
    np.testing.assert_array_equal(points[[36, 45, 48]], [[33, -33], [263, -263], [61, -61]])
    np.testing.assert_array_equal(points[27], [87, -87])  # between 168 and 6


def test_a_rectangle_is_put_back_where_it_lay(scripts):
    models = scripts[1]
    box, rectangle = Box(10, 20, 110, 120), Box(35, 50, 95, 110)
    frame = models.relative(box, rectangle)
    assert frame == pytest.approx((0.05, 0.1, 0.6))
    assert tuple(models.placed(box, frame)) == pytest.approx(tuple(rectangle))
    assert tuple(models.placed(Box(0, 0, 10, 10), frame)) == pytest.approx((2.5, 3, 8.5, 9))


def test_the_median_rectangle_is_of_the_largest_in_each_box(scripts):
    median_frame, box = scripts[1].median_frame, Box(0, 0, 100, 100)
    elsewhere, small = Box(200, 0, 300, 100), Box(10, 10, 20, 20)
    found = [[elsewhere, small, Box(0, 0, 60, 60)], [], [Box(0, 0, 80, 80)], [Box(20, 20, 90, 90)]]
    assert median_frame([box] * 4, found) == pytest.approx((-0.1, -0.1, 0.7))
    with pytest.raises(ValueError, match="none of 1 faces"):
        median_frame([box], [[elsewhere]])


@pytest.mark.parametrize("box", [Box(-3, -2, 4, 5), Box(2, 3, 20, 21), Box(40, 40, 45, 45), Box(1, 1, 5, 5)])
def test_a_cut_keeps_places(scripts, box):
    photo = np.arange(1, 1 + 8 * 9 * 3, dtype=np.uint8).reshape(8, 9, 3)
    part, (left, top) = scripts[1].cut(photo, box)
    assert part.shape == (box.height, box.width, 3)
    for y, x in np.ndindex(part.shape[:2]):
        inside = 0 <= y + top < 8 and 0 <= x + left < 9
        np.testing.assert_array_equal(part[y, x], photo[y + top, x + left] if inside else 0)


def test_constant_offsets_in_the_frame_of_the_eyes_are_taken_out(scripts):
    """Faces turned, scaled and moved: answers off by the same share of the eyes' vector come out right, none stays none."""
    models, rng = scripts[1], np.random.default_rng(0)
    shape, off = rng.normal(size=(68, 2)), 0.1 * rng.normal(size=(68, 2))
    off[[36, 45]] = 0
    turns = [np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) * s for a, s in ((0.3, 20), (-1, 50), (2, 30))]
    true = np.stack([shape @ turn + 100 for turn in turns])
    pred = np.stack([(shape + off) @ turn + 100 for turn in turns])
    pred[1] = np.nan
    moved = models.moved_by_eyes(pred, models.eye_offsets(pred, true))
    np.testing.assert_allclose(moved[[0, 2]], true[[0, 2]])
    assert np.isnan(moved[1]).all()


def test_scores_of_answers(scripts):
    """All points right on one photo, all 5 px off on the next, and none on the third: its box's centre counts."""
    peers, config = scripts[0], api.resolve("faces68-rcn")
    rng = np.random.default_rng(0)
    true = rng.uniform(0, 100, (3, 68, 2))
    true[:, 36], true[:, 45] = (20, 40), (70, 40)  # inter-ocular: 50
    pred = true + np.array([[0, 0], [3, 4], [np.nan, np.nan]])[:, None]
    scores, filled = peers.outside_scores(pred, true, [Box(0, 0, 100, 100)] * 3, IBUG, config)
    np.testing.assert_array_equal(filled[2], np.full((68, 2), 50.0))
    far = np.hypot(*(true[2] - 50).T).mean() / 50
    assert scores["normaliser"] == "inter-ocular"
    assert scores["nme"] == pytest.approx((0 + 0.1 + far) / 3)
    assert scores["unanswered"] == 1
    assert scores["other_normalisers"].keys() == {"inter-pupil"}


@dataclasses.dataclass
class Slow:
    """Takes `fixed` seconds a call and `each` a photo on a clock of its own."""

    clock: list[float]
    fixed: float
    each: float
    note = ""

    def answer(self, photos, boxes):
        assert len(photos) == len(boxes)
        self.clock[0] += self.fixed + self.each * len(photos)


def test_times_are_of_a_photo(scripts):
    clock = [0.0]
    asked = {"quick": Slow(clock, 0.008, 0.001), "slow": Slow(clock, 0.0, 0.01)}
    photos, boxes = [np.zeros((4, 4, 3), np.uint8)] * 8, [Box(0, 0, 4, 4)] * 8
    times = scripts[0].interleaved(asked, photos, boxes, rounds=3, batch=4, clock=lambda: clock[0])
    assert times["quick"] == {1: pytest.approx([9] * 3), 4: pytest.approx([3] * 3)}
    assert times["slow"] == {1: pytest.approx([10] * 3), 4: pytest.approx([10] * 3)}


def test_the_records_of_a_peer(scripts):
    """Differences to ours are photo by photo; a peer's weights are marked as coming from elsewhere."""
    peers, config = scripts[0], api.resolve("faces68-rcn")
    true = np.random.default_rng(0).uniform(0, 100, (4, 68, 2))
    true[:, 36], true[:, 45] = (20, 40), (70, 40)
    theirs = Slow([0.0], 0, 0)
    theirs.note, theirs.pretrained, theirs.versions = "of theirs", True, {"theirs": "1.0"}
    boxes = [Box(0, 0, 100, 100)] * 4
    rows = {
        name: peers.outside_row(theirs, true + shift, true, boxes, IBUG, config)
        for name, shift in (("snellen", [0, 1]), ("dlib", [3, 4]))
    }
    records = {(r.name, r.metric): r for r in peers.accuracy_records(rows, lambda name: f"of {name}", "4 photos")}
    assert records["peers/dlib", "nme"].values == pytest.approx([10])
    gap = records["peers/dlib", "nme minus ours, same photos"]
    assert [*gap.values, *gap.interval] == pytest.approx([8, 8, 8])
    assert ("peers/snellen", gap.metric) not in records
    assert all(r.pretrained and r.versions["theirs"] == "1.0" and "of theirs" in r.note for r in records.values())


def test_every_scoring_of_test_photos_is_counted(scripts, tmp_path, monkeypatch):
    peers, config = scripts[0], api.resolve("faces68-rcn", {"data.root": "some/faces68"})
    outcomes = [({"nme": value, "normaliser": "inter-ocular"}, {}) for value in (0.03, 0.04)]
    rows = {
        "hrnet": peers.Row(outcomes, np.zeros(5), [1, 2], False, ""),
        "dlib": peers.Row(outcomes[:1], np.zeros(5), [0], True, ""),
    }
    monkeypatch.chdir(tmp_path)
    peers._count(rows, config, 5, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "test-evaluations.jsonl").read_text().splitlines()]
    assert [(x["run"], x["seed"], x["value"]) for x in lines] == [
        ("peers-hrnet", 1, 0.03), ("peers-hrnet", 2, 0.04), ("peers-dlib", 0, 0.03),
    ]  # fmt: skip
    assert {(x["metric"], x["data"], x["images"]) for x in lines} == {("nme / inter-ocular", "faces68", 5)}
