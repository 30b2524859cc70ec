"""Ten species of drawn wings that differ in one vein junction: fine-grained classification with exact truth, no download.

A species is told by the junction of the posterior crossvein with L4, and by nothing else: shape, pose, tone, lighting, dust
and noise have the same distribution in all ten. What a species adds there are up to two of four figures, in a frame of the two
veins that meet, so that a mirrored or turned wing shows them as well::

        spur            ring            fork            knot
          |             .--.
    L4 ---+---      ---'-+--'---     ----+----       ---(#)---
          |              |             \\ | /             |
          |              |              \\|/              |
          crossvein                       |

The figures reach `REACH` of the wing's length, 0.03: in pictures of 1024 x 768 pixels 12 to 28 pixels, 20 on an average wing,
in strokes of 3 to 7. Shrunk to 96 pixels they reach 1.1 to 2.6 pixels and their strokes are 0.3 to 0.6 pixels thick, a shade
rather than a line: what species it is hardly survives a plain resize. (Figures, sizes and the choice of the junction are ours.)
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from snellen.config import ConfigError, nearest
from snellen.data.classes import ClassEntry, ClassImages
from snellen.data.wing_anatomy import curve_points, knot_position
from snellen.data.wing_drawing import draw_specimen, expose, photograph, ribbon
from snellen.data.wing_textures import Plane, Points, splat
from snellen.data.wings import Wings
from snellen.geometry import Box, Matrix, transform_points

__all__ = ["REACH", "SPECIES", "WingSpecies", "junction_box", "junction_coverage", "wing_species"]

#: Species -> the figures at its junction.
SPECIES: dict[str, tuple[str, ...]] = {
    "plain": (),
    "spur": ("spur",),
    "ring": ("ring",),
    "fork": ("fork",),
    "knot": ("knot",),
    "spur-ring": ("spur", "ring"),
    "spur-fork": ("spur", "fork"),
    "spur-knot": ("spur", "knot"),
    "ring-fork": ("ring", "fork"),
    "knot-fork": ("knot", "fork"),
}
#: How far the figures reach from the junction, in wing lengths.
REACH = 0.03
#: Half the thickness of their strokes, and the radius of the knot, in wing lengths; veins there have 0.0036 to 0.004.
HALF_WIDTH, KNOT = 0.0036, 0.011
#: Sides of the box about the junction, in wing lengths: as wide for its height as the whole picture.
BOX = (0.12, 0.09)
#: Of splits: another seed gives other wings, so no wing is in two of them. Apart from those of the keypoints' wings.
SEEDS = {"train": 11, "val": 12, "test": 13}

Look = Literal["image", "object"]


def _figures(kind: str) -> list[tuple[Points, NDArray[np.float64]]]:
    """Strokes of a figure: points (n, 2) of along L4 and along the crossvein, and half-widths (n,), in wing lengths."""
    t = np.linspace(0, 1, 65)
    if kind == "spur":
        lines = [np.stack([0 * t, -REACH * t], axis=1)]
    elif kind == "ring":
        lines = [REACH * np.stack([-np.cos(np.pi * t), -np.sin(np.pi * t)], axis=1)]
    elif kind == "fork":
        lines = [REACH * np.stack([side * 0.8 * t, 1 - t], axis=1) for side in (-1, 1)]
    else:
        u = 2 * t - 1
        return [(np.stack([KNOT * u, 0 * u], axis=1), KNOT * np.sqrt(1 - u * u))]
    return [(line, np.full(len(t), HALF_WIDTH)) for line in lines]


def _junction(knots: Points) -> tuple[Points, Points]:
    """The junction (2,) of a wing, and the unit vectors (2, 2) along L4 and along the crossvein from it, in wing units."""
    samples = 16
    curves = curve_points(knots, samples)
    at = knot_position("l4", "posterior_crossvein_l4", samples)
    l4, crossvein = curves["l4"], curves["posterior_crossvein"]
    frame = np.stack([l4[at + 2] - l4[at - 2], crossvein[samples // 4] - crossvein[0]])
    return l4[at], frame / np.linalg.norm(frame, axis=1, keepdims=True)


def junction_coverage(species: str, knots: Points, to_pixels: Matrix, size: tuple[int, int]) -> Plane:
    """How much of each pixel the figures of a species cover.

    Args:
        species: of `SPECIES`.
        knots: (N, 2) the wing's knots in wing units.
        to_pixels: 3x3 map from wing units to pixels, a similarity.
        size: (height, width).

    Returns:
        (height, width) float32, 0 but near the junction; above 1 where figures cross.
    """
    centre, frame = _junction(knots)
    length = float(np.hypot(*to_pixels[:2, 0]))
    patches = [(np.empty((0, 2)), np.empty(0))]
    for line, half in (stroke for kind in SPECIES[species] for stroke in _figures(kind)):
        placed = transform_points(to_pixels, centre + line @ frame)
        step = np.gradient(placed, axis=0)
        step[[0, -1]] /= 2  # an end point has half a step, so that the steps add up to the stroke's length
        across = 3 + 2 * int(np.ceil(half.max() * length))
        patches.append(ribbon(placed, step, np.maximum(half * length, 0.3), across))
    xy, areas = (np.concatenate(part) for part in zip(*patches, strict=True))
    return splat(xy, areas, size)


def junction_box(knots: Points, to_pixels: Matrix, size: tuple[int, int]) -> Box:
    """The box about the junction, pixels: `BOX` wing lengths, moved into the picture where it would reach beyond it."""
    (x, y), height, width = transform_points(to_pixels, _junction(knots)[0][None])[0], *size
    length = float(np.hypot(*to_pixels[:2, 0]))
    w, h = min(BOX[0] * length, width), min(BOX[1] * length, height)
    left = float(np.clip(x - w / 2, 0, width - w))
    top = float(np.clip(y - h / 2, 0, height - h))
    return Box(left, top, left + w, top + h)


class WingSpecies(ClassImages):
    """Drawn wings and their species; image `index` is of species `index` modulo ten.

    An image depends on (`seed`, `index`, `size`) alone. The wings are those of `Wings(seed=seed)`, never covered by debris,
    with another drawing of tone and texture. A drawn picture is kept in memory (`cache_mb`), so each costs its drawing, about
    0.1 s on one core, once a process; grey ones are of the green channel, a third of the memory and noise.

    Args:
        count: number of images.
        seed: another seed gives other wings.
        size: (height, width), pixels.
        look: "image" for the whole picture, "object" for the box about the junction cut out of it: all there is to see.
        channels: 1 or 3.
        cache_mb: memory for drawn pictures, in megabytes.

    Raises:
        ValueError: for values that are not possible.

    >>> wings = WingSpecies(20, size=(96, 128), channels=1)
    >>> wings[13].image.shape, wings.classes[wings[13].label], wings[13].name
    (torch.Size([1, 96, 128]), 'fork', 'wing-species-0-000013')
    """

    def __init__(
        self,
        count: int,
        *,
        seed: int = 0,
        size: tuple[int, int] = (768, 1024),
        look: Look = "image",
        channels: int = 3,
        cache_mb: int = 2048,
    ) -> None:
        if count < 1:
            raise ValueError(f"count={count} is not possible; give at least one wing")
        if look not in ("image", "object"):
            raise ValueError(f"look={look!r} is not known; give 'image' or 'object'")
        self.wings, self.look = Wings(count, seed=seed, size=size), look
        entries = [ClassEntry(f"wing-species-{seed}-{i:06d}", i % len(SPECIES), i) for i in range(count)]
        super().__init__(entries, tuple(SPECIES), source="drawn wings", channels=channels, cache_mb=cache_mb)

    def size_of(self, entry: ClassEntry) -> tuple[int, int]:
        """(height, width) of a picture, or of its cut."""
        if self.look == "image":
            return self.wings.size
        left, top, right, bottom = self._cut(entry.place)
        return bottom - top, right - left

    def read(self, entry: ClassEntry) -> UInt8[Tensor, "c h w"]:
        """The picture, drawn."""
        picture = self.drawn(entry.place, self.classes[entry.label])
        if self.look == "object":
            left, top, right, bottom = self._cut(entry.place)
            picture = picture[:, top:bottom, left:right].clone()
        return picture

    def box_of(self, entry: ClassEntry) -> Box | None:
        """The box about the junction, in the whole picture; its cut shows nothing else."""
        return self.junction(entry.place) if self.look == "image" else None

    def drawn(self, index: int, species: str) -> UInt8[Tensor, "c h w"]:
        """A wing as it would look were it of a species: the whole picture, equal but near the junction for all of them."""
        size, unit = self.wings.size, self.wings.unit
        knots, to_pixels = self.wings.specimen(index)
        rng = np.random.default_rng([self.wings.seed, index, 2])
        more = junction_coverage(species, knots, to_pixels, size)
        density = draw_specimen(knots, to_pixels, float(np.hypot(*to_pixels[:2, 0])), size, rng, more)
        image = photograph(density, unit, rng)
        shown = image if self.channels == 3 else image[1:2]
        return torch.from_numpy(expose(shown, rng.uniform(2.0, 7.0), rng))

    def junction(self, index: int) -> Box:
        """The box about the junction of one image, pixels of the whole picture."""
        return junction_box(*self.wings.specimen(index), self.wings.size)

    def _cut(self, index: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the cut, whole pixels."""
        box = self.junction(index)
        return int(box.left), int(box.top), int(np.ceil(box.right)), int(np.ceil(box.bottom))


def wing_species(
    split: str,
    count: int,
    *,
    look: Look = "image",
    channels: int = 3,
    cache_mb: int = 2048,
    classes: Sequence[str] | None = None,
) -> WingSpecies:
    """The images of a split: "train", "val" or "test", of disjoint wings, 1024 x 768 pixels.

    Args:
        split: which.
        count: number of images.
        look: see `WingSpecies`.
        channels: likewise.
        cache_mb: likewise.
        classes: the labels that a model knows, which must be the species.

    Raises:
        ConfigError: for another split or other classes.
    """
    if split not in SEEDS:
        raise ConfigError(f"there is no split {split!r}; choose one of {', '.join(SEEDS)}{nearest(split, SEEDS)}")
    if classes is not None and tuple(classes) != tuple(SPECIES):
        raise ConfigError(
            f"the model knows the classes {', '.join(classes)}; wings-species has {', '.join(SPECIES)}: train a model on it"
        )
    return WingSpecies(count, seed=SEEDS[split], look=look, channels=channels, cache_mb=cache_mb)
