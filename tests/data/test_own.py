"""A user's own files in training: any format, splits, boxes, units, scales."""

from dataclasses import replace

import numpy as np
import pytest

from snellen.config import ConfigError, KeypointDataConfig
from snellen.data import DataError, build_dataset
from snellen.data.own import read_boxes
from snellen.evaluation.millimetres import millimetre_scores
from snellen.geometry import Box
from snellen.keypoints.formats import FORMATS, AnnotationError, read_points, write_points
from tiny import write_discs

SIZE = 48


@pytest.fixture
def discs(tmp_path):
    return write_discs(tmp_path / "my discs", 24)


def labels_of(discs):
    return read_points(discs / "annotations.csv", origin=0.5, root=discs)


def names(config, split):
    return set(build_dataset(config, split).names)


def own(root, **changes):
    return KeypointDataConfig(
        **{"format": "auto", "root": str(root), "annotations": "annotations.csv", "origin": 0.5, **changes}
    )


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"csv", "pts", "mtfl", "yolo"}))
def test_every_format_gives_the_same_samples(discs, name):
    labels = labels_of(discs)
    target = discs if FORMATS[name].folder else discs / f"converted{FORMATS[name].ending}"
    if FORMATS[name].folder:  # its files stand beside the pictures
        write_points(labels, discs.parent / "apart", name)
        for file in (discs.parent / "apart").iterdir():
            file.rename(discs / file.name)
    else:
        write_points(labels, target, name)
    annotations = "" if FORMATS[name].folder else target.name
    expected = build_dataset(own(discs), "train")
    found = build_dataset(own(discs, format=name, annotations=annotations, origin=None), "train")
    assert found.names == expected.names
    for a, b in zip((found[i] for i in range(len(found))), (expected[i] for i in range(len(expected))), strict=True):
        np.testing.assert_allclose(a.keypoints.xy, b.keypoints.xy, atol=1e-5)


def test_shares_do_not_overlap_and_groups_stay_together(discs):
    labels = labels_of(discs)
    grouped = replace(labels, images=tuple(replace(im, group=f"animal {i // 2}") for i, im in enumerate(labels.images)))
    write_points(grouped, discs / "groups.csv", "csv", origin=0.5)
    config = own(discs, annotations="groups.csv", val_share=0.3, test_share=0.35)
    group = {im.file: im.group for im in grouped.images}
    sides = [names(config, split) for split in ("train", "val", "test")]
    assert sum(map(len, sides)) == 24 == len(set().union(*sides))
    animals = [{group[f] for f in side} for side in sides]
    assert sum(map(len, animals)) == 12 == len(set().union(*animals))


def test_marked_splits_are_taken(discs):
    labels = labels_of(discs)
    marks = ["train", "val", "test", "train"] * 6
    marked = replace(labels, images=tuple(replace(im, split=m) for im, m in zip(labels.images, marks, strict=True)))
    write_points(marked, discs / "marked.csv", "csv", origin=0.5)
    for split in ("train", "val", "test"):
        expected = {im.file for im in marked.images if im.split == split}
        assert names(own(discs, annotations="marked.csv"), split) == expected


def test_lists_go_before_everything(discs):
    files = [im.file for im in labels_of(discs).images]
    (discs / "val.txt").write_text("\n".join(files[:3]) + "\n\n")
    (discs / "test.txt").write_text("\n".join(files[3:5]))
    config = own(discs, val_list="val.txt", test_list="test.txt")
    assert (names(config, "val"), names(config, "test")) == (set(files[:3]), set(files[3:5]))
    assert names(config, "train") == set(files[5:])
    (discs / "val.txt").write_text("disc 99.png\n")
    with pytest.raises(DataError, match=r"val\.txt lists disc 99\.png, which is not annotated"):
        build_dataset(config, "val")
    (discs / "val.txt").write_text(files[3])
    with pytest.raises(ConfigError, match=r"is in data\.val_list and in data\.test_list"):
        build_dataset(config, "train")


