"""Pictures of a gaze on canvases: one matrix moves the picture, and the gaze turns and mirrors with it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from snellen.config import GazeAugmentConfig
from snellen.data.augment import draw_map, photometric
from snellen.data.batches import Canvases, Tensors, moved_box
from snellen.data.gaze import GazeDataset, GazeSample
from snellen.data.gaze_angles import mirrored, rotated
from snellen.geometry import Box, Matrix, box_map, compose, hflip, warp

__all__ = ["GRID", "GazeBatch", "GazeCanvas", "GazePartsBatch", "GazePartsCanvas", "face_grid", "turned_by"]

#: Cells along each side of the face grid (Krafka et al. 2016, section 4: a binary mask of 25 x 25).
GRID = 25


@dataclass
class GazeBatch(Tensors):
    """Canvases and where the people on them look.

    Attributes:
        image: (b, c, h, w) float32 in 0..255.
        target: (b, 2) pitch and yaw in degrees as seen on the canvas, or x and y in centimetres.
        mirrored: (b,) whether the canvas shows the picture mirrored.
        index: (b,) position in the data set.
        box: (b, 4) where the eyes or the face are, canvas pixels; NaN where that is not known.
    """

    image: Float[Tensor, "b c h w"]
    target: Float[Tensor, "b 2"]
    mirrored: Bool[Tensor, " b"]
    index: Int[Tensor, " b"]
    box: Float[Tensor, "b 4"]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What the network is given."""
        return (self.image.contiguous(memory_format=torch.channels_last),)


