"""Zooms that are told where the object is, in classification and gaze: the box follows the picture, the saliency the box."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gazes import gaze_recipe, write_gazes
from snellen.config import ClassAugmentConfig, ConfigError, GazeAugmentConfig, from_dict
from snellen.data import ClassificationCanvas, GazeCanvas, StepBatches, training_loader
from snellen.data.classes import LabelledImage
from snellen.data.gaze import GazeEntry, GazeSample
from snellen.geometry import Box
from snellen.layers.saliency import saliency_from_boxes
from snellen.training.jobs import prepare
from snellen.training.zoom_loss import saliency_loss
from tiny import class_recipe, write_classes

BOX = Box(24, 20, 44, 32)
#: What boxes stand for, not the defaults.
REACH = {"alpha": 4.0, "beta": 0.05}
ZOOM = {"size": [32, 32], "nodes": [9, 9], "max_zoom": 3, **REACH}


class Boxed:
    """One picture, bright inside its box, as classification and gaze have it."""

    answer, classes, names = "angles", ("a",), ["a"]
    entries = (GazeEntry("a", (1.0, 2.0), "me"),)

    def __init__(self, kind):
        self.kind = kind

    def __len__(self):
        return 1

    def __getitem__(self, index):
        image = torch.zeros(1, 60, 80, dtype=torch.uint8)
        image[:, 20:32, 24:44] = 255
        return (
            LabelledImage(image, 0, "a", BOX) if self.kind == "class" else GazeSample(image, self.entries[0], BOX, "a")
        )


@pytest.mark.parametrize("kind", ["class", "gaze"])
def test_the_box_follows_the_picture(kind):
    if kind == "class":
        canvases = ClassificationCanvas(
            Boxed(kind), (90, 120), ClassAugmentConfig(shift=0.1, scale=(0.7, 1.3), flip=0.5), fit="pad"
        )
    else:
        canvases = GazeCanvas(Boxed(kind), (90, 120), GazeAugmentConfig(shift=0.1, scale=(0.7, 1.3), flip=0.5))
    boxes = []
    for epoch in range(12):
        item = canvases[epoch, 0]
        rows, columns = (np.flatnonzero((item["image"][0] > 150).any(axis).numpy()) for axis in (1, 0))
        seen = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        np.testing.assert_allclose(item["box"].numpy(), seen, atol=1)
        boxes.append(item["box"])
    assert torch.stack(boxes).std(dim=0).min() > 1


def test_a_box_that_is_not_known_is_nan(tmp_path):
    data = Boxed("class")
    plain = LabelledImage(data[0].image, 0, "a")
    data.__class__ = type("Plain", (Boxed,), {"__getitem__": lambda self, index: plain})
    assert ClassificationCanvas(data, (30, 40))[0]["box"].isnan().all()
    gazes = prepare(from_dict(gaze_recipe(write_gazes(tmp_path / "data"), tmp_path))).val_set
    assert gazes[0]["box"].isnan().all()  # one eye fills the picture


def species(tmp_path, **train):
    return {
        "task": "classification",
        "out": str(tmp_path),
        "data": {"format": "wings-species", "train_images": 4, "val_images": 2, "canvas": [48, 64], "channels": 1},
        "model": {"name": "vgg13-w16", "choices": {"channels": 1, "zoom": "separable", "zoom_options": ZOOM}},
        "train": {"steps": 4, "batch_size": 4, **train},
    }


def scenes(tmp_path, **train):
    made = gaze_recipe(write_gazes(tmp_path / "data"), tmp_path, **train)
    made["data"] |= {"clutter": 128, "canvas": [64, 64]}
    made["model"]["choices"] = {**made["model"].get("choices", {}), "zoom": "separable", "zoom_options": ZOOM}
    return made


@pytest.mark.parametrize("made", [species, scenes])
def test_a_supervised_step(made, tmp_path):
    """The loss is that of the task and the divergence; with `zoom_guide: 1` the true boxes make every grid of a training."""
    plain, told = (prepare(from_dict(made(tmp_path, zoom_boxes=weight))) for weight in (0.0, 0.5))
    batch = next(iter(training_loader(told.train_set, StepBatches(len(told.train_set), 4, 1, seed=0))))
    saliency = told.task._answer(batch).saliency
    size, boxes = (batch.image.shape[-2], batch.image.shape[-1]), batch.box[:, None]
    ideal = saliency_from_boxes(boxes, (9, 9), size, alpha=REACH["alpha"], beta=REACH["beta"] * size[1])
    expected = 0.5 * saliency_loss(saliency, ideal, boxes).item()
    assert expected > 0.01
    losses = []
    for job in (plain, told):
        job.task.model.load_state_dict(told.task.model.state_dict())
        job.task.eval()  # drawn noise and batch statistics aside
        losses.append(job.task.loss(batch).item())
    assert losses[1] - losses[0] == pytest.approx(expected, rel=1e-3)
    guided = prepare(from_dict(made(tmp_path, zoom_boxes=1.0, zoom_guide=1.0))).task
    grids = []
    guided.model.zoomer.register_forward_hook(lambda m, i, seen: grids.append(seen.grid.nodes))
    guided.loss(batch)
    guided._answer(batch)
    torch.testing.assert_close(grids[0], guided.model.zoomer.from_saliency(ideal).nodes)
    assert (grids[1] - grids[0]).abs().max() > 0.01
    values = {}
    guided.log = lambda name, value, **_: values.setdefault(name, float(value))
    guided.validation_step(batch, 0)
    assert values["zoom/object"] == pytest.approx(1, abs=0.02)  # a zoom that has learned nothing yet


def test_without_boxes_there_is_nothing_to_learn_from():
    saliency = torch.full((2, 9, 9), 1 / 81).requires_grad_()
    boxes = torch.tensor([[[4.0, 4.0, 12.0, 10.0]], [[torch.nan] * 4]])
    wanted = torch.softmax(torch.randn(2, 81), dim=-1).view(2, 9, 9)
    told = saliency_loss(saliency, wanted, boxes).item()
    assert told == pytest.approx(saliency_loss(saliency[:1], wanted[:1], boxes[:1]).item())
    assert told == pytest.approx(F.kl_div(saliency[0].log(), wanted[0], reduction="sum").item(), rel=1e-4)
    nothing = saliency_loss(saliency, wanted, torch.full((2, 1, 4), torch.nan))
    nothing.backward()
    assert nothing.item() == 0
    assert not saliency.grad.any()


def test_data_without_boxes_are_refused(tmp_path):
    classes = class_recipe(write_classes(tmp_path / "classes"), tmp_path, zoom_boxes=1.0)
    with pytest.raises(ConfigError, match="predicts none"):
        prepare(from_dict(classes))
    classes["model"]["choices"] |= {"zoom": "separable", "zoom_options": {"size": [12, 12]}}
    with pytest.raises(ConfigError, match="these data do not say"):
        prepare(from_dict(classes))
    gazes = scenes(tmp_path, zoom_boxes=1.0)
    gazes["data"] |= {"clutter": 0}
    with pytest.raises(ConfigError, match="these data do not say"):
        prepare(from_dict(gazes))
