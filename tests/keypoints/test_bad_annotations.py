"""Annotations with mistakes in them: one sentence with file and row, or a note, and never a silent loss."""

import os

import numpy as np
import pytest
from PIL import Image

from refusals import refuse
from snellen.api import convert
from snellen.keypoints import Keypoints, Schema
from snellen.keypoints.formats import LabelledImage, LabelledObject, PointLabels, read_points, recognise, write_points
from snellen.keypoints.formats.mtfl import read_mtfl_list
from snellen.keypoints.formats.table import read_table

NAN = np.nan
PAIR = Schema("pair", ("nose", "tail"))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# --- coordinates


@pytest.mark.parametrize("cell", ["inf", "-inf", "1e999"])
def test_coordinates_without_end_are_refused_with_their_row(tmp_path, cell):
    refuse(read_table, write(tmp_path / "d.csv", f"a.png,1,2\nb.png,{cell},2\n"), "row 2", f"{cell!r} is no place")
    row = "a.jpg 1 2 3 4 5 1 2 3 4 "
    refuse(read_mtfl_list, write(tmp_path / "d.txt", f"{row}5\n{row}{cell}\n"), "row 2", "infinite")


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("d.csv", "file,nose_x,nose_y,tail_x,tail_y\na.png,1,2,3,4\nb.png,1,,3,4\nc.png,,1,,\n", "nose in row 3"),
        ("l.csv", "file,point,x,y\na.png,nose,1,2\na.png,tail,3,\nb.png,nose,,\nb.png,tail,NA,1\n", "tail in row 3"),
        ("m.csv", "scorer,A,A,A,A\nbodyparts,nose,nose,tail,tail\ncoords,x,y,x,y\na.png,1,2,3,\nb.png,1,2,,4\n",
         "tail in row 4"),
    ],
)  # fmt: skip
def test_half_a_point_is_unlabelled_and_counted(tmp_path, name, text, place):
    labels = read_points(write(tmp_path / name, text))
    assert labels.notes == (
        f"2 points have an x or a y alone and count as unlabelled (the first: {place}); fill in the other",
    )
    assert read_points(write(tmp_path / name, text.replace("3,\n", "3,4\n", 1))).schema.points == PAIR.points


def test_whole_points_and_empty_ones_are_no_note(tmp_path):
    text = "file,nose_x,nose_y,tail_x,tail_y\na.png,1,2,3,4\nb.png,1,2,,\nc.png,nan,NA,,\n"
    assert read_points(write(tmp_path / "d.csv", text)).notes == ()


# --- malformed rows among good ones

