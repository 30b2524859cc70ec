"""From label maps to batches: image and labels are moved by one matrix, the image sampled once, the labels by nearest pixel."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Num
from numpy.random import Generator
from torch import Tensor

from snellen.config import AugmentConfig
from snellen.data.augment import photometric
from snellen.data.batches import Canvases, Tensors
from snellen.data.masks import SegmentationDataset
from snellen.geometry import Matrix, compose, hflip, rotation, scaling, translation, warp

__all__ = ["LabelBatch", "SegmentationCanvas", "draw_view", "move_labels", "move_pair"]

#: Label outside the image, where the data set has no `ignore` of its own: no class has this number.
OUTSIDE = 255


@dataclass
class LabelBatch(Tensors):
    """Canvases and their labels.

    Attributes:
        image: (b, c, h, w) float32 in 0..255.
        labels: (b, h, w) int64; the canvas data set's `ignore` where there is no class.
        matrix: (b, 3, 3) float64, image to canvas.
        index: (b,) position in the data set.
    """

    image: Float[Tensor, "b c h w"]
    labels: Int[Tensor, "b h w"]
    matrix: Float64[Tensor, "b 3 3"]
    index: Int[Tensor, " b"]


def draw_view(
    size: tuple[int, int], canvas: tuple[int, int], augment: AugmentConfig, rng: Generator, *, crop: bool = False
) -> Matrix:
    """Draw the map from an image to a canvas.

    Without `crop` the whole image is fitted into the canvas, centred, and moved by up to `augment.shift` of its sides. With it
    a pixel of the image stays a pixel, and the canvas shows a window of the image at a place drawn uniformly; where
    the image is the smaller one, it lies at such a place in the canvas. Both are then scaled, stretched, turned and
    mirrored as `augment` says. Where only whole pixels are moved, they are moved by whole pixels.

    Args:
        size: (height, width) of the image.
        canvas: (height, width) of the canvas.
        augment: ranges of the changes; `tight` is for keypoints and plays no part.
        rng: what to draw from.
        crop: see above.

    >>> still = AugmentConfig()
    >>> bool((draw_view((40, 60), (40, 60), still, np.random.default_rng(0)) == np.eye(3)).all())
    True
    """
    (rows, columns), (height, width) = size, canvas
    # Every number is drawn whether used or not, so that changing one range does not reshuffle the others.
    across, down, dx, dy, turn = rng.uniform(-1, 1, size=5).tolist()
    mirror, scale, stretch = rng.uniform(), rng.uniform(*augment.scale), rng.uniform(*augment.stretch)
    base = 1.0 if crop else min(height / rows, width / columns)
    sx, sy = base * scale * stretch, base * scale
    x, y = columns / 2 + dx * augment.shift * columns, rows / 2 + dy * augment.shift * rows
    if crop:
        x += across * abs(columns - width / sx) / 2
        y += down * abs(rows - height / sy) / 2
    matrix = compose(
        translation(-x, -y), scaling(sx, sy), rotation(turn * augment.rotate), translation(width / 2, height / 2)
    )
    if mirror < augment.flip:
        matrix = compose(matrix, hflip(width))
    if _keeps_pixels(matrix):
        matrix[:2, 2] = np.rint(matrix[:2, 2])
    return matrix


def move_pair(
    image: Num[Tensor, "c h w"], labels: Num[Tensor, "h w"], matrix: Matrix, size: tuple[int, int], *, outside: int
) -> tuple[Float[Tensor, "c oh ow"], Int[Tensor, "oh ow"]]:
    """An image and its labels through one map: the image sampled once, anti-aliased where it shrinks; labels see `move_labels`.

    A map that only moves whole pixels, or mirrors them, gives the pixels as they are.

    Returns:
        float32 (c, *size), 0 outside the image, and int64 (*size), `outside` there.
    """
    if _keeps_pixels(matrix) and not (matrix[:2, 2] % 1).any():
        moved = torch.stack([move_labels(channel, matrix, size, outside=0) for channel in image]).to(torch.float32)
    else:
        moved = warp(image, matrix, size)
    return moved, move_labels(labels, matrix, size, outside=outside).to(torch.int64)


def move_labels(
    labels: Num[Tensor, "h w"], matrix: Matrix, size: tuple[int, int], *, outside: int
) -> Num[Tensor, "oh ow"]:
    """Labels through a map: each output pixel takes the label of the pixel that its centre falls into.

    Args:
        labels: (h, w), of any whole-number type.
        matrix: 3x3 map from source to output coordinates (geometry.py).
        size: (height, width) of the output.
        outside: the label outside the source.

    >>> move_labels(torch.tensor([[1, 2], [3, 4]]), translation(1, 0), (2, 2), outside=9).tolist()
    [[9, 1], [9, 3]]
    """
    inverse = np.linalg.inv(matrix)
    xs, ys = torch.arange(size[1], dtype=torch.float64) + 0.5, torch.arange(size[0], dtype=torch.float64)[:, None] + 0.5
    (a, b, c), (d, e, f) = inverse[:2].tolist()
    column, row = (a * xs + b * ys + c).floor().long(), (d * xs + e * ys + f).floor().long()
    h, w = labels.shape
    inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
    found = labels[row.clamp(0, h - 1), column.clamp(0, w - 1)]
    return torch.where(inside, found, torch.full_like(found, outside))


def _keeps_pixels(matrix: Matrix) -> bool:
    """Whether a map neither turns nor scales: it moves, and may mirror left and right."""
    return bool((np.abs(matrix[:2, :2]) == np.eye(2)).all() and matrix[1, 1] == 1)


class SegmentationCanvas(Canvases):
    """Label maps drawn on canvases, see `Canvases`.

    An item holds "image" (c, height, width) float32 in 0..255, "labels" (height, width) int64, "matrix" (3, 3) float64 from
    image to canvas, and "index". It depends on the key (seed, epoch, index) alone.

    Args:
        samples: the data set.
        canvas: (height, width) of the canvas.
        augment: ranges of the random changes; no `tight`, which presses a box.
        seed: first part of every draw's key.
        crop: True shows a window at the image's own resolution, False the whole image (see `draw_view`).

    Attributes:
        ignore: the label of pixels that do not count: the data set's, or 255, which also stands outside the image.

    Raises:
        ValueError: for a canvas without pixels, or where `augment.tight_probability` is not 0.
    """

    batch = LabelBatch

    def __init__(
        self,
        samples: SegmentationDataset,
        canvas: tuple[int, int],
        augment: AugmentConfig,
        *,
        seed: int = 0,
        crop: bool = False,
    ) -> None:
        if min(canvas) < 1:
            raise ValueError(f"a canvas of {canvas[0]}x{canvas[1]} has no pixels; give height and width of at least 1")
        if augment.tight_probability:
            raise ValueError("augment.tight presses the box around keypoints, and label maps have none; leave it out")
        super().__init__(len(samples), seed=seed)
        self.samples, self.canvas, self.augment, self.crop = samples, canvas, augment, crop
        self.ignore = OUTSIDE if samples.ignore is None else samples.ignore

    def draw(self, index: int, rng: Generator) -> dict[str, Any]:
        """See `LabelBatch`."""
        sample = self.samples[index]
        size = (sample.image.shape[-2], sample.image.shape[-1])
        matrix = draw_view(size, self.canvas, self.augment, rng, crop=self.crop)
        image, labels = move_pair(sample.image, sample.labels, matrix, self.canvas, outside=self.ignore)
        return {
            "image": photometric(image, self.augment, rng),
            "labels": labels,
            "matrix": torch.from_numpy(matrix),
            "index": torch.tensor(index),
        }
