"""Training, scoring and using a classifier, from a folder of images to the report."""

import csv
import json
import math
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image

from contracts import TaskContract
from snellen import api, cli
from snellen.config import ConfigError, from_dict, override, to_dict
from snellen.data.classes import LabelledImage
from snellen.evaluation.class_record import ClassRecord
from snellen.evaluation.classes import _zoom
from snellen.evaluation.outcomes import ImageOutcomes
from snellen.evaluation.reports.classes import render_class_report
from snellen.inference import Classifier, load, load_localiser
from snellen.training.classification import summarise_classes
from snellen.training.fit import fit
from snellen.training.jobs import prepare
from snellen.training.runs import RunFolder
from tiny import class_recipe, write_classes


class TestClassTask(TaskContract):
    def settings(self, tmp_path):
        return class_recipe(write_classes(tmp_path / "data"), tmp_path)

    def test_label_smoothing_is_torchs(self, task_and_batches):
        task, batches, _, _ = task_and_batches
        task.model.eval()
        task.config = override({**self.settings_of(task)}, {"train.label_smoothing": 0.2})
        logits = task.model(batches[0].image).logits
        target = F.one_hot(batches[0].label, 2) * 0.8 + 0.1
        expected = -(target * logits.log_softmax(1)).sum(1).mean()
        assert task.loss(batches[0]).item() == pytest.approx(expected.item(), rel=1e-5)

    @staticmethod
    def settings_of(task):
        from snellen.config import to_dict

        return to_dict(task.config)

    def test_regularisers_of_lift_are_added_with_their_weights(self, tmp_path):
        settings = self.settings(tmp_path)
        settings["model"] = {"name": "vgg13-w16", "choices": {"pool": "lift", "pool_options": {"zero_init": False}}}
        settings["data"]["canvas"] = [32, 32]
        losses = []
        for weight in (0.0, 0.1, 0.2):
            job = prepare(from_dict({**settings, "train": {**settings["train"], "lift_predict": weight}}))
            job.task.log = lambda *_, **__: None
            batch = job.train_set.batch(**{k: v[None] for k, v in job.train_set[0].items()})
            batch = type(batch)(**{k: torch.cat([v, v]) for k, v in vars(batch).items()})
            losses.append(job.task.training_step(batch, 0).item())
        first, second = losses[1] - losses[0], losses[2] - losses[0]
        assert first > 1e-4
        assert second == pytest.approx(2 * first, rel=1e-3)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("halves")
    return fit(from_dict(class_recipe(write_classes(folder / "data"), folder, steps=40, validate_every=20))).path


def test_the_run_learns_and_logs_its_metrics(run):
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(r["step"]) for r in rows] == [20, 40]
    assert float(rows[-1]["val/top1"]) == 1.0
    card = json.loads((run / "model.json").read_text())
    assert card["task"] == "classification"
    assert card["classes"] == ["above", "below"]
    assert card["model"]["choices"]["classes"] == 2


