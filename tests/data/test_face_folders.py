"""300-W folders and WFLW lists as data sets: splits, groups, origins, boxes at the photo's edge."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from contracts import DatasetContract
from faces import points, wflw_row, write_pts
from real import DATA, needs
from snellen.config import AugmentConfig, ConfigError, KeypointConfig, KeypointDataConfig, from_dict, to_dict
from snellen.data import AnnotatedImages, CanvasDataset, DataError, Sample, build_dataset
from snellen.geometry import Box
from snellen.keypoints import Keypoints, Schema
from snellen.keypoints.formats import AnnotationError, read_mtfl

GROUPS = {"common": ["helen/testset", "lfpw/testset"], "challenging": ["ibug"]}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A small 300-W: names that repeat between the folders, faces that share a photo, mirrored copies."""
    names = [f"helen/trainset/{i}_1" for i in range(20)] + [f"helen/trainset/{i}_1_mirror" for i in range(10)]
    names += [f"afw/{i}_{face}" for i in range(10) for face in (1, 2)]
    names += [f"lfpw/trainset/image_{i:04d}" for i in range(20)]
    names += [f"helen/testset/{i}_1" for i in range(4)]
    names += [f"lfpw/testset/image_{i:04d}" for i in range(3)] + ["ibug/image_092 _01", "ibug/image_003_1"]
    return write_pts(tmp_path_factory.mktemp("300w"), names)


def config(root, **changes):
    given = {"train_folders": ["afw", "helen/trainset", "lfpw/trainset"], "test_groups": GROUPS, "box": "square"}
    return KeypointDataConfig(format="pts", root=str(root), **{"box_scale": 1.3, "val_share": 0.25, **given, **changes})


class TestPts(DatasetContract):
    @pytest.fixture(autouse=True)
    def folders(self, root):
        self.config = config(root)

    def make(self):
        return build_dataset(self.config, "train")


class TestSeveralFacesInAPicture(DatasetContract):
    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        self.root = tmp_path
        Image.new("L", (60, 60), 90).save(tmp_path / "two.png")
        row = "two.png 10 30 20 12 28 20 21 30 40 41"
        (tmp_path / "testing.txt").write_text(f"{row}\n{row.replace('10', '11')}\n")

    def make(self):
        list_of_two = self.root / "testing.txt"
        return AnnotatedImages(read_mtfl(list_of_two), self.root, source=list_of_two, box="mtfl", box_scale=0.5)

    def test_each_face_is_a_sample(self, data):
        assert data.names == ["two.png", "two.png#2"]
        assert torch.equal(data[0].image, data[1].image)
        assert data[1].keypoints.xy[0, 0] == data[0].keypoints.xy[0, 0] + 1


def test_a_malformed_row_of_a_list_is_left_out_and_counted_where_that_is_asked(tmp_path):
    rows = [f"{name}_0001.png 10 30 20 12 28 20 21 30 40 41" for name in "abcdefgh"]
    for name in "abcdefgh":
        Image.new("L", (60, 60), 90).save(tmp_path / f"{name}_0001.png")
    (tmp_path / "training.txt").write_text("\n".join([*rows[:3], "x_0001.png 1 2", *rows[3:]]))
    skip = KeypointDataConfig(format="mtfl", root=str(tmp_path), val_share=0.3, on_error="skip")
    with pytest.raises(AnnotationError, match=r"training\.txt, row 4: 3 columns"):
        build_dataset(replace(skip, on_error="raise"), "train")
    train, val = (build_dataset(skip, split) for split in ("train", "val"))
    assert len(train) + len(val) == 8
    for data in (train, val):  # nobody knows its side
        assert [s for s in data.skipped if "row 4: 3 columns" in s] == data.skipped != []


# --- splits


def test_a_photo_is_on_one_side(root):
    train, val = (set(build_dataset(config(root), split).names) for split in ("train", "val"))
    assert not train & val
    assert len(train | val) == 70
    for i in range(10):
        for photo in (
            {f"afw/{i}_1.png", f"afw/{i}_2.png"},
            {f"helen/trainset/{i}_1.png", f"helen/trainset/{i}_1_mirror.png"},
        ):
            assert photo <= train or photo <= val
    # Equal names in two folders are two photos; LFPW's numbers are no faces of one photo.
    sides = {f"{i}": f"helen/trainset/{i}_1.png" in val for i in range(10)}
    assert any(side != (f"afw/{i}_1.png" in val) for i, side in sides.items())
    assert 0 < len({n for n in val if n.startswith("lfpw")}) < 20


def test_the_split_does_not_depend_on_the_other_folders(root):
    alone = set(build_dataset(config(root, train_folders=["helen/trainset"]), "val").names)
    assert alone == {n for n in build_dataset(config(root), "val").names if n.startswith("helen")}