TABLE = "scorer,A,A,A,A\nbodyparts,nose,nose,tail,tail\ncoords,x,y,x,y\n"
FACE = "1 2 3 4 5 1 2 3 4 5"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("d.csv", "file,x1,y1\na.png,1,2\nb.png,1\nc.png,5,6\n", {3: "2 columns where"}),
        ("d.csv", "file,x1,y1\na.png,1,2\nb.png,one,2\n,3,4\nc.png,5,6\n", {3: "'one' is not", 4: "name is empty"}),
        ("d.csv", "file,x1,y1,split\na.png,1,2,\nb.png,1,2,some\nc.png,5,6,\n", {3: "the split 'some'"}),
        (
            "l.csv",
            "file,point,x,y\na.png,n,1,2\na.png,t,3,4\nb.png,n,1,2\nb.png,t,x,4\nc.png,n,1,2\n",
            {5: "'x' is not"},
        ),
        ("l.csv", "file,point,x,y\na.png,n,1,2\nb.png,n,1\nb.png,t,3,4\nc.png,n,1,2\n", {3: "3 columns"}),
        ("l.csv", "id,file,point,x,y\n1,a.png,n,1,2\n1,b.png,n,1,2\nb.png,t,3,4\n1,c.png,n,1,2\n", {4: "4 columns"}),
        ("m.csv", f"{TABLE}a.png,1,2,3,4\nb.png,1,2,3\nc.png,1,2,,\n", {5: "4 columns"}),
        ("t.txt", f"a.png {FACE}\nb.png 1 2 3\nc.png {FACE}\n", {2: "4 columns"}),
        ("t.tps", "LM=1\n1 2\nIMAGE=a.png\nLM=1\n1 x\nIMAGE=b.png\nLM=1\n1 2\nIMAGE=c.png\n", {5: "'x' is not"}),
        (
            "t.tps",
            "LM=2\n1 2\n1 2\nIMAGE=a.png\nLM=2\n1 2\nIMAGE=b.png\nLM=2\n1 2\n1 2\nIMAGE=c.png\n",
            {7: "1 points are missing"},
        ),
        ("t.tps", "LM=1\n1 2\nIMAGE=a.png\nLM=1\n1 2\nIMAGE=b.jpg\nLM=1\n1 2\nIMAGE=c.png\n", {4: "does not exist"}),
    ],
)
def test_a_malformed_row_is_left_out_where_that_is_asked(tmp_path, name, text, says):
    """Nothing of its object is kept: half of its points would be a silent loss."""
    file = write(tmp_path / name, text)
    for picture in "abc":
        Image.new("L", (30, 20)).save(tmp_path / f"{picture}.png")
    form = {"t.txt": "mtfl", "m.csv": "dlc"}.get(name, "auto")
    refuse(read_points, file, f"row {next(iter(says))}", *says.values(), format=form) if len(says) == 1 else None
    labels = read_points(file, form, on_error="skip")
    assert [image.file for image in labels.images if image.objects] == ["a.png", "c.png"]
    assert len(labels.broken) == len(says)
    for sentence, (row, words) in zip(labels.broken.values(), says.items(), strict=True):
        assert f"{file}, row {row}" in sentence
        assert words in sentence


@pytest.mark.parametrize("text", ['b.png,"1,2\n', 'b.png,1,"2\n', '"b.png,1,2\n'])
def test_a_lost_quotation_mark_is_never_taken_for_one_malformed_row(tmp_path, text):
    """All rows behind it would be part of its cell."""
    file = write(tmp_path / "d.csv", f"file,x1,y1\na.png,1,2\n{text}c.png,5,6\nd.png,5,6\n")
    refuse(read_table, file, "row 3", "a cell goes on in the next row", "quotation mark", on_error="skip")


def test_a_second_row_of_an_image_is_read_where_its_first_one_is_malformed(tmp_path):
    labels = read_table(write(tmp_path / "d.csv", "file,x1,y1\na.png,one,2\na.png,5,6\n"), on_error="skip")
    assert [(image.file, image.objects[0].row) for image in labels.images] == [("a.png", 3)]


def test_a_table_without_one_good_row_is_refused(tmp_path):
    refuse(
        read_table, write(tmp_path / "d.csv", "file,x1,y1\na.png,1\nb.png,x,2\n"), "row 2", "2 columns", on_error="skip"
    )
    refuse(read_mtfl_list, write(tmp_path / "d.txt", "a.png 1 2 3\n"), "row 1", "4 columns", on_error="skip")
    write(tmp_path / "set/training.txt", f"a.png {FACE}\nb.png 1\n")
    refuse(read_mtfl_list, write(tmp_path / "set/testing.txt", "").parent, "testing.txt holds no rows", on_error="skip")


# --- headers and bytes


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("file,nose_x,nose_y,tail_x,tail_z", "tail_x, tail_z are no x and y"),
        ("file,nose_x,nose_y,score,sex", "score, sex are no x and y"),
        ("file,nose_x,nose_y,tail_y,tail_x", "x and y are no x and y of a point, side by side"),
        ("file,nose_x,nose_y,tail_x,tail_y,sex,age", "sex, age are no x and y"),
    ],
)
def test_a_header_that_names_points_and_other_things_is_refused(tmp_path, header, says):
    """They would be read as coordinates of points without names."""
    row = ",".join(["a.png", *"123456"[: header.count(",")]])
    refuse(read_table, write(tmp_path / "d.csv", f"{header}\n{row}\n"), "row 1", says)


