"""`snellen predict --to FORMAT`: what our writers write of a model's answers, our readers read."""

import errno
import json
import resource
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from snellen.cli import main
from snellen.config.writing import whole_file
from snellen.inference import command
from snellen.inference.point_finder import PointFinder
from snellen.inference.stream import Request, find_points
from snellen.keypoints import Schema, get_schema
from snellen.keypoints.codecs import Decoded
from snellen.keypoints.formats import FORMATS, read_points, recognise
from tiny import write_discs

FIVE = Schema("five", ("a", "b", "c", "d", "e"))
#: Shares of the canvas; a point of each picture is known by what the picture is filled with.
AT = np.array([[0.25, 0.5], [0.75, 0.5], [0.5, 0.25], [0.3, 0.8], [0.625, 0.125]])
SIZES = {"a.png": (40, 60), "b.png": (33, 21), "sub/c.jpg": (64, 64)}


class Stub(PointFinder):
    """A run that needs no network: the same points of every canvas, the last one not sure."""

    def __init__(self):
        super().__init__({"schema": FIVE.to_dict(), "canvas": [32, 32], "channels": 1, "decoder": {}})

    def locate(self, canvases):
        xy = torch.from_numpy(AT * 32).float().expand(len(canvases), -1, -1)
        return Decoded(xy, torch.tensor([0.9, 0.8, 0.7, 0.6, 0.2]).expand(len(canvases), -1))


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "load", lambda *_: Stub())
    folder = tmp_path / "pictures"
    for name, (height, width) in SIZES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (width, height), 90).save(folder / name)
    return folder


def expected(finder, folder):
    """The points in each picture, as the canvas holds it whole: by Python's own answer."""
    return {name: finder.predict(folder / name)[0].xy for name in SIZES}


