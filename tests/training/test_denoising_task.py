"""Denoising from annotations to the report, and joined with a keypoint model."""

import csv
import json

import numpy as np
import pytest
import torch

from contracts import TaskContract
from snellen import api, cli
from snellen.config import ConfigError, from_dict, override, to_dict
from snellen.data import PointBatch
from snellen.evaluation.denoising import DenoisingRecord
from snellen.evaluation.joint import Conditions, paired_gains, parse_weight
from snellen.evaluation.outcomes import ImageOutcomes
from snellen.evaluation.record import EvaluationRecord
from snellen.evaluation.reports.denoising import render_denoising_report
from snellen.evaluation.reports.keypoints import render_report
from snellen.geometry import Box
from snellen.inference import StructureModel, load, load_denoiser, load_joint, load_localiser
from snellen.inference.sharing import save_pretrained
from snellen.keypoints import Keypoints, Schema
from snellen.models import JointNet
from snellen.training.fit import fit
from snellen.training.jobs import prepare
from snellen.training.runs import RunFolder
from snellen.training.tasks.denoising import denoising_loss, errors_of_changed
from structures import SCHEMA, TEMPLATE, denoiser_recipe, keypoint_recipe, write_shapes


class TestDenoisingTask(TaskContract):
    def settings(self, tmp_path):
        return denoiser_recipe(write_shapes(tmp_path / "data"), tmp_path)


class TestExactDenoisingTask(TaskContract):
    def settings(self, tmp_path):
        made = denoiser_recipe(write_shapes(tmp_path / "data"), tmp_path, l2=1e-6)
        return {**made, "model": {"name": "denoiser-exact", "choices": {"kernel": 17, "features": 8}}}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Away from the checkout, whose ledger of test scorings is committed."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with data, a denoiser's run and a keypoint run over it."""
    root = tmp_path_factory.mktemp("denoising")
    data = write_shapes(root / "data")
    fit(from_dict(denoiser_recipe(data, root, steps=150, validate_every=75)))
    fit(from_dict(keypoint_recipe(data, root, steps=30, validate_every=15)))
    return root


def test_loss_ignores_points_that_were_not_changed():
    """rcn.md 8: the loss ignores the other 33, and is 0 with finite gradients where nothing counts."""
    torch.manual_seed(0)
    nll = torch.rand(2, 68, requires_grad=True)
    mask = torch.zeros(2, 68, dtype=torch.bool)
    mask[:, :35] = True
    changed = denoising_loss(nll + torch.where(mask, 0.0, 100.0), mask)
    assert changed.item() == pytest.approx(68 * nll[:, :35].mean().item(), rel=1e-5)
    loss = denoising_loss(nll, torch.zeros_like(mask))
    loss.backward()
    assert loss.item() == 0
    assert not nll.grad.any()


def test_errors_are_of_changed_points_alone():
    xy = torch.tensor([[[0.5, 0.5], [0.25, 0.5]], [[0.5, 0.5], [0.5, 0.5]]])
    mask = torch.tensor([[True, False], [False, False]])
    yes = torch.ones(2, 2, dtype=torch.bool)
    batch = PointBatch(xy, yes, xy, mask, yes, torch.eye(3).expand(2, 3, 3), torch.arange(2))
    answers = xy * torch.tensor([40.0, 20.0]) + torch.tensor([3.0, 4.0])
    errors = errors_of_changed(answers, batch, Schema("two", ("a", "b")), "pixels", (20, 40))
    np.testing.assert_allclose(errors, [5, np.nan])


def test_a_trained_denoiser_knows_more_than_nothing(folder):
    scores = api.evaluate(folder / "shapes-seed0")
    # What comparisons are made of comes to the same score.
    assert ImageOutcomes.load(folder / "shapes-seed0", "val").score() == pytest.approx(100 * scores["nme"])
    assert scores["task"] == "denoising"
    assert scores["nats"] < scores["uniform_nats"] - 1
    assert scores["nme"] < 0.6 * scores["noise_nme"]
    assert scores["interval"][0] <= scores["nme"] <= scores["interval"][1]
    assert list(scores["per_keypoint"]) == list(SCHEMA.points)


