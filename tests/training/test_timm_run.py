"""Runs on timm backbones from end to end: trained, scored, reported, loaded without their pretrained weights."""

import json

import numpy as np
import pytest
import safetensors.torch
import yaml

from snellen import api
from snellen.cli import main
from snellen.config import ConfigError, from_dict
from snellen.evaluation.record import EvaluationRecord
from snellen.models import create_model
from snellen.training.fit import fit
from snellen.training.tasks.keypoints import KeypointTask
from tiny import recipe, write_discs

#: Neither the heatmap's stride nor the backbone's divides it.
CANVAS = (42, 38)


@pytest.fixture
def settings(tmp_path):
    values = recipe(write_discs(tmp_path / "data", 16), tmp_path / "runs", steps=4, validate_every=2)
    values["data"]["canvas"] = list(CANVAS)
    values["model"] = {"name": "rcn", "choices": {"backbone": "timm:test_resnet", "features": 8}}
    return values


@pytest.mark.parametrize(("aggregate", "stride"), [("recombine", 4), ("fpn", 2)])
def test_a_run_from_end_to_end(settings, tmp_path, aggregate, stride):
    settings["model"]["choices"] |= {"aggregate": aggregate, "stride": stride}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    assert main(["train", str(tmp_path / "mine.yaml"), "--name", "tiny"]) == 0
    run = tmp_path / "runs" / "tiny"
    card = json.loads((run / "model.json").read_text())
    assert card["stride"] == stride
    assert card["model"]["choices"]["aggregate"] == aggregate
    localiser = api.load(run)
    assert localiser.radius == 2.5 * stride
    found = localiser.predict(tmp_path / "data" / "disc 00.png")[0]
    assert found.xy.shape == (2, 2)
    assert (found.xy >= 0).all()
    assert (found.xy <= 48).all()
    assert main(["evaluate", str(run), "--no-robustness"]) == 0
    assert main(["report", str(run)]) == 0
    record = EvaluationRecord.load(run / "predictions-val.npz")
    assert record.radius_cells == 2.5
    view = record.coarse_to_fine[0]
    # A stage a map of the backbone, stretched over the canvas from border to border.
    assert len(view.stages) == (4 if stride == 4 else 5)
    assert view.stages[0] == "1 x 1 alone"
    assert view.heatmaps.shape[1:] == ((2, *CANVAS) if stride == 4 else (2, 21, 19))
    assert f"within {2.5:g} heatmap cells" in (run / "report.html").read_text()


def test_pretrained_weights_are_read_when_training_begins_and_never_again(settings, tmp_path):
    import timm

    file = tmp_path / "test_resnet.safetensors"
    safetensors.torch.save_file(timm.create_model("test_resnet").state_dict(), file)
    settings["model"]["choices"]["pretrained"] = str(file)
    folder = fit(from_dict(settings))
    file.unlink()
    model = api.load(folder.path).model
    assert model.choices["pretrained"] == str(file)  # the run says what it began with
    assert model.preprocess.contrast == "imagenet"


def test_a_canvas_below_the_networks_smallest_is_refused_before_anything_is_written(settings, tmp_path):
    settings["data"]["canvas"] = [31, 40]
    with pytest.raises(
        ConfigError, match=r"\[31, 40\] is too small for 'rcn' with 4 branches; give at least \[32, 32\]"
    ):
        fit(from_dict(settings))
    assert not (tmp_path / "runs").exists()


def test_discs_are_found_where_they_are(settings):
    """Trained a little longer on few images, answers have no bias: cells lie where the canvas has them."""
    import torch

    from snellen.data import CanvasDataset, StepBatches, build_dataset, training_loader

    config = from_dict(settings | {"augment": {}})
    data = build_dataset(config.data, "train")
    canvases = CanvasDataset(data, CANVAS, config.augment, seed=0)
    torch.manual_seed(0)
    model = create_model("rcn", keypoints=2, **settings["model"]["choices"])
    task = KeypointTask(model, config, data.schema)
    task.log = lambda *_, **__: None
    optimiser = torch.optim.AdamW(task.model.parameters(), lr=5e-3)
    batch = next(iter(training_loader(canvases, StepBatches(len(canvases), 12, 1, seed=0))))
    model.train()
    for step in range(120):
        optimiser.zero_grad()
        task.training_step(batch, step).backward()
        optimiser.step()
    from snellen.keypoints.codecs import decode

    with torch.no_grad():  # with the batch's statistics, as trained
        found = decode(model(batch.image).logits, stride=4, canvas=CANVAS).xy
    error = (found - batch.xy)[batch.mask].numpy()
    assert np.abs(error.mean(axis=0)).max() < 0.5
    assert np.abs(error).max() < 2.0  # half a cell
