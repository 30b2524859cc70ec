"""Every training task keeps the task contract; what is special to keypoints."""

import dataclasses
import itertools

import pytest
import torch

from contracts import TaskContract
from snellen.config import ConfigError, KeypointConfig, KeypointTrainConfig
from snellen.keypoints import get_schema
from snellen.models import create_model
from snellen.training.jobs.keypoints import build_model
from snellen.training.tasks.keypoints import KeypointTask
from snellen.training.tasks.task import make_optimiser, one_cycle, step_decay
from tiny import recipe, write_discs


class TestKeypointTask(TaskContract):
    def settings(self, tmp_path):
        return recipe(write_discs(tmp_path / "data"), tmp_path)

    def test_l2_terms_are_added_as_the_paper_writes_them(self, task_and_batches):
        task, batches, _, _ = task_and_batches
        plain = task.training_step(batches[0], 0)
        train = dataclasses.replace(task.config.train, l2_trunk=1e-3, l2_branch=1e-4)
        with_l2 = KeypointTask(task.model, dataclasses.replace(task.config, train=train), task.schema)
        with_l2.log = task.log
        groups = task.model.parameter_groups()
        expected = sum(w * sum(p.pow(2).sum() for p in groups[n]) for n, w in (("trunk", 1e-3), ("branch", 1e-4)))
        added = (with_l2.training_step(batches[0], 0) - plain).item()
        assert added == pytest.approx(float(expected.detach()), rel=1e-3)

    def test_a_loss_that_is_not_finite_stops_with_a_sentence(self, task_and_batches):
        task, batches, _, _ = task_and_batches
        with torch.no_grad():
            next(task.model.parameters()).fill_(float("nan"))
        with pytest.raises(FloatingPointError, match=r"lower train\.lr"):
            task.training_step(batches[0], 0)


def test_adadelta_is_the_papers():
    optimiser = make_optimiser(create_model("rcn5"), KeypointTrainConfig(optimiser="adadelta", lr=1.0))
    group = optimiser.param_groups[0]
    assert (group["lr"], group["rho"], group["eps"]) == (1.0, 0.95, 1e-8)


def test_one_cycle_rises_then_falls_to_zero():
    factors = [one_cycle(step, 100, 0.1) for step in range(101)]
    assert factors[9] == factors[10] == 1.0
    assert all(a < b for a, b in itertools.pairwise(factors[:10]))
    assert all(a >= b for a, b in itertools.pairwise(factors[10:]))
    assert factors[100] == pytest.approx(0)


def test_steps_fall_to_a_tenth_where_the_papers_do():
    # He et al. 2016 on CIFAR: 0.1 until 32,000 of 64,000 steps, 0.01 until 48,000, then 0.001.
    factors = [0.1 * step_decay(step, 64_000, (0.5, 0.75)) for step in (0, 31_999, 32_000, 47_999, 48_000, 63_999)]
    assert factors == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    train = KeypointTrainConfig(steps=4, schedule="steps", milestones=(0.5,), lr=1.0)
    task = KeypointTask(create_model("rcn5"), KeypointConfig(train=train), get_schema("mtfl-5"))
    made = task.configure_optimizers()
    rates = []
    for _ in range(4):
        rates.append(made["optimizer"].param_groups[0]["lr"])
        made["optimizer"].step()
        made["lr_scheduler"]["scheduler"].step()
    assert rates == pytest.approx([1, 1, 0.1, 0.1])
    with pytest.raises(ConfigError, match=r"train\.milestones are growing shares"):
        KeypointTrainConfig(schedule="steps", milestones=(0.75, 0.5))


def test_same_seed_same_weights_whatever_was_drawn_before(tmp_path):
    from snellen.api import resolve

    config, schema = resolve("wings-rcn"), get_schema("wings-12")
    first = build_model(config, schema).state_dict()
    torch.rand(17)
    second = build_model(config, schema).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