def test_a_null_byte_is_said_with_its_row(tmp_path):
    refuse(read_table, write(tmp_path / "d.csv", "file,x1,y1\na\0.png,1,2\n"), "row 2", "null byte")
    refuse(read_points, write(tmp_path / "d.tps", "LM=1\n1 2\nIMAGE=a\0.jpg\n"), "row 3", "null byte")


def test_a_table_of_predictions_is_read_with_boxes_and_second_objects(tmp_path):
    text = (
        "file,left,top,right,bottom,nose_x,nose_y,nose_score,tail_x,tail_y,tail_score\n"
        "a#b.png,0,0,60,40,9.5,19.5,0.9,,,0.1\na#b.png#2,1,2,30,40,1,2,0.5,3,4,0.6\nc.png#2,0,0,9,9,1,1,1,2,2,1\n"
    )
    labels = read_points(write(tmp_path / "p.csv", text))
    assert labels.notes == ("the scores of 2 points are left out",)
    # A number sign without a row of the name before it is part of the name.
    assert [(i.file, len(i.objects)) for i in labels.images] == [("a#b.png", 2), ("c.png#2", 1)]
    first, second = labels.images[0].objects
    np.testing.assert_array_equal(first.keypoints.xy, [[10, 20], [NAN, NAN]])
    assert first.box == (0, 0, 60, 40)  # edges, not moved as points are
    assert second.box == (1, 2, 30, 40)
    np.testing.assert_array_equal(second.keypoints.xy, [[1.5, 2.5], [3.5, 4.5]])


# --- DeepLabCut without CSV


@pytest.mark.parametrize("place", ["labeled-data/m1/CollectedData_A.h5", "m1/CollectedData_A.h5", "CollectedData_A.h5"])
def test_a_project_with_h5_files_alone_says_how_to_get_the_csv(tmp_path, place):
    file = write(tmp_path / place, "\x89HDF")
    for given, options in ((tmp_path, {}), (tmp_path, {"format": "dlc"}), (file, {}), (file, {"format": "dlc"})):
        with pytest.raises(ValueError, match="HDF5, which is not read") as error:
            read_points(given, **options)
        assert f"pandas.read_hdf(r'{file}').to_csv(r'{file.with_suffix('.csv')}')" in str(error.value)
    write(file.with_suffix(".csv"), "scorer,A,A\nbodyparts,nose,nose\ncoords,x,y\na.png,1,2\n")
    assert recognise(tmp_path)[0] == "dlc"


# --- classes


def test_classes_of_yolo_survive_and_other_formats_say_that_they_lose_them(tmp_path):
    data = "train: images/train\nkpt_shape: [2, 3]\nnames: [mouse, rat, vole]\nkpt_names: {0: [nose, tail]}\n"
    write(tmp_path / "in" / "data.yaml", data)
    rows = ["2 0.5 0.5 1 1 0.25 0.5 2 0.75 0.5 2", "0 0.5 0.5 0.5 0.5 0.25 0.5 2 0.75 0.5 1"]
    write(tmp_path / "in/labels/train/a.txt", "\n".join(rows))
    (tmp_path / "in/images/train").mkdir(parents=True)
    Image.new("L", (200, 100)).save(tmp_path / "in/images/train/a.png")
    labels = read_points(tmp_path / "in")
    first, second = labels.images[0].objects
    assert (dict(first.extra), dict(second.extra)) == ({"class": "2", "class name": "vole"}, {})
    assert "csv: 1 objects lose their class" in write_points(labels, tmp_path / "x.csv", "csv")
    lost = write_points(labels, tmp_path / "out", "yolo")
    assert not any("class" in sentence or "further" in sentence for sentence in lost)
    (written,) = (tmp_path / "out").rglob("*.txt")
    assert [line.split()[0] for line in written.read_text().splitlines()] == ["2", "0"]
    assert "names:\n  0: mouse\n  1: class 1\n  2: vole\n" in (tmp_path / "out/data.yaml").read_text()
    write(tmp_path / "in/labels/train/a.txt", rows[0].replace("2", "3", 1))
    with pytest.raises(ValueError, match=r"row 1: the class '3' is none of the 3"):
        read_points(tmp_path / "in")


