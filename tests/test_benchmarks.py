"""The scripts of benchmarks/ that others build on."""

import importlib.util
import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from snellen.data import PointSet
from snellen.evaluation.costs import macs
from snellen.evaluation.suspects import rank_suspects
from snellen.geometry import Box
from snellen.keypoints import Keypoints
from snellen.models import create_denoiser
from structures import SCHEMA, SIZE, known_structure, shapes


def script(name):
    file = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model_cost():
    return script("model_cost")


@pytest.mark.parametrize(
    ("name", "millions"), [("rcn5", 114.7), ("rcn5:branches=4", 113.1), ("rcn5-skip", 285.2), ("sumnet5", 64.8)]
)
def test_multiply_adds_are_the_papers(model_cost, name, millions):
    """rcn.md 6, at 80x80; the contrast normalisation is not counted there."""
    model = model_cost.build(name, {"contrast": "fixed"})
    assert macs(model, 1, (80, 80)) / 1e6 == pytest.approx(millions, abs=0.06)


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


# --- denoisers


def test_multiply_adds_of_the_papers_denoiser():
    """rcn.md 6: 162,598 million a face; attention over the points takes less than a hundredth."""
    speed = script("denoiser_speed")
    xy, given = torch.rand(1, 68, 2), torch.ones(1, 68, dtype=torch.bool)
    exact = speed.macs(create_denoiser("denoiser-exact"), xy, given)
    assert exact / 1e6 == pytest.approx(162_598, abs=0.5)
    assert speed.macs(create_denoiser("denoiser"), xy, given) < exact / 100


def test_planted_errors_are_as_said_and_found():
    planted = script("planted_labels")
    schema, count = SCHEMA, 200
    whole = [Box(0, 0, SIZE, SIZE)] * count
    clean = [Keypoints.visible(xy, schema) for xy in shapes(count, still=True)]
    points = PointSet(clean, whole, [(SIZE, SIZE)] * count, [str(i) for i in range(count)], schema)
    made = planted.plant(points, seed=3)
    differ = {
        (i, k) for i in range(count) for k in range(5)
        if (made.points.keypoints[i].xy[k] != clean[i].xy[k]).any()
    }  # fmt: skip
    named = {(i, schema.index(p)) for i, names in made.moved | made.swapped for p in names}
    assert differ == named
    assert 3 <= len(made.moved) <= 20  # 1 % of 1,000 points
    assert 1 <= len(made.swapped) <= 11  # 1 % of 400 pairs
    for i, names in made.swapped:
        pair = [schema.index(p) for p in names]
        np.testing.assert_array_equal(made.points.keypoints[i].xy[pair], clean[i].xy[pair[::-1]])
    found = rank_suspects(made.points.keypoints, known_structure(), boxes=whole, sizes=made.points.sizes)
    scores = planted.judge(found, made)
    # A move by chance to nearly the same place is no error that anybody could find.
    assert scores["moved"].area > 0.9
    assert scores["swapped"].area > 0.99
    assert scores["swapped"].precision == scores["swapped"].recall == 1


def test_planting_end_to_end(tmp_path):
    """On drawn wings, whose schema has no pairs: moved points only, judges trained out of fold, a record."""
    planted = script("planted_labels")
    small = [
        "data.train_images=60",
        "train.steps=2",
        "train.validate_every=2",
        "train.threads=1",
        "model.choices={features: 8}",
    ]
    call = [
        "wings-denoiser",
        "--runs",
        str(tmp_path),
        "--results",
        str(tmp_path),
        "--set",
        *small[:2],
        "--set",
        *small[2:],
    ]
    planted.main(call)
    (record,) = json.loads((tmp_path / "labels.json").read_text())
    # The command, typed again, is the same call.
    assert shlex.split(record["command"])[2:] == ["wings-denoiser", "--plantings", "1", "--set", *small]
    assert record["name"] == "labels/planted-moved"
    assert 0 <= record["values"][0] <= 1
    assert record["extra"]["detections"][0]["count"] == 60 * 12
    halves = [f.read_text().splitlines()[1:] for f in sorted(tmp_path.glob("*/half?.csv"))]
    assert [len(h) for h in halves] == [30, 30]
    assert not {row.split(",")[0] for row in halves[0]} & {row.split(",")[0] for row in halves[1]}