def test_lists_may_name_an_image_whose_row_is_left_out(discs):
    files = [im.file for im in labels_of(discs).images]
    (discs / "val.txt").write_text("\n".join(files[:3]))
    rows = (discs / "annotations.csv").read_text().splitlines()
    (discs / "annotations.csv").write_text("\n".join([rows[0], f"{files[0]},1", *rows[2:]]))
    assert names(own(discs, val_list="val.txt", on_error="skip"), "val") == set(files[1:3])


def test_folds_are_a_partition(discs):
    parts = [names(own(discs, folds=3, fold=i), "val") for i in range(3)]
    assert sum(map(len, parts)) == 24 == len(set().union(*parts))
    assert names(own(discs, folds=3, fold=1), "train") == parts[0] | parts[2]
    with pytest.raises(ConfigError, match=r"data\.fold counts from 0"):
        own(discs, folds=3, fold=3)


@pytest.mark.parametrize("folds", [5, 7, 24])
def test_folds_of_few_images_are_equal_and_never_empty(discs, folds):
    parts = [len(names(own(discs, folds=folds, fold=i), "val")) for i in range(folds)]
    assert sum(parts) == 24
    assert max(parts) - min(parts) <= 1
    with pytest.raises(ConfigError, match="--folds 25 needs as many images"):
        build_dataset(own(discs, folds=25, fold=0), "val")


def test_images_without_a_point_take_no_place_in_a_fold(discs):
    rows = (discs / "annotations.csv").read_text().splitlines()
    blank = [row.partition(",")[0] + "," * row.count(",") for row in rows[1:13]]
    (discs / "annotations.csv").write_text("\n".join([rows[0], *blank, *rows[13:]]))
    parts = [len(names(own(discs, folds=12, fold=i), "val")) for i in range(12)]
    assert parts == [1] * 12


def test_several_objects_an_image_and_their_boxes(discs):
    rows = ["file,id,bright_x,bright_y,dark_x,dark_y,box_left,box_top,box_right,box_bottom",
            "disc 00.png,1,5,6,10,12,2,2,20,22", "disc 00.png,2,30,31,40,42,25,25,45,48"]  # fmt: skip
    (discs / "two.csv").write_text("\n".join(rows))
    config = own(discs, annotations="two.csv", box="given", box_scale=1.0, val_share=0.01)
    first, second = (build_dataset(config, "train")[i] for i in range(2))
    assert (first.name, second.name) == ("disc 00.png", "disc 00.png#2")
    assert (first.box, second.box) == (Box(2, 2, 20, 22), Box(25, 25, 45, 48))
    assert build_dataset(replace(config, box_scale=2.0), "train")[0].box == Box(-7, -8, 29, 32)


def test_boxes_of_a_detector_are_matched_by_the_points(discs):
    rows = ["file,id,bright_x,bright_y,dark_x,dark_y", "disc 00.png,1,5,6,10,12", "disc 00.png,2,30,31,40,42"]
    (discs / "two.csv").write_text("\n".join(rows))
    (discs / "boxes.csv").write_text(
        "file,score,box_left,box_top,box_right,box_bottom\n"
        "disc 00.png,0.9,28,28,44,44\ndisc 00.png,0.5,0,0,48,48\ndisc 00.png,0.7,3,3,14,14\n"
    )
    config = own(discs, annotations="two.csv", box="given", boxes="boxes.csv", val_share=0.01)
    data = build_dataset(config, "train")
    assert (data[0].box, data[1].box) == (Box(3, 3, 14, 14), Box(28, 28, 44, 44))
    assert read_boxes(discs / "boxes.csv")["disc 00.png"][0] == (Box(28, 28, 44, 44), 0.9)
    (discs / "boxes.csv").write_text("file,box_left,box_top,box_right,box_bottom\ndisc 00.png,1,1,0,4\n")
    with pytest.raises(AnnotationError, match=r"boxes\.csv, row 2: .* is no box"):
        build_dataset(config, "train")
    (discs / "boxes.csv").write_text("file,x\n")
    with pytest.raises(AnnotationError, match="the header lacks box_left"):
        build_dataset(config, "train")