@contextmanager
def full_disk(at):
    """No file can grow past `at` bytes: the writers' calls fail as on a full disk, wherever they are made."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (at, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def out_of(root, name):
    return root / f"found{FORMATS[name].ending}"


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_reads_back_to_the_same_points(pictures, tmp_path, monkeypatch, name, absolute, capsys):
    monkeypatch.chdir(pictures)
    given, out = (str(pictures) if absolute else "."), out_of(tmp_path, name)
    assert main(["predict", "stub", given, "--to", name, "--out", str(out)]) == 0
    capsys.readouterr()
    if FORMATS[name].folder:  # where their tools look for them
        shutil.copytree(pictures, out / "images" / "train" if name == "yolo" else out, dirs_exist_ok=True)
    schema = get_schema("mtfl-5") if name == "mtfl" else FIVE
    labels = read_points(out, name, schema=schema, root=None if FORMATS[name].folder else pictures)
    xy = expected(Stub(), pictures)
    found = {Path(i.file): i for i in labels.images if i.objects}
    assert len(found) == len(SIZES)
    for file, points in xy.items():
        (image,) = (i for p, i in found.items() if p.parts[-len(Path(file).parts) :] == Path(file).parts)
        assert (labels.root / image.file).is_file()  # absolute, or from the root
        (item,) = image.objects
        np.testing.assert_allclose(item.keypoints.xy, points, atol=2e-3)


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"pts"}))
def test_points_that_are_not_found_are_unlabelled(pictures, tmp_path, name):
    out = out_of(tmp_path, name)
    assert main(["predict", "stub", str(pictures), "--to", name, "--out", str(out), "--min-confidence", "0.5"]) == 0
    if FORMATS[name].folder:
        shutil.copytree(pictures, out / "images" / "train" if name == "yolo" else out, dirs_exist_ok=True)
    schema = get_schema("mtfl-5") if name == "mtfl" else FIVE
    labels = read_points(out, name, schema=schema, root=None if FORMATS[name].folder else pictures)
    for _, item in labels.objects:
        assert item.keypoints.labelled.tolist() == [True] * 4 + [False]


def test_a_format_that_holds_complete_objects_alone_says_what_it_lacks(pictures, tmp_path, capsys):
    out = tmp_path / "found"
    assert main(["predict", "stub", str(pictures), "--to", "pts", "--out", str(out), "--min-confidence", "0.5"]) == 1
    assert "3 objects are left out, as some of their points are unlabelled" in capsys.readouterr().err
    assert not out.exists()


def test_several_objects_come_back_as_several(pictures, tmp_path):
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(
        "file,left,top,right,bottom\na.png,0,0,30,40\na.png,30,0,60,40\nb.png,0,0,21,33\nsub/c.jpg,8,8,40,40\n"
    )
    for name in sorted(set(FORMATS) - {"pts", "mtfl"}):
        out = tmp_path / name / f"found{FORMATS[name].ending}"
        assert main(["predict", "stub", str(pictures), "--to", name, "--out", str(out), "--boxes", str(boxes)]) == 0
        if FORMATS[name].folder:
            shutil.copytree(pictures, out / "images" / "train" if name == "yolo" else out, dirs_exist_ok=True)
        labels = read_points(out, name, schema=FIVE, root=None if FORMATS[name].folder else pictures)
        counts = {Path(i.file).name: len(i.objects) for i in labels.images}
        assert counts == {"a.png": 2, "b.png": 1, "c.jpg": 1}
        left, right = (i for i in labels.images if Path(i.file).name == "a.png").__next__().objects
        np.testing.assert_allclose(right.keypoints.xy - left.keypoints.xy, [[30, 0]] * 5, atol=5e-3)


def test_the_output_is_called_by_its_format(pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("csv", "jsonl", "coco", "tps", "cvat", "labelme"):
        assert main(["predict", "stub", str(pictures), "--to", name]) == 0
    found = {p.name for p in tmp_path.glob("predictions*")}
    assert found == {f"predictions{e}" for e in (".csv", ".jsonl", ".json", ".tps", ".xml", "")}


# --- what cannot be written is said before the work


def test_pictures_are_asked_for_three_batches_ahead_at_most():
    drawn = answered = 0

    def requests():
        nonlocal drawn
        for i in range(200):
            drawn += 1
            yield Request(str(i), np.zeros((20, 20), np.uint8))

    for found in find_points(Stub(), requests(), batch_size=4, workers=2):
        assert found.name == str(answered)  # in order
        assert drawn - answered <= 12  # docs/predict.md: memory holds three batches, however many there are
        answered += 1
    assert answered == 200


def test_the_ending_of_the_output_says_its_format(pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for out, name in (("p.tps", "tps"), ("p.XML", "cvat"), ("p.csv", "csv")):
        assert main(["predict", "wings-rcn", str(pictures), "--out", out]) == 0
        assert recognise(tmp_path / out)[0] == name
    capsys.readouterr()
    assert main(["predict", "wings-rcn", str(pictures), "--out", "p.json"]) == 1
    assert "--to coco" in capsys.readouterr().err
    assert not (tmp_path / "p.json").exists()


@pytest.mark.parametrize(
    ("name", "file", "says"),
    [
        ("mtfl", "a b.png", "holds a blank"),
        ("labelme", "a.jpg", "another picture has the file a.json"),
        ("yolo", "a.jpg", "another picture has the file labels/train/a.txt"),
        ("coo", "a.jpg", "there is no format 'coo'; nearest: coco"),
    ],
)
def test_names_that_a_format_cannot_hold_are_refused_before_the_work(
    pictures, tmp_path, monkeypatch, capsys, name, file, says
):
    Image.new("L", (9, 9)).save(pictures / file)
    monkeypatch.setattr(command, "find_points", None)  # must not be reached
    assert main(["predict", "stub", str(pictures), "--to", name, "--out", str(tmp_path / "o")]) == 1
    assert says in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["pictures"]


def test_frames_of_a_video_have_names_of_their_own(pictures, tmp_path, monkeypatch, capsys):
    frames = [(f"clip.mp4#{i}", np.full((20, 30, 3), 90, np.uint8)) for i in range(3)]
    monkeypatch.setattr(command, "frames", lambda source, every: iter(frames))
    monkeypatch.chdir(pictures)
    for name in ("labelme", "yolo", "pts"):
        assert main(["predict", "stub", "clip.mp4", "--to", name, "--out", str(tmp_path / name)]) == 0
        assert "save them under these names" in capsys.readouterr().out
        assert len([f for f in (tmp_path / name).rglob("*clip.mp4#*") if f.is_file()]) == 3


def test_frames_of_a_video_are_drawn_and_replaced_only_where_asked(pictures, tmp_path, monkeypatch, capsys):
    frames = [(f"clip.mp4#{i}", np.full((20, 30, 3), 90, np.uint8)) for i in range(3)]
    monkeypatch.setattr(command, "frames", lambda source, every: iter(frames))
    drawn = tmp_path / "drawn"
    ask = ["predict", "stub", "clip.mp4", str(pictures), "--draw", str(drawn), "--out", str(tmp_path / "x.csv")]
    assert main(ask) == 0
    names = ["a.png", "b.png", "c.jpg", *(f"clip-{i}.jpg" for i in range(3))]
    assert sorted(p.name for p in drawn.iterdir()) == names
    (tmp_path / "x.csv").unlink()
    for name in names[:3]:
        (drawn / name).unlink()
    assert main(ask) == 1
    assert "clip-0.jpg exists; pass --overwrite" in capsys.readouterr().err
    assert main([*ask, "--overwrite"]) == 0
    assert sorted(p.name for p in drawn.iterdir()) == names


# --- outputs whole or not at all


@pytest.mark.parametrize("name", ["csv", "jsonl", "coco", "tps"])
def test_a_full_disk_keeps_the_output_of_before_and_names_the_file(pictures, tmp_path, capsys, name):
    out = tmp_path / "found.x"
    ask = ["predict", "stub", str(pictures), "--to", name, "--out", str(out)]
    out.write_text("of before")
    with full_disk(50):
        assert main([*ask, "--overwrite"]) == 1
    (line,) = [s for s in capsys.readouterr().err.splitlines() if s.startswith("snellen:")]
    assert str(out) in line
    assert out.read_text() == "of before"
    assert {p.name for p in tmp_path.iterdir()} <= {"pictures", "found.x", "found.x.part"}
    assert main([*ask, "--overwrite"]) == 0
    assert out.read_text() != "of before"
    assert {p.name for p in tmp_path.iterdir()} == {"pictures", "found.x"}


def test_a_full_disk_leaves_no_progress_file_that_holds_nothing(pictures, tmp_path, capsys):
    with full_disk(0):
        assert main(["predict", "stub", str(pictures), "--out", str(tmp_path / "x.csv")]) == 1
    assert f"{tmp_path / 'x.csv'} cannot be written" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["pictures"]


def test_a_full_disk_leaves_no_half_drawing_and_names_it(pictures, tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (300, 300), dtype=np.uint8)
    Image.fromarray(noise).save(pictures / "b.png")  # the second, which is larger than what is left
    ask = ["predict", "stub", str(pictures), "--out", str(tmp_path / "x.csv"), "--draw", str(tmp_path / "drawn")]
    with full_disk(20_000):
        assert main(ask) == 1
    (line,) = [s for s in capsys.readouterr().err.splitlines() if s.startswith("snellen:")]
    assert str(tmp_path / "drawn" / "b.png") in line
    assert [p.name for p in (tmp_path / "drawn").iterdir()] == ["a.png"]
    assert main(ask) == 0
    assert len(list((tmp_path / "drawn").iterdir())) == 3


def test_an_error_names_the_file_as_the_user_knows_it(tmp_path):
    """Root may write everywhere: a folder that is shut is played by an error."""
    name = tmp_path / ("ä" * 120 + ".png")

    def shut():
        with whole_file(name) as temporary:
            temporary.write_bytes(b"x")
            raise PermissionError(errno.EACCES, "Permission denied", str(temporary))

    with pytest.raises(PermissionError, match="Permission denied") as error:
        shut()
    assert error.value.filename == str(name)
    assert not list(tmp_path.iterdir())
    with whole_file(name) as temporary:
        temporary.write_bytes(b"x")
    assert name.read_bytes() == b"x"


def test_a_call_that_answered_nothing_leaves_no_progress_behind(pictures, tmp_path, capsys):
    (tmp_path / "boxes.csv").write_text("file,left\n")
    (tmp_path / "file").write_text("")
    out = ["--out", str(tmp_path / "o.csv")]
    for wrong, says in (
        (["--boxes", str(tmp_path / "boxes.csv")], "no column 'top'"),
        (["--draw", str(tmp_path / "file" / "drawn")], "cannot read or write"),
    ):
        assert main(["predict", "stub", str(pictures), *out, *wrong]) == 1
        assert says in capsys.readouterr().err
        assert not list(tmp_path.glob("o.csv*"))
    assert main(["predict", "stub", str(pictures), *out]) == 0


@pytest.mark.parametrize("name", ["coco", "dlc", "labelme"])
def test_where_no_picture_can_be_read_nothing_is_written_and_the_next_call_looks_again(
    pictures, tmp_path, capsys, name
):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"")
    ask = ["predict", "stub", str(broken), "--to", name, "--out", str(tmp_path / "o")]
    assert main(ask) == 1
    assert "no picture could be read: " in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.png", "pictures"]
    Image.new("L", (9, 9)).save(broken)
    assert main(ask) == 0


# --- check, convert and train on a full disk and in a folder that cannot be written to


@pytest.mark.parametrize("where", ["full", "shut"])
def test_check_and_convert_name_the_file_and_leave_nothing(tmp_path, capsys, where):
    data = write_discs(tmp_path / "data", 6)
    (data / "test.csv").unlink()
    out = tmp_path / "out"
    if where == "shut":  # root may write everywhere, so that a file stands where the folder should
        out.write_text("")
    else:
        out.mkdir()
    for ask, file in (
        (["check", str(data), "--sheet", str(out / "s.png"), "--workers", "1"], "s.png"),
        (["check", str(data), "--sheet", "", "--write", str(out / "my.yaml"), "--workers", "1"], "my.yaml"),
        (["convert", str(data), str(out / "x.json"), "--to", "coco"], "x.json"),
        (["convert", str(data), str(out / "folder"), "--to", "labelme"], "folder"),
    ):
        with full_disk(20 if where == "full" else resource.RLIM_INFINITY):
            assert main(ask) == 1
        line = capsys.readouterr().err.strip()
        assert "\n" not in line
        assert (str(out / file) if where == "full" else str(out)) in line
        assert not out.is_dir() or not list(out.iterdir())


def test_convert_goes_on_without_broken_pictures(tmp_path, capsys):
    data = write_discs(tmp_path / "data", 6)
    (data / "disc 01.png").write_bytes(b"")
    (data / "disc 02.png").unlink()
    (data / "disc 02.png").mkdir()
    source, out = str(data / "annotations.csv"), tmp_path / "x.json"
    assert main(["convert", source, str(out), "--to", "coco", "--on-error", "raise"]) == 1
    assert "annotations.csv, row 3: " in capsys.readouterr().err
    assert not out.exists()
    assert main(["convert", source, str(out), "--to", "coco"]) == 0
    said = capsys.readouterr().out
    assert "row 3: " in said
    assert "row 4: " in said
    assert len(json.loads(out.read_text())["images"]) == 4