def test_the_same_seed_gives_the_same_bytes(run, tmp_path):
    root = from_dict(class_recipe(run, tmp_path)).data.root
    again = fit(from_dict(class_recipe(write_classes(tmp_path / "data"), tmp_path, steps=40, validate_every=20))).path
    assert root
    assert (again / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_predictions_are_probabilities_of_named_classes(run):
    model = load(run)
    assert isinstance(model, Classifier)
    picture = np.full((24, 24, 3), 60, np.uint8)
    picture[:12] = 200
    above, below = model.predict([picture, Image.fromarray(picture[::-1].copy())])
    assert (above.name, below.name) == ("above", "below")
    assert above.probabilities.sum() == pytest.approx(1)
    assert above.score == above.probabilities.max() > 0.5
    assert model.predict([]) == []


def test_scores_are_those_of_its_own_logits(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the ledger of test scorings goes to the run folder, not to a checkout
    scores = api.evaluate(run, split="test")
    # What comparisons are made of comes to the same score.
    assert ImageOutcomes.load(run, "test").score() == pytest.approx(100 * scores["top1"])
    model = load(run)
    from snellen.training.jobs.classification import class_images
    from snellen.training.runs import RunFolder

    logits, labels = model.logits_of(class_images(RunFolder(run).config(), "test"))
    expected = summarise_classes(logits, labels)
    assert scores["top1"] == expected.top1
    assert scores["images"] == 20
    assert scores["ece"] == pytest.approx(expected.ece)
    assert set(scores["corruptions"]) == {"contrast", "gaussian_noise"}
    assert all(len(errors) == 5 for errors in scores["corruptions"].values())
    assert 0 <= scores["mean_flip_probability"] <= 1
    assert 0 <= scores["shift_consistency"] <= 1
    assert scores["robust_images"] == 4
    line = json.loads((run / "test-evaluations.jsonl").read_text().splitlines()[-1])
    assert (line["metric"], line["value"]) == ("top1", scores["top1"])
    stored = json.loads((run / "evaluation-test.json").read_text())["scores"]
    assert stored["top1"] == scores["top1"]


def test_corrupted_images_are_read_as_imagenet_c_has_them(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for severity in range(1, 6):
        for name, above in (("above", 200), ("below", 60)):
            folder = tmp_path / "C" / "turned" / str(severity) / name
            folder.mkdir(parents=True)
            picture = np.full((16, 16, 3), 260 - above, np.uint8)
            picture[:8] = above
            # From severity 3 on the pictures are upside down: every answer is wrong.
            Image.fromarray(picture[::-1].copy() if severity >= 3 else picture).save(folder / "0.png")
    scores = api.evaluate(run, split="test", corrupted=str(tmp_path / "C"))
    assert scores["corruptions"] == {"turned": [0, 0, 1, 1, 1]}
    assert scores["corruption_error"] == pytest.approx(0.6)
    assert scores["corrupted_images"] == 2
    # What the authors of ImageNet-C hold out is scored and not averaged; an archive may have its own folder.
    (tmp_path / "C" / "extra").mkdir()
    shutil.copytree(tmp_path / "C" / "turned", tmp_path / "C" / "extra" / "saturate")
    for severity in (1, 2):
        shutil.rmtree(tmp_path / "C" / "extra" / "saturate" / str(severity))
        shutil.copytree(tmp_path / "C" / "turned" / "3", tmp_path / "C" / "extra" / "saturate" / str(severity))
    scores = api.evaluate(run, split="test", corrupted=str(tmp_path / "C"))
    assert scores["corruptions"] == {"saturate": [1] * 5, "turned": [0, 0, 1, 1, 1]}
    assert (scores["held_out"], scores["corruption_error"]) == (["saturate"], pytest.approx(0.6))
    with pytest.raises(ConfigError, match="score it first"):
        api.evaluate(run, split="test", corrupted=str(tmp_path / "C"), baseline=tmp_path / "none")
    assert cli.main(["evaluate", str(run), "--corrupted", str(tmp_path / "none")]) == 1
    assert "holds no corrupted images" in capsys.readouterr().err


def test_pictures_cropped_by_their_authors_are_not_cropped_again(run, tmp_path):
    """ImageNet-C comes at 224x224: what a zoom of 0.875 leaves out there was never left out when clean images were cropped."""
    classifier = load(run)
    classifier.card["zoom"] = 0.5
    picture = torch.zeros(3, 16, 16, dtype=torch.uint8)
    config = override(to_dict(RunFolder(run).config()), {"evaluate.corrupted": str(tmp_path)})
    images = Pictures([picture])
    assert _zoom(images, config, classifier) == 1
    assert _zoom(Pictures([torch.zeros(3, 16, 20, dtype=torch.uint8)]), config, classifier) is None
    assert (
        _zoom(images, RunFolder(run).config(), classifier) is None
    )  # of this library's own making, at the original size
    border = Pictures([torch.nn.functional.pad(picture[:, :10, :10], (3, 3, 3, 3), value=255)])
    seen = [classifier.logits_of(data)[0] for data in (images, border)]
    np.testing.assert_array_equal(*seen)
    whole = [classifier.logits_of(data, zoom=1)[0] for data in (images, border)]
    assert np.abs(whole[0] - whole[1]).max() > 1e-3


class Pictures:
    """Pictures of the first class."""

    classes, names = ("above", "below"), ("a",)

    def __init__(self, pictures):
        self.pictures = pictures

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        return LabelledImage(self.pictures[index], 0, "a")


def test_flip_averages_the_logits_of_both_images(run):
    model = load(run)
    x = 255 * torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    plain, mirrored = model.logits(x), model.logits(x.flip(-1))
    model.flip = True
    torch.testing.assert_close(model.logits(x), (plain + mirrored) / 2)


def test_command_line_and_report(run, capsys):
    assert cli.main(["evaluate", str(run), "--no-robustness"]) == 0
    assert "top-1 accuracy" in capsys.readouterr().out
    assert cli.main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert "Top-1 accuracy" in page
    assert "Corruptions were not measured." in page
    assert cli.main(["evaluate", str(run), "--decoder", "argmax"]) == 1
    assert "leave --decoder out" in capsys.readouterr().err


def test_the_report_shows_its_record(run):
    api.evaluate(run)
    record = ClassRecord.load(run / "predictions-val.json")
    page = render_class_report(record)
    assert "<script" not in page
    assert 'src="http' not in page
    assert record.robustness
    for change in ("scores", "robustness", "history", "calibration"):
        assert render_class_report(_changed(record, change)) != page, change


def _changed(record, name):
    import dataclasses

    value = getattr(record, name)
    if name == "scores":
        value = {**value, "top1": value["top1"] / 2}
    elif name == "robustness":
        value = {**value, "corruptions": {k: [v / 2 + 0.1 for v in e] for k, e in value["corruptions"].items()}}
    elif name == "history":
        value = [{**row, "val/top1": row["val/top1"] / 3} for row in value]
    else:
        value = dataclasses.replace(value, accuracy=1 - value.accuracy, ece=math.sqrt(0.1))
    return dataclasses.replace(record, **{name: value})


def test_models_of_other_tasks_are_refused(run, tmp_path):
    with pytest.raises(ConfigError, match="finds no keypoints"):
        load_localiser(run)
    settings = class_recipe(write_classes(tmp_path / "data"), tmp_path)
    with pytest.raises(ConfigError, match="'rcn5' is for keypoints, not classification"):
        prepare(from_dict({**settings, "model": {"name": "rcn5"}}))
    with pytest.raises(ConfigError, match=r"needs data\.root"):
        prepare(from_dict({**settings, "data": {"format": "folders"}}))


@pytest.mark.slow
def test_two_processes_share_a_run(tmp_path):
    """What `devices: 2` does, on the CPU: one folder, both take their part of every batch, both end well."""
    settings = class_recipe(write_classes(tmp_path / "data"), tmp_path, accelerator="cpu", devices=2)
    (tmp_path / "halves.yaml").write_text(yaml.safe_dump(settings))
    done = subprocess.run(
        [sys.executable, "-m", "snellen.cli", "train", str(tmp_path / "halves.yaml"), "--name", "two"],
        capture_output=True, text=True, timeout=200, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "two" / "model.json").exists()
    assert 0 <= api.evaluate(tmp_path / "two", robustness=False)["top1"] <= 1


def test_classes_that_the_data_do_not_have_are_refused(tmp_path):
    settings = class_recipe(write_classes(tmp_path / "data"), tmp_path)
    with pytest.raises(ConfigError, match="classes is 3, but the data have 2"):
        prepare(from_dict({**settings, "model": {"name": "resnet20", "choices": {"classes": 3}}}))


def test_grey_and_colour_arrays_together(run):
    grey, colour = np.full((9, 9), 80, np.uint8), np.full((12, 7, 3), 80, np.uint8)
    assert len(load(run).predict([grey, colour])) == 2
    with pytest.raises(ValueError, match="has no pixels"):
        load(run).predict(np.empty((0, 5, 3), np.uint8))
