"""Super-resolution from a folder of pictures to the report."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from contracts import TaskContract
from snellen import api, cli, create_model
from snellen.config import ConfigError, from_dict
from snellen.data import ClassBatch
from snellen.evaluation.outcomes import ImageOutcomes
from snellen.evaluation.reports.superresolution import render_super_report
from snellen.evaluation.superresolution import SuperRecord, bicubic
from snellen.inference import Enlarger, load
from snellen.models import UnknownChoiceError
from snellen.training.boundaries import psnr
from snellen.training.fit import fit
from snellen.training.jobs import prepare
from snellen.training.jobs.classification import class_images
from snellen.training.runs import RunFolder
from snellen.training.tasks.superresolution import halve
from tiny import class_recipe, write_classes


def settings(folder, **train):
    made = class_recipe(write_classes(folder / "data"), folder, **train)
    del made["evaluate"]
    return {
        **made, "task": "super-resolution", "recipe": "twice", "augment": {"flip": 0.5},
        "model": {"name": "superres", "choices": {"up": "lift", "features": 8, "depth": 2}},
    }  # fmt: skip


class TestSuperTask(TaskContract):
    def settings(self, tmp_path):
        return settings(tmp_path)

    def test_loss_falls_on_a_batch_seen_again(self, task_and_batches):
        # The pictures are noise on two flat halves: what can be learned of one batch is less than of classes.
        task, batches, _, _ = task_and_batches
        optimiser = torch.optim.AdamW(task.model.parameters(), lr=3e-3)
        losses = []
        for _ in range(40):
            optimiser.zero_grad()
            loss = task.training_step(batches[0], 0)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        assert losses[-1] < 0.95 * losses[0]

    def test_a_validation_logs_the_metrics_that_the_task_names(self, task_and_batches):
        task, _, validation, logged = task_and_batches
        task.model.eval()
        with torch.no_grad():
            task.validation_step(validation[0], 0)
            found = task.model(halve(validation[0].image)).round().clamp(0, 255)
        assert logged["val/psnr"] == pytest.approx(psnr(found, validation[0].image.round()).mean().item())
        assert f"{logged['val/psnr']:.2f} dB" in task.progress(logged)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twice")
    return fit(from_dict(settings(folder))).path


def test_answers_are_bytes_of_twice_the_size(run):
    model = load(run)
    assert isinstance(model, Enlarger)
    found = model.predict([np.zeros((5, 7, 3), np.uint8), Image.new("L", (6, 4))])
    assert [tuple(f.shape) for f in found] == [(3, 10, 14), (3, 8, 12)]
    assert {f.dtype for f in found} == {torch.uint8}


def test_flip_averages_both_answers(run):
    model = load(run)
    x = (255 * torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))).round()
    with torch.inference_mode():
        expected = (model.model(x) + model.model(x.flip(-1)).flip(-1)) / 2
    model.flip = True
    torch.testing.assert_close(model.enlarge(x), expected.round().clamp(0, 255))


def test_halving_is_the_mean_and_bicubic_keeps_flat_pictures():
    flat = torch.full((1, 3, 6, 4), 77.0)
    assert torch.equal(halve(flat), flat[..., :3, :2])
    assert torch.equal(bicubic(flat[..., :3, :2]), flat)


def test_scores_and_report(run, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the ledger of test scorings goes to the run folder, not to a checkout
    scores = api.evaluate(run, split="test")
    # What comparisons are made of comes to the same score.
    assert ImageOutcomes.load(run, "test").score() == pytest.approx(scores["psnr"])
    model = load(run)
    pictures = [s.image[None].float() for s in class_images(RunFolder(run).config(), "test")]
    ours = [psnr(model.enlarge(halve(p)), p).item() for p in pictures]
    theirs = [psnr(bicubic(halve(p)), p).item() for p in pictures]
    assert scores["psnr"] == pytest.approx(np.mean(ours), abs=1e-4)
    assert scores["gain"] == pytest.approx(np.mean(ours) - np.mean(theirs), abs=1e-4)
    assert scores["images"] == 20
    assert cli.main(["evaluate", str(run)]) == 0
    assert "PSNR" in capsys.readouterr().out
    assert cli.main(["report", str(run)]) == 0
    record = SuperRecord.load(run / "predictions-val.json")
    page = render_super_report(record)
    assert f"{record.scores['psnr']:.2f}" in page
    history = [{**row, "val/psnr": row["val/psnr"] / 2} for row in record.history]
    assert render_super_report(dataclasses.replace(record, history=history)) != page
    other = [dataclasses.replace(record.samples[0], answer=255 - record.samples[0].answer), *record.samples[1:]]
    assert render_super_report(dataclasses.replace(record, samples=other)) != page


def test_what_cannot_be_is_refused(tmp_path):
    made = settings(tmp_path)
    made["data"]["canvas"] = [17, 16]
    with pytest.raises(ConfigError, match="both sides are even"):
        from_dict(made)
    with pytest.raises(UnknownChoiceError, match="'wavelet' is not known"):
        create_model("superres", up="wavelet")
    with pytest.raises(UnknownChoiceError, match="no choice 'ups'; nearest: up"):
        create_model("superres", ups="lift")
    assert create_model("superres", **create_model("superres", up="lift").choices).up == "lift"


def test_blank_pictures_count_as_100_decibels(run):
    task = prepare(RunFolder(run).config()).task
    blank = torch.full((2, 3, 16, 16), 90.0)
    logged = {}
    task.log = lambda name, value, **_: logged.__setitem__(name, float(value))
    task.model.forward = lambda x: blank
    task.validation_step(ClassBatch(blank, torch.zeros(2), torch.zeros(2), torch.full((2, 4), torch.nan)), 0)
    assert logged["val/psnr"] == 100
    with pytest.raises(UnknownChoiceError, match="features='x' is not possible"):
        create_model("superres", features="x")
    with pytest.raises(UnknownChoiceError, match="foo"):
        create_model("superres", up="lift", lift_options={"foo": 1})
