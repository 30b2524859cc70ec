"""From a configuration to a run folder: what is stored, and what is refused."""

import json

import pytest
import yaml

from snellen.config import ConfigError, from_dict
from snellen.data import DataError
from snellen.inference import load
from snellen.training.fit import fit
from snellen.training.runs import RunFolder
from tiny import recipe, write_discs


@pytest.fixture
def settings(tmp_path):
    return recipe(write_discs(tmp_path / "data"), tmp_path / "runs", steps=2, validate_every=2)


def test_a_time_budget_becomes_steps_once_and_is_stored(settings):
    settings["train"] |= {"minutes": 0.002, "steps": 99999}
    folder = fit(from_dict(settings))
    stored = yaml.safe_load((folder / "config.yaml").read_text())["train"]
    assert stored["minutes"] is None
    assert 1 <= stored["steps"] < 1000
    assert json.loads((folder / "run.json").read_text())["steps"] == stored["steps"]


def test_early_stopping_stops(settings):
    settings["train"] |= {
        "steps": 400,
        "lr": 1e-9,
        "schedule": "constant",
        "ema": 0,
        "validate_every": 2,
        "patience": 2,
    }
    folder = fit(from_dict(settings))
    assert folder.info()["steps"] < 400


def test_swaps_and_normaliser_of_a_csv_reach_the_model(settings):
    settings["data"] |= {"swaps": [["bright", "dark"]], "normaliser": ["bright", "dark"]}
    model = load(fit(from_dict(settings)).path)
    assert model.schema.flip_order == (1, 0)
    assert model.schema.default_normaliser == "bright to dark"


def test_swaps_that_name_no_point_are_refused_before_anything_is_written(settings, tmp_path):
    settings["data"]["swaps"] = [["brigth", "dark"]]
    with pytest.raises(ConfigError, match=r"swaps.*nearest: bright"):
        fit(from_dict(settings))
    assert not (tmp_path / "runs").exists()


def test_terms_of_the_data_are_said_when_the_weights_are_loaded(settings, caplog):
    settings["data"]["terms"] = "for non-commercial research only"
    folder = fit(from_dict(settings))
    load(folder.path)
    assert "non-commercial" in caplog.text


def test_a_finished_run_is_not_overwritten_nor_resumed(settings):
    folder = fit(from_dict(settings))
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(ConfigError, match="finished"):
        fit(from_dict(settings))
    with pytest.raises(ConfigError, match="finished"):
        fit(folder.config(), resume=RunFolder(folder.path))
    assert (folder / "model.safetensors").read_bytes() == before


# --- what cannot work is refused before anything is written


def test_a_single_point_has_no_distance_to_divide_by_but_pixels(settings, tmp_path):
    file = tmp_path / "data" / "annotations.csv"
    rows = [line.rsplit(",", 2)[0] for line in file.read_text().splitlines()]
    file.write_text("\n".join(rows) + "\n")
    with pytest.raises(ConfigError, match=r"no validation image has the distance 'box'.*evaluate.normaliser to pixels"):
        fit(from_dict(settings))
    assert not (tmp_path / "runs").exists()
    settings["evaluate"] = {"normaliser": "pixels"}
    assert fit(from_dict(settings)).finished


def test_a_truncated_picture_is_found_before_anything_is_written_or_left_out(settings, tmp_path):
    picture = sorted((tmp_path / "data").glob("*.png"))[3]
    picture.write_bytes(picture.read_bytes()[:-60])
    with pytest.raises(DataError, match=rf"row \d+: .*{picture.name}.*--on-error skip"):
        fit(from_dict(settings))
    assert not (tmp_path / "runs").exists()
    settings["data"]["on_error"] = "skip"
    assert fit(from_dict(settings)).finished


def test_going_on_under_other_circumstances_is_said(settings, caplog):
    folder = fit(from_dict(settings))
    (folder / "model.json").unlink()
    caplog.clear()
    fit(folder.config(), resume=folder)
    assert "byte-identical" not in caplog.text
    (folder / "model.json").unlink()
    folder.update(threads=7)
    fit(folder.config(), resume=folder)
    assert "began with threads 7, now 1: it goes on, but not to byte-identical weights" in caplog.text


def test_damaged_run_folders_are_named(settings):
    folder = fit(from_dict(settings))
    (folder / "model.json").unlink()
    folder.last_checkpoint.write_bytes(b"PK damaged")
    with pytest.raises(ConfigError, match=r"last\.ckpt is damaged.*train again"):
        fit(folder.config(), resume=RunFolder(folder.path))
    (folder / "run.json").write_text("{")
    with pytest.raises(ConfigError, match=r"run\.json is damaged"):
        folder.info()
    (folder / "config.yaml").write_text("train: [")
    with pytest.raises(ConfigError, match=r"config\.yaml is damaged"):
        folder.config()
