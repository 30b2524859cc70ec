"""Runs that zoom: trained, scored in original pixels, reported, resumed."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from contracts import TaskContract
from gazes import gaze_recipe, write_gazes
from snellen import api
from snellen.config import ConfigError, from_dict
from snellen.data import StepBatches, training_loader
from snellen.evaluation.evaluate import evaluate_run, report_run
from snellen.evaluation.reports.history import read_history
from snellen.evaluation.reports.zoom import zoom_section
from snellen.inference import load
from snellen.training.fit import fit
from snellen.training.jobs import prepare
from snellen.training.runs import RunFolder
from snellen.training.zoom_history import ZOOM_FILE, ZoomHistory, read_zoom_history
from snellen.training.zoom_loss import point_boxes, saliency_loss
from tiny import class_recipe, label_recipe, recipe, write_classes, write_discs, write_label_maps


def settings(tmp_path, zoom="separable", options=None, **train):
    """Discs on a canvas of 48 pixels that the network sees in 32."""
    made = recipe(write_discs(tmp_path / "data"), tmp_path, **train)
    made["data"]["canvas"] = [48, 48]
    small = {"size": [32, 32], "nodes": [9, 9], "max_zoom": 3}
    made["model"]["choices"] |= {"zoom": zoom, "zoom_options": small if options is None else options}
    return made


class TestZoomedKeypointTask(TaskContract):
    def settings(self, tmp_path):
        return settings(tmp_path)

    def test_step_gives_a_finite_loss_and_every_gradient(self, task_and_batches):
        """The zoom's head is zero at first, and hides what lies before it until it has moved."""
        task = task_and_batches[0]
        torch.nn.init.normal_(task.model.zoomer.look.head.weight)
        super().test_step_gives_a_finite_loss_and_every_gradient(task_and_batches)

    def test_saliency_is_told_where_the_points_are(self, tmp_path):
        made = settings(tmp_path, zoom_boxes=0.5)
        task = prepare(from_dict(made)).task
        plain = prepare(from_dict(settings(tmp_path))).task
        job = prepare(from_dict(made))
        batch = next(iter(_batches(job)))
        boxes = point_boxes(batch.xy, batch.labelled)
        wanted = task.model.zoomer.told(batch.image, boxes)
        expected = 0.5 * batch.xy.shape[1] * saliency_loss(task._answer(batch).saliency, wanted, boxes).item()
        assert expected > 0
        assert task.loss(batch).item() - plain.loss(batch).item() == pytest.approx(expected, rel=1e-3)

    def test_validations_log_the_loss_and_the_zoom_of_the_first_look(self, tmp_path):
        logged = []
        for looks in (1, 2):
            options = {"size": [32, 32], "nodes": [9, 9], "max_zoom": 3, "looks": looks}
            job = prepare(from_dict(settings(tmp_path, options=options)))
            torch.manual_seed(0)
            torch.nn.init.normal_(job.task.model.zoomer.look.head.weight)
            values = {}
            job.task.log = lambda name, value, values=values, **_: values.setdefault(name, float(value))
            job.task.eval()
            with torch.no_grad():
                job.task.validation_step(next(iter(_batches(job))), 0)
            logged.append(values)
        assert logged[0].pop("val/nme") != logged[1].pop("val/nme")
        assert logged[0] == pytest.approx(logged[1])

    def test_true_boxes_zoom_a_share_of_the_images(self, tmp_path):
        """As zoom "boxes" zooms them; the others are zoomed as ever, and so are all of them in a validation."""
        options = {"size": [32, 32], "nodes": [9, 9], "max_zoom": 3, "separable": True}
        job = prepare(from_dict(settings(tmp_path, zoom_guide=0.5)))
        batch = next(iter(_batches(job)))
        ideal = prepare(from_dict(settings(tmp_path, "boxes", options))).task._answer(batch).grid.nodes
        plain = job.task._answer(batch).grid.nodes
        found = _grid_of_loss(job.task, batch)
        from_box, from_net = ((found - g).flatten(1).abs().amax(1) < 1e-6 for g in (ideal, plain))
        assert (from_box ^ from_net).all()
        assert 0 < int(from_box.sum()) < len(found)
        every = prepare(from_dict(settings(tmp_path, zoom_guide=1.0, zoom_boxes=1.0))).task
        torch.testing.assert_close(_grid_of_loss(every, batch), ideal)

    def test_moved_boxes_are_another_zoom_at_every_step_and_the_same_at_a_repeated_one(self, tmp_path, monkeypatch):
        task = prepare(from_dict(settings(tmp_path, zoom_guide=1.0, zoom_boxes=1.0, zoom_jitter=0.2))).task
        batch = next(iter(_batches(prepare(from_dict(settings(tmp_path))))))
        grids = []
        for step in (0, 1, 0):
            monkeypatch.setattr(type(task), "global_step", step)
            grids.append(_grid_of_loss(task, batch))
        torch.testing.assert_close(grids[2], grids[0])
        assert ((grids[1] - grids[0]).flatten(1).abs().amax(1) > 1e-3).all()


