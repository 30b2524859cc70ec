"""The configuration of denoising: points alone, what is done to them, training, scoring."""

from dataclasses import dataclass, field
from typing import Literal

from snellen.config.augment import AugmentConfig
from snellen.config.checks import Range, check_range, require
from snellen.config.keypoints import KeypointDataConfig
from snellen.config.run import RunConfig
from snellen.config.training import EvaluateConfig, ModelConfig, TrainConfig
from snellen.config.values import coerce_fields

__all__ = ["DenoisingConfig", "DenoisingEvaluateConfig", "DenoisingTrainConfig", "NoiseConfig"]

#: The paper moves 35 of 68 points (rcn.md 2.7).
_PAPERS_SHARE = 35 / 68


@dataclass(frozen=True)
class NoiseConfig:
    """What is done to points before a denoiser sees them. The defaults are the paper's: 35 of 68 points moved anywhere.

    The points of an object to change are drawn without replacement among the labelled ones. What happens to each is drawn with
    the probabilities of `uniform`, `blank`, `swap` and `jitter`, which need not sum to 1: only their proportions count.

    Attributes:
        share: share of the points that are changed, drawn uniformly from this range for each object, then rounded to a
            number of points.
        uniform: moved to a place anywhere on the canvas (the paper's).
        blank: taken away (the paper's option).
        swap: exchanged with its mirror image, as careless annotators do; a point that has none, or whose partner is changed
            too, is moved.
        jitter: moved nearby, by a Gaussian of `jitter_size`.
        jitter_size: standard deviation each axis, as a share of the canvas's longer side.
    """

    share: Range = (_PAPERS_SHARE, _PAPERS_SHARE)
    uniform: float = 1.0
    blank: float = 0.0
    swap: float = 0.0
    jitter: float = 0.0
    jitter_size: float = 0.05

    def __post_init__(self) -> None:
        coerce_fields(self, "noise")
        check_range("noise.share", self.share, 0, 1)
        for name in ("uniform", "blank", "swap", "jitter"):
            require(getattr(self, name) >= 0, f"noise.{name} must be 0 or more, not {getattr(self, name)}")
        require(
            self.uniform + self.blank + self.swap + self.jitter > 0,
            "noise.uniform, blank, swap and jitter are all 0, so nothing would be learned; make one of them positive",
        )
        require(0 < self.jitter_size < 1, f"noise.jitter_size is a share of the canvas below 1, not {self.jitter_size}")


@dataclass(frozen=True)
class DenoisingTrainConfig(TrainConfig):
    """How a denoiser is trained; what every task has is in `TrainConfig`.

    Attributes:
        l2: weight of the sum of squares of all weights but biases (the paper's: 1e-6).
    """

    l2: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.l2 >= 0, f"train.l2 must be 0 or more, not {self.l2}")


@dataclass(frozen=True)
class DenoisingEvaluateConfig(EvaluateConfig):
    """How a denoiser is scored; `EvaluateConfig` has what every task has.

    Attributes:
        normaliser: what errors are divided by; empty takes the schema's default.
    """

    normaliser: str = ""


@dataclass(frozen=True)
class DenoisingConfig(RunConfig):
    """A run that learns where points can be, from annotations alone: no image is decoded.

    Attributes:
        task: "denoising".
        data: annotations, canvas; what concerns pixels alone (channels, cache) plays no part.
        augment: geometric changes to training objects (shift, scale, stretch, rotate, flip); the others need pixels.
        validation: the same for validation objects, drawn once an object.
        noise: what is done to the points.
        model: network and choices.
        train: optimisation.
        evaluate: scoring.
    """

    task: Literal["denoising"] = "denoising"
    data: KeypointDataConfig = field(default_factory=KeypointDataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    validation: AugmentConfig = field(default_factory=AugmentConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    model: ModelConfig = field(default_factory=lambda: ModelConfig("denoiser"))
    train: DenoisingTrainConfig = field(default_factory=DenoisingTrainConfig)
    evaluate: DenoisingEvaluateConfig = field(default_factory=DenoisingEvaluateConfig)
