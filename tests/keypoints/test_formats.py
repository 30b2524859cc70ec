"""Readers of annotation files: what they accept, and one sentence with file and row for what they do not."""

import numpy as np
import pytest

from refusals import refuse
from snellen.keypoints import Schema, get_schema
from snellen.keypoints.formats import read_csv, read_mtfl

ROW = "a\\b.jpg 10 30 20 12 28 20 21 30 40 41 1 2 2 3"  # file, five x, five y, four attributes


def write(path, text, **options):
    path.write_text(text, encoding="utf-8", **options)
    return path


# --- MTFL


def test_mtfl_row(tmp_path):
    (annotation,) = read_mtfl(write(tmp_path / "t.txt", ROW + "\n"))
    assert annotation.file == "a/b.jpg"  # Windows separators of the original lists
    assert annotation.row == 1
    assert annotation.keypoints.schema == get_schema("mtfl-5")
    # x and y come as two blocks; index 10 is the pixel whose centre is 10.5.
    expected = [[10.5, 20.5], [30.5, 21.5], [20.5, 30.5], [12.5, 40.5], [28.5, 41.5]]
    np.testing.assert_array_equal(annotation.keypoints.xy, expected)
    assert annotation.keypoints.labelled.all()


def test_mtfl_counted_from_one(tmp_path):
    (annotation,) = read_mtfl(write(tmp_path / "t.txt", ROW), origin=1.0)
    np.testing.assert_array_equal(annotation.keypoints.xy[0], [9.5, 19.5])


def test_mtfl_without_attributes_and_with_empty_rows(tmp_path):
    plain = " ".join(ROW.split()[:11])
    found = read_mtfl(write(tmp_path / "t.txt", f"\n{plain}\n\n  \n{plain}\n"))
    assert [a.row for a in found] == [2, 5]


def test_mtfl_refusals(tmp_path):
    file = tmp_path / "t.txt"
    refuse(read_mtfl, file, "does not exist", "training.txt")
    refuse(read_mtfl, write(file, "\n \n"), "holds no rows")
    refuse(read_mtfl, write(file, f"{ROW}\na.jpg 1 2 3\n"), "row 2", "4 columns")
    refuse(read_mtfl, write(file, f"{ROW}\n\n{ROW.replace('28', 'x28')}\n"), "row 3", "x28", "not ten numbers")


# --- CSV


def test_header_names_the_points(tmp_path):
    file = write(tmp_path / "d.csv", "file,nose_x,nose_y,left ear_x,left ear_y\na.png,1,2,3,4\nb.png,5,6,7,8\n")
    first, second = read_csv(file)
    assert first.keypoints.schema.points == ("nose", "left ear")
    assert (first.file, first.row, second.file, second.row) == ("a.png", 2, "b.png", 3)
    np.testing.assert_array_equal(first.keypoints.xy, [[1.5, 2.5], [3.5, 4.5]])
    np.testing.assert_array_equal(second.keypoints.xy, [[5.5, 6.5], [7.5, 8.5]])


@pytest.mark.parametrize("header", ["file,x1,y1,x2,y2\n", "image,X 1,Y 1,X 2,Y 2\n", ""])
def test_without_names_points_are_numbered(tmp_path, header):
    (annotation,) = read_csv(write(tmp_path / "d.csv", f"{header}a.png,1,2,3,4\n"))
    assert annotation.keypoints.schema.points == ("p1", "p2")
    np.testing.assert_array_equal(annotation.keypoints.xy, [[1.5, 2.5], [3.5, 4.5]])


def test_a_given_schema_names_the_points(tmp_path):
    pair = Schema("pair", ("head", "tail"))
    for header in ("", "file,x1,y1,x2,y2\n", "file,head_x,head_y,tail_x,tail_y\n"):
        (annotation,) = read_csv(write(tmp_path / "d.csv", f"{header}a.png,1,2,3,4\n"), schema=pair)
        assert annotation.keypoints.schema == pair


def test_a_schema_that_does_not_fit_is_refused(tmp_path):
    file = write(tmp_path / "d.csv", "file,tail_x,tail_y,head_x,head_y\na.png,1,2,3,4\n")
    refuse(read_csv, file, "tail, head", "head, tail", schema=Schema("pair", ("head", "tail")))
    refuse(read_csv, file, "2 points a row", "'mtfl-5' has 5", schema=get_schema("mtfl-5"))


