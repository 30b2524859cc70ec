"""What a task brings to a training, and where each task says it."""

from dataclasses import dataclass
from typing import Any

from snellen.config import ClassificationConfig, KeypointConfig, RunConfig, SegmentationConfig
from snellen.data import Canvases
from snellen.training.task import Task

__all__ = ["Job", "prepare"]


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
    raise TypeError(f"no training is known for {type(config).__name__}")
