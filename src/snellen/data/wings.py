"""Fruit-fly wings under a microscope, drawn on demand: the built-in data set.

No download, any number of images, and the truth is known to rounding error: a landmark is a knot of the very splines
that are drawn. The twelve landmarks are vein ends and junctions (`WINGS_12`).

Difficulty, fixed before any model was trained on it:

* rotation uniform within +-45 degrees, scale uniform from 0.6 to 1.4 of a nominal wing of 168 px (at 256 x 192);
* left and right wings equally often: half of the wings are mirrored, and names stay with their veins;
* the place in the image is uniform among those that keep the wing (where it does not fit, its landmarks) in the image;
* in a fifth of the images debris, an air bubble or a paper label covers at least one landmark; covered landmarks keep
  their coordinates and have visibility 1;
* vein courses, junctions, tone, lighting, dust, defocus and noise differ from wing to wing.

What guessing costs, mean distance over 3000 wings of seed 0 at 256 x 192, pixels:

==============================================================================  =====
the mean position of each landmark in the image, always                           58.0
the mean shape stretched into the wing's own tight landmark box                   43.2
the same with a mean shape of its own for left and for right wings                19.2
==============================================================================  =====
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from snellen.data.base import Sample
from snellen.data.wing_anatomy import curve_points, landmarks, sample_knots
from snellen.data.wing_drawing import draw_specimen, expose, photograph
from snellen.data.wing_occlusion import Occluder, paint_occluder
from snellen.geometry import Box, Matrix, compose, rotation, scaling, transform_points, translation
from snellen.keypoints.built_in import WINGS_12
from snellen.keypoints.keypoints import OCCLUDED, VISIBLE, Keypoints
from snellen.keypoints.schema import Schema

__all__ = ["Wings"]

NOMINAL_LENGTH = 168.0  # pixels at 256 x 192: at scale 1.4 and any rotation the landmarks still fit
MAX_ROTATION = 45.0  # degrees
SCALES = (0.6, 1.4)
OCCLUDED_SHARE = 0.2
MARGIN = 3.0  # pixels at 256 x 192 between a landmark and the image's edge


class Wings:
    """A data set of drawn wings; a `KeypointDataset`.

    Image `index` depends on (`seed`, `index`, `size`) alone: not on `count`, nor on which images were asked for before.
    A larger `size` of the same shape shows the same wings, larger.

    Args:
        count: number of images.
        seed: another seed gives other wings.
        size: (height, width), pixels.

    >>> wings = Wings(100, seed=0)
    >>> sample = wings[12]
    >>> sample.name, tuple(sample.image.shape), sample.keypoints.xy.shape
    ('wing-0-000012', (3, 192, 256), (12, 2))
    """

    schema: Schema = WINGS_12

    def __init__(self, count: int, *, seed: int = 0, size: tuple[int, int] = (192, 256)) -> None:
        if count < 0 or seed < 0:
            raise ValueError(f"count and seed must not be negative, but are {count} and {seed}")
        if min(size) < 32:
            raise ValueError(f"size is (height, width) of at least 32 pixels, not {tuple(size)}")
        self.count, self.seed, self.size = count, seed, (int(size[0]), int(size[1]))
        self._names = tuple(f"wing-{seed}-{i:06d}" for i in range(count))

    def __repr__(self) -> str:
        return f"Wings({self.count}, seed={self.seed}, size={self.size})"

    def __len__(self) -> int:
        return self.count

    @property
    def names(self) -> Sequence[str]:
        """Names of the images, e.g. "wing-0-000012"."""
        return self._names

    def __getitem__(self, index: int) -> Sample:
        index = self._checked(index)
        height, width = self.size
        knots, to_pixels, occluder = self._draw_lots(index)
        placed = transform_points(to_pixels, knots)
        length = float(np.hypot(*to_pixels[:2, 0]))
        # Looks have a generator of their own, so that work on the drawing never moves a landmark.
        rng = np.random.default_rng([self.seed, index, 1])
        image = photograph(draw_specimen(knots, to_pixels, length, self.size, rng), self.unit, rng)
        if occluder is not None:
            paint_occluder(image, occluder, self.unit, rng)
        return Sample(
            image=torch.from_numpy(expose(image, rng.uniform(2.0, 7.0), rng)),
            keypoints=self._keypoints(landmarks(placed), occluder),
            box=Box(0.0, 0.0, float(width), float(height)),
            name=self._names[index],
        )

    def keypoints(self, index: int) -> Keypoints:
        """The truth of one image without drawing it, which is much faster.

        >>> wings = Wings(3)
        >>> bool((wings.keypoints(2).xy == wings[2].keypoints.xy).all())
        True
        """
        knots, to_pixels, occluder = self._draw_lots(self._checked(index))
        return self._keypoints(transform_points(to_pixels, landmarks(knots)), occluder)

    def curves(self, index: int, samples: int = 16) -> dict[str, NDArray[np.float64]]:
        """The true course of the margin and each vein.

        Args:
            index: which image.
            samples: points between two knots of a spline.

        Returns:
            for each curve of `wing_anatomy.CURVES` its points (n, 2), pixels.
        """
        knots, to_pixels, _ = self._draw_lots(self._checked(index))
        return curve_points(transform_points(to_pixels, knots), samples)

    def specimen(self, index: int) -> tuple[NDArray[np.float64], Matrix]:
        """Shape and pose of the wing in one image: knots in wing units (see `wing_anatomy`), and their 3x3 map to pixels."""
        knots, to_pixels, _ = self._draw_lots(self._checked(index))
        return knots, to_pixels

    @property
    def unit(self) -> float:
        """Size of a nominal pixel: 1 at 256 x 192."""
        height, width = self.size
        return min(width / 256, height / 192)

    def _checked(self, index: int) -> int:
        if not -self.count <= index < self.count:
            raise IndexError(f"image {index} of {self.count}")
        return index % self.count

    def _draw_lots(self, index: int) -> tuple[NDArray[np.float64], Matrix, Occluder | None]:
        """Shape (knots in wing units), pose (map from wing units to pixels) and occluder of one image."""
        rng = np.random.default_rng([self.seed, index])
        knots = sample_knots(rng)
        height, width = self.size
        mirror = -1.0 if rng.random() < 0.5 else 1.0
        length = NOMINAL_LENGTH * self.unit * rng.uniform(*SCALES)
        turned = compose(scaling(mirror * length, length), rotation(rng.uniform(-MAX_ROTATION, MAX_ROTATION)))
        place = rng.uniform(0, 1, 2)
        everything = transform_points(turned, knots)
        room = np.array([width, height]) - 2 * MARGIN * self.unit
        shift = np.empty(2)
        for axis in range(2):
            points = everything[:, axis]
            if np.ptp(points) > room[axis]:
                points = landmarks(everything)[:, axis]
            # Centred where even the landmarks do not fit, which no wing of this population reaches.
            free = max(room[axis] - np.ptp(points), 0.0)
            shift[axis] = MARGIN * self.unit + place[axis] * free - points.min()
        to_pixels = compose(turned, translation(*shift))
        occluder = None
        if rng.random() < OCCLUDED_SHARE:
            target = landmarks(transform_points(to_pixels, knots))[rng.integers(len(WINGS_12))]
            occluder = Occluder.sample(target, self.unit, rng)
        return knots, to_pixels, occluder

    def _keypoints(self, xy: NDArray[np.float64], occluder: Occluder | None) -> Keypoints:
        visibility = np.full(len(self.schema), VISIBLE)
        if occluder is not None:
            visibility[occluder.covers(xy)] = OCCLUDED
        return Keypoints(xy, visibility, self.schema)
