"""The configuration of a run: frozen dataclasses, checked at construction, standard library only.

A recipe is a YAML file of these fields; the command line and Python override them by dotted names
(`--data.root PATH`, `snellen.train("wings-rcn", **{"data.root": ...})`). A run folder keeps the resolved configuration.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = [
    "AugmentConfig",
    "ConfigError",
    "DataConfig",
    "EvaluateConfig",
    "ModelConfig",
    "RunConfig",
    "TrainConfig",
    "from_dict",
    "nearest",
    "to_dict",
]

Range = tuple[float, float]


class ConfigError(ValueError):
    """A configuration that cannot be run; the message is one sentence on what to change."""


def nearest(word: str, known: Any, count: int = 3) -> str:
    """'; nearest: a, b' for a mistyped word, or an empty string where nothing is close."""
    near = difflib.get_close_matches(word, list(known), count, 0.4)
    return f"; nearest: {', '.join(near)}" if near else ""


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise ConfigError(sentence)


def _check_range(name: str, value: Range, low: float, high: float) -> None:
    _require(
        len(value) == 2 and low <= value[0] <= value[1] <= high,
        f"{name} must be two numbers in order between {low:g} and {high:g}, not {list(value)}",
    )


def _folders(name: str, value: Any) -> tuple[str, ...]:
    """Folder names without a slash at their end, each once."""
    _require(isinstance(value, (list, tuple)), f"{name} is a list of folders, e.g. [helen/trainset], not {value!r}")
    listed = tuple(str(folder).rstrip("/") for folder in value)
    _require(len(set(listed)) == len(listed), f"{name} names a folder twice: {', '.join(listed)}; name each once")
    return listed


@dataclass(frozen=True)
class DataConfig:
    """Images, points, and the canvas the network sees.

    Attributes:
        format: how the data is stored: "wings" (drawn on demand), "mtfl" (MTFL lists), "pts" (300-W folders), "wflw" (WFLW
            lists), "csv" (file, x1, y1, ... rows).
        root: folder of the data; not used by "wings".
        annotations: for "csv", the annotation file inside `root`.
        test_annotations: for "csv", the annotation file of the test split; without it there is no test split.
        train_folders: for "pts", the folders in `root` to train and validate on, e.g. [afw, helen/trainset].
        test_groups: for "pts", named groups of folders to test on, e.g. {common: [helen/testset], challenging: [ibug]}; the
            test is all of them, and each group is scored on its own too.
        schema: name of a built-in schema for "csv" and "pts"; by default the header names the points ("pts": ibug-68).
        swaps: for "csv", pairs of point names that exchange places in a mirror image, e.g. [[left_eye, right_eye]].
        normaliser: for "csv", two point names whose distance errors are divided by; by default the box of the points.
        terms: terms of the data that bind the trained weights; stored with them and said when they are loaded.
        origin: coordinate that the files give the centre of the top-left pixel (0 or 1; 0.5 for corner coordinates); by
            default the format's own: 1 for "pts", 0 for the others.
        train_images: number of wings drawn for training.
        val_images: number of wings drawn for validation.
        test_images: number of wings drawn for the test.
        val_share: share of the training files (by person for "mtfl", by photo for "pts") held out for validation.
        channels: 1 for grey, 3 for RGB.
        canvas: (height, width) in pixels of what the network sees.
        box: region shown on the canvas: the whole "image", the paper's face rule "mtfl", or a "square" around the points.
        box_scale: "mtfl": margin on each side in units of the larger eye distance; "square": side over the points' extent.
        workers: processes that prepare batches beside the training process; 0 prepares them in it.
        on_error: what a broken file does: "raise" stops with one sentence, "skip" leaves it out and counts it.
        cache_mb: decoded images kept in memory, in megabytes a process.
    """

    format: Literal["wings", "mtfl", "pts", "wflw", "csv"] = "wings"
    root: str | None = None
    annotations: str = "annotations.csv"
    test_annotations: str | None = None
    train_folders: tuple[str, ...] = ()
    test_groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    schema: str | None = None
    swaps: tuple[tuple[str, str], ...] = ()
    normaliser: tuple[str, ...] = ()
    terms: str = ""
    origin: float | None = None
    train_images: int = 1000
    val_images: int = 100
    test_images: int = 400
    val_share: float = 0.1
    channels: Literal[1, 3] = 1
    canvas: tuple[int, int] = (80, 80)
    box: Literal["image", "mtfl", "square"] = "image"
    box_scale: float = 1.0
    workers: int = 0
    on_error: Literal["raise", "skip"] = "raise"
    cache_mb: int = 2048

    def __post_init__(self) -> None:
        object.__setattr__(self, "canvas", tuple(int(v) for v in self.canvas))
        _require(
            len(self.canvas) == 2 and min(self.canvas) >= 16,
            f"data.canvas must be height and width of at least 16 pixels, not {list(self.canvas)}",
        )
        object.__setattr__(self, "swaps", tuple(tuple(pair) for pair in self.swaps))
        object.__setattr__(self, "normaliser", tuple(self.normaliser))
        _require(
            all(len(pair) == 2 for pair in self.swaps),
            f"data.swaps are pairs of point names, not {[list(pair) for pair in self.swaps]}",
        )
        _require(
            len(self.normaliser) in (0, 2),
            f"data.normaliser is two point names whose distance divides errors, not {list(self.normaliser)}",
        )
        self._check_folders()
        _require(0 < self.val_share < 1, f"data.val_share must lie between 0 and 1, not {self.val_share}")
        _require(self.on_error in ("raise", "skip"), f"data.on_error is raise or skip, not {self.on_error!r}")
        _require(self.workers >= 0, f"data.workers must be 0 or more, not {self.workers}")
        _require(self.box_scale > 0, f"data.box_scale must be positive, not {self.box_scale}")
        for name in ("train_images", "val_images", "test_images"):
            _require(getattr(self, name) > 0, f"data.{name} must be positive, not {getattr(self, name)}")

    def _check_folders(self) -> None:
        train, groups = _folders("data.train_folders", self.train_folders), {}
        _require(
            isinstance(self.test_groups, Mapping),
            f"data.test_groups maps names to lists of folders, e.g. {{test: [helen/testset]}}, not {self.test_groups!r}",
        )
        for name, listed in self.test_groups.items():
            where = f"data.test_groups.{name}"
            groups[name] = _folders(where, listed)
            _require(bool(groups[name]), f"{where} holds no folder; name one, or leave the group out")
            both = ", ".join(sorted(set(groups[name]) & set(train)))
            _require(not both, f"{where} holds {both}, which data.train_folders trains on; take it out of one of them")
        object.__setattr__(self, "train_folders", train)
        object.__setattr__(self, "test_groups", groups)


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes to an image and its points; every draw is uniform in its range. The defaults change nothing.

    Attributes:
        shift: the box moves by up to this share of its side, each way and axis.
        scale: what is seen grows by a factor from this range.
        stretch: the width grows by a factor from this range while the height keeps.
        rotate: degrees turned, each way.
        flip: probability of a mirror image; the schema's swap pairs exchange their points.
        tight: the box is pressed into a window of this many times its side, as where a photo ends close to the object.
        tight_probability: share of images to which `tight` applies.
        rectangle: sides of a black rectangle, as shares of the canvas's smaller side (rcn.md 3.5: 20 to 50 of 80 pixels).
        rectangle_probability: share of images with a rectangle.
        brightness: factor 1 - b to 1 + b.
        contrast: factor 1 - c to 1 + c.
        blur: standard deviation in canvas pixels.
        blur_probability: share of images blurred.
        coarse: shrink factor of a smaller canvas that is enlarged again, as a low-resolution photo.
        coarse_probability: share of images made coarse.
        noise: largest standard deviation of added Gaussian noise, in grey levels of 255.
    """

    shift: float = 0.0
    scale: Range = (1.0, 1.0)
    stretch: Range = (1.0, 1.0)
    rotate: float = 0.0
    flip: float = 0.0
    tight: Range = (1.0, 1.0)
    tight_probability: float = 0.0
    rectangle: Range = (0.25, 0.625)
    rectangle_probability: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    blur: Range = (0.3, 1.5)
    blur_probability: float = 0.0
    coarse: Range = (1.0, 3.0)
    coarse_probability: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        limits = {"scale": (0.1, 10), "stretch": (0.1, 10), "tight": (0.2, 10), "rectangle": (0, 1), "coarse": (1, 16)}
        for name, (low, high) in limits.items():
            value = tuple(getattr(self, name))
            object.__setattr__(self, name, value)
            _check_range(f"augment.{name}", value, low, high)
        object.__setattr__(self, "blur", tuple(self.blur))
        _check_range("augment.blur", self.blur, 0.05, 20)
        for name in ("flip", "tight_probability", "rectangle_probability", "blur_probability", "coarse_probability"):
            _require(0 <= getattr(self, name) <= 1, f"augment.{name} is a probability between 0 and 1")
        _require(0 <= self.shift < 1, f"augment.shift is a share of the box's side below 1, not {self.shift}")
        _require(0 <= self.rotate <= 180, f"augment.rotate is in degrees from 0 to 180, not {self.rotate}")
        _require(0 <= self.brightness < 1 and 0 <= self.contrast < 1, "augment.brightness and contrast are below 1")


