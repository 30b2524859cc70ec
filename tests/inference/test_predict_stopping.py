"""`snellen predict` stops, goes on, and writes over nothing that is not its own."""

import errno
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from snellen import api
from snellen.cli import main
from snellen.config import ConfigError
from snellen.inference import journal, outputs
from snellen.inference.sources import expand
from tiny import table_rows


def test_an_interrupted_call_goes_on_to_the_same_table(run, pictures, tmp_path, monkeypatch):
    api.predict(run, [pictures], tmp_path / "whole.csv", draw=tmp_path / "drawn")
    calls, append = [], journal.Journal.append

    def stop_at_five(self, values):
        if len(calls) == 5:
            raise KeyboardInterrupt
        calls.append(values["file"])
        append(self, values)

    out = tmp_path / "parts.csv"
    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "append", stop_at_five)
        with pytest.raises(KeyboardInterrupt):
            api.predict(run, [pictures], out, batch_size=2, draw=tmp_path / "drawn2")
    assert not out.exists()
    part = tmp_path / "parts.csv.part"
    with part.open("ab") as file:  # as a power cut leaves it
        file.write(b'{"file":"half')
    with pytest.raises(
        ConfigError, match=r"parts\.csv\.part holds the progress of another model or other settings.*--restart"
    ):
        api.predict(run, [pictures], out)
    done = api.predict(run, [pictures], out, draw=tmp_path / "drawn2")
    assert done.resumed == 5
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not part.exists()
    names = [p.name for p in sorted((tmp_path / "drawn").iterdir())]
    assert [p.name for p in sorted((tmp_path / "drawn2").iterdir())] == names
    assert len(names) == 10


def test_an_interrupted_call_is_not_mixed_with_another(run, pictures, tmp_path, monkeypatch):
    files, out, boxes = [s.path for s in expand([pictures])], tmp_path / "out.csv", tmp_path / "boxes.csv"
    locator = shutil.copytree(run, tmp_path / "locator")
    boxes.write_text("".join(f"{file},5,5,45,45\n" for file in files))
    calls, append = [], journal.Journal.append

    def stop_at_five(self, values):
        if len(calls) % 6 == 5:
            calls.append("stop")
            raise KeyboardInterrupt
        calls.append(values["file"])
        append(self, values)

    def stopped(given, **options):
        with monkeypatch.context() as patch:
            patch.setattr(journal.Journal, "append", stop_at_five)
            with pytest.raises(KeyboardInterrupt):
                api.predict(run, given, out, restart=True, **options)

    def refused(given, what, **options):
        with pytest.raises(ConfigError, match=rf"other settings \({what}\); pass --restart"):
            api.predict(run, given, out, **options)

    stopped(files)
    refused(files[:2], "files")  # fewer
    refused([*files[1:], files[0]], "files")  # in another order
    (pictures / "a new one.png").write_bytes(files[0].read_bytes())
    refused([pictures], "files")  # as were more in a folder
    assert api.predict(run, files[:2], out, restart=True).answered == len(table_rows(out)) == 2
    out.unlink()
    stopped(files, boxes=boxes)
    boxes.write_text(boxes.read_text().replace("45", "44"))
    refused(files, "boxes", boxes=boxes)
    stopped(files, locator=locator)
    card = locator / "model.json"
    card.write_text(card.read_text() + " ")  # as if trained anew
    refused(files, "locator", locator=locator)
    monkeypatch.chdir(pictures)
    names = [file.relative_to(pictures) for file in files if file.parent == pictures]
    stopped(names)
    monkeypatch.chdir(pictures / "b")
    refused(names, "files")  # the names of other files


def test_an_output_is_replaced_only_where_asked(run, pictures, tmp_path):
    out = tmp_path / "out.csv"
    out.write_text("mine")
    with pytest.raises(ConfigError, match=r"out\.csv exists; pass --overwrite"):
        api.predict(run, [pictures], out)
    assert out.read_text() == "mine"
    assert api.predict(run, [pictures], out, overwrite=True).answered == 10


