"""Tables of landmarks as their tools document them, with an oddity of real files, against positions worked out by hand."""

import numpy as np
import pytest

from format_files import picture, write
from refusals import refuse
from snellen.geometry import Box
from snellen.keypoints import Schema
from snellen.keypoints.formats import (
    AnnotationError,
    read_deeplabcut,
    read_long_csv,
    read_points,
    read_tps,
)

NAN = np.nan

# --- TPS: https://rdrr.io/cran/geomorph/src/R/readland.tps.r

TPS = """LM=3
10.00000 5.00000
0.00000 40.00000
-1.00000 -1.00000
CURVES=1
POINTS=2
1 1
2 2
IMAGE=Wing 1.JPG
ID=0
SCALE=0.02
COMMENT=second try

lm=3
1,5 2,5
NA NA
30 0
IMAGE=wing 1.jpg
ID=1
"""


def test_a_scale_may_be_large_where_its_unit_is_small(tmp_path):
    """Nanometres: a number that could not be a coordinate."""
    picture(tmp_path / "wing 1.jpg", 60, 40)
    labels = read_tps(write(tmp_path / "w.tps", TPS.replace("SCALE=0.02", "SCALE=2000000")), scale_unit=1e-6)
    assert labels.images[0].objects[0].scale == pytest.approx(2)
    refuse(read_tps, write(tmp_path / "w.tps", TPS.replace("0.00000 40.00000", "0.0 2000000")), "lies in no picture")


def test_tps(tmp_path):
    picture(tmp_path / "wing 1.jpg", 60, 40)  # tpsDig's system does not tell JPG from jpg
    labels = read_tps(write(tmp_path / "w.tps", TPS), scale_unit=10)
    (image,) = labels.images
    assert image.file == "wing 1.jpg"
    one, two = image.objects
    # y counts upwards from the lower edge of 40 rows.
    np.testing.assert_array_equal(one.keypoints.xy, [[10, 35], [0, 0], [NAN, NAN]])
    np.testing.assert_array_equal(two.keypoints.xy, [[1.5, 37.5], [NAN, NAN], [30, 40]])  # decimal commas
    assert (one.scale, two.scale, one.id, two.id) == (pytest.approx(0.2), None, "0", "1")  # centimetres to millimetres
    assert one.extra == {"COMMENT": "second try"}
    assert labels.notes == ("1 CURVES of points are left out, landmarks alone are read",)
    # Counted by the centres of pixels, the lowest row is 0.
    centred = read_tps(tmp_path / "w.tps", origin=0).images[0].objects[0].keypoints.xy
    np.testing.assert_array_equal(centred[:2], [[10.5, 34.5], [0.5, -0.5]])


def test_tps_refusals(tmp_path):
    file, whole = tmp_path / "w.tps", "LM=1\n1 2\nIMAGE=a.png\n"
    refuse(read_tps, write(file, whole), "row 1", "a.png does not exist", "size of the image is needed")
    picture(tmp_path / "a.png", 10, 10)
    refuse(read_tps, write(file, "LM=1\n1 2\n"), "row 1", "no IMAGE")
    refuse(read_tps, write(file, "LM=2\n1 2\nIMAGE=a.png\n"), "row 3", "1 points are missing before IMAGE")
    refuse(read_tps, write(file, "LM=2\n1 2\n"), "ends with 1 points missing")
    refuse(read_tps, write(file, "LM3=1\n1 2 3\n"), "points in space")
    refuse(read_tps, write(file, "LM=1\n1 2 3\nIMAGE=a.png\n"), "row 2", "not an x and a y")
    refuse(read_tps, write(file, whole + "SCALE=0\n"), "no length a pixel")
    refuse(read_tps, write(file, whole + "LM=2\n1 2\n3 4\nIMAGE=a.png\n"), "row 4", "2 points", "have 1")
    refuse(read_tps, write(file, "IMAGE=a.png\n"), "row 1", "before the first LM")
    refuse(read_tps, write(file, "\n"), "is empty; a specimen begins with LM")
    refuse(read_tps, write(file, "LM=²\n1 2\nIMAGE=a.png\n"), "row 1", "LM=² is not a number of points")
    refuse(read_tps, write(file, "LM=1\nInf 2\nIMAGE=a.png\n"), "row 2", "'Inf' is not a finite number")


@pytest.mark.parametrize("folder", ["", "photos/2024/"])
def test_tps_finds_pictures_that_are_named_by_a_path_of_another_machine(tmp_path, folder):
    picture(tmp_path / folder / "wing-00.png", 60, 40)
    file = write(tmp_path / "w.tps", "LM=1\n10 5\nIMAGE=C:\\Users\\me\\Wing-00.PNG\n")
    assert read_tps(file).images[0].file == f"{folder}wing-00.png"
    picture(tmp_path / "a/other.png", 60, 40)
    picture(tmp_path / "b/other.png", 60, 40)
    refuse(read_tps, write(file, "LM=1\n1 2\nIMAGE=/home/me/other.png\n"), "row 1", "/home/me/other.png does not exist")


