"""Synthetic scenes: both eyes of a person pasted at a random place and size on a canvas full of clutter.

They stand for photos in which the eyes are small and somewhere, so that looking closer pays; nothing about them is natural but
the eyes. A scene depends on (seed, index) alone::

    +-----------------------------+     clutter: discs, boxes, strokes and blurred noise of random greys
    |   o   ####   \\    .  []     |     L, R:    the left and the right eye picture of one capture, side by side, with a
    |  []     \\   [ L ] [ R ]     |              gap; the box that holds both is the sample's box
    |     o    .       #   o      |
    +-----------------------------+
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from snellen.data.augment import keyed_generator
from snellen.data.files import DataError
from snellen.data.gaze import GazeDataset, GazeEntry, GazeSample
from snellen.geometry import Box, compose, scaling, translation, warp
from snellen.images import ImageError

__all__ = ["GazeScenes", "clutter"]

#: Width of an eye picture on the scene, as a share of the scene's side, drawn uniformly in its logarithm; both eyes and their
#: gap then take 0.17 to 0.52 of the width (our choice).
EYE_SHARE = (0.08, 0.22)
#: Gap between the two pictures, as a share of an eye picture's width.
GAP = (0.1, 0.35)


class GazeScenes:
    """Scenes of the captures of a data set that has a left and a right eye of each.

    A capture is what has one person, gaze and head yaw; captures without a partner are left out.

    Args:
        data: pictures of single eyes.
        side: height and width of a scene, pixels.
        seed: first part of each scene's key.
        cache_mb: memory for scenes, in megabytes; what does not fit is made again each time.

    Raises:
        DataError: where no capture has both eyes.
    """

    def __init__(self, data: GazeDataset, side: int = 384, *, seed: int = 0, cache_mb: int = 2048) -> None:
        if side < 128:
            raise ValueError(f"side={side} is too small for a scene; give at least 128 pixels")
        self.data, self.side, self.seed, self.answer = data, side, seed, data.answer
        found: dict[tuple[object, ...], dict[str, int]] = {}
        for i, entry in enumerate(data.entries):
            found.setdefault((entry.person, entry.target, entry.head_yaw), {}).setdefault(entry.eye, i)
        self.pairs = [(eyes["left"], eyes["right"]) for eyes in found.values() if {"left", "right"} <= eyes.keys()]
        if not self.pairs:
            raise DataError(
                "data.clutter pastes the left and the right eye of a capture, but no person has both with one gaze and head "
                "yaw; name the eyes in a column eye, or set data.clutter to 0"
            )
        self.entries: Sequence[GazeEntry] = [replace(data.entries[left], eye="both") for left, _ in self.pairs]
        self.skipped = list(getattr(data, "skipped", ()))
        self._room = cache_mb * 1_000_000
        self._cache: dict[int, tuple[Tensor, Box]] = {}

    @property
    def names(self) -> Sequence[str]:
        """Files of the left eyes."""
        return [entry.file for entry in self.entries]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> GazeSample:
        if index not in range(len(self.pairs)):
            raise IndexError(f"there are {len(self.pairs)} scenes, none has the number {index}")
        if index not in self._cache:
            made = self._make(index)
            if made[0].nbytes > self._room:
                return GazeSample(made[0], self.entries[index], made[1], self.entries[index].file)
            self._room -= made[0].nbytes
            self._cache[index] = made
        image, box = self._cache[index]
        return GazeSample(image, self.entries[index], box, self.entries[index].file)

    def _make(self, index: int) -> tuple[UInt8[Tensor, "c h w"], Box]:
        rng = keyed_generator(self.seed, index)
        try:
            left, right = (self.data[i].image for i in self.pairs[index])
        except ImageError as error:
            raise DataError(str(error)) from None
        scene = clutter(self.side, left.shape[0], rng)
        low, high = map(math.log, EYE_SHARE)
        width = self.side * math.exp(rng.uniform(low, high))
        height = width * left.shape[-2] / left.shape[-1]
        gap = width * rng.uniform(*GAP)
        x, y = rng.uniform(0, self.side - 2 * width - gap), rng.uniform(0, self.side - height)
        for eye, at in ((left, x), (right, x + width + gap)):
            # Only the pixels that the picture reaches: those about it are many more.
            x0, y0 = math.floor(at), math.floor(y)
            rows, columns = slice(y0, min(self.side, y0 + math.ceil(height) + 1)), slice(x0, x0 + math.ceil(width) + 1)
            under = scene[:, rows, columns]
            size = (under.shape[-2], under.shape[-1])
            matrix = compose(scaling(width / eye.shape[-1], height / eye.shape[-2]), translation(at - x0, y - y0))
            # What the picture covers of each of the scene's pixels: its edges may lie between them.
            cover = warp(torch.ones(1, *eye.shape[-2:]), matrix, size)
            scene[:, rows, columns] = under * (1 - cover) + warp(eye, matrix, size)
        return scene.round().clamp(0, 255).to(torch.uint8), Box(x, y, x + 2 * width + gap, y + height)


def clutter(side: int, channels: int, rng: np.random.Generator) -> Tensor:
    """A canvas of blurred noise with discs, boxes and strokes of random grey or colour: (channels, side, side) in 0..255."""
    mode = "L" if channels == 1 else "RGB"
    coarse = rng.integers(40, 216, (max(2, side // 48), max(2, side // 48), channels), dtype=np.uint8)
    canvas = Image.fromarray(coarse[..., 0] if channels == 1 else coarse).resize((side, side), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(canvas, mode)
    for _ in range(int(rng.integers(25, 60))):
        colour = tuple(int(v) for v in rng.integers(0, 256, channels))
        (x, y), (w, h) = rng.uniform(0, side, 2), side * np.exp(rng.uniform(np.log(0.01), np.log(0.2), 2))
        corners = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
        kind = rng.integers(4)
        if kind == 0:
            draw.ellipse(corners, fill=colour)
        elif kind == 1:
            draw.rectangle(corners, fill=colour)
        elif kind == 2:
            draw.ellipse(corners, outline=colour, width=1 + int(w // 12))
        else:
            turn, length = rng.uniform(0, 2 * np.pi), side * rng.uniform(0.05, 0.4)
            end = (x + length * np.cos(turn), y + length * np.sin(turn))
            draw.line([(x, y), end], fill=colour, width=1 + int(w // 8))
    pixels = torch.from_numpy(np.array(canvas, dtype=np.float32).reshape(side, side, channels)).permute(2, 0, 1)
    noise = rng.standard_normal((channels, side, side), dtype=np.float32) * rng.uniform(1, 6)
    return (pixels + torch.from_numpy(noise)).clamp(0, 255)