@dataclass
class GazePartsBatch(Tensors):
    """As `GazeBatch`, of frames taken apart.

    Attributes:
        image: (b, 3, c, h, w) float32 in 0..255: left eye, right eye, face.
        grid: (b, 25, 25) 1 where the face is in the frame, else 0.
        target: (b, 2).
        mirrored: (b,).
        index: (b,).
    """

    image: Float[Tensor, "b 3 c h w"]
    grid: Float[Tensor, "b 25 25"]
    target: Float[Tensor, "b 2"]
    mirrored: Bool[Tensor, " b"]
    index: Int[Tensor, " b"]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What the network is given."""
        return self.image, self.grid


class GazeCanvas(Canvases):
    """Pictures of a gaze drawn on canvases; indexed by (epoch, index) pairs, or by an index for draws made once.

    Head yaw goes into nothing: a network sees pictures alone.

    Args:
        data: the pictures.
        canvas: (height, width) of the canvas, pixels.
        augment: ranges of the random changes; by default there are none, as evaluation has it.
        whole: show the whole picture; False shows the sample's box.
        canonical: mirror right eyes.
        seed: first part of every draw's key.

    Raises:
        ValueError: where right eyes are to be mirrored and it is not known which they are.
    """

    batch: ClassVar[Callable[..., Any]] = GazeBatch

    def __init__(
        self,
        data: GazeDataset,
        canvas: tuple[int, int],
        augment: GazeAugmentConfig | None = None,
        *,
        whole: bool = True,
        canonical: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(len(data), seed=seed)
        if canonical and any(entry.eye == "both" for entry in data.entries):
            raise ValueError(
                "canonical needs to know which eye a picture shows; name it in a column eye, or leave it out"
            )
        self.data, self.canvas, self.augment = data, canvas, augment or GazeAugmentConfig()
        self.whole, self.canonical = whole, canonical

    def draw(self, index: int, rng: Generator) -> dict[str, Any]:
        """The tensors of the batch."""
        sample = self.data[index]
        shown, flipped, target = self.show(sample, rng)
        return {
            **shown,
            "target": torch.from_numpy(target).to(torch.float32),
            "mirrored": torch.tensor(flipped),
            "index": torch.tensor(index),
        }

    def show(self, sample: GazeSample, rng: Generator) -> tuple[dict[str, Tensor], bool, NDArray[np.float64]]:
        """What the network sees of a sample, whether it is mirrored, and the gaze on it."""
        height, width = sample.image.shape[-2:]
        box = Box(0.0, 0.0, float(width), float(height)) if self.whole else sample.box
        matrix, flipped = draw_map(box, self.canvas, self.augment, rng)
        if self.canonical and sample.entry.eye == "right":
            matrix, flipped = compose(matrix, hflip(self.canvas[1])), not flipped
        target = np.asarray(sample.entry.target, dtype=np.float64)
        if self.augment.rotate and self.data.answer == "angles":
            target = rotated(target, turned_by(matrix, flipped))  # in the order of the matrix: turned first
        if flipped:
            target = mirrored(target, self.data.answer)
        # Outside a moved picture is its mean: a dark edge would tell how far it was moved.
        image = warp(sample.image, matrix, self.canvas, fill=float(sample.image.float().mean()))
        known = sample.box if self.whole and sample.box != box else None
        return {"image": self.photographed(image, rng), "box": moved_box(known, matrix)}, flipped, target

    def photographed(self, image: Float[Tensor, "c h w"], rng: Generator) -> Float[Tensor, "c h w"]:
        """Light, gamma and the changes that all tasks have, on a canvas in 0..255."""
        across, down, power = rng.uniform(-1, 1, size=3).tolist()
        augment = self.augment
        if augment.light:
            height, width = image.shape[-2:]
            slope = across * torch.linspace(-1, 1, width) + down * torch.linspace(-1, 1, height)[:, None]
            image = image * (1 + augment.light / 2 * slope)
        if augment.gamma:
            image = 255 * (image.clamp(0, 255) / 255) ** ((1 + augment.gamma) ** power)
        return photometric(image, augment, rng)


class GazePartsCanvas(GazeCanvas):
    """Frames taken apart as iTracker sees them: both eyes, the face, and where in the frame it is.

    Each part's box is stretched to the canvas. Mirroring exchanges the eyes; of the other changes of place, the boxes follow
    `scale` alone.

    Raises:
        ValueError: where the data have no boxes of face and eyes.
    """

    batch = GazePartsBatch

    def __init__(
        self, data: GazeDataset, canvas: tuple[int, int], augment: GazeAugmentConfig | None = None, *, seed: int = 0
    ) -> None:
        super().__init__(data, canvas, augment, seed=seed)
        if any(entry.parts is None for entry in data.entries):
            raise ValueError("parts need boxes of the face and both eyes with every picture; these data have none")

    def show(self, sample: GazeSample, rng: Generator) -> tuple[dict[str, Tensor], bool, NDArray[np.float64]]:
        """As for `GazeCanvas`, of the parts."""
        parts = sample.entry.parts
        assert parts is not None  # the constructor looked
        # One draw for all parts: they are cuts of one frame.
        matrix, flipped = draw_map(Box(0, 0, 1, 1), (1, 1), self.augment, rng)
        scale = float(np.linalg.norm(matrix[:2, 1]))
        images = []
        for box in (parts.right, parts.left, parts.face) if flipped else (parts.left, parts.right, parts.face):
            of_part = box_map(box.scaled(1 / scale), self.canvas, keep_aspect=False)
            images.append(
                warp(sample.image, compose(of_part, hflip(self.canvas[1])) if flipped else of_part, self.canvas)
            )
        height, width = sample.image.shape[-2:]
        grid = face_grid(parts.face, (height, width))
        target = np.asarray(sample.entry.target, dtype=np.float64)
        if flipped:
            grid, target = grid.flip(-1), mirrored(target, self.data.answer)
        # Side by side: light and noise are those of one photo.
        joined = self.photographed(torch.cat(images, dim=-1), rng)
        return {"image": torch.stack(joined.chunk(3, dim=-1)), "grid": grid}, flipped, target


def turned_by(matrix: Matrix, flipped: bool) -> float:
    """Degrees by which a map turns, clockwise, before it mirrors.

    >>> from snellen.geometry import rotation
    >>> round(turned_by(compose(rotation(30), hflip(64)), True), 6)
    30.0
    """
    # The picture's x axis: (cos, sin) after a turn, (-cos, sin) where the canvas was mirrored after it. `stretch` comes before
    # the turn and changes lengths alone.
    x, y = matrix[0, 0], matrix[1, 0]
    return math.degrees(math.atan2(y, -x if flipped else x))


def face_grid(face: Box, size: tuple[int, int]) -> Float[Tensor, "25 25"]:
    """Which cells of a grid over a frame the face covers by at least half: 1 or 0.

    Args:
        face: its box, pixels of the frame.
        size: (height, width) of the frame.

    >>> int(face_grid(Box(0, 0, 50, 100), (100, 100)).sum())  # columns 0 to 12: the middle one is half covered
    325
    """
    height, width = size

    def covered(low: float, high: float, length: int) -> Tensor:
        edges = torch.arange(GRID + 1, dtype=torch.float64) * (length / GRID)
        overlap = edges[1:].clamp(max=high) - edges[:-1].clamp(min=low)
        return (overlap >= 0.5 * length / GRID - 1e-9).to(torch.float32)

    return covered(face.top, face.bottom, height)[:, None] * covered(face.left, face.right, width)
