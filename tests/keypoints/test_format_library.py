"""Every format: nothing is lost that is not reported, no point moves, and files appear whole or not at all."""

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from snellen.geometry import Box
from snellen.keypoints import Keypoints, Schema, get_schema
from snellen.keypoints.formats import (
    FORMATS,
    AnnotationError,
    LabelledImage,
    LabelledObject,
    PointLabels,
    find_format,
    read_points,
    recognise,
    write_points,
)

WING = Schema("wing", ("base", "left tip", "right tip"), swaps=(("left tip", "right tip"),))
SIZES = {"a.png": (40, 60), "é è.png": (33, 21), "c.png": (16, 16)}


def pictures(root):
    """Grey pictures where every format looks for them: beside the labels, and in YOLO's folder."""
    for folder in (root, root / "images" / "train"):
        folder.mkdir(parents=True, exist_ok=True)
        for name, (height, width) in SIZES.items():
            for spelled in {name, name.replace(" ", "_")}:  # MTFL's names hold no blank
                Image.new("L", (width, height)).save(folder / spelled)
    return root


def plain(root, schema=WING, seed=0):
    """One complete object an image, nothing else: what every format holds."""
    rng = np.random.default_rng(seed)
    images = []
    for name, (height, width) in SIZES.items():
        xy = rng.uniform((1, 1), (width - 1, height - 1), (len(schema), 2))
        images.append(LabelledImage(name.replace(" ", "_"), (LabelledObject(Keypoints.visible(xy, schema)),)))
    return PointLabels(schema, tuple(images), root, root / "labels")


def rich(root):
    """Several objects, an empty image, occluded and unlabelled points, boxes, ids, scales, splits, groups, extras."""
    one = LabelledObject(
        Keypoints([[5.25, 6.5], [np.nan, np.nan], [30.125, 20.75]], [1, 0, 2], WING),
        Box(2.0, 3.5, 40.0, 30.0), 0.0125, "7", {"COMMENT": "left side"},
    )  # fmt: skip
    two = LabelledObject(Keypoints.visible([[1.0, 2.0], [3.5, 4.5], [10.0, 11.0]], WING), Box(0, 1, 12, 13), 0.5, "9")
    three = LabelledObject(
        Keypoints.visible([[2.0, 2.0], [9.5, 8.5], [12.0, 3.0]], WING), Box(1, 1, 14, 12), 0.25, "11"
    )
    images = (
        LabelledImage("a.png", (one, two), (40, 60), "train", "fly 1"),
        LabelledImage("é è.png", (three,), (33, 21), "val", "fly 2"),
        LabelledImage("c.png", (), (16, 16), "train"),
    )
    return PointLabels(WING, images, root, root / "labels")


def target(root, name):
    return root / f"out-{name}{FORMATS[name].ending}"


def read_back(path, name, root, schema=None):
    return read_points(path, name, root=root if name != "yolo" else None, schema=schema)


def stem(file):
    return Path(file).name


@pytest.fixture(params=sorted(FORMATS))
def name(request):
    return request.param


def points_of(labels):
    """Positions by picture, in order."""
    return {stem(image.file): [item.keypoints.xy for item in image.objects] for image in labels.images}


def complete(root, name, labels):
    """Write, and put the pictures where the format's reader looks for them."""
    path = target(root, name)
    lost = write_points(labels, path, name)
    if FORMATS[name].folder:
        pictures(path)
        for split in ("train", "val") if name == "yolo" else ():
            (path / "images" / split).mkdir(exist_ok=True)
            for image in labels.images:
                if (image.split or "train") == split:
                    shutil.copy(path / image.file, path / "images" / split)
                elif (path / "images" / split / image.file).exists():
                    (path / "images" / split / image.file).unlink()
    return path, lost


def test_points_and_files_survive_every_format(tmp_path, name):
    schema = get_schema("mtfl-5") if name == "mtfl" else WING
    labels = plain(pictures(tmp_path), schema)
    path, _ = complete(tmp_path, name, labels)
    again = read_back(path, name, path if path.is_dir() else tmp_path, schema)
    before, after = points_of(labels), points_of(again)
    assert {file for file, items in after.items() if items} == set(before)
    for file, xy in before.items():
        # A millionth of a pixel, or of a share of an image of sixty pixels.
        np.testing.assert_allclose(after[file], xy, atol=2e-6)


def test_from_one_format_to_another_and_back_moves_no_point(tmp_path):
    for first, second in itertools.permutations(sorted(set(FORMATS) - {"mtfl"}), 2):
        root = tmp_path / f"{first} {second}"
        labels = plain(pictures(root))
        start, _ = complete(root, first, labels)
        read_first = read_back(start, first, start if start.is_dir() else root, WING)
        images = start if start.is_dir() else root
        middle = replace(read_first, images=tuple(replace(i, file=stem(i.file), split="") for i in read_first.images
                                                  if i.objects), root=images)  # fmt: skip
        there, _ = complete(root, second, middle)
        read_second = read_back(there, second, there if there.is_dir() else root, WING)
        before, after = points_of(labels), points_of(read_second)
        for file, xy in before.items():
            np.testing.assert_allclose(after[file], xy, atol=1e-3)


