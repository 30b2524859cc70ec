"""Training, scoring and using a segmentation network, from folders of images and masks to the report."""

import csv
import dataclasses
import json
import logging
import math

import numpy as np
import pytest
import torch
from PIL import Image

from contracts import TaskContract
from snellen import api, cli
from snellen.config import ConfigError, from_dict
from snellen.data import DataError
from snellen.data.masks import LabelMap
from snellen.evaluation.label_record import LabelRecord
from snellen.evaluation.outcomes import ImageOutcomes
from snellen.evaluation.reports.labels import render_label_report
from snellen.inference import Segmenter, load, load_localiser
from snellen.training.fit import fit
from snellen.training.jobs import prepare
from snellen.training.jobs.segmentation import class_weights
from tiny import label_recipe, write_label_maps


class TestLabelTask(TaskContract):
    def settings(self, tmp_path):
        return label_recipe(write_label_maps(tmp_path / "data"), tmp_path)

    def test_ignored_pixels_and_class_weights_are_in_the_loss(self, task_and_batches):
        """Written out pixel by pixel: -w log p over the labelled pixels, divided by the sum of their w."""
        task, batches, _, _ = task_and_batches
        task.model.eval()
        batch, weights = batches[0], task.class_weights
        log_p = task.model(batch.image).logits.log_softmax(dim=1)
        assert (batch.labels == 3).any()
        terms, total = 0.0, 0.0
        for label in range(3):
            inside = batch.labels == label
            terms -= (weights[label] * log_p[:, label][inside].sum()).item()
            total += weights[label].item() * int(inside.sum())
        assert task.loss(batch).item() == pytest.approx(terms / total, rel=1e-4)

    def test_mean_iou_is_of_all_pixels_whatever_the_batches(self, task_and_batches):
        """The answer's own labels as truth score 1; with one more image of other labels, less, and not a mean of batches."""
        task, _, validation, logged = task_and_batches
        task.model.eval()
        batch = validation[0]
        answer = task.model(batch.image).logits.argmax(dim=1)
        right, wrong = (dataclasses.replace(batch, labels=(answer + i) % 3) for i in (0, 1))
        for batches, expected in (([right], 1.0), ([right, wrong], 1 / 3), ([wrong], 0.0)):
            task.on_validation_epoch_start()
            for i, one in enumerate(batches):
                task.validation_step(one, i)
            task.on_validation_epoch_end()
            assert logged["val/pixel_accuracy"] == pytest.approx(len([b for b in batches if b is right]) / len(batches))
            if len(batches) == 1:
                assert logged["val/miou"] == expected
            else:
                # True positives n of a class against 2n + (what is called so falsely) + (what is missed).
                counts = torch.bincount(answer.flatten(), minlength=3).double()
                before = counts.roll(1)  # pixels of the class's predecessor, whose truth was moved onto it
                iou = counts / (counts + before + counts)
                assert logged["val/miou"] == pytest.approx(iou[counts + before > 0].mean().item())

    def test_a_validation_without_labelled_pixels_is_not_a_number(self, task_and_batches):
        task, _, _, logged = task_and_batches
        task.on_validation_epoch_start()
        task.on_validation_epoch_end()
        assert math.isnan(logged["val/miou"])


def test_class_weights_are_counted_once_and_logged(tmp_path, caplog):
    settings = label_recipe(write_label_maps(tmp_path / "data"), tmp_path)
    with caplog.at_level(logging.INFO, "snellen"):
        task = prepare(from_dict(settings)).task
    (line,) = [r.message for r in caplog.records if "class weights" in r.message]
    assert all(name in line for name in ("dark", "middle", "bright"))
    # Dark covers most of every image, so it weighs least; the median class weighs 1.
    assert task.class_weights.argmin() == 0
    assert sorted(task.class_weights.tolist())[1] == pytest.approx(1)
    assert "class_weights" not in task.state_dict()
    settings["train"]["class_weights"] = "none"
    assert prepare(from_dict(settings)).task.class_weights is None


def test_class_weights_by_hand():
    class Two:
        classes, ignore, names = ("a", "b"), 2, ("x", "y")

        def __len__(self):
            return 2

        def __getitem__(self, index):
            labels = torch.tensor([[[0, 0], [0, 1]], [[0, 0], [2, 2]]][index], dtype=torch.uint8)
            return LabelMap(labels[None], labels, self.names[index])

    # a: 5 of 6 pixels of the images that hold it; b: 1 of 4; the median is their mean, 13/24.
    torch.testing.assert_close(class_weights(Two()), torch.tensor([13 / 24 * 6 / 5, 13 / 24 * 4]))


