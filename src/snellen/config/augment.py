"""The configuration of random changes to an image and what is marked in it."""

from dataclasses import dataclass

from snellen.config.checks import Range, check_range, require
from snellen.config.values import coerce_fields

__all__ = ["AugmentConfig"]


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
