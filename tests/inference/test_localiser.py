"""A loaded model: what its answers must obey."""

import json
import shutil

import numpy as np
import pytest
import safetensors.torch
import torch

from snellen.config import from_dict
from snellen.geometry import Box
from snellen.inference import load
from snellen.models import create_model
from snellen.training.fit import fit
from tiny import recipe, write_discs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("discs")
    settings = recipe(write_discs(root / "data"), root / "runs", steps=2, validate_every=2)
    settings["data"]["swaps"] = [["bright", "dark"]]
    settings["evaluate"] = {"flip": True}
    return fit(from_dict(settings)).path


def test_flip_makes_the_answer_of_a_mirror_image_the_mirrored_answer(run):
    model = load(run)
    assert model.flip
    canvases = 255 * torch.rand(2, 1, *model.canvas, generator=torch.Generator().manual_seed(0))
    straight, mirrored = model.locate(canvases), model.locate(canvases.flip(-1))
    expected = straight.xy[:, [1, 0]]
    expected[..., 0] = model.canvas[1] - expected[..., 0]
    torch.testing.assert_close(mirrored.xy, expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(mirrored.confidence, straight.confidence[:, [1, 0]])
    model.flip = False
    assert (model.locate(canvases.flip(-1)).xy - expected).abs().max() > 1e-2


def test_images_that_are_no_bytes_are_refused(run):
    model = load(run)
    with pytest.raises(ValueError, match=r"uint8.*not float32"):
        model.predict(torch.rand(1, 40, 40))
    assert len(model.predict([torch.zeros(1, 40, 40, dtype=torch.uint8), np.zeros((30, 50, 3), np.uint8)])) == 2


def test_a_model_of_close_crops_says_so_when_it_sees_whole_images(run, caplog):
    model = load(run)
    picture = torch.zeros(1, 40, 40, dtype=torch.uint8)
    model.predict(picture)
    assert "give boxes=" not in caplog.text
    model.card["box"] = {"rule": "square", "scale": 1.3}
    model.predict(picture, [Box(5, 5, 30, 30)])
    assert "give boxes=" not in caplog.text
    model.predict(picture)
    assert "give boxes=" in caplog.text


def test_a_run_that_calls_unpool_by_its_old_name_is_loaded(run, tmp_path):
    old = shutil.copytree(run, tmp_path / "old")
    card = json.loads((old / "model.json").read_text())
    assert card["model"]["choices"].pop("unpool") == "nearest"
    card["model"]["choices"]["upsample"] = "nearest"
    (old / "model.json").write_text(json.dumps(card))
    canvases = 255 * torch.rand(1, 1, *load(run).canvas)
    assert torch.equal(load(old).locate(canvases).xy, load(run).locate(canvases).xy)
    card["model"]["choices"]["upsample"] = "learned"
    (old / "model.json").write_text(json.dumps(card))
    learned = create_model("rcn5", **load(run).model.choices | {"unpool": "learned"})
    safetensors.torch.save_file(learned.state_dict(), old / "model.safetensors")
    assert load(old).model.choices["unpool"] == "learned"