def test_tps_without_landmarks_is_an_image_without_objects(tmp_path):
    picture(tmp_path / "b.png", 60, 40)
    file = write(tmp_path / "w.tps", "LM=0\nIMAGE=a.png\nID=0\nLM=2\n1 2\n3 4\nIMAGE=b.png\nID=1\nLM=0\nIMAGE=c.png\n")
    labels = read_tps(file)
    assert [(i.file, len(i.objects)) for i in labels.images] == [("a.png", 0), ("b.png", 1), ("c.png", 0)]
    assert labels.schema.points == ("p1", "p2")
    refuse(read_tps, write(file, "LM=0\nIMAGE=a.png\n"), "holds no annotated object")


# --- DeepLabCut: https://deeplabcut.github.io/DeepLabCut/docs/standardDeepLabCut_UserGuide.html

DLC = """scorer,,,Anna,Anna,Anna,Anna
bodyparts,,,snout,snout,tail base,tail base
coords,,,x,y,x,y
labeled-data,mouse1,img0010.png,83.0,41.5,,
labeled-data,mouse1,img0020.png,,,,
"""
MANY = """scorer,Anna,Anna,Anna,Anna
individuals,m1,m1,m2,m2
bodyparts,snout,snout,snout,snout
coords,x,y,x,y
labeled-data\\pair\\img1.png,1.0,2.0,30.0,4.0
"""


def test_deeplabcut(tmp_path):
    write(tmp_path / "labeled-data/mouse1/CollectedData_Anna.csv", DLC)
    labels = read_points(tmp_path)
    assert labels.schema.points == ("snout", "tail base")
    first, second = labels.images
    assert (first.file, second.objects) == ("labeled-data/mouse1/img0010.png", ())
    np.testing.assert_array_equal(first.objects[0].keypoints.xy, [[83.5, 42.0], [NAN, NAN]])
    # The CSV alone names its frames from the project's folder.
    assert read_points(tmp_path / "labeled-data/mouse1/CollectedData_Anna.csv").root == tmp_path


def test_deeplabcut_with_several_animals_labelled_on_windows(tmp_path):
    file = write(tmp_path / "labeled-data/pair/CollectedData_Anna.csv", MANY)
    (image,) = read_deeplabcut(file).images
    assert image.file == "labeled-data/pair/img1.png"
    assert [o.id for o in image.objects] == ["m1", "m2"]
    np.testing.assert_array_equal([o.keypoints.xy[0] for o in image.objects], [[1.5, 2.5], [30.5, 4.5]])


def test_deeplabcut_refusals(tmp_path):
    refuse(read_deeplabcut, tmp_path, "no CollectedData_")
    file = tmp_path / "d.csv"
    refuse(read_deeplabcut, write(file, "scorer,A,A\ncoords,x,y\na.png,1,2\n"), "not scorer, bodyparts and coords")
    refuse(read_deeplabcut, write(file, DLC + "labeled-data,m,i.png,1\n"), "row 6", "4 columns")
    refuse(read_deeplabcut, write(file, DLC.replace("83.0", "83.0?")), "row 4", "'83.0?'")


def project(root, **videos):
    """A project of DeepLabCut with a CSV of these words for each video."""
    for video, text in videos.items():
        write(root / f"labeled-data/{video}/CollectedData_Anna.csv", text.replace("mouse1", video))
    return root


def test_a_video_with_labels_in_hdf5_alone_is_said(tmp_path, caplog):
    project(tmp_path, m1=DLC)
    write(tmp_path / "labeled-data/m2/CollectedData_Anna.h5", "x")
    write(tmp_path / "labeled-data/m1/CollectedData_Anna.h5", "x")
    with caplog.at_level("WARNING", logger="snellen"):
        labels = read_points(tmp_path)
    assert labels.images[0].file == "labeled-data/m1/img0010.png"
    assert read_points(tmp_path / "labeled-data/m1").notes == ()
    (note,) = labels.notes
    assert caplog.messages == [note]
    assert note.startswith(f"the frames of {tmp_path / 'labeled-data/m2'} are left out: ")
    assert "to_csv" in note


def test_two_files_of_labels_in_one_folder_are_refused(tmp_path):
    project(tmp_path, m1=DLC)
    second = write(tmp_path / "labeled-data/m1/CollectedData_Bob.csv", DLC.replace("mouse1", "m1"))
    refuse(
        read_points,
        tmp_path,
        "labeled-data/m1 holds",
        "CollectedData_Anna.csv, CollectedData_Bob.csv",
        "give the path of one",
    )
    assert len(read_points(second).objects) == 1


