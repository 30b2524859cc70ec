"""What a task brings to a training."""

from dataclasses import dataclass
from typing import Any

import torch

from snellen.config import ConfigError, DenoisingConfig, RunConfig
from snellen.data import Canvases
from snellen.models import create_model, model_task
from snellen.training.tasks.task import Task

__all__ = ["Job", "make_model", "refuse_other_classes", "refuse_small_canvas"]


@dataclass(frozen=True)
class Job:
    """A training that can begin.

    Attributes:
        task: the network and its loss.
        train_set: images to train on.
        val_set: images to validate on.
        choices: all choices of the model, JSON-able, to make it again.
        card: what model.json says beside what every task has: names of the answers, how they are read off.
    """

    task: Task
    train_set: Canvases
    val_set: Canvases
    choices: dict[str, Any]
    card: dict[str, Any]

    @property
    def config(self) -> RunConfig:
        """The run."""
        return self.task.config


def make_model(config: RunConfig, *, load_pretrained: bool, **answers: Any) -> Any:
    """The model of a run, its weights drawn from the run's seed.

    Args:
        config: the run.
        load_pretrained: see `snellen.create_model`.
        answers: choices that the data decide, such as how many classes there are; the run's own go before them.

    Raises:
        ConfigError: for a model of another task.
    """
    seen = {} if isinstance(config, DenoisingConfig) else {"channels": config.data.channels}  # denoisers see no pixels
    name, choices = config.model.name, {**seen, **answers, **config.model.choices}
    task = model_task(name)
    if task != config.task:
        remedy = "list models with their tasks: snellen models"
        if name.startswith("timm:") and config.task == "keypoints":
            remedy = f"give it as a backbone: --model.name rcn --model.choices.backbone {name}"
        raise ConfigError(f"model.name {name!r} is for {task}, not {config.task}; {remedy}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return create_model(name, load_pretrained=load_pretrained, **choices)


def refuse_other_classes(model: Any, classes: int) -> None:
    """Raise ConfigError where `model.choices.classes` is not the number of classes that the data have."""
    if model.classes != classes:
        raise ConfigError(
            f"model.choices.classes is {model.classes}, but the data have {classes} classes; leave it out"
        )


def refuse_small_canvas(config: RunConfig, canvas: tuple[int, int], smallest: int) -> None:
    """Raise ConfigError where a canvas (height, width) is below a model's smallest."""
    if min(canvas) < smallest:
        raise ConfigError(
            f"data.canvas {list(canvas)} is too small for {config.model.name!r}; give at least {[smallest] * 2}"
        )