def _grid_of_loss(task, batch):
    """The grid that a training step zooms by."""
    grids = []
    seen = task.model.zoomer.register_forward_hook(lambda m, i, seen: grids.append(seen.grid.nodes))
    task.loss(batch)
    seen.remove()
    return grids[0]


def _batches(job):
    return training_loader(job.train_set, StepBatches(len(job.train_set), 8, 1, seed=0))


def test_a_plain_resize_trains_as_the_canvas_of_that_size_does(tmp_path):
    """zoom="uniform" from 48 to 32 is the same network, and its loss on the canvas's cells is that of no zoom."""
    zoomed = prepare(from_dict(settings(tmp_path, "uniform", {"size": [48, 48]})))
    made = settings(tmp_path)
    made["model"]["choices"] = {k: v for k, v in made["model"]["choices"].items() if not k.startswith("zoom")}
    plain = prepare(from_dict(made))
    batch = next(iter(_batches(plain)))
    assert zoomed.task.loss(batch).item() == pytest.approx(plain.task.loss(batch).item(), rel=1e-4)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("zoomed")
    return root, fit(from_dict(settings(root)))


def test_a_run_logs_how_it_zooms_and_keeps_it_for_the_report(run):
    _, folder = run
    history = read_history(folder)
    assert all({"zoom/object", "zoom/largest", "zoom/entropy", "zoom/clamped"} <= set(row) for row in history)
    assert all(1 <= row["zoom/largest"] <= 3.001 for row in history)
    kept = read_zoom_history(folder / ZOOM_FILE)
    assert kept["steps"].tolist() == [row["step"] for row in history]
    assert kept["nodes"].shape == (3, 3, 9, 9, 2)
    np.testing.assert_allclose(kept["saliency"].sum(axis=(2, 3)), 1, atol=1e-5)


def test_a_run_is_scored_and_reported(run):
    _, folder = run
    scores = evaluate_run(folder.path, split="val", robustness=False)
    assert 0 < scores["nme"] < 5
    page = report_run(folder.path).read_text()
    assert "Where it looks" in page
    assert page.count("data:image/png;base64") >= 12
    assert "<script" not in page
    assert page.index("Where it looks") < page.index("How to get this again")
    model = load(folder.path)
    assert model.radius == pytest.approx(2.5 * 48 / 32)
    picture = torch.randint(0, 256, (1, 48, 48), dtype=torch.uint8)
    found = model.predict(picture)[0]
    assert np.isfinite(found.xy).all()
    model.flip = True
    mirrored = model.predict(picture.flip(-1))[0]
    straight = model.predict(picture)[0]
    order = list(model.schema.flip_order)
    assert np.abs((48 - mirrored.xy[order, 0]) - straight.xy[:, 0]).max() < 0.01


def test_the_report_says_which_of_several_looks_it_shows(run, tmp_path):
    _, once = run
    twice = RunFolder(shutil.copytree(once.path, tmp_path / "twice"))
    options = "max_zoom: 3\n"
    config = (twice / "config.yaml").read_text()
    assert options in config
    (twice / "config.yaml").write_text(config.replace(options, f"{options}      looks: 2\n"))
    assert "Of 2 looks" in zoom_section(twice)
    assert "looks at each picture" not in zoom_section(once)


