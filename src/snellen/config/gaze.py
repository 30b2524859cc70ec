"""The configuration of gaze: pictures of eyes or faces and where they look, losses, scoring."""

from dataclasses import dataclass, field
from typing import Literal

from snellen.config.augment import AugmentConfig
from snellen.config.checks import require
from snellen.config.images import DataConfig
from snellen.config.run import RunConfig
from snellen.config.training import EvaluateConfig, ModelConfig, ZoomTrainConfig

__all__ = ["GazeAugmentConfig", "GazeConfig", "GazeDataConfig", "GazeTrainConfig"]


@dataclass(frozen=True)
class GazeDataConfig(DataConfig):
    """Pictures and where the person in them looks; `DataConfig` has what every task has.

    Attributes:
        val_share: share of the training *people* held out for validation, at least one of them.
        format: how the data are stored: "columbia" (labels.csv), "gazecapture" (a folder a person) or "csv".
        annotations: for "columbia" and "csv", the list of all pictures, or of those for training, below `root`.
        test_annotations: for "csv" without a column `split`, the list of the test.
        split_seed: which of the training people are for validation.
        clutter: side in pixels of a square synthetic canvas, full of clutter, on which both eyes of a capture are pasted at a
            random place and size; 0 shows pictures as they are. Needs pairs of a left and a right eye.
        look: what the network is shown: the whole "image", the "object" in it by its true box (the eyes on a cluttered canvas,
            the face of a GazeCapture frame), or GazeCapture's "parts": both eyes, the face and a grid of where it is.
        canonical: mirror right eyes, so that all look like left ones; answers are mirrored back.
    """

    canvas: tuple[int, int] = (64, 64)
    format: Literal["columbia", "gazecapture", "csv"] = "columbia"
    annotations: str = "labels.csv"
    test_annotations: str | None = None
    split_seed: int = 0
    clutter: int = 0
    look: Literal["image", "object", "parts"] = "image"
    canonical: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.split_seed >= 0, f"data.split_seed must be 0 or more, not {self.split_seed}")
        require(
            self.clutter == 0 or self.clutter >= 128,
            f"data.clutter is 0, or the side of a canvas of at least 128 pixels, not {self.clutter}",
        )
        frames = self.format == "gazecapture"
        require(not (frames and self.clutter), "data.clutter pastes eye pictures; GazeCapture's frames need none")
        require(self.look != "parts" or frames, "data.look 'parts' needs data.format 'gazecapture': it has their boxes")
        require(
            self.look != "object" or frames or self.clutter > 0,
            "data.look 'object' needs its box: data.format 'gazecapture', or data.clutter",
        )
        require(
            not (self.canonical and (frames or self.clutter)),
            "data.canonical mirrors pictures of one eye; leave it out where pictures show both",
        )


@dataclass(frozen=True)
class GazeAugmentConfig(AugmentConfig):
    """Random changes to a picture of a gaze; every draw is uniform in its range. The defaults change nothing.

    Mirroring negates the yaw (of a point, its x) and exchanges left and right eyes; `rotate` turns the gaze with the picture.

    Attributes:
        gamma: the picture is raised to a power from 1 / (1 + g) to 1 + g (uniform in its logarithm).
        light: brightness changes from one side of the canvas to the other by up to this share, across and down.
    """

    gamma: float = 0.0
    light: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.gamma <= 4, f"augment.gamma lies between 0 and 4, not {self.gamma}")
        require(0 <= self.light < 1, f"augment.light is a share from 0 to below 1, not {self.light}")


@dataclass(frozen=True)
class GazeTrainConfig(ZoomTrainConfig):
    """How a gaze network is trained; the rest is in `TrainConfig` and `ZoomTrainConfig`.

    Attributes:
        loss: "l1" or "smooth-l1" of both numbers (in units of 10 degrees or 5 cm), or "angular": the angle between true and
            answered direction, which only directions have.
    """

    loss: Literal["l1", "smooth-l1", "angular"] = "l1"


@dataclass(frozen=True)
class GazeConfig(RunConfig):
    """A run that tells where a person looks.

    Attributes:
        task: "gaze".
        data: pictures and directions, or points on the screen.
        augment: changes to training pictures.
        model: network and choices.
        train: optimisation.
        evaluate: scoring.
    """

    task: Literal["gaze"] = "gaze"
    data: GazeDataConfig = field(default_factory=GazeDataConfig)
    augment: GazeAugmentConfig = field(default_factory=GazeAugmentConfig)
    model: ModelConfig = field(default_factory=lambda: ModelConfig("gaze-small"))
    train: GazeTrainConfig = field(default_factory=GazeTrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            not (self.data.canonical and (self.augment.flip or self.evaluate.flip)),
            "data.canonical shows left eyes only, so nothing is to be mirrored; set augment.flip 0 and evaluate.flip false",
        )
        points = self.data.format == "gazecapture"
        require(
            not (points and self.train.loss == "angular"), "train.loss 'angular' needs directions; points have none"
        )
        require(
            not (points and self.augment.rotate),
            "augment.rotate would turn points on a screen about the camera, whose x may run either way; set it to 0",
        )
        require(
            not (self.data.look == "parts" and (self.augment.shift or self.augment.tight_probability)),
            "augment.shift and tight would move the face without its grid; with data.look 'parts' set them to 0",
        )