def test_what_is_not_reported_survives(tmp_path, name):
    if name == "mtfl":
        pytest.skip("five points only; see test_a_list_of_mtfl_refuses_other_numbers_of_points")
    labels = rich(pictures(tmp_path))
    path, lost = complete(tmp_path, name, labels)
    said = " ".join(lost)
    again = read_back(path, name, path if path.is_dir() else tmp_path)
    images = {stem(i.file): i for i in again.images}

    def held(words):
        return words not in said

    if held("names of the"):
        assert again.schema.points == WING.points
    assert held("swap pairs") == (again.schema.swaps == WING.swaps)
    for image in labels.images:
        if not image.objects:
            assert held("without objects") == (image.file in images and not images[image.file].objects)
            continue
        found = images.get(image.file, LabelledImage(image.file))
        if held("lose their split"):
            assert found.split == image.split
        if held("lose their group"):
            assert found.group == image.group
        wanted = list(image.objects)
        if not held("are unlabelled"):
            wanted = [o for o in wanted if o.keypoints.labelled.all()]
        if not held("an image holds one"):
            wanted = wanted[:1]
        assert len(found.objects) == len(wanted)
        for old, new in zip(wanted, found.objects, strict=True):
            np.testing.assert_allclose(new.keypoints.xy, old.keypoints.xy, atol=2e-6)
            visible = old.keypoints.visibility
            expected = visible if held("become visible") else np.where(visible == 1, 2, visible)
            np.testing.assert_array_equal(new.keypoints.visibility, expected)
            if held("boxes are left out"):
                np.testing.assert_allclose(new.box, old.box, atol=2e-6)
            else:
                assert new.box is None
            if held("ids of objects are left out"):
                assert new.id == old.id
            if held("scales"):
                assert new.scale == pytest.approx(old.scale, rel=1e-8)
            if held("further values"):
                assert dict(new.extra) == dict(old.extra)


def test_a_report_counts(tmp_path):
    lost = write_points(rich(pictures(tmp_path)), tmp_path / "x.tps", "tps")
    assert lost == [
        "tps: the names of the 3 points become p1, p2, ... or what the reader calls them",
        "tps: 1 swap pairs are left out; name them where the file is read",
        "tps: 1 occluded points become visible",
        "tps: 1 images without objects are left out",
        "tps: 3 boxes are left out",
        "tps: 3 sizes of images are left out; they are read from the pictures",
        "tps: 3 images lose their split (train, val or test)",
        "tps: 2 images lose their group",
    ]


def test_ids_that_are_words_are_reported_where_ids_are_numbers(tmp_path):
    labels = rich(pictures(tmp_path))
    items = [replace(o, id=f"fly {i}") for i, o in enumerate(labels.images[0].objects)]
    labels = replace(labels, images=(replace(labels.images[0], objects=tuple(items)),))
    assert any("2 ids of objects are no whole numbers" in s for s in write_points(labels, tmp_path / "l", "labelme"))
    assert not any("whole numbers" in s for s in write_points(labels, tmp_path / "l.json", "coco"))


def test_a_format_is_recognised_by_its_files(tmp_path, name):
    schema = get_schema("mtfl-5") if name == "mtfl" else WING
    path, _ = complete(tmp_path, name, plain(pictures(tmp_path), schema))
    assert recognise(path)[0] == name
    if not path.is_dir() and name not in ("mtfl",):  # of mtfl the list must be called training.txt
        (tmp_path / "only").mkdir()
        moved = path.rename(tmp_path / "only" / path.name)
        assert recognise(tmp_path / "only") == (name, moved)


def test_what_is_not_recognised_is_said(tmp_path):
    for make, says in (
        (lambda p: p.write_text("{}"), "no annotation format that is recognised"),
        (lambda p: p.mkdir(), "holds no annotations"),
        (lambda p: None, "does not exist"),
    ):
        path = tmp_path / f"x{len(says)}.json"
        make(path)
        with pytest.raises(AnnotationError, match=says):
            recognise(path)
    (tmp_path / "two").mkdir()
    for file in ("a.csv", "b.csv"):
        (tmp_path / "two" / file).write_text("file,x1,y1\na.png,1,2\n")
    with pytest.raises(AnnotationError, match=r"several annotation files: a\.csv \(csv\), b\.csv \(csv\)"):
        recognise(tmp_path / "two")
    with pytest.raises(AnnotationError, match="nearest: coco"):
        find_format("cocoo")


def test_nothing_is_overwritten_and_nothing_is_left_half_written(tmp_path, monkeypatch, name):
    schema = get_schema("mtfl-5") if name == "mtfl" else WING
    labels = plain(pictures(tmp_path), schema)
    path = target(tmp_path, name)
    before = sorted(tmp_path.iterdir())
    full = OSError(28, "No space left on device")

    def stop(*_):
        raise full

    with monkeypatch.context() as context:
        context.setattr(Path, "write_bytes", stop)
        with pytest.raises(OSError, match="No space"):
            write_points(labels, path, name)
    assert sorted(tmp_path.iterdir()) == before
    write_points(labels, path, name)
    with pytest.raises(AnnotationError, match="exists"):
        write_points(labels, path, name)


def test_a_folder_is_not_left_for_another(tmp_path):
    labels = plain(pictures(tmp_path))
    outside = replace(labels, images=(replace(labels.images[0], file="../../a.png"),))
    with pytest.raises(AnnotationError, match="lies outside"):
        write_points(outside, tmp_path / "out", "pts")
    assert not (tmp_path / "out").exists()


def test_a_list_of_mtfl_refuses_other_numbers_of_points(tmp_path):
    with pytest.raises(AnnotationError, match="five points, but schema 'wing' has 3"):
        write_points(plain(pictures(tmp_path)), tmp_path / "x.txt", "mtfl")


def test_labels_name_each_file_once_and_scales_are_positive(tmp_path):
    image = LabelledImage("a.png")
    with pytest.raises(ValueError, match=r"lists a\.png twice"):
        PointLabels(WING, (image, image), tmp_path, tmp_path)
    with pytest.raises(ValueError, match="positive number of millimetres"):
        LabelledObject(Keypoints.visible(np.ones((3, 2)), WING), scale=0.0)
    with pytest.raises(ValueError, match="train, val or test, not 'dev'"):
        LabelledImage("a.png", split="dev")
