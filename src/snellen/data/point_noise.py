"""Points on canvases for denoisers: moved by the augmentation, then made wrong on purpose.

Source: Honari et al. 2016 (rcn.md 2.7): true points after the same random shift, scale and rotation as images get; of each
object a number of points, drawn without replacement, go to a place uniform over the canvas. Ours: the other kinds of noise
(`NoiseConfig`), drawing only among labelled points, and validation noise drawn once an object instead of anew each time.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from snellen.config import AugmentConfig, NoiseConfig
from snellen.data.augment import draw_map
from snellen.data.batches import Canvases, Tensors
from snellen.data.point_sets import PointSet

__all__ = ["NoisyPoints", "PointBatch", "PointCanvas", "add_noise"]


@dataclass(frozen=True)
class NoisyPoints:
    """The points of an object as a denoiser is shown them.

    Attributes:
        xy: (k, 2) fractions of the canvas's width and height; 0 where not given.
        given: (k,) False for points taken away or never labelled.
        changed: (k,) True for points drawn to be changed, whether or not a draw happened to put one where it was.
    """

    xy: NDArray[np.float64]
    given: NDArray[np.bool_]
    changed: NDArray[np.bool_]


def add_noise(
    xy: NDArray[np.float64],
    noise: NoiseConfig,
    partners: NDArray[np.int64],
    rng: Generator,
    *,
    canvas: tuple[int, int] = (1, 1),
) -> NoisyPoints:
    """Make some of an object's points wrong; see `NoiseConfig`.

    Args:
        xy: (k, 2) true points, fractions of the canvas; NaN where unlabelled.
        noise: what to do.
        partners: (k,) index of each point's mirror image, its own where it has none (`Schema.flip_order`).
        rng: draws everything; as many numbers whatever the kinds of noise are.
        canvas: (height, width), for the proportions of a jitter.

    >>> true = np.full((68, 2), 0.5)
    >>> made = add_noise(true, NoiseConfig(), np.arange(68), np.random.default_rng(0))
    >>> int(made.changed.sum()), int(made.given.sum())
    (35, 68)
    """
    k = len(xy)
    labelled = np.asarray(np.isfinite(xy).all(axis=1))
    order, share, kinds = rng.permutation(k), rng.uniform(*noise.share), rng.uniform(size=k)
    anywhere, nearby = rng.uniform(size=(k, 2)), rng.standard_normal((k, 2))
    chosen = order[labelled[order]][: round(share * labelled.sum())]
    limits = np.cumsum([noise.uniform, noise.blank, noise.swap, noise.jitter])
    kind = np.searchsorted(limits, kinds * limits[-1], side="right")
    changed, given, moved = np.zeros(k, dtype=np.bool_), labelled.copy(), np.where(labelled[:, None], xy, 0.0)
    changed[chosen] = True
    deviation = noise.jitter_size * max(canvas) / np.array([canvas[1], canvas[0]])
    for i in chosen:
        partner = partners[i]
        exchanges = kind[i] == 2 and partner != i and labelled[partner] and not changed[partner]
        if exchanges:
            moved[[i, partner]] = xy[[partner, i]]
            changed[partner] = True
        elif kind[i] == 1:
            given[i] = False
        elif kind[i] == 3:
            moved[i] = xy[i] + nearby[i] * deviation
        else:
            moved[i] = anywhere[i]
    moved[~given] = 0.0
    return NoisyPoints(moved, given, changed)


@dataclass
class PointBatch(Tensors):
    """Objects' points, right and wrong.

    Attributes:
        xy: (b, k, 2) float32, what the denoiser is shown, fractions of the canvas; 0 where not given.
        given: (b, k) False for points taken away or unlabelled.
        truth: (b, k, 2) float32, fractions of the canvas; 0 where unlabelled.
        mask: (b, k) True for points that were changed and whose truth is on the canvas: the ones that count.
        labelled: (b, k) True for labelled points.
        matrix: (b, 3, 3) float64, image to canvas.
        index: (b,) position in the data set.
    """

    xy: Float[Tensor, "b k 2"]
    given: Bool[Tensor, "b k"]
    truth: Float[Tensor, "b k 2"]
    mask: Bool[Tensor, "b k"]
    labelled: Bool[Tensor, "b k"]
    matrix: Float64[Tensor, "b 3 3"]
    index: Int[Tensor, " b"]


class PointCanvas(Canvases):
    """Annotations as denoisers are trained on them, see `Canvases`.

    Args:
        points: the annotations.
        canvas: (height, width), pixels.
        augment: ranges of the geometric changes; those of pixels play no part.
        noise: what is done to the points.
        seed: first part of every draw's key.
    """

    batch = PointBatch

    def __init__(
        self, points: PointSet, canvas: tuple[int, int], augment: AugmentConfig, noise: NoiseConfig, *, seed: int = 0
    ) -> None:
        super().__init__(len(points), seed=seed)
        self.points, self.canvas, self.augment, self.noise = points, canvas, augment, noise
        self._partners = np.array(points.schema.flip_order)

    def draw(self, index: int, rng: Generator) -> dict[str, Any]:
        """See `PointBatch`."""
        matrix, flipped = draw_map(self.points.boxes[index], self.canvas, self.augment, rng)
        xy = self.points.keypoints[index].transformed(matrix).xy
        if flipped:
            xy = xy[self._partners]
        height, width = self.canvas
        true = xy / [width, height]
        made = add_noise(true, self.noise, self._partners, rng, canvas=self.canvas)
        labelled = np.asarray(np.isfinite(true).all(axis=1))
        truth = np.where(labelled[:, None], true, 0.0)
        inside = labelled & (truth >= 0).all(axis=1) & (truth <= 1).all(axis=1)
        return {
            "xy": torch.from_numpy(made.xy).to(torch.float32),
            "given": torch.from_numpy(made.given),
            "truth": torch.from_numpy(truth).to(torch.float32),
            "mask": torch.from_numpy(made.changed & inside),
            "labelled": torch.from_numpy(labelled),
            "matrix": torch.from_numpy(matrix),
            "index": torch.tensor(index),
        }