def test_report(folder, capsys):
    assert cli.main(["evaluate", str(folder / "shapes-seed0"), "--split", "test"]) == 0
    assert "put back to within" in capsys.readouterr().out
    record = DenoisingRecord.load(folder / "shapes-seed0" / "predictions-test.json")
    text = render_denoising_report(record)
    assert text.count("<figure>") == len(record.samples) + 1
    assert "left mouth" in text
    assert api.report(folder / "shapes-seed0").stat().st_size > 10_000
    assert record.samples[0].name in text


def test_predicts_missing_points_in_the_images_pixels(folder):
    structure = load(folder / "shapes-seed0")
    assert isinstance(structure, StructureModel)
    points = 20 * TEMPLATE + 24
    points[2] = np.nan
    found = structure.predict([Keypoints.visible(points, SCHEMA)], [Box(0, 0, 48, 48)])[0]
    assert np.linalg.norm(found.xy[2] - (20 * TEMPLATE[2] + 24)) < 8
    assert found.labelled.all()


def test_joined_with_a_keypoint_model(folder):
    run, judge = folder / "faces-seed0", folder / "shapes-seed0"
    plain = api.evaluate(run, split="test", robustness=False)
    joint = api.evaluate(run, split="test", robustness=False, denoiser=judge)
    # Joined or not, what comparisons are made of comes to the same score.
    assert ImageOutcomes.load(run, "test").score() == pytest.approx(100 * plain["nme"])
    gains = joint["denoiser"]["gains"]
    assert joint["denoiser"]["weight"] == 1
    assert gains["all"]["first"] == pytest.approx(plain["nme"])
    assert gains["all"]["second"] == pytest.approx(joint["nme"])
    assert gains["all"]["difference"] == pytest.approx(joint["nme"] - plain["nme"])
    none = api.evaluate(run, split="test", robustness=False, denoiser=judge, denoiser_weight=0)
    assert none["nme"] == pytest.approx(plain["nme"])
    # Scores of other conditions are kept beside the plain ones.
    assert json.loads((run / "evaluation-test.json").read_text())["scores"]["nme"] == pytest.approx(plain["nme"])
    assert "denoiser" in json.loads((run / "evaluation-test-denoised.json").read_text())["scores"]


def test_a_fitted_weight_is_the_best_of_those_tried(folder):
    run, judge = folder / "faces-seed0", folder / "shapes-seed0"
    fitted = api.evaluate(run, robustness=False, denoiser=str(judge), denoiser_weight="fit")
    curve = {row["weight"]: row["nme"] for row in fitted["denoiser"]["curve"]}
    assert curve[fitted["denoiser"]["weight"]] == min(curve.values())
    # Fitted on the very images that are scored here: no other weight does better, and the curve says what scoring says.
    assert fitted["nme"] == pytest.approx(min(curve.values()))
    assert fitted["denoiser"]["gains"]["all"]["difference"] <= 0
    mirrored = api.evaluate(run, robustness=False, denoiser=judge, denoiser_weight="fit", flip=True)
    best = min(row["nme"] for row in mirrored["denoiser"]["curve"])
    assert mirrored["nme"] == pytest.approx(best)


def test_occluded_and_the_report(folder, capsys):
    run = folder / "faces-seed0"
    call = ["evaluate", str(run), "--denoiser", str(folder / "shapes-seed0"), "--denoiser-weight", "0.5", "--occlude"]
    assert cli.main([*call, "--no-robustness"]) == 0
    said = capsys.readouterr().out
    assert "black rectangle" in said
    assert "weight 0.5 (given)" in said
    assert "hardest tenth, 1 images" in said
    record = EvaluationRecord.load(run / "predictions-val-denoised-occluded")
    assert record.occluded
    text = render_report(record)
    assert "What the picture says, what the structure says" in text
    assert text.count("structure model</text>") >= 2
    covered = [(s.canvas == 0).all(axis=-1).mean() for s in record.samples]
    # Sides of 20 to 50 of 80 pixels, wholly inside.
    assert 0.05 < min(covered) <= max(covered) < 0.41