@dataclass(frozen=True)
class ModelConfig:
    """A registered model and the choices that differ from its preset (see `snellen models`)."""

    name: str = "rcn5"
    choices: dict[str, Any] = field(default_factory=dict)


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
        _require(self.steps > 0, f"train.steps must be positive, not {self.steps}")
        _require(self.minutes is None or self.minutes > 0, f"train.minutes must be positive, not {self.minutes}")
        _require(self.batch_size > 0, f"train.batch_size must be positive, not {self.batch_size}")
        _require(self.lr > 0, f"train.lr must be positive, not {self.lr}")
        _require(0 <= self.ema < 1, f"train.ema is a decay between 0 and 1, not {self.ema}")
        _require(0 <= self.warmup < 1, f"train.warmup is a share of the steps below 1, not {self.warmup}")
        _require(self.sigma > 0, f"train.sigma must be positive, not {self.sigma}")


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


@dataclass(frozen=True)
class RunConfig:
    """Everything that defines a run.

    Attributes:
        recipe: name of the recipe this came from.
        seed: seeds the weights, the order of the images and every augmentation draw.
        out: folder that holds run folders.
        name: name of the run folder; empty makes `RECIPE-seedN`.
        data: images, points, canvas.
        augment: changes to training images.
        validation: changes to validation images, drawn once an image; lets validation mimic a harder test.
        model: network and choices.
        train: optimisation.
        evaluate: scoring.
    """

    recipe: str = "custom"
    seed: int = 0
    out: str = "runs"
    name: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    validation: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)

    def __post_init__(self) -> None:
        _require(self.seed >= 0, f"seed must be 0 or more, not {self.seed}")

    @property
    def run_name(self) -> str:
        """The run folder's name."""
        return self.name or f"{self.recipe}-seed{self.seed}"


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as plain dicts, lists and numbers, for JSON and YAML."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value

    return {k: plain(v) for k, v in dataclasses.asdict(config).items()}


def from_dict(values: Mapping[str, Any], kind: type = RunConfig, prefix: str = "") -> Any:
    """The inverse of `to_dict`; an unknown key is a ConfigError that names the nearest ones."""
    fields = {f.name: f for f in dataclasses.fields(kind)}
    arguments = {}
    for key, value in values.items():
        if key not in fields:
            raise ConfigError(f"there is no setting {prefix}{key}{nearest(key, fields)}")
        section = fields[key].type
        if dataclasses.is_dataclass(section) and isinstance(section, type):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{prefix}{key} is a group of settings, not {value!r}")
            value = from_dict(value, section, f"{prefix}{key}.")
        arguments[key] = value
    return kind(**arguments)
