"""The configuration of what the network sees: images, points, canvas, and how training images are changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from snellen.config.checks import Range, check_range, require
from snellen.config.values import coerce_fields

__all__ = ["AugmentConfig", "DataConfig"]


def _folders(name: str, value: Any) -> tuple[str, ...]:
    """Folder names without a slash at their end, each once."""
    require(isinstance(value, (list, tuple)), f"{name} is a list of folders, e.g. [helen/trainset], not {value!r}")
    listed = tuple(str(folder).rstrip("/") for folder in value)
    require(len(set(listed)) == len(listed), f"{name} names a folder twice: {', '.join(listed)}; name each once")
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
        self._check_folders()
        coerce_fields(self, "data")
        require(
            min(self.canvas) >= 16,
            f"data.canvas must be height and width of at least 16 pixels, not {list(self.canvas)}",
        )
        require(
            len(self.normaliser) in (0, 2),
            f"data.normaliser is two point names whose distance divides errors, not {list(self.normaliser)}",
        )
        require(0 < self.val_share < 1, f"data.val_share must lie between 0 and 1, not {self.val_share}")
        for name in ("workers", "cache_mb"):
            require(getattr(self, name) >= 0, f"data.{name} must be 0 or more, not {getattr(self, name)}")
        require(self.box_scale > 0, f"data.box_scale must be positive, not {self.box_scale}")
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
        coerce_fields(self, "augment")
        limits = {"scale": (0.1, 10), "stretch": (0.1, 10), "tight": (0.2, 10), "rectangle": (0, 1), "coarse": (1, 16)}
        for name, (low, high) in limits.items():
            check_range(f"augment.{name}", getattr(self, name), low, high)
        check_range("augment.blur", self.blur, 0.05, 20)
        for name in ("flip", "tight_probability", "rectangle_probability", "blur_probability", "coarse_probability"):
            require(0 <= getattr(self, name) <= 1, f"augment.{name} is a probability between 0 and 1")
        require(0 <= self.shift < 1, f"augment.shift is a share of the box's side below 1, not {self.shift}")
        require(0 <= self.rotate <= 180, f"augment.rotate is in degrees from 0 to 180, not {self.rotate}")
        require(0 <= self.brightness < 1 and 0 <= self.contrast < 1, "augment.brightness and contrast are below 1")
        require(self.noise >= 0, f"augment.noise must be 0 or more grey levels, not {self.noise}")
