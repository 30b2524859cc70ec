"""The scripts of benchmarks/ that others build on."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def model_cost():
    file = Path(__file__).parents[1] / "benchmarks" / "model_cost.py"
    spec = importlib.util.spec_from_file_location("model_cost", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "millions"), [("rcn5", 114.7), ("rcn5:branches=4", 113.1), ("rcn5-skip", 285.2), ("sumnet5", 64.8)]
)
def test_multiply_adds_are_the_papers(model_cost, name, millions):
    """rcn.md 6, at 80x80; the contrast normalisation is not counted there."""
    model = model_cost.build(name, {"contrast": "fixed"})
    assert model_cost.macs(model, (80, 80)) / 1e6 == pytest.approx(millions, abs=0.06)


def test_costs_of_several_models(model_cost):
    names = ["sumnet5:mixing=pixel,map_size=[40, 48],branches=4", "fpn:backbone=timm:test_resnet,stride=8,features=8"]
    first, second = model_cost.measure(names, (40, 48), batch=2, rounds=3, shared={"keypoints": 3})
    assert (first.model, second.model) == tuple(names)
    assert first.choices["map_size"] == [40, 48]
    assert second.choices["keypoints"] == 3
    assert (first.stride, second.stride) == (1, 8)
    for cost in (first, second):
        assert cost.parameters > 1000
        assert cost.macs > 1e5
        assert 0 < cost.spread[0] <= cost.milliseconds <= cost.spread[1]