# --- what readers leave out

CVAT = """<annotations><meta><attribute>m</attribute></meta><image id="0" name="a.png" width="60" height="40"><tag label="odd"/>
<points label="nose" points="8.2,4.5"><attribute name="sex">f</attribute><attribute name="age">3</attribute></points>
</image></annotations>"""
SHAPE = '{"label": "nose", "points": [[1, 2]], "shape_type": "point", "flags": {"occluded": true, "sure": true, "odd": false}'
LABELME = ('{"imagePath": "a.png", "imageHeight": 40, "imageWidth": 60, "flags": {"good": true, "bad": false}, '
           f'"shapes": [{SHAPE}, "description": "left one"}}]}}')  # fmt: skip
COCO = ('{"images": [{"id": 1, "file_name": "a.png", "width": 60, "height": 40}], "annotations": [{"image_id": 1, '
        '"keypoints": [1, 2, 2], "segmentation": [[1, 2, 3, 4, 5, 6]]}]}')  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "notes"),
    [
        ("a.xml", CVAT, ["1 tags of pictures are left out", "2 attributes of shapes and tags are left out"]),
        ("a.json", LABELME,
         ["1 flags of pictures are left out", "1 flags of shapes are left out", "1 descriptions of shapes are left out"]),
        ("a.json", COCO, ["1 outlines of objects (segmentation) are left out"]),
        ("a.txt", f"a.png {FACE} 1 2 1 4\nb.png {FACE}\n",
         ["the attributes of 1 faces (gender, smile, glasses, pose) are left out"]),
        ("a.csv", "file,point,x,y,sure,who\na.png,nose,1,2,yes,me\n", ["the columns sure, who are left out"]),
    ],
)  # fmt: skip
def test_what_a_reader_leaves_out_is_reported_by_a_conversion(tmp_path, name, text, notes):
    lost = convert(write(tmp_path / name, text), tmp_path / "out.csv", "csv")["lost"]
    assert lost[: len(notes)] == notes


# --- pictures that a target needs


def _labels(root):
    images = []
    for i, name in enumerate(("a.png", "b.png", "c.png")):
        Image.new("L", (30, 20)).save(root / name)
        item = LabelledObject(Keypoints.visible([[1 + i, 2], [3, 4]], PAIR), row=i + 2)
        images.append(LabelledImage(name, (item,)))
    return PointLabels(PAIR, tuple(images), root, root / "d.csv")


def test_a_broken_picture_is_left_out_with_its_row_where_its_size_is_needed(tmp_path):
    labels = _labels(tmp_path)
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"d\.csv, row 3: the size of the image is needed .*b\.png is empty"):
        write_points(labels, tmp_path / "x.json", "coco")
    assert not (tmp_path / "x.json").exists()
    for name, target in (("coco", "x.json"), ("tps", "x.tps"), ("csv", "x.csv")):
        lost = write_points(labels, tmp_path / target, name, on_error="skip")
        assert [s for s in lost if "b.png is left out" in s and "row 3" in s] == lost[: name != "csv"]
        assert not any("sizes" in s for s in lost)  # none was in the labels
        read = read_points(tmp_path / target, root=tmp_path)
        assert [i.file for i in read.images] == (["a.png", "b.png", "c.png"] if name == "csv" else ["a.png", "c.png"])
    for file in ("a.png", "c.png"):
        os.remove(tmp_path / file)
    with pytest.raises(ValueError, match="name its folder with --root"):
        write_points(labels, tmp_path / "y.json", "coco", on_error="skip")
    assert not (tmp_path / "y.json").exists()