def test_the_list_of_skipped_files_goes_with_the_output_it_belongs_to(run, pictures, tmp_path):
    out, skipped = tmp_path / "out.csv", tmp_path / "out.skipped.csv"
    (pictures / "zero.png").write_bytes(b"")
    api.predict(run, [pictures], out)
    assert len(table_rows(skipped)) == 1
    (pictures / "zero.png").unlink()
    api.predict(run, [pictures], out, overwrite=True)
    assert not skipped.exists()
    skipped.write_text("mine")
    out.unlink()
    api.predict(run, [pictures], out)
    assert skipped.read_text() == "mine"


def test_a_full_disk_leaves_no_half_table(run, pictures, tmp_path, monkeypatch, capsys):
    real = os.fsync
    monkeypatch.setattr(
        outputs.os, "fsync", lambda f: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device"))
    )
    out = tmp_path / "out.csv"
    assert main(["predict", str(run), str(pictures), "--out", str(out)]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "No space left on device" in said
    assert not out.exists()
    assert not list(tmp_path.glob(".*.tmp"))
    monkeypatch.setattr(outputs.os, "fsync", real)
    assert main(["predict", str(run), str(pictures), "--out", str(out)]) == 0


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_work(run, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("snellen.inference.command.find_points", None)  # must not be reached
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be written.*choose another --out"):
        api.predict(run, [pictures], tmp_path / "file" / "out.csv")
    if os.geteuid():  # root may write everywhere
        shut = tmp_path / "shut"
        shut.mkdir(mode=0o500)
        with pytest.raises(ConfigError, match=r"cannot be written.*choose another --out"):
            api.predict(run, [pictures], shut / "out.csv")
    with pytest.raises(ConfigError, match="is a folder"):
        api.predict(run, [pictures], tmp_path)


# --- drawings


def test_a_drawing_never_replaces_a_picture_that_is_read(run, pictures, tmp_path, monkeypatch):
    before = {p: p.read_bytes() for p in pictures.rglob("*") if p.is_file()}
    (tmp_path / "link").symlink_to(pictures, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    for folder in (pictures, pictures / "b" / "..", tmp_path / "link", pictures.name):
        for overwrite in (False, True):
            with pytest.raises(ConfigError, match=r"is one of the pictures that are read.*choose another"):
                api.predict(run, [pictures], tmp_path / "out.csv", draw=folder, overwrite=overwrite)
    assert {p: p.read_bytes() for p in pictures.rglob("*") if p.is_file()} == before
    assert not list(tmp_path.glob("out*"))


def test_drawings_are_replaced_only_where_asked(run, pictures, tmp_path):
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    mine = drawn / "disc ü03.jpg"
    mine.write_text("mine")
    with pytest.raises(ConfigError, match=r"disc ü03\.jpg exists; pass --overwrite.*another --draw"):
        api.predict(run, [pictures], tmp_path / "out.csv", draw=drawn)
    assert mine.read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == []
    api.predict(run, [pictures], tmp_path / "out.csv", draw=drawn, overwrite=True)
    assert Image.open(mine).size == (69, 50)


def test_the_objects_of_a_picture_are_drawn_together_and_a_stopped_call_draws_them_too(
    run, pictures, tmp_path, monkeypatch
):
    file = sorted(pictures.glob("*.png"))[0]
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("".join(f"{file},{x},5,{x + 20},25\n" for x in (1, 20, 38)))
    api.predict(run, [file], tmp_path / "whole.csv", boxes=boxes, draw=tmp_path / "drawn")
    (drawn,) = (tmp_path / "drawn").iterdir()
    pixels = np.array(Image.open(drawn)).astype(int)
    blue = np.abs(pixels - [0, 0x72, 0xB2]).max(axis=-1) == 0
    assert all(blue[5:25, x].mean() > 0.8 for x in (1, 20, 38))  # the left edges of all boxes
    append = journal.Journal.append

    def stop_at_the_second(self, values):
        if values["file"].endswith("#2"):
            raise KeyboardInterrupt
        append(self, values)

    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "append", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            api.predict(run, [file], tmp_path / "parts.csv", boxes=boxes, draw=tmp_path / "drawn2")
    api.predict(run, [file], tmp_path / "parts.csv", boxes=boxes, draw=tmp_path / "drawn2")
    assert (tmp_path / "drawn2" / drawn.name).read_bytes() == drawn.read_bytes()
