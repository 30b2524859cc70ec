"""What `snellen predict` must not do: replace what it reads, wait for ever, or hand on answers that are none."""

import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from snellen import api
from snellen.cli import main
from snellen.config import ConfigError
from snellen.inference import load
from snellen.inference.box_table import BoxTable
from tiny import table_rows


def test_nothing_that_is_read_is_replaced_even_when_asked_to_overwrite(run, pictures, tmp_path):
    picture = next(pictures.glob("*.jpg"))
    names, boxes, linked = tmp_path / "names.txt", tmp_path / "boxes.csv", tmp_path / "linked.jpg"
    names.write_text(str(picture))
    boxes.write_text(f"{picture},1,1,30,30\n")
    linked.symlink_to(picture)
    skipped = tmp_path / "found.skipped.csv"
    shutil.copy(boxes, skipped)
    kept = (picture, names, boxes, skipped, run / "model.safetensors", run / "model.json")
    before = {file: file.read_bytes() for file in kept}
    for files, out, options in (
        ([picture], picture, {}),
        ([pictures], picture, {}),
        ([picture], linked, {}),
        ([names], names, {}),
        ([picture], boxes, {"boxes": boxes}),
        ([picture], run / "model.safetensors", {}),
        ([picture], run / "model.json", {"locator": run}),
        ([picture], tmp_path / "found.csv", {"boxes": skipped}),
    ):
        with pytest.raises(ConfigError, match="is a file that is read, and would be replaced"):
            api.predict(run, files, out, overwrite=True, **options)
    assert {file: file.read_bytes() for file in before} == before


def test_answers_may_stand_in_the_runs_own_folder_and_be_replaced_there(run, pictures):
    for _ in range(2):
        assert api.predict(run, [pictures], run / "answers.csv", overwrite=True).answered == 10


def test_one_file_need_not_be_a_list(run, pictures, tmp_path):
    assert api.predict(run, str(pictures), tmp_path / "a.csv").answered == 10
    assert api.predict(run, pictures, tmp_path / "b.csv").answered == 10


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_and_names_with_line_breaks_are_skipped(run, pictures, tmp_path):
    os.mkfifo(pictures / "pipe.png")
    shutil.copy(next(pictures.glob("*.png")), pictures / "two\nlines.png")
    done = api.predict(run, [pictures], tmp_path / "out.csv")
    assert done.answered == 10
    assert len(done.skipped) == 2
    assert "pipe.png is no regular file" in done.skipped[0]
    assert r"two\nlines.png has a line break in its name" in done.skipped[1]
    assert len(table_rows(tmp_path / "out.csv")) == 10


def test_answers_that_are_no_numbers_are_said_to_be_none(run, pictures, tmp_path, capsys):
    diverged = tmp_path / "diverged"
    shutil.copytree(run, diverged)
    weights = load_file(diverged / "model.safetensors")
    save_file(
        {name: w * torch.nan if w.is_floating_point() else w for name, w in weights.items()},
        diverged / "model.safetensors",
    )
    assert main(["predict", str(diverged), str(pictures), "--out", str(tmp_path / "out.csv")]) == 1
    assert "answer is no number, so its training diverged" in capsys.readouterr().out
    assert not table_rows(tmp_path / "out.csv")
    picture = next(pictures.glob("*.png"))
    with pytest.raises(ValueError, match=r"diverged; train it again with a lower --train\.lr"):
        load(diverged).predict(picture)
    with pytest.raises(ConfigError, match="the locator's answer is no number"):
        load(run).predict(picture, locator=load(diverged))
    assert main(["evaluate", str(diverged)]) == 1
    assert "the network's answer is no number" in capsys.readouterr().err


@pytest.mark.parametrize("device", ["foo", "cuda:99", "mps", "hpu", "xla"])
def test_devices_that_are_not_there_are_one_sentence(run, device, capsys, pictures):
    assert main(["predict", str(run), str(pictures), "--device", device]) == 1
    error = capsys.readouterr().err
    assert f"device {device!r} is not possible here" in error
    assert error.count("\n") <= 2
    assert len(error) < 500


def test_boxes_with_decimal_commas_and_boxes_far_away(tmp_path):
    table = tmp_path / "boxes.csv"
    table.write_text("file;left;top;right;bottom\na.png;10,5;10;150;110,25\n")
    assert BoxTable(table).of(table.with_name("a.png"))[0] == (10.5, 10, 150, 110.25)
    table.write_text("a.png;10,5;10;150;110,25\n")
    assert BoxTable(table).of(table.with_name("a.png"))[0] == (10.5, 10, 150, 110.25)
    table.write_text("a.png,1,1,1e9,4\n")
    with pytest.raises(ConfigError, match=r"row 1: the box .* lies in no picture"):
        BoxTable(table)


@pytest.mark.filterwarnings("error")
def test_arrays_of_pillow_images_and_open_files(run, pictures):
    file = next(pictures.glob("*.png"))
    image = Image.open(file).convert("RGB")
    shown = np.asarray(image)
    assert not shown.flags.writeable
    model = load(run)
    np.testing.assert_allclose(model.predict(shown)[0].xy, model.predict(image)[0].xy)
    with file.open("rb") as opened, pytest.raises(ValueError, match="not an open file"):
        model.predict(opened)