def test_groups_of_the_test(root):
    test = build_dataset(config(root), "test")
    assert len(test) == 9
    assert list(test.groups) == ["common", "challenging"]
    assert [test.names[i] for i in test.groups["challenging"]] == ["ibug/image_003_1.png", "ibug/image_092 _01.png"]
    assert sorted(test.groups["common"] + test.groups["challenging"]) == list(range(9))
    assert build_dataset(config(root), "train").groups == {}
    # A group that holds the whole test says nothing more, and one folder may be in two groups.
    assert build_dataset(config(root, test_groups={"helen": ["helen/testset"]}), "test").groups == {}
    twice = build_dataset(config(root, test_groups={**GROUPS, "small": ["ibug", "helen/testset"]}), "test")
    assert {name: len(found) for name, found in twice.groups.items()} == {"common": 7, "small": 6, "challenging": 2}


def test_the_origin_is_the_formats_own_unless_given(root):
    first = "helen/testset/0_1.png"
    found = [build_dataset(config(root, **origin), "test") for origin in ({}, {"origin": 1.0}, {"origin": 0.0})]
    a, b, c = (data[data.names.index(first)].keypoints.xy for data in found)
    np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(c, a + 1)


# --- broken files


@pytest.fixture
def broken(tmp_path):
    """Six faces: one with 49 points, one without a picture, one whose picture is damaged."""
    root = write_pts(tmp_path, [f"afw/{name}" for name in "abcdef"] + ["ibug/x"])
    text = (root / "afw" / "a.pts").read_text()
    (root / "afw" / "a.pts").write_text(text.replace("68", "49", 1))
    (root / "afw" / "b.png").unlink()
    (root / "afw" / "c.png").write_bytes((root / "afw" / "c.png").read_bytes()[:-60])
    return root


def test_a_broken_pts_stops_with_file_and_row(broken):
    with pytest.raises(AnnotationError, match=r"a\.pts, row 2: .*49.*--on-error skip") as error:
        build_dataset(config(broken, test_groups={"afw": ["afw"]}, train_folders=[]), "test")
    assert "\n" not in str(error.value)
    (broken / "afw" / "a.pts").unlink()
    (broken / "afw" / "b.pts").unlink()
    with pytest.raises(DataError, match=r"c\.pts, row 4: .*c\.png.*--on-error skip"):
        build_dataset(config(broken, test_groups={"afw": ["afw"]}, train_folders=[]), "test")


def test_broken_pts_are_skipped_and_counted(broken):
    skipping = config(broken, test_groups={"afw": ["afw"], "ibug": ["ibug"]}, train_folders=[], on_error="skip")
    data = build_dataset(skipping, "test")
    assert data.names == ["afw/d.png", "afw/e.png", "afw/f.png", "ibug/x.png"]
    assert data.groups == {"afw": [0, 1, 2], "ibug": [3]}
    assert [s.split(",")[0].rsplit("/", 1)[1] for s in data.skipped] == ["a.pts", "b.pts", "c.pts"]
    # Of a split, those are counted that would be in it.
    halves = [
        build_dataset(config(broken, train_folders=["afw"], on_error="skip", val_share=0.4), s)
        for s in ("train", "val")
    ]
    assert sum(len(half.skipped) for half in halves) == 3


# --- settings


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"train_folders": "afw"}, r"train_folders is a list of folders.*'afw'"),
        ({"test_groups": {"common": "ibug"}}, r"test_groups\.common is a list"),
        ({"test_groups": ["ibug"]}, "maps names to lists"),
        ({"test_groups": {"common": []}}, r"test_groups\.common holds no folder"),
        ({"train_folders": ["afw", "afw/"]}, "names a folder twice"),
        ({"test_groups": {"all": ["ibug", "afw"]}}, r"test_groups\.all holds afw, which data\.train_folders trains on"),
    ],
)
def test_wrong_folders_are_refused_at_construction(changes, says):
    with pytest.raises(ConfigError, match=says) as error:
        config("anywhere", **changes)
    assert "\n" not in str(error.value)


def test_missing_folders_are_named(root):
    for changes, split, says in (
        ({"train_folders": []}, "train", r"no folders for the train split.*data\.train_folders"),
        ({"test_groups": {}}, "test", r"no folders for the test split.*data\.test_groups"),
    ):
        with pytest.raises(ConfigError, match=says):
            build_dataset(config(root, **changes), split)
    with pytest.raises(AnnotationError, match="helen/validset is not a folder"):
        build_dataset(config(root, train_folders=["helen/validset"]), "train")


def test_folders_survive_the_run_folder():
    before = KeypointConfig(data=config("anywhere"))
    assert from_dict(to_dict(before)) == before
    assert before.data.test_groups["challenging"] == ("ibug",)


# --- boxes


def test_beyond_the_photos_edge_the_canvas_is_black():
    # A face that fills the top-left corner of a white photo: its box, 1.3 times as large, reaches outside (rcn.md 3.4).
    corner = Schema("corner", ("a", "b"))
    white = torch.full((3, 100, 100), 255, dtype=torch.uint8)

    class One:
        schema, names = corner, ["one"]

        def __len__(self):
            return 1

        def __getitem__(self, index):
            return Sample(white, Keypoints.visible([[0, 0], [40, 40]], corner), Box(-6, -6, 46, 46), "one")

    image = CanvasDataset(One(), (52, 52), AugmentConfig())[0]["image"]
    assert (image[:, :5] == 0).all()
    assert (image[:, :, :5] == 0).all()
    assert (image[:, 7:, 7:] == 255).all()