# --- from end to end


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("squares")
    root = write_label_maps(folder / "data")
    return fit(from_dict(label_recipe(root, folder, steps=80, validate_every=40))).path


def test_the_run_learns_and_logs_its_metrics(run):
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(r["step"]) for r in rows] == [40, 80]
    assert float(rows[-1]["val/miou"]) > 0.45  # a constant answer scores below 0.25
    card = json.loads((run / "model.json").read_text())
    assert card["task"] == "segmentation"
    assert card["classes"] == ["dark", "middle", "bright"]
    assert card["model"]["choices"]["classes"] == 3


def test_predictions_have_the_size_of_their_images(run):
    model = load(run)
    assert isinstance(model, Segmenter)
    picture = np.full((48, 64, 3), 40, np.uint8)
    picture[10:34, 20:50] = 200
    large, grey = model.predict([picture, Image.fromarray(picture[:33, :21, 0])])
    assert large.labels.shape == large.confidence.shape == (48, 64)
    assert grey.labels.shape == (33, 21)
    assert (large.labels[14:30, 26:44] == 2).float().mean() > 0.7
    assert ((large.confidence >= 1 / 3) & (large.confidence <= 1)).all()
    assert model.predict([]) == []
    with pytest.raises(ConfigError, match="finds no keypoints"):
        load_localiser(run)


def test_images_are_shown_at_the_scale_of_the_training(run):
    model = load(run)
    assert model.logits(torch.zeros(3, 48, 64)).shape == (3, 24, 32)
    assert model.logits(torch.zeros(3, 12, 32)).shape == (3, 12, 32)
    model.card = {**model.card, "crop": True}
    assert model.logits(torch.zeros(3, 48, 64)).shape == (3, 48, 64)


