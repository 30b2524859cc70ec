"""Readers of 300-W folders and WFLW lists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from faces import points, pts_text, wflw_row, write_pts
from refusals import refuse
from snellen.keypoints import get_schema
from snellen.keypoints.formats import AnnotationError, read_pts, read_pts_folder, read_wflw

XY = np.round(points(68), 3)


@pytest.fixture
def pts(tmp_path):
    def write(text, **options):
        file = tmp_path / "face.pts"
        file.write_bytes(text.encode(**options))
        return file

    return write


# --- .pts


def test_points_are_counted_from_one(pts):
    found = read_pts(pts(pts_text(XY)))
    assert found.schema == get_schema("ibug-68")
    assert found.labelled.all()
    # (1, 1) is the centre of the first pixel, which is (0.5, 0.5) here.
    np.testing.assert_allclose(found.xy, XY - 0.5)
    np.testing.assert_allclose(read_pts(pts(pts_text(XY)), origin=0.0).xy, XY + 0.5)


@given(arrays(np.float64, (68, 2), elements=st.floats(-1e5, 1e5)))
def test_what_is_written_is_read_back(tmp_path_factory, xy):
    file = tmp_path_factory.getbasetemp() / "any.pts"
    file.write_text(pts_text(xy))
    np.testing.assert_allclose(read_pts(file).xy, xy - 0.5, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("\n", "\r\n"),
        lambda t: t.replace("\n", "\n\n"),
        lambda t: t.replace("\n", "  \n\t ").replace(" ", "   "),
        lambda t: "\ufeff" + t,
        lambda t: t.replace("n_points: 68", "n_points:68"),
        lambda t: t.replace("version: 1\n", "").replace("n_points: 68\n", ""),
        lambda t: t.rstrip("\n"),
        lambda t: t + "after the end\n",
    ],
)
def test_other_ways_of_writing_the_same(pts, change):
    np.testing.assert_allclose(read_pts(pts(change(pts_text(XY)))).xy, XY - 0.5)


def test_the_schema_says_how_many_points(pts):
    five = read_pts(pts(pts_text(XY[:5])), schema=get_schema("mtfl-5"))
    assert five.schema.name == "mtfl-5"
    np.testing.assert_allclose(five.xy, XY[:5] - 0.5)


def changed(row, text):
    """A file with another row, counted from 1."""
    lines = pts_text(XY).splitlines()
    lines[row - 1] = text
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ["row 1", "without '{'"]),
        ("version: 1\nn_points: 68\n", ["row 2", "without '{'"]),
        (pts_text(XY).replace("}", ""), ["row 72", "without '}'"]),
        (pts_text(XY[:49]), ["row 2", "n_points: 49", "'ibug-68' has 68"]),
        (pts_text(XY[:49]).replace("49", "68"), ["row 53", "49 points", "68"]),
        (pts_text(XY).replace("}", "1 1\n}"), ["row 73", "69 points"]),
        (changed(10, "12.5"), ["row 10", "'12.5'", "x and a y"]),
        (changed(10, "12.5 3 4"), ["row 10", "x and a y"]),
        (changed(71, "12.5 three"), ["row 71", "three"]),
        (changed(4, "nan 3.5"), ["row 4", "nan 3.5"]),
        (changed(4, "3.5 inf"), ["row 4", "inf"]),
    ],
)
def test_pts_refusals(pts, text, says):
    refuse(read_pts, pts(text), *says)


def test_a_missing_pts_is_refused(tmp_path):
    refuse(read_pts, tmp_path / "none.pts", "cannot be read")


def test_a_folder_pairs_points_with_pictures(tmp_path):
    write_pts(tmp_path, ["ibug/b", "ibug/a"], ending=".JPG")
    write_pts(tmp_path, ["ibug/image_092 _01"], ending=".jpeg")  # a real name of the set
    (tmp_path / "ibug" / "._a.pts").write_bytes(b"\x00")  # what macOS leaves in archives
    (tmp_path / "ibug" / "readme.txt").write_text("not a face")
    found, broken = read_pts_folder(tmp_path, "ibug/", groups=("challenging",))
    assert [a.file for a in found] == ["ibug/a.JPG", "ibug/b.JPG", "ibug/image_092 _01.jpeg"]
    assert broken == {}
    assert found[0].source == str(tmp_path / "ibug" / "a.pts")
    assert found[0].row == 4
    assert all(a.groups == ("challenging",) for a in found)
    np.testing.assert_allclose(found[1].keypoints.xy, points(68, seed=0))


def test_the_jpeg_goes_before_the_png(tmp_path):
    write_pts(tmp_path, ["afw/a"], ending=".png")
    Image.new("L", (40, 40)).save(tmp_path / "afw" / "a.jpg")
    assert read_pts_folder(tmp_path, "afw")[0][0].file == "afw/a.jpg"


def test_broken_files_of_a_folder_are_listed_with_file_and_row(tmp_path):
    write_pts(tmp_path, [f"afw/{name}" for name in "abcd"])
    (tmp_path / "afw" / "a.png").unlink()
    (tmp_path / "afw" / "c.pts").write_text(changed(10, "1 x"))
    found, broken = read_pts_folder(tmp_path, "afw")
    assert [a.file for a in found] == ["afw/b.png", "afw/d.png"]
    assert list(broken) == ["afw/a.pts", "afw/c.pts"]
    assert f"{tmp_path / 'afw' / 'a.pts'}, row 1: no picture a" in broken["afw/a.pts"]
    assert f"{tmp_path / 'afw' / 'c.pts'}, row 10: '1 x'" in broken["afw/c.pts"]


def test_a_folder_without_faces_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match=r"lfpw is not a folder.*data\.root"):
        read_pts_folder(tmp_path, "lfpw")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnnotationError, match=r"empty holds no \.pts files"):
        read_pts_folder(tmp_path, "empty")


# --- WFLW

FACE = np.round(points(98), 4)


def test_wflw_row(tmp_path):
    file = tmp_path / "list.txt"
    rows = [wflw_row(FACE), "", wflw_row(FACE + 1, "1 0 0 1 0 1", "1--Handshaking/b c.jpg")]
    file.write_text("\r\n".join(rows))
    first, second = read_wflw(file)
    assert first.keypoints.schema == get_schema("wflw-98")
    assert (first.file, first.row, first.groups) == ("WFLW_images/0--Parade/a.jpg", 1, ())
    assert (second.file, second.row) == ("WFLW_images/1--Handshaking/b c.jpg", 3)
    assert second.groups == ("pose", "make-up", "blur")
    np.testing.assert_allclose(first.keypoints.xy, FACE + 0.5)
    np.testing.assert_allclose(read_wflw(file, origin=1.0)[1].keypoints.xy, FACE + 0.5)


def test_wflw_refusals(tmp_path):
    file, good = tmp_path / "list.txt", wflw_row(FACE)
    refuse(read_wflw, file, "does not exist", "WFLW_images")
    for text, *says in (
        ("\n \n", "holds no rows"),
        (f"{good}\n{' '.join(good.split()[2:])}", "row 2", "205 columns instead of 207"),
        (f"{good}\n\n{good.replace(good.split()[7], 'x7', 1)}", "row 3", "not numbers"),
        (good.replace(good.split()[7], "nan", 1), "row 1", "not a finite number"),
        (wflw_row(FACE, "0 0 2 0 0 0"), "row 1", "'0 0 2 0 0 0'", "six of 0 and 1"),
    ):
        file.write_text(text)
        refuse(read_wflw, file, *says)


def test_a_malformed_wflw_row_is_left_out_where_that_is_asked(tmp_path):
    file, good, broken = tmp_path / "list.txt", wflw_row(FACE), {}
    file.write_text(f"{good}\n{' '.join(good.split()[2:])}\n{good}\n")
    assert [a.row for a in read_wflw(file, broken=broken)] == [1, 3]
    assert "row 2: 205 columns" in broken[f"{file}, row 2"]
