"""Beginning with another run's weights, and cross-validation."""

import json
import logging

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from snellen import api
from snellen.cli import main
from snellen.config import ConfigError
from snellen.evaluation.record import EvaluationRecord
from snellen.models import create_model
from snellen.models.shipped import shipped
from snellen.training.initial import inherited_terms, load_matching, start_from
from tiny import write_discs, write_recipe

CHOICES = {"branches": 4, "width": 0.25, "norm": "batch", "channels": 1}


def test_what_fits_is_copied_and_the_rest_is_left_as_it_was():
    torch.manual_seed(0)
    old, new = create_model("rcn5", keypoints=3, **CHOICES), create_model("rcn5", keypoints=5, **CHOICES)
    drawn = {name: value.clone() for name, value in new.state_dict().items()}
    weights = old.state_dict()
    table = load_matching(new, weights)
    changed = same = 0
    for name, value in new.state_dict().items():
        if weights[name].shape == value.shape:
            assert torch.equal(value, weights[name])
            changed += value.numel()
        else:  # three points are not five
            assert torch.equal(value, drawn[name])
            same += value.numel()
    assert (sum(row[1] for row in table), sum(row[2] for row in table)) == (changed, same)
    assert changed > same > 0


def test_the_same_model_is_copied_whole():
    old, new = (create_model("rcn5", keypoints=3, **CHOICES) for _ in range(2))
    assert all(row[2] == 0 for row in load_matching(new, old.state_dict()))
    canvas = torch.rand(1, 1, 32, 32)
    assert torch.equal(new.eval()(canvas).logits, old.eval()(canvas).logits)


def test_what_cannot_be_begun_with_is_said(tmp_path):
    model = create_model("rcn5", keypoints=3, **CHOICES)
    with pytest.raises(ConfigError, match="no finished run"):
        start_from(model, str(tmp_path))
    for content, says in (
        (b"\x80\x04pickle", "is a pickle with another name; pickles are never read"),
        (b"x", "cannot be read"),
    ):
        (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(ConfigError, match=says):
            start_from(model, str(tmp_path))


def research_weights(folder, model, terms):
    """A folder of weights as `weights/research` holds them."""
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    card = {"model": {"name": "rcn5", "choices": model.choices}, "schema": {"name": "x", "points": ["a", "b", "c"]},
            "canvas": [80, 80], "terms": terms}  # fmt: skip
    (folder / "model.json").write_text(json.dumps(card))


def test_shipped_weights_are_begun_with_by_their_name(caplog, tmp_path, monkeypatch):
    caplog.set_level("INFO", "snellen")
    monkeypatch.chdir(tmp_path)
    known = shipped("wings-rcn")
    model = create_model(known.model, **(known.choices | {"keypoints": 5}))
    start_from(model, "wings-rcn")
    weights, own = load_file(known.folder / "model.safetensors"), model.state_dict()
    equal = {name for name in own if own[name].shape == weights[name].shape and torch.equal(own[name], weights[name])}
    assert sum(own[name].numel() for name in own.keys() - equal) == sum(
        value.numel() for name, value in own.items() if value.shape != weights[name].shape
    )
    table = caplog.messages[0].splitlines()
    assert table[0] == "weights of wings-rcn:"
    counts = [[int(word.replace(",", "")) for word in line.split()[1::2]] for line in table[1:]]
    assert sum(loaded + new for loaded, new in counts) == sum(value.numel() for value in own.values())
    with pytest.raises(
        ConfigError, match=r"wings-rcm is no finished run.*nearest: wings-rcn.*snellen models --pretrained"
    ):
        start_from(model, "wings-rcm")
    with pytest.raises(ConfigError, match=r"nothing of wings-rcn fits this model \(its weights are of rcn5\)"):
        start_from(torch.nn.Linear(1, 1), "wings-rcn")
    # A folder goes before a name, as in `snellen.load`.
    (tmp_path / "wings-rcn").mkdir()
    with pytest.raises(ConfigError, match="no finished run"):
        start_from(model, "wings-rcn")


def test_terms_of_the_weights_become_terms_of_the_run(caplog, tmp_path, monkeypatch):
    model = create_model("rcn5", keypoints=3, **(CHOICES | {"width": 0.5}))
    research_weights(tmp_path / "weights" / "faces", model, "for research alone")
    monkeypatch.setenv("SNELLEN_WEIGHTS", str(tmp_path / "weights"))
    start_from(model, "faces")
    warned = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert warned == ["faces: for research alone"]
    assert inherited_terms("faces", "") == inherited_terms("faces", "for research alone") == "for research alone"
    assert inherited_terms("faces", "no sale") == "no sale; for research alone"
    recipe = str(write_recipe(write_discs(tmp_path / "data", 16), tmp_path / "runs", steps=1, validate_every=1))
    run = api.train(recipe, **{"train.init": "faces", "name": "begun"})
    assert json.loads((run / "model.json").read_text())["terms"] == "for research alone"


def test_folds_and_init_from_the_command_line(tmp_path, capsys):
    recipe = str(write_recipe(write_discs(tmp_path / "data", 16), tmp_path / "runs", steps=2, validate_every=2))
    assert main(["train", recipe, "--folds", "2", "--name", "cv"]) == 0
    out = capsys.readouterr().out
    runs = [tmp_path / "runs" / f"cv-fold{i}" for i in range(2)]
    records = [EvaluationRecord.load(run / "predictions-val") for run in runs]
    assert set(records[0].names) | set(records[1].names) == {f"disc {i:02d}.png" for i in range(16)}
    mean = np.concatenate([r.errors_of_images() for r in records]).mean()
    assert f"16 images, each when held out: mean error {100 * mean:.2f} %" in out
    # A finished part is not trained again.
    before = (runs[0] / "model.safetensors").stat().st_mtime_ns
    assert main(["train", recipe, "--folds", "2", "--name", "cv"]) == 0
    assert (runs[0] / "model.safetensors").stat().st_mtime_ns == before
    capsys.readouterr()
    assert main(["train", recipe, "--name", "next", "--init", str(runs[0])]) == 0
    said = capsys.readouterr().err
    assert f"weights of {runs[0]}" in said
    assert " 0 new" in said
    for arguments in (["--folds", "1"], ["--folds"], ["--init", str(tmp_path)]):
        assert main(["train", recipe, "--name", "x", *arguments]) == 1
    with pytest.raises(ConfigError, match="splits of their own"):
        api.cross_validate(api.resolve("wings-rcn"), 2)
