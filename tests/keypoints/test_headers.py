"""Headers of tables: every column is understood or refused by its name, never read as a coordinate of something else."""

import numpy as np
import pytest

from format_files import only, write
from refusals import refuse
from snellen.keypoints.formats import read_deeplabcut, read_long_csv, read_points
from snellen.keypoints.formats.table import read_table


def table(path, header, rows=1):
    """A table of this header with 1, 2, 3, ... in its cells."""
    separator = next((s for s in ";\t" if s in header), ",")
    count = header.count(separator)
    lines = [separator.join([f"{i}.png", *map(str, range(1, count + 1))]) for i in range(rows)]
    return write(path, "\n".join([header, *lines]) + "\n")


@pytest.mark.parametrize(
    ("header", "points"),
    [
        ("file,x1,y1,x2,y2", ("p1", "p2")),
        ("file,X_1,Y_1,X_2,Y_2", ("p1", "p2")),
        ("file,x0,y0,x1,y1", ("p1", "p2")),
        ("file,x,y,x.1,y.1", ("p1", "p2")),  # as pandas tells equal names apart
        ("file,x,y", ("p1",)),
        ("file,Nose_X,Nose_Y,tail.x,tail.y", ("Nose", "tail")),
        ("file,nose-x,nose-y,left ear x,left ear y", ("nose", "left ear")),
        ("file,noseX,noseY,tailX,tailY", ("nose", "tail")),
        ("file,1_x,1_y,2_x,2_y", ("1", "2")),
        ("file;nose_x;nose_y;;", ("nose",)),
    ],
)
def test_points_are_named_by_their_columns(tmp_path, header, points):
    text = table(tmp_path / "d.csv", header).read_text()
    if header.endswith(";;"):
        text = text.replace(";3;4", ";;")
    _, item = only(read_table(write(tmp_path / "d.csv", text)))
    assert item.keypoints.schema.points == points
    xy = np.arange(1, 2 * len(points) + 1).reshape(-1, 2) + 0.5
    np.testing.assert_array_equal(item.keypoints.xy, xy)


@pytest.mark.parametrize("header", ["file,x1,x2,y1,y2", "file,nose_x,tail_x,nose_y,tail_y"])
def test_all_xs_may_stand_before_all_ys(tmp_path, header):
    _, item = only(read_table(table(tmp_path / "d.csv", header)))
    np.testing.assert_array_equal(item.keypoints.xy, [[1.5, 3.5], [2.5, 4.5]])


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("file,x1,y1,x2,y2,width,height", "width, height are no x and y"),
        ("File,Nose_X,Nose_Y,Tail_X,Tail_Y,Width,Height", "Width, Height are no x and y"),
        ("file,nose.x,nose.y,tail.x,tail.y,width,height", "width, height are no x and y"),
        ("file,x1,y1,area", "area is no x and y"),
        ("file,a_row,a_col,b_row,b_col", "a_row, a_col, b_row, b_col are no x and y of a point, side by side: x is the column"),
        ("file,row1,col1", "x is the column and y the row"),
        ("file,a,b,c,d", "a, b, c, d are no x and y"),
        ("file,index,sex", "index, sex are no x and y"),
        ("id,file,nose_x,nose_y", "file is no x and y of a point, side by side: the file is the first column"),
        ("file,x1,y1,nose_x,nose_y", "x1, y1 have no name where other points have one"),
        ("file,x2,y2,x1,y1", "the numbers of the points are 2, 1; sort"),
        ("file,x1,y1,x1,y1", "the numbers of the points are 1, 1"),
        ("file,y1,x1,y2,x2", "no x and y of a point, side by side (y1 stands before x1"),
        ("file,x1,x2,y2,y1", "no x and y of a point, side by side (y2 stands before y1)"),
        ("file,nose_x,nose_y,split,Split", "two columns split"),
        ("file,nose_x,nose_y,,", "column 4 has no name but holds values (the first, '3', in row 2)"),
    ],
)  # fmt: skip
def test_other_columns_are_refused_by_their_names(tmp_path, header, says):
    refuse(read_table, table(tmp_path / "d.csv", header), "row 1", says)


def test_the_known_columns_may_have_capitals(tmp_path):
    text = "File,ID,Nose_X,Nose_Y,Nose_V,Split,Group,MM_per_pixel\na.png,7,1,2,1,Train,anna,0.5\n"
    image, item = only(read_table(write(tmp_path / "d.csv", text)))
    assert (image.split, image.group, item.id, item.scale) == ("train", "anna", "7", 0.5)
    assert item.keypoints.visibility.tolist() == [1]
    _, item = only(read_table(write(tmp_path / "d.csv", "file,x1,y1,v1\na.png,1,2,0\n")))
    assert item.keypoints.visibility.tolist() == [0]


# --- what spreadsheets write


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize(
    "first", ["", "file;nose_x;nose_y\n", "sep=;\nfile;nose_x;nose_y\n", '"sep=;"\nfile;nose_x;nose_y\n']
)
def test_decimal_commas(tmp_path, first, separator):
    text = f"{first}a.png;30,5;-1,25\nb.png;,5;1,5e1\n".replace(";", separator)
    one, two = read_points(write(tmp_path / "d.csv", text)).images
    np.testing.assert_array_equal(one.objects[0].keypoints.xy, [[31, -0.75]])
    np.testing.assert_array_equal(two.objects[0].keypoints.xy, [[1, 15.5]])
    assert one.objects[0].row == 1 + first.count("\n")


def test_decimal_commas_of_other_tables(tmp_path):
    text = "file;point;x;y;id;mm_per_pixel\na.png;nose;30,5;1;1,5;0,25\n"
    _, item = only(read_long_csv(write(tmp_path / "l.csv", text)))
    assert (item.keypoints.xy.tolist(), item.id, item.scale) == ([[31, 1.5]], "1,5", 0.25)
    text = "sep=;\nscorer;A;A;;\nbodyparts;snout;snout;;\ncoords;x;y;;\nimg.png;30,5;2;;\n"
    _, item = only(read_points(write(tmp_path / "c.csv", text)))
    assert item.keypoints.xy.tolist() == [[31, 2.5]]
    refuse(read_deeplabcut, write(tmp_path / "c.csv", text.replace("2;;", "2;3;")), "row 5", "5 columns", "has 3")


def test_commas_that_may_be_of_thousands_are_no_decimal_ones(tmp_path):
    refuse(read_table, write(tmp_path / "d.csv", "file;x1;y1\na.png;1,234;5.5\n"), "row 2", "'1,234' is not a number")
    refuse(read_table, write(tmp_path / "d.csv", 'file,x1,y1\na.png,"30,5",1\n'), "row 2", "'30,5' is not a number")


def test_empty_columns_are_ignored(tmp_path):
    # Excel writes the separators of empty columns in the first rows alone.
    text = "file,nose_x,,nose_y,,\na.png,1,,2,,\nb.png,3,,4\n"
    labels = read_table(write(tmp_path / "d.csv", text))
    assert [item.keypoints.xy.tolist() for _, item in labels.objects] == [[[1.5, 2.5]], [[3.5, 4.5]]]
    text = "file,point,x,y,\na.png,nose,1,2,\n"
    assert only(read_long_csv(write(tmp_path / "l.csv", text)))[1].keypoints.xy.tolist() == [[1.5, 2.5]]
    # A row that is longer than the header is none of that.
    refuse(read_table, write(tmp_path / "d.csv", "file,x1,y1\na.png,1,2,\n"), "row 2", "4 columns")