def test_the_image_model_alone_explains_its_stages(folder):
    """Branches are masked in the image model; the structure would fill the maps of every stage."""
    from snellen.evaluation.reports.pictures import coarse_to_fine

    run = folder / "faces-seed0"
    canvas = torch.rand(1, 32, 32) * 255
    _, plain = coarse_to_fine(load_localiser(run), canvas)
    _, joint = coarse_to_fine(load_joint(run, folder / "shapes-seed0"), canvas)
    np.testing.assert_array_equal(plain, joint)


def test_python_loads_a_joint_model(folder):
    model = api.load(folder / "faces-seed0", denoiser=folder / "shapes-seed0", denoiser_weight=0.3)
    assert isinstance(model.model, JointNet)
    assert model.model.weight == 0.3
    found = model.predict(np.full((48, 48), 90, dtype=np.uint8))[0]
    assert np.isfinite(found.xy).all()


def test_predict_joins_a_denoiser(folder, tmp_path, capsys):
    run, judge = str(folder / "faces-seed0"), str(folder / "shapes-seed0")
    picture = next((folder / "data").rglob("*.png"))
    call = ["predict", run, str(picture), "--device", "cpu"]
    assert cli.main([*call, "--out", "joint.jsonl", "--denoiser", judge, "--denoiser-weight", "0.5"]) == 0
    assert cli.main([*call, "--out", "none.jsonl", "--denoiser", judge, "--denoiser-weight", "0"]) == 0
    assert cli.main([*call, "--out", "plain.jsonl"]) == 0
    joint, none, plain = ((tmp_path / f"{name}.jsonl").read_text() for name in ("joint", "none", "plain"))
    assert none == plain != joint
    model = api.load(run, "cpu", denoiser=judge, denoiser_weight=0.5)
    options = {"denoiser": judge, "denoiser_weight": 0.5, "device": "cpu", "origin": 0.5, "draw": "drawn"}
    api.predict(run, [picture], "python.csv", **options)
    assert len(list((tmp_path / "drawn").iterdir())) == 1  # paths may be strings
    with (tmp_path / "python.csv").open() as file:
        (row,) = csv.DictReader(file)
    found = model.predict(picture)[0]
    nose = SCHEMA.index("nose")
    assert [float(row["nose_x"]), float(row["nose_y"])] == pytest.approx(found.xy[nose].tolist(), abs=0.01)
    # Answers of the two models together and of one alone are not mixed in an output that goes on.
    (tmp_path / "joint.jsonl.part").write_text(json.dumps({"model": "another"}) + "\n")
    assert cli.main([*call, "--out", "joint.jsonl", "--overwrite", "--denoiser", judge]) == 1
    assert "--restart" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