def test_an_object_without_a_box_is_said(discs):
    with pytest.raises(DataError, match=r"row 2: .*the object has no box; .*data\.box to square"):
        build_dataset(own(discs, box="given", val_share=0.01), "train")


@pytest.mark.parametrize("box", ["square", "given", "image"])
def test_an_object_without_a_labelled_point_is_left_out_and_counted(discs, caplog, box):
    rows = ["file,id,bright_x,bright_y,dark_x,dark_y,box_left,box_top,box_right,box_bottom",
            "disc 00.png,1,5,6,10,12,2,2,20,22", "disc 00.png,2,,,,,25,25,45,48", "disc 01.png,1,,,,,25,25,45,48"]  # fmt: skip
    (discs / "two.csv").write_text("\n".join(rows))
    (discs / "val.txt").write_text("disc 01.png")
    with caplog.at_level("WARNING", logger="snellen"):
        data = build_dataset(own(discs, annotations="two.csv", box=box, val_share=0.01), "train")
    assert data.names == ["disc 00.png"]
    assert caplog.messages == [f"left out 2 of 3 objects of {discs / 'two.csv'}: they have no labelled point"]
    assert names(own(discs, annotations="two.csv", val_list="val.txt"), "train") == {"disc 00.png"}


@pytest.mark.parametrize(("factor", "says"), [(1 / SIZE, "shares of the image's size"), (25.4, "another unit")])
def test_points_in_another_unit_are_refused(discs, factor, says):
    labels = labels_of(discs)
    lines = ["file,bright_x,bright_y,dark_x,dark_y"]
    lines += [
        ",".join([im.file, *(f"{v * factor:.5f}" for v in im.objects[0].keypoints.xy.ravel())]) for im in labels.images
    ]
    (discs / "unit.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=says):
        build_dataset(own(discs, annotations="unit.csv"), "train")


def test_the_wrong_format_is_named(discs):
    (discs / "test.csv").unlink()
    with pytest.raises(AnnotationError, match=r"is of the format csv, not coco"):
        build_dataset(own(discs, format="coco", annotations=""), "train")


# --- millimetres


def test_scales_come_from_a_column_or_the_configuration(discs):
    labels = labels_of(discs)
    items = [
        replace(im, objects=(replace(im.objects[0], scale=0.1 if i % 2 else None),))
        for i, im in enumerate(labels.images)
    ]
    write_points(replace(labels, images=tuple(items)), discs / "mm.csv", "csv", origin=0.5)
    data = build_dataset(own(discs, annotations="mm.csv", val_share=0.01), "train")
    expected = {im.file: im.objects[0].scale for im in items}
    assert [None if np.isnan(s) else s for s in data.scales] == [expected[n] for n in data.names]
    data = build_dataset(own(discs, annotations="mm.csv", val_share=0.01, mm_per_pixel=0.25), "train")
    assert set(data.scales) == {0.1, 0.25}


def test_millimetres_by_hand():
    # Errors of 10 and 20 pixels at 0.1 mm a pixel, 30 at 0.1; the third image has no scale, one point no label.
    true = np.array([[[0.0, 0.0], [0, 0]], [[0, 0], [np.nan, np.nan]], [[0, 0], [0, 0]]])
    pred = np.array([[[10.0, 0.0], [0, 20]], [[18, 24], [5, 5]], [[500, 0], [0, 0]]])
    scores = millimetre_scores(pred, true, [0.1, 0.1, np.nan])["millimetres"]
    assert scores["mean_radial_error"] == pytest.approx(2.0)  # of 1, 2 and 3 mm
    assert scores["deviation"] == pytest.approx(np.std([1, 2, 3]))
    assert scores["success"] == {"2": pytest.approx(2 / 3), "2.5": pytest.approx(2 / 3), "3": 1.0, "4": 1.0}
    assert (scores["images"], scores["points"]) == (2, 3)
    assert millimetre_scores(pred, true, [np.nan] * 3) == {}