@pytest.mark.parametrize("text", ["", "<html>\n", "scorer,A\nbodyparts,a\n", "\0"])
def test_a_broken_file_of_a_project_is_left_out_where_that_is_asked(tmp_path, text):
    project(tmp_path, m1=DLC, m2=text, m3=DLC)
    broken = tmp_path / "labeled-data/m2/CollectedData_Anna.csv"
    refuse(read_points, tmp_path, str(broken))
    labels = read_points(tmp_path, on_error="skip")
    assert {image.file.split("/")[1] for image in labels.images} == {"m1", "m3"}
    assert list(labels.broken) == [str(broken)]


def test_parts_of_no_animal_are_left_out_with_a_note(tmp_path):
    text = MANY.replace("m2,m2", "single,single").replace("snout,snout,snout,snout", "snout,snout,corner,corner")
    labels = read_deeplabcut(write(tmp_path / "d.csv", text))
    assert labels.schema.points == ("snout",)
    assert [item.id for _, item in labels.objects] == ["m1"]
    assert labels.notes == ("the parts corner belong to no animal ('single') and are left out",)
    # Where all have the same parts it is an animal as the others.
    assert len(read_deeplabcut(write(tmp_path / "d.csv", MANY.replace("m2,m2", "single,single"))).objects) == 2


def test_likelihoods_are_said_to_be_left_out(tmp_path):
    text = "scorer,N,N,N\nbodyparts,snout,snout,snout\ncoords,x,y,likelihood\nimg.png,1,2,0.9\n"
    assert read_deeplabcut(write(tmp_path / "d.csv", text)).notes == ("1 columns of likelihoods are left out",)


# --- CSV, wide with further columns, and long: the names of the columns are ours


def test_wide_csv_with_further_columns(tmp_path):
    text = (
        "file,id,nose_x,nose_y,nose_v,tail_x,tail_y,box_left,box_top,box_right,box_bottom,mm_per_pixel,split,group\n"
        "a.png,1,10,20,1,,,0,0,30,40,0.5,train,anna\n"
        "a.png,2,11,21,,5,6,,,,,,train,anna\n"
        "b.png,1,11,21,0,5,6,,,,,,Test,\n"
    )
    labels = read_points(write(tmp_path / "d.csv", text))
    one, two = labels.images
    assert (one.split, one.group, two.split, two.group) == ("train", "anna", "test", "")
    np.testing.assert_array_equal(one.objects[0].keypoints.xy, [[10.5, 20.5], [NAN, NAN]])
    assert one.objects[0].keypoints.visibility.tolist() == [1, 0]
    assert one.objects[0].box == Box(0.5, 0.5, 30.5, 40.5)  # measured as the points are
    assert (one.objects[0].scale, one.objects[1].scale) == (0.5, None)
    assert two.objects[0].keypoints.visibility.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("a.png,2,1,1,1,,,,,train", "is already in row 2"),
        ("b.png,2,1,1,7,,,,,train", "the visibility '7'"),
        ("b.png,2,1,1,1,5,5,3,9,train", "is no box"),
        ("b.png,2,1,1,1,,,,,dev", "split 'dev'"),
        ("b.png,2,1,1,1,,,,", "9 columns where the first row has 10"),
    ],
)
def test_wide_csv_refusals(tmp_path, row, says):
    head = "file,id,nose_x,nose_y,nose_v,box_left,box_top,box_right,box_bottom,split\na.png,2,1,1,1,0,0,9,9,train\n"
    with pytest.raises(AnnotationError, match=says) as error:
        read_points(write(tmp_path / "d.csv", head + row))
    assert "row 3" in str(error.value)


def test_long_csv(tmp_path):
    # As R's pivot_longer leaves it, with NA for what was not found.
    text = "image;landmark;x;y;id\na.png;nose;10;20;\na.png;tail;NA;NA;\nb.png;tail;1.5;2.5;f1\nb.png;nose;3;4;f1\n"
    labels = read_points(write(tmp_path / "l.csv", text))
    assert labels.schema.points == ("nose", "tail")
    (_, one), (_, two) = labels.objects
    np.testing.assert_array_equal(one.keypoints.xy, [[10.5, 20.5], [NAN, NAN]])
    np.testing.assert_array_equal(two.keypoints.xy, [[3.5, 4.5], [2.0, 3.0]])
    assert two.id == "f1"


def test_long_csv_refusals(tmp_path):
    file = tmp_path / "l.csv"
    refuse(read_long_csv, write(file, "file,point,x\na,b,1\n"), "lacks y")
    refuse(read_long_csv, write(file, "file,point,x,y\na,b,1,2\na,b,1,2\n"), "row 3", "b of a is there already")
    refuse(read_long_csv, write(file, "file,point,x,y\na,b,1\n"), "row 2", "3 columns")
    refuse(read_long_csv, write(file, "file,point,x,y\na,b,1,z\n"), "row 2", "'z'")
    known = Schema("wing", ("base", "left tip"))
    refuse(
        read_long_csv,
        write(file, "file,point,x,y\na,left tpi,1,2\n"),
        "no point 'left tpi'; nearest: left tip",
        schema=known,
    )
