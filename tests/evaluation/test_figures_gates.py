"""The gates of recalibration over an image."""

import numpy as np
import pytest
import torch
import yaml

from gazes import gaze_recipe, write_gazes
from snellen import api
from snellen.evaluation.figures.gates import figure_gates, gates_seen, keep_gates, stored_gates
from snellen.evaluation.figures.pooling import stored_poolings
from snellen.evaluation.reports.inside import stored_inside
from snellen.models import create_model
from tiny import class_recipe, label_recipe, write_classes, write_label_maps


@pytest.fixture
def net():
    torch.manual_seed(0)
    return create_model("resnet20", classes=3, recalibrate="ms-sar", recalibrate_options={"rd_ratio": 0.5})


def canvas(seed):
    return 255 * torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(seed))


def test_gates_change_with_the_image_and_the_symmetric_one_is_their_mean(net):
    first, other = gates_seen(net, canvas(0)), gates_seen(net, canvas(1))
    assert len(first) == len(other) == 9
    for a, b in zip(first, other, strict=True):
        assert list(a.maps) == ["map", "gate", "symmetric", "K = 1", "K = 2", "K = 4"]
        assert a.maps["gate"].shape == a.maps["map"].shape
        assert np.abs(a.maps["gate"] - b.maps["gate"]).max() > 1e-5
        assert np.ptp(a.maps["symmetric"]) == np.ptp(a.maps["K = 1"]) == 0
        np.testing.assert_allclose(a.maps["symmetric"][0, 0], a.maps["gate"].mean(), rtol=1e-5)
        # A scale alone has a number a cell of its grid.
        assert 1 < len(np.unique(a.maps["K = 2"])) <= 4
        assert 4 < len(np.unique(a.maps["gate"])) <= 16


def test_the_figure_shows_layers_of_different_depth(net, tmp_path):
    seen = gates_seen(net, canvas(0))
    figure = figure_gates(seen)
    shown = [axes.images[0].get_array() for axes in figure.axes]
    assert [np.array_equal(s, seen[i].maps["gate"]) for s, i in zip(shown[1::6], (0, 3, 5, 8), strict=True)] == [
        True
    ] * 4
    keep_gates(net, canvas(0), tmp_path / "gates-val.npz")
    stored = stored_inside(tmp_path, "val").gates
    keep_gates(net, canvas(1), tmp_path / "gates-test.npz")
    assert stored.svg
    assert stored.svg != stored_inside(tmp_path, "test").gates.svg
    assert stored_gates(tmp_path / "none.npz") == []
    assert stored_inside(tmp_path, "train") == (None, ())


def test_a_network_without_gates(tmp_path):
    plain = create_model("resnet20", classes=3)
    with pytest.raises(ValueError, match=r"has no MS-SAR; train one with --model.choices.recalibrate"):
        gates_seen(plain, canvas(0))
    keep_gates(plain, canvas(0), tmp_path / "gates.npz")
    assert not (tmp_path / "gates.npz").exists()


def recipe_of(task, tmp_path):
    data = tmp_path / "data"
    if task == "classification":
        return class_recipe(write_classes(data), tmp_path / "runs", steps=2)
    if task == "segmentation":
        return label_recipe(write_label_maps(data), tmp_path / "runs", steps=2, validate_every=2)
    return gaze_recipe(write_gazes(data), tmp_path / "runs", steps=2, validate_every=2)


@pytest.mark.parametrize("task", ["classification", "segmentation", "gaze"])
def test_a_run_shows_its_gates_and_sub_bands(task, tmp_path):
    recipe = recipe_of(task, tmp_path)
    recipe["model"].setdefault("choices", {}).update(recalibrate="ms-sar", pool="lift")
    file = tmp_path / "halves.yaml"
    file.write_text(yaml.safe_dump(recipe))
    run = api.train(str(file), name="gates")
    api.evaluate(run, split="val", robustness=False)
    assert stored_gates(run / "gates-val.npz")
    assert stored_poolings(run / "poolings-val.npz")
    if task == "segmentation":  # the page is the same for all
        page = api.report(run).read_text()
        assert "<h2>Recalibration</h2>" in page
        assert "K = 4" in page
        assert "<h2>Pooling</h2>" in page
        assert "four sub-bands" in page
        assert "LiftUp, 0 % lost" in page