def test_flip_averages_the_logits_of_both_images(run):
    model = load(run)
    x = torch.randint(0, 256, (3, 24, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    plain, mirrored = model.logits(x), model.logits(x.flip(-1)).flip(-1)
    model.flip = True
    torch.testing.assert_close(model.logits(x), (plain + mirrored) / 2)


def test_scores_are_those_of_its_own_answers(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the ledger of test scorings goes to the run folder, not to a checkout
    scores = api.evaluate(run, split="test")
    # What comparisons are made of comes to the same score.
    assert ImageOutcomes.load(run, "test").score() == pytest.approx(100 * scores["mean_iou"])
    root, model = from_dict(json.loads(json.dumps(_settings(run)))).data.root, load(run)
    overlap, either, right, labelled = np.zeros(3), np.zeros(3), 0, 0
    for i in range(2):
        truth = np.asarray(Image.open(f"{root}/testannot/{i}.png"))
        answer = model.predict(f"{root}/test/{i}.png")[0].labels.numpy()
        known = truth < 3
        right, labelled = right + (answer == truth)[known].sum(), labelled + known.sum()
        for label in range(3):
            t, p = (truth == label) & known, (answer == label) & known
            overlap[label] += (t & p).sum()
            either[label] += (t | p).sum()
    assert scores["mean_iou"] == pytest.approx((overlap / either).mean())
    assert list(scores["per_class_iou"].values()) == pytest.approx(list(overlap / either))
    assert scores["pixel_accuracy"] == pytest.approx(right / labelled)
    assert scores["pixels"] == labelled == 2 * 24 * 31
    assert scores["interval"][0] <= scores["mean_iou"] <= scores["interval"][1]
    assert sum(scores["per_class_share"].values()) == pytest.approx(1)
    assert all(0 <= scores[key] <= 1 for key in ("boundary_f", "shift_consistency", "shifted_mean_iou"))
    line = json.loads((run / "test-evaluations.jsonl").read_text().splitlines()[-1])
    assert (line["metric"], line["value"]) == ("mean_iou", scores["mean_iou"])


def _settings(run):
    import yaml

    return yaml.safe_load((run / "config.yaml").read_text())


def test_command_line_and_report(run, capsys):
    assert cli.main(["evaluate", str(run), "--no-robustness"]) == 0
    out = capsys.readouterr().out
    assert "mean IoU" in out
    assert "moved by one pixel" not in out
    assert "shift_consistency" not in json.loads((run / "evaluation-val.json").read_text())["scores"]
    assert cli.main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert "Mean IoU" in page
    assert "after a shift by one pixel" not in page
    assert cli.main(["evaluate", str(run), "--decoder", "argmax"]) == 1
    assert "leave --decoder out" in capsys.readouterr().err


def test_the_report_shows_its_record(run):
    api.evaluate(run)
    record = LabelRecord.load(run / "predictions-val.json")
    page = render_label_report(record)
    assert "<script" not in page
    assert 'src="http' not in page
    assert page.count('class="trio"') == len(record.samples) == 3
    best, worst = record.samples[0], record.samples[-1]
    assert best.score >= worst.score
    assert best.truth.shape == best.answer.shape == best.picture.shape[:2] == (24, 32)
    for name, value in {
        "scores": {**record.scores, "mean_iou": record.scores["mean_iou"] / 2},
        "history": [{**row, "val/miou": row["val/miou"] / 3} for row in record.history],
        "samples": [dataclasses.replace(s, answer=(s.answer + 1) % 3) for s in record.samples],
        "image_iou": [v / 2 for v in record.image_iou],
    }.items():
        assert render_label_report(dataclasses.replace(record, **{name: value})) != page, name
    classes = dict(record.scores["per_class_iou"], dark=0.01)
    other = render_label_report(dataclasses.replace(record, scores={**record.scores, "per_class_iou": classes}))
    bars = [text[text.index("Intersection over union and") :].split("</svg>")[0] for text in (page, other)]
    assert bars[0] != bars[1]


def test_a_record_keeps_its_pictures_and_says_none_for_what_is_not_known(run, tmp_path):
    api.evaluate(run)
    record = LabelRecord.load(run / "predictions-val.json")
    scores = {
        **record.scores,
        "boundary_f": math.nan,
        "per_class_iou": dict(record.scores["per_class_iou"], dark=math.nan),
    }
    again = LabelRecord.load(dataclasses.replace(record, scores=scores).save(tmp_path / "r"))
    assert again.scores["boundary_f"] is None
    for a, b in zip(record.samples, again.samples, strict=True):
        assert all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("picture", "truth", "answer"))
    assert "not known" in render_label_report(again)
    with pytest.raises(ValueError, match="evaluate the run again"):
        LabelRecord.load(_write(tmp_path / "other.json", "{}"))


def _write(path, text):
    path.write_text(text)
    return path


# --- what cannot work


def test_what_cannot_be_trained_is_refused_before_anything_is_written(tmp_path):
    settings = label_recipe(write_label_maps(tmp_path / "data"), tmp_path / "runs")
    for change, error, says in (
        ({"model": {"name": "resnet20"}}, ConfigError, "is for classification, not segmentation"),
        ({"model": {"name": "segnet-small", "choices": {"classes": 4}}}, ConfigError, "the data have 3 classes"),
        ({"augment": {"tight_probability": 0.5}}, ConfigError, "tight"),
        ({"data": {**settings["data"], "root": None}}, ConfigError, "needs data.root"),
        ({"data": {**settings["data"], "classes": ["dark"], "ignore": 3}}, DataError, "holds label"),
    ):
        with pytest.raises(error, match=says):
            fit(from_dict({**settings, **change}))
    for file in (tmp_path / "data" / "valannot").iterdir():
        Image.fromarray(np.full((24, 32), 3, np.uint8)).save(file)
    with pytest.raises(DataError, match="no pixel of the val split has a class"):
        fit(from_dict(settings))
    assert not (tmp_path / "runs").exists()


def test_data_of_other_classes_are_not_scored(run, tmp_path):
    settings = _settings(run)
    root = write_label_maps(tmp_path / "data")
    settings["data"] |= {"root": str(root), "classes": ["dark", "middle", "bright", "none"], "ignore": 4}
    (run / "config.yaml").rename(run / "kept.yaml")
    try:
        import yaml

        (run / "config.yaml").write_text(yaml.safe_dump(settings))
        with pytest.raises(DataError, match="dark, middle, bright, none, but"):
            api.evaluate(run)
    finally:
        (run / "kept.yaml").rename(run / "config.yaml")
