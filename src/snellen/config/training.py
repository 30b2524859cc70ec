"""The configuration of the network, its training and its scoring, for every task."""

from dataclasses import dataclass, field
from typing import Any, Literal

from snellen.config.checks import require
from snellen.config.values import coerce_fields

__all__ = ["EvaluateConfig", "ModelConfig", "TrainConfig", "ZoomTrainConfig"]


@dataclass(frozen=True)
class ModelConfig:
    """A registered model and the choices that differ from its preset (see `snellen models`)."""

    name: str = "rcn5"
    choices: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        coerce_fields(self, "model")


@dataclass(frozen=True)
class TrainConfig:
    """How the model is trained.

    Attributes:
        steps: number of updates.
        minutes: where set, replaces `steps`: a time, turned into a number of steps once by timing a few, and stored.
        batch_size: images an update, over all devices.
        optimiser: "adadelta" (the paper's: lr 1, rho 0.95, eps 1e-8), "adamw" or "sgd" (Nesterov momentum 0.9).
        lr: (highest) learning rate.
        weight_decay: decoupled weight decay of "adamw", L2 of "sgd".
        schedule: "constant", "one-cycle" (linear warm-up over `warmup` of the steps, then a cosine to zero), or "steps"
            (a tenth of the rate before at each of `milestones`).
        warmup: share of the steps spent warming up, of "one-cycle".
        milestones: shares of the steps, growing, of "steps"; half and three quarters are usual on CIFAR (He et al. 2016).
        lift_predict: weight of LiftPool's regulariser of the details (lift.md 2.7: 0.1), where the model has such layers.
        lift_update: weight of its regulariser of the approximation (lift.md 2.7: 0.01).
        ema: decay of an exponential moving average of the weights, used for validation and kept; 0 turns it off.
        clip: largest norm of the gradient; 0 does not clip.
        precision: "auto" (bf16 autocast where a GPU has it, else float32), "float32" or "bf16".
        validate_every: steps between validations; 0 picks a twentieth of the run.
        checkpoint_every: steps between checkpoints to resume from; 0 checkpoints at validations.
        patience: validations without improvement after which training stops; 0 never stops early.
        keep: which weights the run keeps: "best" on validation, or "last".
        threads: CPU threads; 0 uses what torch picks.
        accelerator: "auto", "cpu" or "gpu".
        devices: number of devices; 0 uses all of a GPU machine and one process on a CPU.
    """

    steps: int = 1000
    minutes: float | None = None
    batch_size: int = 64
    optimiser: Literal["adadelta", "adamw", "sgd"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.0
    schedule: Literal["constant", "one-cycle", "steps"] = "constant"
    warmup: float = 0.1
    milestones: tuple[float, ...] = (0.5, 0.75)
    lift_predict: float = 0.0
    lift_update: float = 0.0
    ema: float = 0.0
    clip: float = 0.0
    precision: Literal["auto", "float32", "bf16"] = "auto"
    validate_every: int = 0
    checkpoint_every: int = 0
    patience: int = 0
    keep: Literal["best", "last"] = "best"
    threads: int = 0
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 0

    def __post_init__(self) -> None:
        coerce_fields(self, "train")
        at_least_0 = (
            "weight_decay lift_predict lift_update clip validate_every checkpoint_every patience threads devices"
        )
        for name in at_least_0.split():
            require(getattr(self, name) >= 0, f"train.{name} must be 0 or more, not {getattr(self, name)}")
        require(self.steps > 0, f"train.steps must be positive, not {self.steps}")
        require(self.minutes is None or self.minutes > 0, f"train.minutes must be positive, not {self.minutes}")
        require(self.batch_size > 0, f"train.batch_size must be positive, not {self.batch_size}")
        require(self.lr > 0, f"train.lr must be positive, not {self.lr}")
        require(0 <= self.ema < 1, f"train.ema is a decay between 0 and 1, not {self.ema}")
        require(0 <= self.warmup < 1, f"train.warmup is a share of the steps below 1, not {self.warmup}")
        rising = list(self.milestones) == sorted(set(self.milestones)) and all(0 < m < 1 for m in self.milestones)
        require(
            rising, f"train.milestones are growing shares of the steps between 0 and 1, not {list(self.milestones)}"
        )


@dataclass(frozen=True)
class ZoomTrainConfig(TrainConfig):
    """Of tasks whose data may say where the object is: a learned zoom can be told (`model.choices.zoom` saliency or separable).

    Attributes:
        zoom_boxes: weight of the divergence of the predicted saliency from that of the object's box. With keypoints, whose box
            is that of the points, 1 weighs it as the data term, which sums over the points.
        zoom_guide: share of the training images that their true box zooms instead of the predicted saliency; with 1 the
            saliency learns from `zoom_boxes` alone, and the network need not wait for it.
        zoom_jitter: standard deviation by which those boxes are moved (of their width and height) and scaled (of the
            logarithm of these) at random, so that the network expects what a saliency finds rather than the truth.
    """

    zoom_boxes: float = 0.0
    zoom_guide: float = 0.0
    zoom_jitter: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("zoom_boxes", "zoom_jitter"):
            require(getattr(self, name) >= 0, f"train.{name} must be 0 or more, not {getattr(self, name)}")
        require(0 <= self.zoom_guide <= 1, f"train.zoom_guide is a share of the images, 0 to 1, not {self.zoom_guide}")
        require(
            self.zoom_guide < 1 or self.zoom_boxes > 0,
            "train.zoom_guide: 1 leaves the saliency nothing to learn from; set train.zoom_boxes above 0 or guide fewer",
        )


@dataclass(frozen=True)
class EvaluateConfig:
    """How predictions are made for scoring.

    Attributes:
        batch_size: images at a time.
        flip: answer also on the mirror image and average the two; costs twice the time.
    """

    batch_size: int = 64
    flip: bool = False

    def __post_init__(self) -> None:
        coerce_fields(self, "evaluate")
        require(self.batch_size > 0, f"evaluate.batch_size must be positive, not {self.batch_size}")
