"""Gaze data: directions, mirrored and turned pictures, readers, people apart, scenes."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gazes import SIDE, eye, write_gazecapture, write_gazes
from real import DATA, needs
from refusals import refuse
from snellen.config import ConfigError, GazeAugmentConfig, GazeDataConfig
from snellen.data import DataError, GazeCanvas, GazeDataset, GazePartsCanvas, GazeScenes, build_gaze
from snellen.data.gaze import people_held_out
from snellen.data.gaze_angles import angles_of, angular_error, angular_loss, direction, mirrored, rotated
from snellen.data.gaze_canvas import GazeBatch, face_grid, turned_by
from snellen.data.gaze_table import read_gaze_table
from snellen.geometry import Box, compose, hflip, rotation, scaling, warp
from snellen.keypoints.formats import AnnotationError

gazes = st.tuples(st.floats(-80, 80), st.floats(-170, 170))


@given(gazes)
def test_directions_are_unit_vectors_and_come_back(gaze):
    vector = direction(gaze)
    assert np.linalg.norm(vector) == pytest.approx(1)
    np.testing.assert_allclose(angles_of(3 * vector), gaze, atol=1e-9)


@given(gazes, gazes)
def test_angular_error_is_the_angle_and_what_a_loss_sees(first, second):
    error = angular_error(first, second)
    assert error == pytest.approx(np.degrees(np.arccos(np.clip(direction(first) @ direction(second), -1, 1))), abs=1e-5)
    loss = angular_loss(torch.tensor([first], dtype=torch.float64), torch.tensor([second], dtype=torch.float64))
    assert loss.item() == pytest.approx(error, abs=2e-4)


def test_loss_has_a_finite_gradient_where_the_answer_is_right():
    found = torch.tensor([[3.0, -4.0]], requires_grad=True)
    angular_loss(found, found.detach()).sum().backward()
    assert found.grad.isfinite().all()


@given(gazes, gazes, st.floats(-180, 180))
def test_mirroring_and_turning_keep_angles_between_gazes(first, second, turn):
    between = angular_error(first, second)
    assert angular_error(mirrored(first), mirrored(second)) == pytest.approx(between, abs=1e-6)
    assert angular_error(rotated(first, turn), rotated(second, turn)) == pytest.approx(between, abs=1e-6)
    # Mirrored after a turn is turned the other way after mirroring.
    np.testing.assert_allclose(
        direction(mirrored(rotated(first, turn))), direction(rotated(mirrored(first), -turn)), atol=1e-9
    )


def test_a_point_is_mirrored_in_x():
    np.testing.assert_array_equal(mirrored([[2.0, -3.0]], "point"), [[-2.0, -3.0]])


@given(st.floats(-170, 170), st.booleans(), st.floats(0.8, 1.2))
def test_turn_of_a_map_is_read_off_it(degrees, flipped, stretch):
    matrix = compose(scaling(2 * stretch, 2, centre=(5, 9)), rotation(degrees, centre=(3, 4)))
    assert turned_by(compose(matrix, hflip(20)) if flipped else matrix, flipped) == pytest.approx(degrees, abs=1e-6)


def centroid(image):
    """Where the disc is, in pixels from the middle; the bar at the border is less dark."""
    dark = (60 - image[0]).clamp(min=0)
    y, x = torch.meshgrid(*(torch.arange(side) + 0.5 - side / 2 for side in image.shape[-2:]), indexing="ij")
    return np.array([(dark * x).sum() / dark.sum(), (dark * y).sum() / dark.sum()])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_gazes(tmp_path_factory.mktemp("gazes"))


@pytest.mark.parametrize("changes", [{"flip": 1.0}, {"rotate": 40}, {"flip": 0.5, "rotate": 40}])
def test_the_gaze_moves_with_the_picture(root, changes):
    """The disc shows the gaze: half a pixel a degree. Whatever is drawn, the label says where it is."""
    data = build_gaze(GazeDataConfig(root=str(root)), "train")
    canvas = GazeCanvas(data, (SIDE, SIDE), GazeAugmentConfig(**changes))
    for i in range(0, len(data), 5):
        drawn = canvas[(0, i)]
        pitch, yaw = drawn["target"].tolist()
        np.testing.assert_allclose(centroid(drawn["image"]), [yaw / 2, -pitch / 2], atol=0.4)


def test_mirroring_negates_the_yaw_and_makes_a_left_eye_a_right_one(root):
    data = build_gaze(GazeDataConfig(root=str(root)), "train")
    flipped = GazeCanvas(data, (SIDE, SIDE), GazeAugmentConfig(flip=1.0))
    for i, entry in enumerate(data.entries[:6]):
        drawn = flipped[i]
        assert drawn["mirrored"]
        assert drawn["target"].tolist() == [entry.target[0], -entry.target[1]]
        bar_right = drawn["image"][0, :, -3:].mean() < drawn["image"][0, :, :3].mean()
        assert bar_right == (entry.eye == "right")  # the inner corner of a left eye is at its right


def test_canonical_shows_left_eyes_alone(root):
    data = build_gaze(GazeDataConfig(root=str(root), canonical=True), "train")
    canvas = GazeCanvas(data, (SIDE, SIDE), canonical=True)
    for i, entry in enumerate(data.entries):
        drawn = canvas[i]
        assert drawn["image"][0, :, -3:].mean() < drawn["image"][0, :, :3].mean()
        assert drawn["mirrored"].item() == (entry.eye == "right")
        sign = -1 if entry.eye == "right" else 1
        assert drawn["target"].tolist() == [entry.target[0], sign * entry.target[1]]


def test_evaluation_shows_the_picture_as_it_is_and_no_head_yaw(root):
    data = build_gaze(GazeDataConfig(root=str(root)), "test")
    drawn = GazeCanvas(data, (SIDE, SIDE))[0]
    assert set(drawn) == {"image", "target", "mirrored", "index", "box"}
    batch = GazeBatch(**{name: value[None] for name, value in drawn.items()})
    assert [tuple(given.shape) for given in batch.inputs] == [(1, 1, SIDE, SIDE)]  # the picture alone
    torch.testing.assert_close(drawn["image"], data[0].image.float(), atol=1e-3, rtol=0)
    assert data.entries[0].head_yaw == 15 * (6 % 3 - 1)


def test_people_are_apart(root):
    people = {
        s: {e.person for e in build_gaze(GazeDataConfig(root=str(root)), s).entries} for s in ("train", "val", "test")
    }
    assert people["test"] == {"6"}
    assert len(people["val"]) == 1
    assert people["train"] | people["val"] == {"1", "2", "3", "4", "5"}
    assert not people["train"] & people["val"]
    chosen = {frozenset(people_held_out(map(str, range(20)), 0.25, seed)) for seed in range(5)}
    assert len(chosen) == 5
    assert {len(c) for c in chosen} == {5}
    # Who is held out among the others does not change when somebody joins, but for the one place.
    before, after = (people_held_out(map(str, range(n)), 0.25, 0) for n in (20, 21))
    assert len(before - after) <= 1
    with pytest.raises(DataError, match="at least two"):
        people_held_out(["a", "a"], 0.5)


def test_a_person_in_two_splits_is_refused(tmp_path):
    write_gazes(tmp_path, people=2)
    text = (tmp_path / "labels.csv").read_text().replace(",15,test", ",15,train", 1)
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match="person 2 is in the split 'train' and in 'test'"):
        build_gaze(GazeDataConfig(root=str(tmp_path)), "train")


def test_plain_csv_of_points_and_its_test_list(tmp_path):
    for i in range(4):
        Image.fromarray(eye(0, 0, "L")).save(tmp_path / f"{i}.png")
    (tmp_path / "a.csv").write_text("person;file;x_cm;y_cm\nann;0.png;1.5;-2\nbob;1.png;0;1\n")
    (tmp_path / "b.csv").write_text("person;file;x_cm;y_cm\ncat;2.png;3;4\n")
    config = GazeDataConfig(root=str(tmp_path), format="csv", annotations="a.csv", test_annotations="b.csv")
    train, val, test = (build_gaze(config, split) for split in ("train", "val", "test"))
    assert train.answer == "point"
    assert {train.entries[0].person, val.entries[0].person} == {"ann", "bob"}
    assert test.entries[0].target == (3.0, 4.0)
    with pytest.raises(ConfigError, match="no test split"):
        build_gaze(GazeDataConfig(root=str(tmp_path), format="csv", annotations="a.csv"), "test")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("file,person,pitch\na.png,x,1\n", "it needs file, person"),
        ("file,person,pitch,yaw\n", "no rows"),
        ("file,person,pitch,yaw\na.png,x,1\n", "row 2: 3 columns where the header has 4"),
        ("file,person,pitch,yaw\na.png,x,1,up\n", "row 2: the yaw is 'up'"),
        ("file,person,pitch,yaw\na.png,x,100,0\n", "row 2: a pitch of 100 degrees lies beyond 90"),
        ("file,person,pitch,yaw\na.png,,1,2\n", "row 2: the person is empty"),
        ("file,person,pitch,yaw\na.png,x,1,2\na.png,x,1,2\n", "row 3: a.png is already in row 2"),
        ("file,person,pitch,yaw,eye\na.png,x,1,2,third\n", "row 2: the eye is 'third'"),
        ("file,person,pitch,yaw,split\na.png,x,1,2,dev\n", "row 2: the split is 'dev'"),
        ("file,person,pitch,yaw,x_cm\na.png,x,1,2,3\n", "both angles and points"),
    ],
)
def test_broken_lists_are_refused(tmp_path, text, says):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    refuse(read_gaze_table, path, says)


def test_a_malformed_row_of_a_list_is_left_out_where_that_is_asked(tmp_path):
    write_gazes(tmp_path, people=4)
    rows = (tmp_path / "labels.csv").read_text().splitlines()
    (tmp_path / "labels.csv").write_text("\n".join([*rows[:3], "images/x.png,1", *rows[3:]]))
    with pytest.raises(AnnotationError, match=r"labels\.csv, row 4: 2 columns"):
        build_gaze(GazeDataConfig(root=str(tmp_path)), "train")
    (sentence,) = build_gaze(GazeDataConfig(root=str(tmp_path), on_error="skip"), "train").skipped
    assert "row 4: 2 columns" in sentence


def test_missing_pictures_are_said_with_their_row_or_left_out(tmp_path):
    write_gazes(tmp_path, people=4)
    (tmp_path / "images" / "1_0_0_L.png").unlink()
    (tmp_path / "images" / "2_0_0_L.png").write_bytes((tmp_path / "images" / "2_0_0_L.png").read_bytes()[:100])
    split = "val" if "1" in people_held_out("123", 0.1) else "train"
    with pytest.raises(DataError, match=r"labels\.csv, row 10: .*1_0_0_L\.png does not exist"):
        build_gaze(GazeDataConfig(root=str(tmp_path)), split)
    skipped = [
        len(build_gaze(GazeDataConfig(root=str(tmp_path), on_error="skip"), split).skipped)
        for split in ("train", "val")
    ]
    assert sum(skipped) == 2


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    return write_gazecapture(tmp_path_factory.mktemp("capture"))


class TestGazeCapture:
    def config(self, root, **changes):
        return GazeDataConfig(root=str(root), format="gazecapture", channels=3, **changes)

    def test_splits_boxes_and_points(self, frames):
        sizes = {split: len(build_gaze(self.config(frames), split)) for split in ("train", "val", "test")}
        assert sizes == {"train": 10, "val": 5, "test": 5}  # the frame without a detection is left out
        data = build_gaze(self.config(frames), "train")
        entry = data.entries[1]
        info = json.loads((frames / "00000" / "dotInfo.json").read_text())
        assert entry.target == (info["XCam"][1], info["YCam"][1])
        assert entry.parts.face == Box(20, 10, 60, 50)
        assert entry.parts.right == Box(24, 16, 36, 24)
        assert entry.parts.left == Box(42, 16, 54, 24)
        assert data[1].box == entry.parts.face

    def test_parts_are_cut_where_the_boxes_are_and_exchanged_when_mirrored(self, frames):
        data = build_gaze(self.config(frames), "train")
        plain, other = (GazePartsCanvas(data, (16, 24), GazeAugmentConfig(flip=flip))[0] for flip in (0.0, 1.0))
        assert plain["image"].shape == (3, 3, 16, 24)
        assert plain["image"][0].max() == pytest.approx(220, abs=1)  # the left eye's shade
        assert plain["image"][1].max() == pytest.approx(240, abs=1)
        torch.testing.assert_close(other["image"][0], plain["image"][1].flip(-1), atol=0.02, rtol=0)
        torch.testing.assert_close(other["image"][2], plain["image"][2].flip(-1), atol=0.02, rtol=0)
        assert torch.equal(other["grid"], plain["grid"].flip(-1))
        assert other["target"].tolist() == [-plain["target"][0], plain["target"][1]]

    def test_people_without_a_split_are_drawn(self, tmp_path):
        root = write_gazecapture(tmp_path, named=False)
        people = [
            {e.person for e in build_gaze(self.config(root, val_share=0.25), s).entries} for s in ("train", "val")
        ]
        assert [len(p) for p in people] == [3, 1]
        assert not people[0] & people[1]

    def test_broken_people_are_refused_or_left_out(self, tmp_path):
        root = write_gazecapture(tmp_path)
        (root / "00001" / "dotInfo.json").write_text('{"XCam": [1]}')
        with pytest.raises(AnnotationError, match=r"dotInfo\.json: XCam has 1 entries for 6 frames"):
            build_gaze(self.config(root), "train")
        data = build_gaze(self.config(root, on_error="skip"), "train")
        assert {e.person for e in data.entries} == {"00000"}
        assert len(data.skipped) == 1


def test_face_grid_is_the_share_of_cells():
    grid = face_grid(Box(0, 0, 10, 5), (50, 25))
    assert grid.shape == (25, 25)
    rows, columns = grid.any(1).nonzero().flatten(), grid.any(0).nonzero().flatten()
    # 2 pixels a row and 1 a column: the face covers 5 / 2 rows, the third by half, and 10 columns.
    assert rows.tolist() == [0, 1, 2]
    assert columns.tolist() == list(range(10))


@pytest.fixture(scope="module")
def scenes(root):
    return build_gaze(GazeDataConfig(root=str(root), clutter=128), "train")


class TestScenes:
    def test_is_a_gaze_data_set_of_pairs(self, root, scenes):
        single = build_gaze(GazeDataConfig(root=str(root)), "train")
        assert isinstance(scenes, GazeDataset)
        assert isinstance(single, GazeDataset)
        assert len(scenes) == len(single) // 2 == len(set(scenes.names))
        for left, right in scenes.pairs:
            one, two = single.entries[left], single.entries[right]
            assert (one.eye, two.eye) == ("left", "right")
            assert (one.person, one.target, one.head_yaw) == (two.person, two.target, two.head_yaw)

    def test_the_box_shows_both_eyes(self, root, scenes):
        single = build_gaze(GazeDataConfig(root=str(root)), "train")
        for i in (0, 7):
            sample = scenes[i]
            box = sample.box
            assert 0 <= box.left < box.right <= 128
            assert 0 <= box.top < box.bottom <= 128
            # Cut out by its box at an eye's own size, either end is that eye's picture, blurred by two resamplings.
            width = round(box.width / box.height * SIDE)
            cut = warp(sample.image, np.diag([SIDE / box.height, SIDE / box.height, 1.0]) @ compose(
                np.array([[1, 0, -box.left], [0, 1, -box.top], [0, 0, 1.0]])
            ), (SIDE, width))  # fmt: skip
            for at, part in zip(scenes.pairs[i], (cut[0, :, :SIDE], cut[0, :, -SIDE:]), strict=True):
                true = single[at].image[0].float()
                assert np.corrcoef(part[2:-2, 2:-2].flatten(), true[2:-2, 2:-2].flatten())[0, 1] > 0.75

    def test_same_scene_from_seed_and_index_alone(self, root, scenes):
        again = build_gaze(GazeDataConfig(root=str(root), clutter=128), "train")
        assert torch.equal(scenes[3].image, again[3].image)
        assert scenes[3].box == again[3].box
        other = GazeScenes(build_gaze(GazeDataConfig(root=str(root)), "train"), 128, seed=9)
        assert other[3].box != scenes[3].box
        assert not torch.equal(other[3].image, scenes[3].image)
        with pytest.raises(IndexError):
            scenes[len(scenes)]

    def test_what_has_no_pairs_is_refused(self, tmp_path):
        write_gazes(tmp_path, people=3)
        lines = (tmp_path / "labels.csv").read_text().splitlines()
        (tmp_path / "labels.csv").write_text("\n".join(line for line in lines if "_R.png" not in line))
        with pytest.raises(DataError, match="no person has both"):
            build_gaze(GazeDataConfig(root=str(tmp_path), clutter=128), "train")


def test_settings_that_cannot_be_are_refused():
    for settings, says in (
        ({"look": "parts"}, "needs data.format 'gazecapture'"),
        ({"look": "object"}, "needs its box"),
        ({"clutter": 64}, "at least 128"),
        ({"format": "gazecapture", "clutter": 200}, "need none"),
        ({"format": "gazecapture", "canonical": True}, "pictures show both"),
    ):
        with pytest.raises(ConfigError, match=says):
            GazeDataConfig(**settings)


@needs("gaze")
def test_columbia():
    config = GazeDataConfig(root=str(DATA / "gaze"), val_share=0.1, cache_mb=0)
    train, val = (build_gaze(config, split) for split in ("train", "val"))
    assert len(train) + len(val) == 7729
    assert len({e.person for e in train.entries} | {e.person for e in val.entries}) == 38
    assert not {e.person for e in train.entries} & {e.person for e in val.entries}
    # The convention of data/gaze_angles.py: the dark of the eye moves to the picture's right with the yaw.
    x = []
    for i in range(0, len(val), 4):
        middle = val[i].image[0, 16:48, 8:56].float()
        dark = (middle.flatten().kthvalue(middle.numel() // 10).values - middle).clamp(min=0)
        x.append((dark.sum(0) * torch.arange(48)).sum() / dark.sum().clamp(min=1))
    yaw = [e.target[1] for e in val.entries[::4]]
    assert np.corrcoef(x, yaw)[0, 1] > 0.2
