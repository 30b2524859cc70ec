"""Corrupted and perturbed pictures, to see how a classifier stands up to them; never for training.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR
2019. Their ImageNet-C is a download that `ClassFolders` reads. Pictures are corrupted here in two ways:

- `severities="cifar"`: our own form of the kinds of CIFAR-10-C that need no pictures of frost or snow, for images of some 32
  pixels. No maintained package has its constants; the ones here are those of the published code (make_cifar_c.py).
  Ours differs in detail: motion blur is a sum of shifted pictures rather than ImageMagick's, elastic transforms sample
  once, draws come from other generators. Numbers compare models with each other, not with published CIFAR-10-C.
- `severities="imagenet"`: the 19 kinds of the package imagecorruptions-imaug (Apache-2.0, extra `bench`), a maintained fork
  that works with numpy 2; its constants are ImageNet-C's, for images of 224 pixels. At 32 pixels they leave little to see.

A draw depends on (seed, index, kind, severity) alone.
"""

import zlib
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from snellen.config import ConfigError, nearest
from snellen.data.augment import keyed_generator
from snellen.data.classes import ClassificationDataset, LabelledImage
from snellen.data.corruption_kinds import CIFAR_KINDS, bilinear, brighter, gaussian_noise, shot_noise
from snellen.data.views import to_channels
from snellen.geometry import rotation, scaling, translation

__all__ = [
    "CORRUPTIONS",
    "HELD_OUT",
    "IMAGENET_KINDS",
    "PERTURBATIONS",
    "Corrupted",
    "corrupt",
    "perturb",
    "shift_pair",
]

Severities = Literal["cifar", "imagenet"]

#: Kinds that `corrupt` has at CIFAR's severities.
CORRUPTIONS: tuple[str, ...] = tuple(CIFAR_KINDS)

#: Kinds of imagecorruptions: first the 15 that the mCE averages over, then the four held out.
IMAGENET_KINDS: tuple[str, ...] = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression", "speckle_noise",
    "gaussian_blur", "spatter", "saturate",
)  # fmt: skip

#: The four held out: published to choose by, and no part of the mCE.
HELD_OUT: tuple[str, ...] = IMAGENET_KINDS[15:]

#: Kind of perturbation -> what a frame is compared with, see `flip_probability`.
PERTURBATIONS: dict[str, Literal["previous", "first"]] = {
    "translate": "previous",
    "rotate": "previous",
    "scale": "previous",
    "brightness": "previous",
    "gaussian_noise": "first",
    "shot_noise": "first",
}


def corrupt(
    image: UInt8[Tensor, "c h w"],
    kind: str,
    severity: int,
    *,
    seed: int = 0,
    index: int = 0,
    severities: Severities = "cifar",
) -> UInt8[Tensor, "c h w"]:
    """A corrupted picture of the same size.

    Args:
        image: (c, h, w) uint8, c = 1 or 3.
        kind: one of `CORRUPTIONS`, with ImageNet's severities one of `IMAGENET_KINDS`.
        severity: 1 to 5.
        seed, index: decide, with kind and severity, all random draws.
        severities: "cifar" or "imagenet", whose constants; the latter takes images of at least 32x32.

    Returns:
        (c, h, w) uint8. "saturate" changes nothing on grey pictures.

    Raises:
        ConfigError: for a kind, severity or table that does not exist.
        ValueError: for an image of another type or shape.

    >>> corrupt(torch.full((3, 32, 32), 100, dtype=torch.uint8), "brightness", 5)[0, 0, 0]
    tensor(176, dtype=torch.uint8)
    """
    _check(image)
    _check_kind(kind, severity, severities)
    if severities == "imagenet":
        return _others(image, kind, severity, keyed_generator(seed, index, _number(kind), severity))
    make, constants = CIFAR_KINDS[kind]
    x = image.numpy().astype(np.float64) / 255
    return _bytes(make(x, constants[severity - 1], keyed_generator(seed, index, _number(kind), severity)))


class Corrupted:
    """Another data set with corrupted pictures; arguments as for `corrupt`, the index is the picture's position.

    Args:
        data: the pictures.
        kind: of the corruption.
        severity: 1 to 5.
        seed: of all draws.
        severities: "cifar" or "imagenet".
    """

    def __init__(
        self,
        data: ClassificationDataset,
        kind: str,
        severity: int,
        *,
        seed: int = 0,
        severities: Severities = "cifar",
    ) -> None:
        _check_kind(kind, severity, severities)
        self.data, self.kind, self.severity, self.seed = data, kind, severity, seed
        self.severities: Severities = severities
        self.classes = data.classes

    @property
    def names(self) -> Any:
        """Names of the images."""
        return self.data.names

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> LabelledImage:
        clean = self.data[index]
        image = corrupt(clean.image, self.kind, self.severity, seed=self.seed, index=index, severities=self.severities)
        return LabelledImage(image, clean.label, clean.name)


