"""The configuration of super-resolution: pictures to enlarge, losses, scoring."""

from dataclasses import dataclass, field
from typing import Literal

from snellen.config.checks import require
from snellen.config.classification import ClassAugmentConfig, ClassDataConfig
from snellen.config.run import RunConfig
from snellen.config.training import EvaluateConfig, ModelConfig, TrainConfig

__all__ = ["SuperResolutionConfig", "SuperResolutionDataConfig"]


@dataclass(frozen=True)
class SuperResolutionDataConfig(ClassDataConfig):
    """Pictures to enlarge, stored as those of classification are; their classes are not looked at.

    `canvas` is the size of the answer: the network sees half of its height and width.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            all(side % 2 == 0 for side in self.canvas),
            f"data.canvas is the answer, twice what the network sees, so both sides are even, not {list(self.canvas)}",
        )


@dataclass(frozen=True)
class SuperResolutionConfig(RunConfig):
    """A run that doubles the size of pictures.

    Attributes:
        task: "super-resolution".
        data: pictures.
        augment: changes to training pictures.
        model: network and choices.
        train: optimisation; the loss is the mean absolute difference, in grey levels over 255.
        evaluate: scoring.
    """

    task: Literal["super-resolution"] = "super-resolution"
    data: SuperResolutionDataConfig = field(default_factory=SuperResolutionDataConfig)
    augment: ClassAugmentConfig = field(default_factory=ClassAugmentConfig)
    model: ModelConfig = field(default_factory=lambda: ModelConfig("superres"))
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
