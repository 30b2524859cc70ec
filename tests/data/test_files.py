"""From files to samples: broken files, boxes and splits."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from real import DATA, needs
from snellen.config import AugmentConfig, ConfigError, KeypointDataConfig
from snellen.data import AnnotatedImages, CanvasDataset, DataError, build_dataset
from snellen.data.boxes import face5_box, make_box, square_box
from snellen.geometry import Box
from snellen.keypoints import Keypoints, Schema, get_schema
from snellen.keypoints.formats import Annotation
from tiny import write_discs

PAIR = Schema("pair", ("left", "right"), swaps=(("left", "right"),))


# --- files


def broken_discs(root):
    """Five annotations: one missing file, one that is no picture, one whose pixels are cut off, two sound."""
    write_discs(root, 5)
    (root / "disc 00.png").unlink()
    (root / "disc 01.png").write_text("no picture")
    sound = root / "disc 02.png"
    sound.write_bytes(sound.read_bytes()[:-60])
    pair = Schema("discs", ("bright", "dark"))
    return [
        Annotation(f"disc {i:02d}.png", Keypoints.visible([[10.0 + i, 10.0], [20.0, 20.0]], pair), i + 2)
        for i in range(5)
    ]


def test_a_broken_file_stops_with_file_and_row(tmp_path):
    with pytest.raises(DataError, match=r"list\.csv, row 2: .*disc 00\.png does not exist.*--on-error skip") as e:
        AnnotatedImages(broken_discs(tmp_path), tmp_path, source="list.csv")
    assert "\n" not in str(e.value)


def test_broken_files_are_skipped_and_counted(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="snellen"):
        data = AnnotatedImages(broken_discs(tmp_path), tmp_path, source="list.csv", on_error="skip")
    assert [Path(n).name for n in data.names] == ["disc 02.png", "disc 03.png", "disc 04.png"]
    assert "skipped 2 files" in caplog.text
    assert "disc 00.png" in caplog.text
    # The header of the third is whole; decoding finds it, and the others keep their own images and points.
    before = data[2]
    data.decode_all()
    assert [Path(n).name for n in data.names] == ["disc 03.png", "disc 04.png"]
    assert len(data.skipped) == 3
    assert torch.equal(data[1].image, before.image)
    np.testing.assert_array_equal(data[1].keypoints.xy, before.keypoints.xy)
    assert not torch.equal(data[0].image, before.image)


def test_nothing_left_is_refused(tmp_path):
    with pytest.raises(DataError, match="no usable image is left"):
        AnnotatedImages(broken_discs(tmp_path)[:2], tmp_path, source="list.csv", on_error="skip")


def test_a_file_that_breaks_later_is_reported_with_its_row(tmp_path):
    data = AnnotatedImages(broken_discs(tmp_path)[3:], tmp_path, source="list.csv")
    (tmp_path / "disc 04.png").unlink()
    assert data[0].name == "disc 03.png"
    with pytest.raises(DataError, match=r"list\.csv, row 6: .*disc 04\.png"):
        data[1]


def test_the_cache_is_bounded(tmp_path):
    data = AnnotatedImages(broken_discs(tmp_path)[3:], tmp_path, source="list.csv", cache_mb=0)
    first = data[0].image.clone()
    # Without room every access decodes anew, and a changed file shows.
    Image.new("L", (48, 48), 7).save(tmp_path / "disc 03.png")
    assert not torch.equal(data[0].image, first)
    cached = AnnotatedImages(data.annotations, tmp_path, source="list.csv")
    first = cached[0].image.clone()
    Image.new("L", (48, 48), 200).save(tmp_path / "disc 03.png")
    assert torch.equal(cached[0].image, first)


# --- boxes


def face(nose=(60, 60)):
    return Keypoints.visible([[40, 40], [80, 40], nose, [45, 90], [75, 90]], get_schema("mtfl-5"))


def test_the_face_box_by_hand():
    # rcn.md 3.4: extent 40 x 50, so a square of 50 about (60, 65), grown on each side by 0.95 times
    # max(eye distance 40, eyes' centre to mouth's centre 50): half a side is 25 + 47.5.
    box = face5_box(face(), 0.95, 10_000, 10_000)
    assert box.width == box.height == pytest.approx(145)
    # Over the left and top border, so it is moved in without shrinking.
    np.testing.assert_allclose(box, (0, 0, 145, 145))
    np.testing.assert_allclose(face5_box(face(), 0.2, 10_000, 10_000), (25, 30, 95, 100))
    np.testing.assert_allclose(face5_box(face(), 0.95, 100, 120), (0, 0, 100, 120))
    # The nose does not enter.
    assert face5_box(face(nose=(500, 500)), 0.95, 10_000, 10_000) == box


def test_the_face_box_takes_the_larger_distance():
    # Eyes 60 apart, mouth 30 below: a square of 60 about (50, 35), grown by half of 60.
    wide = Keypoints.visible([[20, 20], [80, 20], [50, 30], [40, 50], [60, 50]], get_schema("mtfl-5"))
    np.testing.assert_allclose(face5_box(wide, 0.5, 1000, 1000), (0, 0, 120, 120))
    np.testing.assert_allclose(face5_box(wide.transformed(np.array([[1.0, 0, 100], [0, 1, 100], [0, 0, 1]])), 0.5, 1000, 1000),
                               (90, 75, 210, 195))  # fmt: skip


def test_the_square_box_by_hand():
    # Extent 20 x 10 about (20, 15), 1.3 times as large; it may reach outside.
    points = Keypoints.visible([[10.0, 10.0], [30.0, 20.0]], PAIR)
    np.testing.assert_allclose(square_box(points, 1.3), (7, 2, 33, 28))
    np.testing.assert_allclose(square_box(points, 4), (-20, -25, 60, 55))
    one = Keypoints.visible([[10.0, 10.0], [np.nan, np.nan]], PAIR)
    assert square_box(one, 2.0).width > 0


def test_the_image_box():
    assert make_box("image", face(), 1.0, 200, 100) == Box(0, 0, 200, 100)
    assert make_box("image", face(), 0.5, 200, 100) == Box(50, 25, 150, 75)


def test_a_box_that_needs_missing_points_says_so_with_file_and_row(tmp_path):
    Image.new("L", (200, 200)).save(tmp_path / "f.png")
    half = Keypoints.visible([[40, 40], [np.nan, np.nan], [60, 60], [45, 90], [75, 90]], get_schema("mtfl-5"))
    whole = Keypoints.visible([[40, 40], [80, 40], [60, 60], [45, 90], [75, 90]], get_schema("mtfl-5"))
    rows = [Annotation("f.png", half, 9), Annotation("f.png", whole, 10)]
    with pytest.raises(DataError, match=r"l\.txt, row 9: f\.png: .*both eyes.*--on-error skip"):
        AnnotatedImages(rows, tmp_path, source="l.txt", box="mtfl", box_scale=0.95)
    kept = AnnotatedImages(rows, tmp_path, source="l.txt", box="mtfl", box_scale=0.95, on_error="skip")
    assert len(kept) == 1
    assert "row 9" in kept.skipped[0]


def test_a_box_without_an_inside_says_so_with_file_and_row(tmp_path):
    """Before training: met there, it would stop a run at some step without a word about where."""
    Image.new("L", (200, 200)).save(tmp_path / "f.png")
    nowhere = Annotation("f.png", Keypoints.visible([[0, 0]] * 5, get_schema("mtfl-5")), 9)
    with pytest.raises(DataError, match=r"l\.txt, row 9: f\.png: .*one and the same place"):
        AnnotatedImages([nowhere], tmp_path, source="l.txt", box="mtfl", box_scale=0.95)
    empty = Annotation("f.png", face(), 10, box=Box(20, 30, 20, 90))
    with pytest.raises(DataError, match=r"l\.txt, row 10: f\.png: .*is empty"):
        AnnotatedImages([empty], tmp_path, source="l.txt", box="given")


# --- splits


def mtfl(root, people=30):
    """An MTFL tree with two or three pictures of each person."""
    rows = []
    (root / "lfw").mkdir(parents=True)
    for i in range(people * 5 // 2):
        name = f"lfw/Person{i % people:02d}_Smith_{i // people + 1:04d}.png"
        Image.new("L", (80, 80), i).save(root / name)
        rows.append(f"{name} 20 40 30 25 35 20 21 30 45 46 1 1 1 1")
    (root / "training.txt").write_text("\n".join(rows))
    (root / "testing.txt").write_text("\n".join(rows[:3]))
    return root


def person(name):
    return Path(name).stem.rsplit("_", 1)[0]


def test_people_are_in_one_split_only(tmp_path):
    config = KeypointDataConfig(format="mtfl", root=str(mtfl(tmp_path)), val_share=0.3, box="mtfl")
    train, val = build_dataset(config, "train"), build_dataset(config, "val")
    assert len(train) + len(val) == 75
    assert not {person(n) for n in train.names} & {person(n) for n in val.names}
    # 30 people at 0.3: a split that leaves one side nearly empty would not be random.
    assert 4 <= len({person(n) for n in val.names}) <= 15
    assert len(build_dataset(config, "test")) == 3


def test_a_list_to_test_on_needs_no_training_list_and_may_hold_two_faces_of_a_picture(tmp_path):
    """AFW, as docs/data.md has it written down."""
    root = mtfl(tmp_path)
    (root / "training.txt").unlink()
    first = (root / "testing.txt").read_text().splitlines()[0]
    (root / "testing.txt").write_text(f"{first}\n{first.replace(' 20 40 ', ' 22 42 ')}\n")
    faces = build_dataset(KeypointDataConfig(format="mtfl", root=str(root), box="mtfl", origin=1), "test")
    assert faces.names[1] == f"{faces.names[0]}#2"
    assert [float(faces[i].keypoints.xy[0, 0]) for i in range(2)] == [19.5, 21.5]


def test_the_csv_split_does_not_depend_on_the_order(tmp_path):
    config = KeypointDataConfig(
        format="csv", root=str(write_discs(tmp_path, 24)), val_share=0.25, test_annotations="test.csv"
    )
    train, val = set(build_dataset(config, "train").names), set(build_dataset(config, "val").names)
    assert not train & val
    assert len(train | val) == 24
    header, *rows = (tmp_path / "annotations.csv").read_text().splitlines()
    (tmp_path / "annotations.csv").write_text("\n".join([header, *reversed(rows), "new.png,1,2,3,4"]))
    Image.new("L", (48, 48)).save(tmp_path / "new.png")
    assert set(build_dataset(config, "val").names) - {"new.png"} == val
    assert len(build_dataset(config, "test")) == 6


def test_drawn_splits_are_different_wings():
    config = KeypointDataConfig(train_images=2, val_images=2, test_images=2, channels=1)
    splits = [build_dataset(config, split) for split in ("train", "val", "test")]
    assert [len(s) for s in splits] == [2, 2, 2]
    first = [s[0] for s in splits]
    assert first[0].image.shape[0] == 1
    assert first[0].image.dtype == torch.uint8
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert not np.allclose(first[a].keypoints.xy, first[b].keypoints.xy)


def test_grey_wings_are_the_luma_of_coloured_ones():
    grey, colour = (build_dataset(KeypointDataConfig(train_images=1, channels=c), "train")[0] for c in (1, 3))
    luma = torch.einsum("chw,c->hw", colour.image.float(), torch.tensor([0.299, 0.587, 0.114]))
    assert (grey.image[0].float() - luma).abs().max() <= 1
    np.testing.assert_array_equal(grey.keypoints.xy, colour.keypoints.xy)


@pytest.mark.parametrize(
    ("changes", "split", "error", "says"),
    [
        ({"format": "csv"}, "train", ConfigError, "needs data.root"),
        ({"format": "csv", "root": "/nowhere"}, "train", DataError, "/nowhere is not a folder"),
        ({}, "vall", ConfigError, "nearest: val"),
    ],
)
def test_wrong_data_settings_are_one_sentence(changes, split, error, says):
    with pytest.raises(error, match=says) as raised:
        build_dataset(KeypointDataConfig(**changes), split)
    assert "\n" not in str(raised.value)


def test_a_missing_test_split_is_said(tmp_path):
    config = KeypointDataConfig(format="csv", root=str(write_discs(tmp_path, 4)))
    with pytest.raises(ConfigError, match="no test split"):
        build_dataset(config, "test")


@needs("faces5")
def test_real_faces():
    config = KeypointDataConfig(format="mtfl", root=str(DATA / "faces5"), box="mtfl", box_scale=0.95, cache_mb=0)
    train, val, test = (build_dataset(config, split) for split in ("train", "val", "test"))
    assert len(train) + len(val) == 4151
    assert len(test) == 2019
    assert not {person(n) for n in train.names} & {person(n) for n in val.names}
    assert 0.05 < len(val) / 4151 < 0.15
    # The box is made from the points, so every point is on the canvas, and the face fills a good part of it.
    for samples in (train, test):
        canvases = CanvasDataset(samples, (80, 80), AugmentConfig())
        for i in range(0, 40, 8):
            item = canvases[i]
            assert item["mask"].all()
            assert 15 < (item["xy"].amax(0) - item["xy"].amin(0)).max() < 60
            assert item["image"].std() > 5
