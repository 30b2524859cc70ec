"""The configuration of image classification: images by class, losses, scoring."""

from dataclasses import dataclass, field
from typing import Literal

from snellen.config.checks import Range, check_range, require
from snellen.config.images import DataConfig
from snellen.config.run import RunConfig
from snellen.config.training import EvaluateConfig, ModelConfig, ZoomTrainConfig
from snellen.config.values import coerce_fields

__all__ = [
    "ClassAugmentConfig",
    "ClassDataConfig",
    "ClassEvaluateConfig",
    "ClassTrainConfig",
    "ClassificationConfig",
]


@dataclass(frozen=True)
class ClassDataConfig(DataConfig):
    """Images by class; `DataConfig` has what every task has.

    Attributes:
        format: how the data are stored: "folders" (a folder a class), "parquet" (the Hugging Face layout), "cifar10" and
            "cifar100" (what torchvision downloads), "wings-species" (drawn on demand, no root).
        train: folder of the training images below `root`, or the beginning of their parquet files' names.
        val: the same for validation; without it, `val_share` of the training images is held out.
        test: the same for the test.
        image_column: of parquet files, where it cannot be guessed.
        label_column: of parquet files, where it cannot be guessed.
        download: let torchvision fetch CIFAR into `root`.
        fit: how an image of another shape is brought to the canvas: "crop" shows its middle, "pad" shows all of it between
            black borders, "stretch" distorts it.
        zoom: share of the side that is shown of what `fit` shows: 0.875 is ImageNet's 224 of 256.
        look: of "wings-species", the whole "image" or the "object" that tells the species, cut out by its true box.
        train_images: of "wings-species", number of wings drawn for training.
        val_images: likewise for validation.
        test_images: likewise for the test.
    """

    channels: Literal[1, 3] = 3
    canvas: tuple[int, int] = (32, 32)
    format: Literal["folders", "parquet", "cifar10", "cifar100", "wings-species"] = "folders"
    train: str = "train"
    val: str | None = None
    test: str = "test"
    image_column: str | None = None
    label_column: str | None = None
    download: bool = False
    fit: Literal["crop", "pad", "stretch"] = "crop"
    zoom: float = 1.0
    look: Literal["image", "object"] = "image"
    train_images: int = 1000
    val_images: int = 100
    test_images: int = 300

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.zoom <= 1, f"data.zoom is a share of the side above 0, up to 1, not {self.zoom}")
        for name in ("train_images", "val_images", "test_images"):
            require(getattr(self, name) > 0, f"data.{name} must be at least 1, not {getattr(self, name)}")
        require(
            self.look == "image" or self.format == "wings-species",
            f'data.look "object" needs true boxes, which data.format {self.format!r} does not have; leave look out',
        )


@dataclass(frozen=True)
class ClassAugmentConfig:
    """Random changes to an image of a class; every draw is uniform in its range. The defaults change nothing.

    Attributes:
        shift: largest translation along each axis, as a share of the canvas's side, rounded to whole pixels, so that an
            image of the canvas's size is not blurred. 4/32 is the random crop after 4 pixels of black padding that CIFAR
            networks are trained with (He et al. 2016, 4.2).
        area: share of the image's area that is shown; (0.08, 1) is ImageNet's usual crop.
        aspect: width over height of that part relative to the canvas's; used where `area` is not (1, 1).
        scale: zoom about the middle of the canvas.
        rotate: degrees turned, each way.
        flip: probability of a mirror image.
        brightness: factor 1 - b to 1 + b.
        contrast: factor 1 - c to 1 + c.
        saturation: factor 1 - s to 1 + s.
        hue: largest shift of the hue, in turns of the colour circle, at most 0.5; grey images have none.
        erase: probability that a rectangle is covered with the image's mean colour (Zhong et al. 2020; the colour is our
            choice).
        erase_area: share of the canvas's area that is covered.
        erase_aspect: height over width of the rectangle.
    """

    shift: float = 0.0
    area: Range = (1.0, 1.0)
    aspect: Range = (3 / 4, 4 / 3)
    scale: Range = (1.0, 1.0)
    rotate: float = 0.0
    flip: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    erase: float = 0.0
    erase_area: Range = (0.02, 0.4)
    erase_aspect: Range = (0.3, 1 / 0.3)

    def __post_init__(self) -> None:
        coerce_fields(self, "augment")
        for name in ("area", "erase_area"):
            check_range(f"augment.{name}", getattr(self, name), 0.001, 1)
        for name in ("aspect", "erase_aspect", "scale"):
            check_range(f"augment.{name}", getattr(self, name), 0.1, 10)
        for name in ("flip", "erase"):
            require(0 <= getattr(self, name) <= 1, f"augment.{name} is a probability between 0 and 1")
        for name in ("shift", "brightness", "contrast", "saturation"):
            require(0 <= getattr(self, name) <= 1, f"augment.{name} lies between 0 and 1, not {getattr(self, name)}")
        require(0 <= self.hue <= 0.5, f"augment.hue is in turns of the colour circle from 0 to 0.5, not {self.hue}")
        require(0 <= self.rotate <= 180, f"augment.rotate is in degrees from 0 to 180, not {self.rotate}")


@dataclass(frozen=True)
class ClassTrainConfig(ZoomTrainConfig):
    """How a classifier is trained; the rest is in `TrainConfig` and `ZoomTrainConfig`.

    Attributes:
        label_smoothing: share of the target spread over all classes (Szegedy et al. 2016, section 7).
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            0 <= self.label_smoothing < 1,
            f"train.label_smoothing is a share between 0 and 1, not {self.label_smoothing}",
        )


@dataclass(frozen=True)
class ClassEvaluateConfig(EvaluateConfig):
    """How a classifier is scored; what every task has is in `EvaluateConfig`.

    Attributes:
        robust_images: images, spread over the split, on which corruptions, perturbation sequences and shifts are measured.
        corrupted: folder of corrupted images as ImageNet-C is distributed, KIND/SEVERITY/class/image, measured instead of
            images corrupted here.
        corruptions: kinds of corruption that are made here (data/corruptions.py), each at severities 1 to 5; empty takes all
            there are.
        severities: whose constants they are made with: "cifar", for images of some 32 pixels, or "imagenet", for images of some
            224 (with the extra `bench`).
        frames: length of the perturbation sequences of the flip rate.
        largest_shift: pixels of the canvas, for the consistency of answers under shifts.
    """

    robust_images: int = 500
    corrupted: str | None = None
    corruptions: tuple[str, ...] = ()
    severities: Literal["cifar", "imagenet"] = "cifar"
    frames: int = 9
    largest_shift: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("robust_images", 1), ("frames", 2), ("largest_shift", 1)):
            value = getattr(self, name)
            require(value >= least, f"evaluate.{name} must be at least {least}, not {value}")


@dataclass(frozen=True)
class ClassificationConfig(RunConfig):
    """A run that tells which class an image shows.

    Attributes:
        task: "classification".
        data: images and classes.
        augment: changes to training images.
        model: network and choices.
        train: optimisation.
        evaluate: scoring.
    """

    task: Literal["classification"] = "classification"
    data: ClassDataConfig = field(default_factory=ClassDataConfig)
    augment: ClassAugmentConfig = field(default_factory=ClassAugmentConfig)
    model: ModelConfig = field(default_factory=lambda: ModelConfig("resnet20"))
    train: ClassTrainConfig = field(default_factory=ClassTrainConfig)
    evaluate: ClassEvaluateConfig = field(default_factory=ClassEvaluateConfig)
