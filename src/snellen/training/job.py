"""What a task brings to a training, and where each task says it."""

from dataclasses import dataclass
from typing import Any

import torch

from snellen.config import (
    ClassificationConfig,
    ConfigError,
    DenoisingConfig,
    GazeConfig,
    KeypointConfig,
    RunConfig,
    SegmentationConfig,
    SuperResolutionConfig,
)
from snellen.data import Canvases
from snellen.models import create_model, model_task
from snellen.training.task import Task

__all__ = ["Job", "make_model", "prepare"]


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
        raise ConfigError(
            f"model.name {name!r} is for {task}, not {config.task}; list models with their tasks: snellen models"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return create_model(name, load_pretrained=load_pretrained, **choices)


def prepare(config: RunConfig, *, load_pretrained: bool = True) -> Job:
    """Read the images and make the network of a run.

    Args:
        config: of any task.
        load_pretrained: see `snellen.create_model`; a resumed run has its weights in its checkpoint.

    Raises:
        ConfigError, DataError, AnnotationError: one sentence each; nothing has been written yet.
    """
    if isinstance(config, KeypointConfig):
        from snellen.training.keypoint_job import prepare_keypoints

        return prepare_keypoints(config, load_pretrained=load_pretrained)
    if isinstance(config, ClassificationConfig):
        from snellen.training.class_job import prepare_classes

        return prepare_classes(config, load_pretrained=load_pretrained)
    if isinstance(config, SegmentationConfig):
        from snellen.training.label_job import prepare_labels

        return prepare_labels(config, load_pretrained=load_pretrained)
    if isinstance(config, SuperResolutionConfig):
        from snellen.training.super_job import prepare_pictures

        return prepare_pictures(config, load_pretrained=load_pretrained)
    if isinstance(config, GazeConfig):
        from snellen.training.gaze_job import prepare_gaze

        return prepare_gaze(config, load_pretrained=load_pretrained)
    if isinstance(config, DenoisingConfig):
        from snellen.training.denoising_job import prepare_denoising

        return prepare_denoising(config, load_pretrained=load_pretrained)
    raise TypeError(f"no training is known for {type(config).__name__}")
