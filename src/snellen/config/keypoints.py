"""The configuration of keypoint localisation: images and points, losses, scoring."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from snellen.config.augment import AugmentConfig
from snellen.config.checks import require
from snellen.config.images import DataConfig
from snellen.config.run import RunConfig
from snellen.config.training import EvaluateConfig, ZoomTrainConfig

__all__ = ["KeypointConfig", "KeypointDataConfig", "KeypointEvaluateConfig", "KeypointTrainConfig"]


def _folders(name: str, value: Any) -> tuple[str, ...]:
    """Folder names without a slash at their end, each once."""
    require(isinstance(value, (list, tuple)), f"{name} is a list of folders, e.g. [helen/trainset], not {value!r}")
    listed = tuple(str(folder).rstrip("/") for folder in value)
    require(len(set(listed)) == len(listed), f"{name} names a folder twice: {', '.join(listed)}; name each once")
    return listed


@dataclass(frozen=True)
class KeypointDataConfig(DataConfig):
    """Images and points; `DataConfig` has what every task has. "mtfl" holds people out for validation, "pts" photos.

    Attributes:
        format: how the data is stored: "wings" (drawn on demand), "mtfl" (MTFL lists), "pts" (300-W folders), "wflw" (WFLW
            lists), "csv" (file, x1, y1, ... rows), or what an annotation tool wrote: "coco", "csv-long", "dlc", "tps",
            "labelme", "cvat", "yolo", "label-studio"; "auto" recognises all but the first four. "Your own files" below are
            "csv" and all of these.
        annotations: for your own files, the annotation file inside `root`; empty takes annotations.csv for "csv", else the one
            that `root` holds.
        test_annotations: for your own files, the annotation file of the test split, where the other one does not mark it.
        val_list: for your own files, a text file in `root` with the names of the validation images, a line each.
        test_list: likewise of the test images.
        test_share: for your own files, share of the images held out for the test, where nothing else says.
        folds: for your own files, number of parts for cross-validation; 0 for none.
        fold: the part that is validated on, from 0.
        boxes: for your own files, a CSV in `root` with a detector's boxes (file, box_left, box_top, box_right, box_bottom and,
            where wanted, score), measured from the image's corner; taken by `box` "given".
        max_pixels: pictures with more pixels (width x height) are refused before they are decoded.
        grey_range: grey values of 16-bit pictures that become black and white, e.g. [0, 4095] for 12 bits; by default the full
            range [0, 65535], and for DICOM the file's own window. Stored with the weights, so that prediction reads alike.
        mm_per_pixel: for your own files, the scale of images whose annotations do not say it.
        scale_unit: for "tps", millimetres in the unit of SCALE (10 for centimetres).
        train_folders: for "pts", the folders in `root` to train and validate on, e.g. [afw, helen/trainset].
        test_groups: for "pts", named groups of folders to test on, e.g. {common: [helen/testset], challenging: [ibug]}; the
            test is all of them, and each group is scored on its own too.
        schema: name of a built-in schema for your own files and "pts"; by default the file names the points ("pts": ibug-68).
        swaps: for your own files, pairs of point names that exchange places in a mirror image, e.g. [[left_eye, right_eye]].
        normaliser: for your own files, two point names whose distance errors are divided by; by default the box of the points.
        origin: coordinate that the files give the centre of the top-left pixel (0 or 1; 0.5 for corner coordinates); by
            default the format's own (docs/data.md).
        train_images: number of wings drawn for training.
        val_images: number of wings drawn for validation.
        test_images: number of wings drawn for the test.
        box: region shown on the canvas: the whole "image", the paper's face rule "mtfl", a "square" around the points, or the
            box "given" by the annotations or `boxes`.
        box_scale: "mtfl": margin on each side in units of the larger eye distance; "square": side over the points' extent;
            "given" and "image": factor on the box.
    """

    format: Literal[
        "wings", "mtfl", "pts", "wflw", "csv",
        "auto", "coco", "csv-long", "dlc", "tps", "labelme", "cvat", "yolo", "label-studio",
    ] = "wings"  # fmt: skip
    annotations: str = ""
    test_annotations: str | None = None
    val_list: str | None = None
    test_list: str | None = None
    test_share: float = 0.0
    folds: int = 0
    fold: int = 0
    boxes: str | None = None
    max_pixels: int = 120_000_000
    grey_range: tuple[float, float] | None = None
    mm_per_pixel: float | None = None
    scale_unit: float = 1.0
    train_folders: tuple[str, ...] = ()
    test_groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    schema: str | None = None
    swaps: tuple[tuple[str, str], ...] = ()
    normaliser: tuple[str, ...] = ()
    origin: float | None = None
    train_images: int = 1000
    val_images: int = 100
    test_images: int = 400
    box: Literal["image", "mtfl", "square", "given"] = "image"
    box_scale: float = 1.0

    def __post_init__(self) -> None:
        self._check_folders()
        super().__post_init__()
        require(
            len(self.normaliser) in (0, 2),
            f"data.normaliser is two point names whose distance divides errors, not {list(self.normaliser)}",
        )
        require(self.box_scale > 0, f"data.box_scale must be positive, not {self.box_scale}")
        require(0 <= self.test_share < 1, f"data.test_share must lie between 0 and 1, not {self.test_share}")
        require(self.folds == 0 or self.folds > 1, f"data.folds must be 2 or more, or 0 for none, not {self.folds}")
        require(
            0 <= self.fold < max(1, self.folds),
            f"data.fold counts from 0 to below data.folds, {self.folds}, not {self.fold}",
        )
        for name in ("mm_per_pixel", "scale_unit"):
            value = getattr(self, name)
            require(value is None or value > 0, f"data.{name} must be positive, not {value}")
        require(
            self.grey_range is None or self.grey_range[0] < self.grey_range[1],
            f"data.grey_range is a lower and a higher grey value, not {list(self.grey_range or ())}",
        )
        require(self.max_pixels > 0, f"data.max_pixels must be positive, not {self.max_pixels}")
        for name in ("train_images", "val_images", "test_images"):
            require(getattr(self, name) > 0, f"data.{name} must be positive, not {getattr(self, name)}")

    def _check_folders(self) -> None:
        train, groups = _folders("data.train_folders", self.train_folders), {}
        require(
            isinstance(self.test_groups, Mapping),
            f"data.test_groups maps names to lists of folders, e.g. {{test: [helen/testset]}}, not {self.test_groups!r}",
        )
        for name, listed in self.test_groups.items():
            where = f"data.test_groups.{name}"
            groups[name] = _folders(where, listed)
            require(bool(groups[name]), f"{where} holds no folder; name one, or leave the group out")
            both = ", ".join(sorted(set(groups[name]) & set(train)))
            require(not both, f"{where} holds {both}, which data.train_folders trains on; take it out of one of them")
        object.__setattr__(self, "train_folders", train)
        object.__setattr__(self, "test_groups", groups)


@dataclass(frozen=True)
class KeypointTrainConfig(ZoomTrainConfig):
    """How a keypoint model is trained; the rest is in `TrainConfig` and `ZoomTrainConfig`.

    Attributes:
        target: "hard", "split" or "gauss": the softmax's target distribution (keypoints/codecs.py).
        sigma: standard deviation of "gauss" targets, in heatmap cells.
        l2_trunk: weight of the sum of squares of the trunk's convolutions (the paper's l_common).
        l2_branch: the same for the branches' convolutions (l_branch).
        l2_mixing: the same for SumNet's mixing weights (l_out).
        init: folder of a run, or name of shipped weights, to begin with where names and shapes match; empty for none.
    """

    target: Literal["hard", "split", "gauss"] = "hard"
    sigma: float = 1.0
    l2_trunk: float = 0.0
    l2_branch: float = 0.0
    l2_mixing: float = 0.0
    init: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("l2_trunk", "l2_branch", "l2_mixing"):
            require(getattr(self, name) >= 0, f"train.{name} must be 0 or more, not {getattr(self, name)}")
        require(self.sigma > 0, f"train.sigma must be positive, not {self.sigma}")


@dataclass(frozen=True)
class KeypointEvaluateConfig(EvaluateConfig):
    """How predictions are read off and scored; `EvaluateConfig` has what every task has.

    Attributes:
        normaliser: what errors are divided by; empty takes the schema's default.
        decoder: "local" (sub-pixel) or "argmax" (the paper's).
        window: half side in heatmap cells of the local decoder's window.
        radius: radius in heatmap cells, each the model's `stride` canvas pixels wide, of the disc whose probability mass is a
            point's confidence.
        failure: error over the normaliser above which an image counts as failed.
    """

    normaliser: str = ""
    decoder: Literal["local", "argmax"] = "local"
    window: int = 2
    radius: float = 2.5
    failure: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.window >= 0, f"evaluate.window must be 0 or more cells, not {self.window}")
        for name in ("radius", "failure"):
            require(getattr(self, name) > 0, f"evaluate.{name} must be positive, not {getattr(self, name)}")


@dataclass(frozen=True)
class KeypointConfig(RunConfig):
    """A run that finds keypoints.

    Attributes:
        task: "keypoints".
        data: images, points, canvas.
        augment: changes to training images.
        validation: changes to validation images, drawn once an image; lets validation mimic a harder test.
        train: optimisation.
        evaluate: scoring.
    """

    task: Literal["keypoints"] = "keypoints"
    data: KeypointDataConfig = field(default_factory=KeypointDataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    validation: AugmentConfig = field(default_factory=AugmentConfig)
    train: KeypointTrainConfig = field(default_factory=KeypointTrainConfig)
    evaluate: KeypointEvaluateConfig = field(default_factory=KeypointEvaluateConfig)
