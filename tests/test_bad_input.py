"""Broken pictures, annotations and models through the command line: one sentence each, the other files processed."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from snellen.cli import main
from snellen.config import KeypointDataConfig, from_dict
from snellen.data import DataError, build_dataset
from snellen.images import ImageError, image_size, read_image
from snellen.inference import load
from snellen.models.shipped import shipped_folder
from snellen.training.fit import fit
from tiny import recipe, write_claiming, write_discs, write_recipe

BAD = "disc 03.png"
ROW = "annotations.csv, row 5: "


@pytest.fixture
def discs(tmp_path):
    data = write_discs(tmp_path / "Flügel 翅 no. 1", 12)
    (data / "test.csv").unlink()
    return data


def _truncated(file):
    noise = np.random.default_rng(0).integers(0, 256, (48, 48)).astype(np.uint8)
    Image.fromarray(noise).save(file, "JPEG")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _folder(file):
    file.unlink()
    file.mkdir()


#: What is done to a picture, and what is said of it.
FAULTS = {
    "truncated": (_truncated, "cannot be decoded"),
    "zero": (lambda file: file.write_bytes(b""), "is empty (0 bytes)"),
    "folder": (_folder, "is a folder, not an image"),
    "missing": (lambda file: file.unlink(), "does not exist"),
    "text": (lambda file: file.write_text("no picture"), "not a picture"),
    "huge": (lambda file: write_claiming(file, 20_000), "20000 x 20000 pixels, over the limit"),
}


def one_line(capsys):
    line = capsys.readouterr().err.strip()
    assert "\n" not in line
    return line


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_picture_is_named_with_its_row_and_the_others_are_used(discs, tmp_path, capsys, fault):
    spoil, says = FAULTS[fault]
    spoil(discs / BAD)
    assert main(["check", str(discs), "--sheet", "", "--workers", "1", "--json", "--origin", "0.5"]) == 1
    (found,) = [f for f in json.loads(capsys.readouterr().out)["findings"] if f["severity"] == "error"]
    assert (found["kind"], found["files"]) == ("unreadable", [BAD])
    assert says in found["sentence"]
    assert main(["train", str(write_recipe(discs, tmp_path / "runs"))]) == 1
    line = one_line(capsys)
    for part in (ROW, str(discs / BAD), says, "--on-error skip"):
        assert part in line
    assert not (tmp_path / "runs").exists()
    config = KeypointDataConfig(format="csv", root=str(discs), origin=0.5, val_share=0.01, on_error="skip")
    assert {*build_dataset(config, "train").names} == {f"disc {i:02d}.png" for i in range(12)} - {BAD}


def test_odd_pictures_that_can_be_read_are_used(discs, tmp_path, capsys):
    frames = [Image.new("L", (48, 48), v) for v in (10, 200)]
    frames[0].save(discs / "moving.gif", save_all=True, append_images=frames[1:])
    (discs / "moving.gif").rename(discs / "disc 03.png")
    Image.new("L", (1, 1), 90).save(discs / "disc 04.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    picture = np.array(Image.open(discs / "disc 05.png"))
    Image.fromarray(np.rot90(picture)).save(discs / "disc 05.png", exif=exif)
    assert main(["check", str(discs), "--sheet", "", "--workers", "1", "--json", "--origin", "0.5"]) == 1
    found = {f["kind"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    assert found["exif"]["files"] == ["disc 05.png"]
    assert found["outside"]["files"] == ["disc 04.png"]  # of 1 x 1 pixels
    assert "unreadable" not in found
    run = fit(from_dict(recipe(discs, tmp_path / "runs", steps=2, validate_every=2) | {"seed": 1})).path
    samples = build_dataset(KeypointDataConfig(format="csv", root=str(discs), origin=0.5, val_share=0.01), "train")
    (turned,) = (samples[i].image for i, name in enumerate(samples.names) if name == "disc 05.png")
    np.testing.assert_array_equal(turned[0], picture)
    assert len(load(run).predict([discs / f"disc {i:02d}.png" for i in (3, 4, 5)])) == 3


def test_a_warning_counts_what_is_skipped_once(discs, caplog):
    (discs / BAD).unlink()
    config = KeypointDataConfig(format="csv", root=str(discs), origin=0.5, val_share=0.01, on_error="skip")
    with caplog.at_level("WARNING", logger="snellen"):
        build_dataset(config, "train").decode_all()
    assert [message.partition(",")[0] for message in caplog.messages] == ["skipped 1 files or rows that cannot be read"]


def test_training_goes_on_without_a_malformed_row_where_that_is_asked(discs, tmp_path, capsys):
    file = discs / "annotations.csv"
    rows = file.read_text().splitlines()
    file.write_text("\n".join([*rows[:4], "disc 03.png,1,2,3", *rows[5:]]))
    recipe_ = write_recipe(discs, tmp_path / "runs", steps=2, validate_every=2)
    assert main(["train", str(recipe_), "--on-error", "skip"]) == 0
    assert ROW + "4 columns where the first row has 5" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a\0b.png", "x" * 300 + ".png"])
def test_what_the_system_takes_for_no_name_is_a_picture_that_cannot_be_read(tmp_path, name):
    for read in (read_image, image_size):
        with pytest.raises(ImageError, match=r"(cannot be looked up \(.*\)|does not exist); check the path"):
            read(tmp_path / name)


# --- annotations


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["disc 03.png,1,2,3"], ROW + "4 columns where the first row has 5"),
        (["disc 02.png,1,2,3,4"], ROW + "disc 02.png is already in row 4"),
        (["disc 03.png,1,2,3,inf"], ROW + "'inf' is no place"),
        (["disc 03.png,1,2,3,four"], ROW + "'four' is not a number"),
        ([",1,2,3,4"], ROW + "the file name is empty"),
    ],
)
def test_a_wrong_row_is_named_by_every_verb_and_nothing_is_written(discs, tmp_path, capsys, lines, says):
    file = discs / "annotations.csv"
    rows = file.read_text().splitlines()
    file.write_text("\n".join([*rows[:4], *lines, *rows[5:]]))
    train = ["train", str(write_recipe(discs, tmp_path / "runs"))]
    for ask in (train, ["convert", str(file), str(tmp_path / "x.json"), "--to", "coco"]):
        assert main(ask) == 1
        assert says in one_line(capsys)
    assert [p.name for p in tmp_path.iterdir()] == [discs.name]
    # `check` looks at the others too, so that every mistake is seen at once.
    rows = file.read_text().splitlines()
    file.write_text("\n".join([*rows[:7], "disc 05.png", *rows[8:]]))
    assert main(["check", str(discs), "--sheet", "", "--workers", "1", "--origin", "0.5", "--json"]) == 1
    first, second = [f for f in json.loads(capsys.readouterr().out)["findings"] if f["kind"] == "broken"]
    assert first["severity"] == "error"
    assert says in first["sentence"]
    assert second["sentence"].startswith(f"{file}, row 8: 1 columns")
    assert (first["files"], second["files"]) == ([f"{file}, row 5"], [f"{file}, row 8"])


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        (("--data.normaliser", "[bright, drak]"), "has no point 'drak'; nearest: dark"),
        (("--data.swaps", "[[bright, drak]]"), "has no point 'drak'; nearest: dark"),
        (("--data.schema", "mtfl5"), "nearest: mtfl-5"),
        (("--data.schema", "mtfl-5"), "2 points a row but schema 'mtfl-5' has 5"),
    ],
)
def test_names_of_points_that_there_are_not(discs, tmp_path, capsys, setting, says):
    assert main(["train", str(write_recipe(discs, tmp_path / "runs")), *setting]) == 1
    assert says in one_line(capsys)
    assert not (tmp_path / "runs").exists()


def test_annotations_without_a_single_point_are_said(discs, tmp_path, capsys):
    rows = (discs / "annotations.csv").read_text().splitlines()
    (discs / "annotations.csv").write_text("\n".join([rows[0], *(r.split(",")[0] + ",,nan,NA," for r in rows[1:])]))
    assert main(["check", str(discs), "--sheet", "", "--workers", "1"]) == 1
    out = capsys.readouterr().out
    assert "no object has bright, dark" in out
    assert "shares of the size" not in out
    with pytest.raises(DataError, match=r"annotations\.csv: none of .* objects has a labelled point"):
        build_dataset(KeypointDataConfig(format="csv", root=str(discs)), "train")


# --- models


@pytest.mark.parametrize(
    "card",
    [
        b"",
        b"[1]",
        b"\xff\xfe",
        b"{}",
        b'{"model": {"name": "rcn5", "choices": {"brnches": 3}}}',
        "no schema",
        "no canvas",
    ],
)
def test_a_card_that_is_none_is_one_sentence(tmp_path, capsys, card):
    folder = tmp_path / "run"
    shutil.copytree(shipped_folder("wings-rcn"), folder)
    if isinstance(card, str):
        whole = json.loads((folder / "model.json").read_text())
        del whole[card.removeprefix("no ")]
        card = json.dumps(whole).encode()
    (folder / "model.json").write_bytes(card)
    assert main(["predict", str(folder), "x.png", "--out", str(tmp_path / "o.csv")]) == 1
    line = one_line(capsys)
    assert f"{folder} cannot be loaded (" in line
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_wrong_name_of_weights_is_answered_with_the_nearest(tmp_path, capsys):
    assert main(["predict", "wings-rnc", "x.png", "--out", str(tmp_path / "o.csv")]) == 1
    assert "nearest: wings-rcn" in one_line(capsys)