# --- WFLW


@pytest.mark.parametrize("place", ["", "WFLW_annotations"])
def test_wflw_splits_and_attributes(tmp_path, place):
    lists = tmp_path / place / "list_98pt_rect_attr_train_test"
    lists.mkdir(parents=True)
    (tmp_path / "WFLW_images" / "0--Parade").mkdir(parents=True)
    xy = points(98)
    for i in range(20):
        Image.new("RGB", (40, 40)).save(tmp_path / "WFLW_images" / "0--Parade" / f"{i}.jpg")
    # Two faces a picture in training.
    rows = [wflw_row(xy, file=f"0--Parade/{i % 20}.jpg") for i in range(40)]
    (lists / "list_98pt_rect_attr_train.txt").write_text("\n".join(rows))
    test = [
        wflw_row(xy, marks, f"0--Parade/{i}.jpg")
        for i, marks in enumerate(["1 0 0 0 1 0", "0 0 0 0 1 0", "0 0 0 0 0 0"])
    ]
    (lists / "list_98pt_rect_attr_test.txt").write_text("\n".join(test))
    wflw = KeypointDataConfig(format="wflw", root=str(tmp_path), box="square", box_scale=1.3, val_share=0.3, channels=3)
    train, val, last = (build_dataset(wflw, split) for split in ("train", "val", "test"))
    assert len(train) + len(val) == 40
    assert not {n.split("#")[0] for n in train.names} & {n.split("#")[0] for n in val.names}
    assert last.groups == {"pose": [0], "occlusion": [0, 1]}
    np.testing.assert_allclose(last[0].keypoints.xy, xy + 0.5)


# --- the real photos


@pytest.fixture(scope="module")
def helen():
    folders = {"train_folders": ["helen/trainset"], "test_groups": {"helen": ["helen/testset"]}}
    given = config(DATA / "faces68", val_share=0.1, channels=3, cache_mb=0, **folders)
    return {split: build_dataset(given, split) for split in ("train", "val", "test")}


@needs("faces68")
def test_helen_is_whole(helen):
    assert len(helen["train"]) + len(helen["val"]) == 870
    assert len(helen["test"]) == 330
    assert 0.05 < len(helen["val"]) / 870 < 0.15
    for data in helen.values():
        assert data.skipped == []
        assert all(a.keypoints.labelled.all() for a in data.annotations)
        assert len(data.annotations[0].keypoints.xy) == 68


@needs("faces68")
def test_a_mirrored_mean_face_is_a_mean_face(helen):
    shapes = []
    for annotation in helen["train"].annotations:
        xy = annotation.keypoints.xy
        shapes.append((xy - xy.mean(axis=0)) / np.linalg.norm(xy[45] - xy[36]))
    mean = Keypoints.visible(np.mean(shapes, axis=0), helen["train"].schema)
    mirrored = mean.mirrored(0.0)
    # In units of the distance between the outer eye corners; without the swaps points move by more than half of it.
    assert np.linalg.norm(mirrored.xy - mean.xy, axis=1).max() < 0.05
    assert np.linalg.norm(mean.xy * [-1, 1] - mean.xy, axis=1).max() > 0.5
    # And the names mean what they say: left of the image, above, below.
    names = dict(zip(mean.schema.points, mean.xy.tolist(), strict=True))
    assert names["left_eye_1"][0] < names["nose_base_3"][0] < names["right_eye_4"][0]
    downwards = ("left_brow_3", "left_eye_2", "nose_base_3", "inner_lip_3", "jaw_09")
    assert sorted(downwards, key=lambda name: names[name][1]) == list(downwards)


@needs("faces68")
def test_helens_faces_fill_their_canvas_and_beyond_the_photo_it_is_black(helen):
    beyond = 0
    canvases = CanvasDataset(helen["val"], (96, 96), AugmentConfig())
    for i in range(len(canvases)):
        item, sample = canvases[i], helen["val"][i]
        assert item["mask"].all()
        assert (item["xy"].amax(0) - item["xy"].amin(0)).max() == pytest.approx(96 / 1.3, abs=0.1)
        assert item["image"].std() > 10
        (height, width), box, cell = sample.image.shape[1:], sample.box, sample.box.width / 96
        # Left, top, right, bottom, each turned to the left; the last canvas pixel over the edge is a mixture.
        for turns, outside in enumerate((-box.left, -box.top, box.right - width, box.bottom - height)):
            cells = int(outside / cell) - 1
            if cells > 0:
                assert (torch.rot90(item["image"], turns, (1, 2))[:, :, :cells] == 0).all()
                beyond += 1
    assert beyond > 5
