"""What `snellen check` and `convert` must not do: replace what they read, or take nonsense for an answer."""

import pytest

from evaluation.test_check import faces
from snellen import api
from snellen.config import ConfigError
from snellen.keypoints.formats import AnnotationError, write_points


@pytest.fixture
def written(tmp_path):
    labels = faces(tmp_path / "my data")
    write_points(labels, tmp_path / "my data" / "annotations.csv", "csv")
    return tmp_path


def test_a_sheet_replaces_no_picture_and_is_called_a_picture(written):
    folder = written / "my data"
    picture = next(folder.glob("*.png"))
    before = picture.read_bytes()
    for sheet, says in (
        (picture, "is one of the pictures, and would be replaced"),
        (folder / "annotations.csv", "would be a PNG picture by another ending"),
    ):
        with pytest.raises(ConfigError, match=says):
            api.check(str(folder), sheet=str(sheet), workers=1)
    (tmp_path := written / "elsewhere").mkdir()
    other = faces(tmp_path, 3, seed=1)
    write_points(other, tmp_path / "annotations.csv", "csv")
    tested = next(tmp_path.glob("*.png"))
    kept = tested.read_bytes()
    with pytest.raises(ConfigError, match="is one of the pictures"):
        api.check(str(folder), test=str(tmp_path), sheet=str(tested), workers=1)
    assert (picture.read_bytes(), tested.read_bytes()) == (before, kept)
    with pytest.raises(ConfigError, match="--workers -1"):
        api.check(str(folder), workers=-1)


def test_origins_that_no_program_has_are_refused(written):
    with pytest.raises(ConfigError, match="--origin 7 is not possible"):
        api.check(str(written / "my data"), origin=7)
    with pytest.raises(ConfigError, match="--to-origin 9 is not possible"):
        api.convert(str(written / "my data"), written / "o.csv", "csv", target_origin=9)
    assert not (written / "o.csv").exists()


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_file_is_said_to_be_empty(tmp_path, text):
    file = tmp_path / "points.csv"
    file.write_text(text)
    with pytest.raises(AnnotationError, match="is empty"):
        api.check(str(file))


@pytest.mark.filterwarnings("error")
def test_objects_without_any_point_are_no_warning_of_numpys(written):
    folder = written / "my data"
    lines = (folder / "annotations.csv").read_text().splitlines()
    bare = [",".join([line.split(",")[0], *[""] * line.count(",")]) for line in lines[1:]]
    (folder / "annotations.csv").write_text("\n".join([lines[0], *bare]))
    api.check(str(folder), workers=1)