@pytest.mark.parametrize("separator", [";", "\t", ",", " ; "])
def test_separators(tmp_path, separator):
    rows = [["file", "nose_x", "nose_y"], ["my picture.png", "1.5", "2.5"]]
    file = write(tmp_path / "d.csv", "\n".join(separator.join(r) for r in rows))
    (annotation,) = read_csv(file)
    assert annotation.file == "my picture.png"
    np.testing.assert_array_equal(annotation.keypoints.xy, [[2.0, 3.0]])


def test_quoted_file_names_may_hold_the_separator(tmp_path):
    (annotation,) = read_csv(write(tmp_path / "d.csv", 'file,nose_x,nose_y\n"a, b.png",1,2\n'))
    assert annotation.file == "a, b.png"


@pytest.mark.parametrize("empty", ["", " ", "nan", "NaN", "NA"])
def test_empty_cells_are_unlabelled(tmp_path, empty):
    text = f"file,nose_x,nose_y,chin_x,chin_y\na.png,1,2,{empty},{empty}\nb.png,{empty},4,5,6\n"
    first, second = read_csv(write(tmp_path / "d.csv", text))
    assert first.keypoints.labelled.tolist() == [True, False]
    # Half a point is no point.
    assert second.keypoints.labelled.tolist() == [False, True]
    assert np.isnan(second.keypoints.xy[0]).all()


def test_unlabelled_points_in_the_first_row_are_no_header(tmp_path):
    found = read_csv(write(tmp_path / "d.csv", "a.png,1,2,,\nb.png,1,2,3,4\n"))
    assert [a.file for a in found] == ["a.png", "b.png"]


def test_byte_order_mark_windows_lines_and_blank_rows(tmp_path):
    file = tmp_path / "d.csv"
    file.write_bytes("\ufefffile,nose_x,nose_y\r\n\r\nä.png,1,2\r\n,,\r\n".encode())
    (annotation,) = read_csv(file)
    assert annotation.file == "ä.png"
    assert annotation.row == 3
    file.write_bytes("\ufeffa.png,1,2\r\n".encode())
    assert read_csv(file)[0].file == "a.png"


@pytest.mark.parametrize(("origin", "x"), [(0.0, 10.5), (1.0, 9.5), (0.5, 10.0)])
def test_origin(tmp_path, origin, x):
    (annotation,) = read_csv(write(tmp_path / "d.csv", "a.png,10,10\n"), origin=origin)
    np.testing.assert_array_equal(annotation.keypoints.xy, [[x, x]])


HEADER = "file,nose_x,nose_y,chin_x,chin_y\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ["is empty"]),
        (HEADER, ["holds a header and no rows"]),
        (HEADER + "a.png,1,2,3,4\nb.png,1,2,3\n", ["row 3", "4 columns", "5"]),
        ("a.png,1,2,3\n", ["row 1", "4 columns", "odd number"]),
        ("a.png\n", ["row 1", "1 columns"]),
        (HEADER + "a.png,1,2,3,4\n\na.png,1,2,3,4\n", ["row 4", "a.png", "already in row 2"]),
        (HEADER + "a.png,1,2,3,4\nb.png,1,2,three,4\n", ["row 3", "'three'", "not a number"]),
        # A typo in the first row of a file without header must not make a header of it, which would drop the row.
        ("a.png,1,2,three,4\nb.png,1,2,3,4\n", ["row 1", "'three'", "not a number"]),
        ('"a.png,1,2,3,4\n' + "b.png,1,2,3,4\n" * 20000, ["quotation mark"]),
        (HEADER + ",1,2,3,4\n", ["row 2", "file name is empty"]),
        (HEADER + "a.png,1,2,3,4\nb.png,1e9,2,3,4\n", ["row 3", "'1e9'", "no place in a picture"]),
        ("file,nose_x,nose_y,nose_x,nose_y\na.png,1,2,3,4\n", ["more than once"]),
    ],
)
def test_csv_refusals(tmp_path, text, says):
    refuse(read_csv, write(tmp_path / "d.csv", text), *says)


def test_a_missing_or_binary_csv_is_refused(tmp_path):
    refuse(read_csv, tmp_path / "none.csv", "does not exist")
    (tmp_path / "latin.csv").write_bytes(b"fl\xfcgel.png,1,2\n")
    refuse(read_csv, tmp_path / "latin.csv", "UTF-8")