def test_the_setting_of_the_paper_trains_on_folders_as_torchvision_names_them(tmp_path):
    """ResNet-101 on 227 pixels of 800, saliency by a ResNet-18: a step, and an answer of its size."""
    rng = np.random.default_rng(0)
    for part in ("2021_train", "2021_valid"):
        for species in ("00000_Animalia", "00001_Plantae"):
            (tmp_path / part / species).mkdir(parents=True)
            picture = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((800, 600))
            picture.save(tmp_path / part / species / "0.jpg")
    folders = {"train": "2021_train", "val": "2021_valid", "test": "2021_valid"}
    drawn = {"pretrained": False, "zoom_options.pretrained": False}
    config = api.resolve(
        "inaturalist-zoom",
        {"data.root": str(tmp_path), "out": str(tmp_path), "data.workers": 0, "train.steps": 1, "train.batch_size": 2}
        | {f"data.{key}": folder for key, folder in folders.items()}
        | {f"model.choices.{key}": value for key, value in drawn.items()},
    )
    run = fit(config)
    model = load(run.path, device="cpu").model
    assert model.zoomer.look.head.weight.any()  # 0 at the start: a plain resize
    with torch.inference_mode():
        assert model.zoomer(torch.zeros(1, 3, 800, 800)).image.shape == (1, 3, 227, 227)
        answer = model(torch.zeros(1, 3, 800, 800)).logits
    assert answer.shape == (1, 2)
    assert torch.isfinite(answer).all()


def test_a_resumed_run_goes_on_with_the_history_before_its_checkpoint(run, tmp_path):
    _, whole = run
    shutil.copy(whole / ZOOM_FILE, tmp_path / ZOOM_FILE)
    again = ZoomHistory(tmp_path)
    again.on_train_start(SimpleNamespace(global_step=8), None)
    assert again.kept["steps"].tolist() == [4, 8]
    assert len(again.kept["saliency"]) == len(again.kept["nodes"]) == 2


def test_an_oracle_is_given_the_boxes(tmp_path):
    options = {"size": [32, 32], "nodes": [9, 9], "beta": 0.2}
    folder = fit(from_dict(settings(tmp_path, "boxes", options)))
    assert evaluate_run(folder.path, split="val", robustness=False)["nme"] > 0
    assert read_history(folder)[-1]["zoom/object"] > 1
    with pytest.raises(ValueError, match="give boxes"):
        load(folder.path).predict(torch.zeros(1, 48, 48, dtype=torch.uint8))


def test_a_fixed_saliency_is_the_training_points(tmp_path):
    job = prepare(from_dict(settings(tmp_path, "fixed", {"size": [32, 32], "nodes": [9, 9]})))
    saliency = job.task.model.zoomer.saliency
    assert saliency[4, 4] > 1.05 * saliency[0, 0]  # discs lie ten pixels and more from the border


def test_segmentation_and_classification_zoom(tmp_path):
    labels = label_recipe(write_label_maps(tmp_path / "labels"), tmp_path, steps=4, validate_every=4)
    labels["model"]["choices"] = {"zoom": "saliency", "zoom_options": {"size": [16, 24], "nodes": [7, 9]}}
    folder = fit(from_dict(labels))
    assert "zoom/entropy" in read_history(folder)[-1]
    assert 0 <= evaluate_run(folder.path, split="val", robustness=False)["mean_iou"] <= 1
    assert "saliency in training" in zoom_section(folder)
    classes = class_recipe(write_classes(tmp_path / "classes"), tmp_path, steps=4, validate_every=4)
    classes["model"]["choices"] |= {"zoom": "stn", "zoom_options": {"size": [16, 16]}}
    folder = fit(from_dict(classes))
    assert evaluate_run(folder.path, split="val", robustness=False)["top1"] >= 0
    assert "largest" in zoom_section(folder)


def test_gaze_zooms(tmp_path):
    made = gaze_recipe(write_gazes(tmp_path / "eyes"), tmp_path, steps=4, validate_every=4)
    made["model"]["choices"] |= {"zoom": "saliency", "zoom_options": {"size": [24, 24], "nodes": [7, 7]}}
    folder = fit(from_dict(made))
    assert evaluate_run(folder.path, split="val", robustness=False)["error"] > 0
    assert "zoom/largest" in read_history(folder)[-1]
    assert "saliency in training" in zoom_section(folder)


def test_what_the_data_cannot_give_is_refused(tmp_path):
    labels = label_recipe(write_label_maps(tmp_path / "labels"), tmp_path)
    labels["model"]["choices"] = {"zoom": "fixed", "zoom_options": {"size": [16, 24]}}
    with pytest.raises(ConfigError, match="take another zoom"):
        prepare(from_dict(labels))
    with pytest.raises(ConfigError, match="predicts none"):
        prepare(from_dict(settings(tmp_path, "uniform", {"size": [32, 32]}, zoom_boxes=1.0)))
    with pytest.raises(ConfigError, match="predicts none"):
        prepare(from_dict(settings(tmp_path, "uniform", {"size": [32, 32]}, zoom_guide=0.5)))
    with pytest.raises(ConfigError, match="nothing to learn from"):
        from_dict(settings(tmp_path, zoom_guide=1.0))