def test_an_exported_file_holds_both_models(folder, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    run, judge = folder / "faces-seed0", folder / "shapes-seed0"
    out = tmp_path / "joint.onnx"
    made = api.export(run, out, denoiser=judge, denoiser_weight=0.5)
    assert made.difference < 0.05
    both, joint, plain = load(out), load_joint(run, judge, weight=0.5, device="cpu"), load(run, "cpu")
    assert both.card["denoiser"] == {
        "model": {"name": "denoiser", "choices": joint.model.denoiser.choices},
        "weight": 0.5,
    }
    canvases = torch.stack([torch.full((1, 32, 32), 90.0), torch.rand(1, 32, 32) * 255])
    torch.testing.assert_close(both.locate(canvases).xy, joint.locate(canvases).xy, atol=0.05, rtol=0)
    assert (plain.locate(canvases).xy - joint.locate(canvases).xy).abs().max() > 0.1


def test_joint_models_keep_the_terms_of_both_and_are_not_saved_as_one(folder, tmp_path):
    run, judge = folder / "faces-seed0", RunFolder(tmp_path / "judge")
    judge.path.mkdir()
    old = folder / "shapes-seed0"
    (judge / "model.safetensors").write_bytes((old / "model.safetensors").read_bytes())
    card = json.loads((old / "model.json").read_text()) | {"terms": "for tests only"}
    (judge / "model.json").write_text(json.dumps(card))
    joint = load_joint(run, judge.path)
    assert joint.card["terms"] == "for tests only"
    with pytest.raises(ConfigError, match="save each of them, or write both as one file"):
        save_pretrained(joint, tmp_path / "saved")


def test_a_denoiser_that_cannot_be_joined_is_refused_by_predict_and_export(folder, capsys):
    run, judge = str(folder / "faces-seed0"), str(folder / "shapes-seed0")
    for verb in (["predict", run, "x.png"], ["export", run]):
        for more, words in (
            (["--denoiser-weight", "1"], "name its run with --denoiser"),
            (["--denoiser", judge, "--denoiser-weight", "-1"], "a number of 0 or more, not -1"),
            (["--denoiser", run], "is no denoiser, it is a model for keypoints"),
        ):
            (folder / "x.png").touch()
            assert cli.main([verb[0], run, *([str(folder / "x.png")] if len(verb) > 2 else []), *more]) == 1
            message = capsys.readouterr().err.strip().splitlines()[-1]
            assert words in message


def test_refusals(folder, tmp_path):
    run, judge = folder / "faces-seed0", folder / "shapes-seed0"
    card = json.loads((judge / "model.json").read_text())
    other = RunFolder(tmp_path / "other")
    other.path.mkdir()
    (other / "model.safetensors").write_bytes((judge / "model.safetensors").read_bytes())

    def changed(**values):
        (other / "model.json").write_text(json.dumps({**card, **values}))
        return other.path

    names = {**card["schema"], "points": [*SCHEMA.points[:4], "chin"], "swaps": []}
    for values, words in (
        ({"schema": names}, r"the denoiser knows .* give a denoiser trained on that schema"),
        ({"schema": {**card["schema"], "swaps": []}}, "other left and right pairs"),
        ({"canvas": [32, 48]}, "of other proportions"),
        (None, "is no denoiser, it is a model for keypoints"),
    ):
        with pytest.raises(ConfigError, match=words):
            load_joint(run, run if values is None else changed(**values))
    with pytest.raises(ConfigError, match="finds no keypoints"):
        load_localiser(judge)
    for settings, words in (
        ({"denoiser": judge}, "leave --denoiser and --occlude out"), ({"denoiser_weight": 1}, "name its run with --denoiser"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            api.evaluate(judge, **settings)
    for weight in ("x", -1, "nan"):
        with pytest.raises(ConfigError, match="a number of 0 or more, or fit"):
            parse_weight(weight)
    config = from_dict(denoiser_recipe(folder / "data", tmp_path))
    for settings, words in (
        ({"data.swaps": []}, "names no pairs"), ({"model.choices": {"size": [9, 18]}}, "does not fit 5 points"),
        ({"evaluate.normaliser": "inter-pupil"}, "does not exist"), ({"model": {"name": "rcn5"}}, "is for keypoints"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            prepare(override(to_dict(config), settings))


def test_paired_gains_choose_the_hardest_by_both():
    """Two models with the same errors but for noise: the hardest tenth must not favour either."""
    rng = np.random.default_rng(0)
    hard = rng.exponential(1, 4000)
    first, second = (hard + rng.exponential(1, 4000) for _ in range(2))
    gains = paired_gains(first, second)
    assert gains["hardest tenth"].images == 400
    low, high = gains["hardest tenth"].interval
    assert low < 0 < high
    # Chosen by the first model's errors alone, the second would seem far better.
    biased = np.argsort(-first)[:400]
    assert (second[biased] - first[biased]).mean() < low - 0.5


def test_paired_gains_leave_out_what_has_no_error():
    gains = paired_gains([0.1, np.nan, 0.3], [0.2, 0.1, np.nan])
    assert (gains["all"].images, gains["all"].difference) == (1, pytest.approx(0.1))
    with pytest.raises(ValueError, match="nothing to compare"):
        paired_gains([np.nan], [0.1])


def test_conditions_name_their_files():
    assert Conditions().suffix == ""
    assert Conditions("x", "fit", True).suffix == "-denoised-occluded"


def test_weights_of_a_loaded_denoiser_are_the_kept_ones(folder):
    structure = load_denoiser(folder / "shapes-seed0")
    assert not structure.model.training
    assert structure.canvas == (32, 32)
    assert structure.schema.flip_order == SCHEMA.flip_order
