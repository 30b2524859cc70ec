"""The configuration of the network, its training and its scoring."""

from dataclasses import dataclass, field
from typing import Any, Literal

from snellen.config.checks import require
from snellen.config.values import coerce_fields

__all__ = ["EvaluateConfig", "ModelConfig", "TrainConfig"]


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
        schedule: "constant" or "one-cycle" (linear warm-up over `warmup` of the steps, then a cosine to zero).
        warmup: share of the steps spent warming up.
        target: "hard", "split" or "gauss": the softmax's target distribution (keypoints/codecs.py).
        sigma: standard deviation of "gauss" targets, in heatmap cells.
        l2_trunk: weight of the sum of squares of the trunk's convolutions (the paper's l_common).
        l2_branch: the same for the branches' convolutions (l_branch).
        l2_mixing: the same for SumNet's mixing weights (l_out).
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
    schedule: Literal["constant", "one-cycle"] = "constant"
    warmup: float = 0.1
    target: Literal["hard", "split", "gauss"] = "hard"
    sigma: float = 1.0
    l2_trunk: float = 0.0
    l2_branch: float = 0.0
    l2_mixing: float = 0.0
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
            "weight_decay l2_trunk l2_branch l2_mixing clip validate_every checkpoint_every patience threads devices"
        )
        for name in at_least_0.split():
            require(getattr(self, name) >= 0, f"train.{name} must be 0 or more, not {getattr(self, name)}")
        require(self.steps > 0, f"train.steps must be positive, not {self.steps}")
        require(self.minutes is None or self.minutes > 0, f"train.minutes must be positive, not {self.minutes}")
        require(self.batch_size > 0, f"train.batch_size must be positive, not {self.batch_size}")
        require(self.lr > 0, f"train.lr must be positive, not {self.lr}")
        require(0 <= self.ema < 1, f"train.ema is a decay between 0 and 1, not {self.ema}")
        require(0 <= self.warmup < 1, f"train.warmup is a share of the steps below 1, not {self.warmup}")
        require(self.sigma > 0, f"train.sigma must be positive, not {self.sigma}")


@dataclass(frozen=True)
class EvaluateConfig:
    """How predictions are read off and scored.

    Attributes:
        normaliser: what errors are divided by; empty takes the schema's default.
        decoder: "local" (sub-pixel) or "argmax" (the paper's).
        window: half side in heatmap cells of the local decoder's window.
        radius: radius in heatmap cells, each the model's `stride` canvas pixels wide, of the disc whose probability mass is a
            point's confidence.
        flip: answer also on the mirror image and average the logits; costs twice the time.
        failure: error over the normaliser above which an image counts as failed.
        batch_size: images at a time.
    """

    normaliser: str = ""
    decoder: Literal["local", "argmax"] = "local"
    window: int = 2
    radius: float = 2.5
    flip: bool = False
    failure: float = 0.1
    batch_size: int = 64

    def __post_init__(self) -> None:
        coerce_fields(self, "evaluate")
        require(self.window >= 0, f"evaluate.window must be 0 or more cells, not {self.window}")
        for name in ("radius", "failure", "batch_size"):
            require(getattr(self, name) > 0, f"evaluate.{name} must be positive, not {getattr(self, name)}")