def perturb(
    image: UInt8[Tensor, "c h w"], kind: str, frames: int = 31, *, seed: int = 0, index: int = 0
) -> Iterator[UInt8[Tensor, "c h w"]]:
    """A sequence of pictures that change little from frame to frame, as those of ImageNet-P; the first is the picture.

    The pictures' own size decides the pace (our choice): "translate" moves 1/64 of the width, to a side that is
    drawn; "rotate" turns a degree, in a direction that is drawn; "scale" grows by 1 %; "brightness" adds 0.01 of
    white. What comes in from outside is the mirrored picture. Frames of "gaussian_noise" (standard deviation 0.02 of
    white) and "shot_noise" (500 photons in white) are draws of the same noise on the same picture.

    Args:
        image: (c, h, w) uint8.
        kind: one of `PERTURBATIONS`.
        frames: how many, at least 2.
        seed, index: decide, with the kind, all random draws.

    Raises:
        ConfigError: for a kind that does not exist, or fewer than two frames.
        ValueError: for an image of another type or shape.

    >>> len(list(perturb(torch.zeros(3, 32, 32, dtype=torch.uint8), "rotate")))
    31
    """
    _check(image)
    if kind not in PERTURBATIONS:
        raise ConfigError(
            f"there is no perturbation {kind!r}; choose one of {', '.join(PERTURBATIONS)}{nearest(kind, PERTURBATIONS)}"
        )
    if frames < 2:
        raise ConfigError(f"frames is {frames}; a sequence needs at least 2")
    return _frames(image, kind, frames, keyed_generator(seed, index, _number(kind)))


def _frames(image: Tensor, kind: str, frames: int, rng: np.random.Generator) -> Iterator[Tensor]:
    x = image.numpy().astype(np.float64) / 255
    h, w = x.shape[1:]
    centre = (w / 2, h / 2)
    sign = 1.0 if rng.uniform() < 0.5 else -1.0
    yield image
    for frame in range(1, frames):
        if kind == "translate":
            yield _bytes(bilinear(x, translation(-sign * w / 64 * frame, 0.0)))
        elif kind == "rotate":
            yield _bytes(bilinear(x, rotation(-sign * frame, centre=centre)))
        elif kind == "scale":
            yield _bytes(bilinear(x, scaling(1.01**-frame, centre=centre)))
        elif kind == "brightness":
            yield _bytes(brighter(x, 0.01 * frame))
        elif kind == "gaussian_noise":
            yield _bytes(gaussian_noise(x, 0.02, rng))
        else:
            yield _bytes(shot_noise(x, 500, rng))


def shift_pair(
    image: UInt8[Tensor, "c h w"], largest: int, *, seed: int = 0, index: int = 0
) -> tuple[UInt8[Tensor, "c h w"], UInt8[Tensor, "c h w"]]:
    """Two random shifts of one picture by whole pixels, each up to `largest` along both axes, for `shift_consistency`.

    Zhang 2019 crops 224 of 256 pixels twice; here the picture keeps its size and what comes in is mirrored (our choice, as
    small pictures have no margin to lose).

    Args:
        image: (c, h, w) uint8.
        largest: pixels, at least 0.
        seed, index: decide the draws.

    Raises:
        ValueError: for an image of another type or shape, or a negative shift.
    """
    _check(image)
    if largest < 0:
        raise ValueError(f"largest={largest} is not possible; give a shift of 0 or more pixels")
    rng = keyed_generator(seed, index, _number("shift"))
    x = image.numpy().astype(np.float64) / 255
    moves = rng.integers(-largest, largest, size=(2, 2), endpoint=True).tolist()
    first, second = (_bytes(bilinear(x, translation(-dx, -dy))) for dx, dy in moves)
    return first, second


def _others(image: Tensor, kind: str, severity: int, rng: np.random.Generator) -> Tensor:
    """By imagecorruptions, which draws from numpy's global generator: seeded for the call, and put back."""
    try:
        from imagecorruptions import corrupt as others
    except ImportError:
        raise ConfigError(
            "corruptions of ImageNet's severities need imagecorruptions-imaug; install it with: pip install 'snellen[bench]'"
        ) from None
    if min(image.shape[1:]) < 32:
        raise ValueError(f"the image is {tuple(image.shape[1:])}, but these corruptions need at least 32x32 pixels")
    number = int(rng.integers(2**31))
    # Two kinds have a generator of their own.
    own = {"seed": number} if kind in ("impulse_noise", "glass_blur") else {}
    pixels = image.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()
    before = np.random.get_state()
    try:
        np.random.seed(number)
        changed = others(pixels, severity=severity, corruption_name=kind, **own)
    finally:
        np.random.set_state(before)
    out = torch.from_numpy(np.ascontiguousarray(changed.transpose(2, 0, 1)))
    return to_channels(out, image.shape[0])


def _number(kind: str) -> int:
    """A number that belongs to a name for ever, whatever kinds are added."""
    return zlib.crc32(kind.encode())


def _bytes(x: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8))


def _check(image: Tensor) -> None:
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] not in (1, 3) or 0 in image.shape:
        raise ValueError(
            f"the image is {image.dtype} of shape {tuple(image.shape)}; give uint8 of shape (1 or 3, height, width)"
        )


def _check_kind(kind: str, severity: int, severities: str) -> None:
    if severities not in ("cifar", "imagenet"):
        raise ConfigError(f"severities={severities!r} is not known; give 'cifar' or 'imagenet'")
    kinds = CORRUPTIONS if severities == "cifar" else IMAGENET_KINDS
    if kind not in kinds:
        raise ConfigError(
            f"there is no corruption {kind!r} of {severities}'s severities; choose one of {', '.join(kinds)}"
            f"{nearest(kind, kinds)}"
        )
    if severity not in (1, 2, 3, 4, 5):
        raise ConfigError(f"severity is {severity}; give 1 (slight) to 5 (severe)")
