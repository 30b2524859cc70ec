"""Training, scoring and using a gaze network, from a folder of pictures to the report."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import torch

from contracts import TaskContract
from gazes import eye, gaze_recipe, parts_recipe, write_gazecapture, write_gazes
from snellen import api, cli
from snellen.config import ConfigError, from_dict
from snellen.data import build_gaze
from snellen.data.gaze_angles import angular_error
from snellen.evaluation.gaze_record import GazeRecord
from snellen.evaluation.outcomes import ImageOutcomes
from snellen.evaluation.reports.gaze import render_gaze_report
from snellen.geometry import Box
from snellen.inference import Gazer, load
from snellen.training.fit import fit
from snellen.training.jobs import prepare
from snellen.training.runs import RunFolder


class TestGazeTask(TaskContract):
    def settings(self, tmp_path):
        return gaze_recipe(write_gazes(tmp_path / "data"), tmp_path)

    def test_a_validation_logs_the_metrics_that_the_task_names(self, task_and_batches):
        task, _, validation, logged = task_and_batches
        task.model.eval()
        batch = validation[0]
        with torch.no_grad():
            task.validation_step(batch, 0)
            found = task.model(batch.image).answer
        assert logged["val/error"] == pytest.approx(angular_error(found.numpy(), batch.target.numpy()).mean(), abs=1e-3)
        assert f"{logged['val/error']:.2f} degrees" in task.progress(logged)

    @pytest.mark.parametrize("kind", ["l1", "smooth-l1"])
    def test_other_losses_are_torchs_in_units_of_ten_degrees(self, tmp_path, kind):
        settings = self.settings(tmp_path)
        settings["train"]["loss"] = kind
        job = prepare(from_dict(settings))
        batch = job.val_set.batch(**{k: v[None] for k, v in job.val_set[0].items()})
        job.task.model.eval()
        apart = ((job.task.model(batch.image).answer - batch.target) / 10).abs()
        expected = torch.where(apart < 0.3, apart**2 / 0.6, apart - 0.15) if kind == "smooth-l1" else apart
        assert job.task.loss(batch).item() == pytest.approx(expected.mean().item(), rel=1e-4)


class TestPartsTask(TaskContract):
    def settings(self, tmp_path):
        return parts_recipe(write_gazecapture(tmp_path / "data"), tmp_path)

    def test_a_validation_logs_the_metrics_that_the_task_names(self, task_and_batches):
        task, _, validation, logged = task_and_batches
        task.model.eval()
        batch = validation[0]
        with torch.no_grad():
            task.validation_step(batch, 0)
            found = task.model(*batch.inputs).answer
        assert logged["val/error"] == pytest.approx((found - batch.target).norm(dim=1).mean().item(), rel=1e-4)
        assert f"{logged['val/error']:.2f} cm" in task.progress(logged)

    def test_loss_falls_on_a_batch_seen_again(self, task_and_batches):
        # A large network without norm diverges at the contract's rate.
        task, batches, _, _ = task_and_batches
        optimiser = torch.optim.AdamW(task.model.parameters(), lr=1e-3)
        losses = []
        for _ in range(12):
            optimiser.zero_grad()
            loss = task.training_step(batches[0], 0)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        assert losses[-1] < 0.8 * losses[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("discs")
    return fit(from_dict(gaze_recipe(write_gazes(folder / "data"), folder, steps=120, validate_every=60))).path


def test_the_run_learns_and_logs_its_metrics(run):
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(r["step"]) for r in rows] == [60, 120]
    assert float(rows[-1]["val/error"]) < 5  # the mean answer errs by 11 degrees and more
    card = json.loads((run / "model.json").read_text())
    assert (card["task"], card["answer"], card["look"], card["canonical"]) == ("gaze", "angles", "image", False)


def test_answers_of_pictures_of_every_kind(run):
    model = load(run)
    assert isinstance(model, Gazer)
    pixels = eye(10, -15, "L", noise=1)
    answers = model.predict([pixels, torch.from_numpy(np.stack([pixels] * 3))])
    assert answers[0].pitch == pytest.approx(answers[1].pitch, abs=0.1)
    assert answers[0].pitch > 3
    assert answers[0].yaw < -5
    assert np.linalg.norm(answers[0].direction) == pytest.approx(1)
    assert answers[0].direction[0] < 0 > answers[0].direction[1]
    assert answers[0].point is None
    assert model.predict([]) == []


def test_flip_makes_the_answer_to_a_mirrored_picture_the_mirrored_answer(run):
    model = load(run)
    assert model.flip
    pixels = eye(0, 15, "L", noise=2)
    one, other = model.predict([pixels, pixels[:, ::-1].copy()])
    assert (other.pitch, other.yaw) == pytest.approx((one.pitch, -one.yaw), abs=1e-3)


def test_scores_are_those_of_the_answers(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # the ledger of test scorings goes to the run folder, not to a checkout
    scores = api.evaluate(run, split="test")
    # What comparisons are made of comes to the same score.
    outcomes = ImageOutcomes.load(run, "test")
    assert (outcomes.things, outcomes.unit) == ("people", scores["unit"])
    assert outcomes.score() == pytest.approx(scores["error"])
    data = build_gaze(RunFolder(run).config().data, "test")
    answers = load(run).predict([data[i].image for i in range(len(data))])
    errors = angular_error([[a.pitch, a.yaw] for a in answers], [e.target for e in data.entries])
    assert scores["error"] == pytest.approx(errors.mean(), abs=1e-3)
    assert scores["people"] == 1
    assert scores["interval"] == [None, None]  # one person says nothing of others
    line = json.loads((run / "test-evaluations.jsonl").read_text().splitlines()[-1])
    assert (line["metric"], line["value"]) == ("error, degrees", scores["error"])
    assert cli.main(["evaluate", str(run), "--split", "test", "--no-flip"]) == 0
    assert "degrees, median" in capsys.readouterr().out


def test_report_shows_the_record(run):
    assert cli.main(["evaluate", str(run)]) == 0
    assert cli.main(["report", str(run)]) == 0
    record = GazeRecord.load(run / "predictions-val.json")
    page = render_gaze_report(record)
    assert f"{record.scores['error']:.2f}" in page
    assert page == (run / "report.html").read_text()
    for change in (
        {"pred": [[p, y + 3] for p, y in record.pred]},
        {"samples": [dataclasses.replace(record.samples[0], answer=[20.0, 20.0]), *record.samples[1:]]},
    ):
        assert render_gaze_report(dataclasses.replace(record, **change)) != page
    assert all(f"person {name}" in page for name in record.scores["by_person"])


def test_canonical_answers_are_mirrored_back(tmp_path):
    settings = gaze_recipe(write_gazes(tmp_path / "data"), tmp_path, steps=4)
    settings["data"]["canonical"] = True
    settings["augment"]["flip"], settings["evaluate"]["flip"] = 0.0, False
    model = load(fit(from_dict(settings)).path)
    pixels = eye(0, 15, "L", noise=2)
    one, other = model.predict([pixels, pixels[:, ::-1].copy()], eyes=["left", "right"])
    assert (other.pitch, other.yaw) == pytest.approx((one.pitch, -one.yaw), abs=1e-4)
    with pytest.raises(ValueError, match="this model needs eyes"):
        model.predict(pixels)
    settings["augment"]["flip"] = 0.5
    with pytest.raises(ConfigError, match="left eyes only"):
        from_dict(settings)


def test_parts_from_frames_to_points(tmp_path):
    path = fit(from_dict(parts_recipe(write_gazecapture(tmp_path / "data"), tmp_path, steps=3))).path
    scores = api.evaluate(path)
    assert scores["unit"] == "cm"
    assert set(scores["axes"]) == {"x", "y"}
    assert scores["by_head_yaw"] == {}
    model = load(path)
    data = build_gaze(RunFolder(path).config().data, "val")
    sample = data[0]
    answer = model.predict(sample.image, parts=[sample.entry.parts])[0]
    assert answer.point == pytest.approx(tuple(model.answers_of(data)[0]), abs=1e-4)
    assert answer.pitch is None
    assert "centimetres" in api.report(path).read_text()


def test_scenes_are_seen_whole_or_by_their_box(tmp_path):
    root = write_gazes(tmp_path / "data")
    shown = []
    for look in ("image", "object"):
        settings = gaze_recipe(root, tmp_path)
        settings["data"] |= {"clutter": 128, "look": look}
        settings["augment"] = {}
        shown.append(prepare(from_dict(settings)).val_set)
    whole, box = (s[0]["image"] for s in shown)
    assert whole.shape == box.shape == (1, 32, 32)
    assert not torch.equal(whole, box)
    assert shown[0].data[0].box == shown[1].data[0].box
    settings["train"] |= {"steps": 2, "validate_every": 2}
    model = load(fit(from_dict(settings)).path)
    picture = np.zeros((128, 128), np.uint8)
    with pytest.raises(ValueError, match="this model needs boxes"):
        model.predict(picture)
    answer = model.predict(picture, boxes=[Box(10, 10, 60, 40)])[0]
    assert answer.pitch is not None
    assert model.predict(picture, boxes=np.array([[10, 10, 60, 40]]))[0].pitch == answer.pitch  # plain numbers too


def test_what_does_not_go_together_is_refused(tmp_path):
    settings = parts_recipe(write_gazecapture(tmp_path / "data"), tmp_path)
    for changes, says in (
        ({"model": {"name": "gaze-small"}}, "does not go with data.look 'parts'"),
        ({"train": {"loss": "angular"}}, "points have none"),
        ({"augment": {"rotate": 3}}, "about the camera"),
        ({"augment": {"shift": 0.1}}, "without its grid"),
        ({"model": {"name": "vgg13"}}, "is for classification, not gaze"),
        ({"model": {"name": "itracker", "choices": {"answer": "angles"}}}, "but the data hold 'point'"),
    ):
        with pytest.raises(ConfigError, match=says):
            prepare(from_dict({**settings, **changes}))
