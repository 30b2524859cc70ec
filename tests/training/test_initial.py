"""Beginning with another run's weights, and cross-validation."""

import numpy as np
import pytest
import torch

from snellen import api
from snellen.cli import main
from snellen.config import ConfigError
from snellen.evaluation.record import EvaluationRecord
from snellen.models import create_model
from snellen.training.initial import load_matching, start_from
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
    (tmp_path / "model.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(ConfigError, match="cannot be read"):
        start_from(model, str(tmp_path))


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
