"""`snellen check --denoiser`: what a model of structure says about a user's own files, judged by one that is exact."""

import numpy as np
import pytest
from PIL import Image

from snellen import inference
from snellen.cli import main
from structures import SCHEMA, SIZE, known_structure, shapes


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Six pictures: the second has a moved nose, the fourth exchanged eyes; and a denoiser for whatever run is named."""
    xy = shapes(6, still=True)
    xy[1, 2] += [9, -7]
    xy[3, [0, 1]] = xy[3, [1, 0]]
    rows = ["file," + ",".join(f"{p}_x,{p}_y" for p in SCHEMA.points)]
    for i, points in enumerate(xy):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (SIZE, SIZE), np.uint8)).save(tmp_path / f"{i}.png")
        rows.append(f"{i}.png," + ",".join(f"{v:.4f}" for v in points.ravel()))
    (tmp_path / "annotations.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.setattr(inference, "load_denoiser", lambda run: known_structure())
    return tmp_path


def check(files, *arguments):
    command = [str(files / "annotations.csv"), "--origin", "0.5", "--sheet", "", "--workers", "1", "--denoiser", "RUN2"]
    return main(["check", *command, *arguments])


def test_planted_errors_are_named_with_their_files_and_drawn(files, capsys):
    check(files, "--suspects", str(files / "suspects"))
    said = capsys.readouterr().out
    assert "2 objects have points where they hardly can be" in said
    assert (
        "1.png: nose lies where it hardly can" in said or "3.png: left_eye and right_eye are likely exchanged" in said
    )
    kinds = sorted(file.stem.split("-", 1)[1] for file in (files / "suspects").glob("*.png"))
    assert kinds == ["object1-moved", "object3-swapped"]


def test_no_pictures_where_none_are_wanted(files, capsys):
    check(files, "--suspects", "")
    assert "hardly can be" in capsys.readouterr().out
    assert sorted(path.name for path in files.iterdir()) == sorted([*(f"{i}.png" for i in range(6)), "annotations.csv"])


def test_a_denoiser_of_other_points_is_refused_in_a_sentence(files, capsys):
    text = (files / "annotations.csv").read_text().replace("nose", "beak")
    (files / "annotations.csv").write_text(text)
    assert check(files) == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert "give a denoiser trained on that schema" in message
