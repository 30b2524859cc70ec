"""Labelled pictures on canvases: resize, crop, flip and turn as one matrix, then colours and the erased rectangle."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int, UInt8
from numpy.random import Generator
from torch import Tensor

from snellen.config import ClassAugmentConfig
from snellen.data.batches import Canvases, Tensors, moved_box
from snellen.data.classes import ClassificationDataset
from snellen.geometry import Box, Matrix, box_map, compose, hflip, rotation, scaling, translation, warp

__all__ = ["ClassBatch", "ClassificationCanvas", "sample"]

Fit = Literal["crop", "pad", "stretch"]


@dataclass
class ClassBatch(Tensors):
    """Canvases and their classes.

    Attributes:
        image: (b, c, h, w) float32 in 0..255.
        label: (b,) position of the class.
        index: (b,) position in the data set.
        box: (b, 4) where the object is, canvas pixels; NaN where that is not known.
    """

    image: Float[Tensor, "b c h w"]
    label: Int[Tensor, " b"]
    index: Int[Tensor, " b"]
    box: Float[Tensor, "b 4"]


class ClassificationCanvas(Canvases):
    """Labelled pictures drawn on canvases; indexed by (epoch, index) pairs, or by an index for draws made once.

    Args:
        data: the pictures.
        canvas: (height, width) of the canvas, pixels.
        augment: ranges of the random changes; by default there are none, as evaluation has it.
        fit: how a picture of another shape is brought to the canvas before any change: "crop" shows its middle, "pad" shows
            all of it between black borders, "stretch" distorts it.
        zoom: the share of the side that "crop" would show that is shown; 0.875 shows 224 of 256 pixels, as ImageNet
            networks are tested. Where `augment.area` draws a part of the picture, neither `fit` nor `zoom` is used.
        seed: first part of every draw's key.

    Raises:
        ValueError: for values not listed.
    """

    batch = ClassBatch

    def __init__(
        self,
        data: ClassificationDataset,
        canvas: tuple[int, int],
        augment: ClassAugmentConfig | None = None,
        *,
        fit: Fit = "crop",
        zoom: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(len(data), seed=seed)
        if len(canvas) != 2 or min(canvas) < 1:
            raise ValueError(f"canvas={canvas} is not possible; give (height, width), at least one pixel each")
        if fit not in ("crop", "pad", "stretch"):
            raise ValueError(f"fit={fit!r} is not known; give 'crop', 'pad' or 'stretch'")
        if not 0 < zoom <= 1:
            raise ValueError(f"zoom={zoom} is not possible; give a share of the side above 0, up to 1")
        self.data, self.canvas, self.augment = data, (int(canvas[0]), int(canvas[1])), augment or ClassAugmentConfig()
        self.fit: Fit = fit
        self.zoom = zoom

    def draw(self, index: int, rng: Generator) -> dict[str, Any]:
        """See `ClassBatch`."""
        picture = self.data[index]
        matrix = self.draw_map(picture.image.shape[-2], picture.image.shape[-1], rng)
        image = _colours(sample(picture.image, matrix, self.canvas), self.augment, rng)
        return {
            "image": image,
            "label": torch.tensor(picture.label),
            "index": torch.tensor(index),
            "box": moved_box(picture.box, matrix),
        }

    def draw_map(self, height: int, width: int, rng: Generator) -> Matrix:
        """The map from a picture of `height` x `width` pixels to the canvas."""
        oh, ow = self.canvas
        augment = self.augment
        # Every number is drawn whether used or not, so that changing one range does not reshuffle the others.
        area, place_x, place_y, mirror = rng.uniform(size=4).tolist()
        dx, dy, turn, aspect = rng.uniform(-1, 1, size=4).tolist()
        scale = float(rng.uniform(*augment.scale))
        if augment.area == (1.0, 1.0):
            matrix = box_map(self._box(height, width), self.canvas, keep_aspect=self.fit != "stretch")
        else:
            share = augment.area[0] + area * (augment.area[1] - augment.area[0])
            low, high = math.log(augment.aspect[0]), math.log(augment.aspect[1])
            ratio = math.exp((low + high + aspect * (high - low)) / 2) * ow / oh
            # A part that is longer than the picture is cut to it; the usual crop draws again instead.
            w = min(math.sqrt(share * height * width * ratio), width)
            h = min(math.sqrt(share * height * width / ratio), height)
            left, top = place_x * (width - w), place_y * (height - h)
            matrix = box_map(Box(left, top, left + w, top + h), self.canvas, keep_aspect=False)
        changes = [matrix]
        centre = (ow / 2, oh / 2)
        if scale != 1:
            changes.append(scaling(scale, centre=centre))
        if augment.rotate:
            changes.append(rotation(turn * augment.rotate, centre=centre))
        if augment.shift:
            # -n..n pixels, all equally likely.
            steps = [math.floor(augment.shift * side + 1e-9) for side in (ow, oh)]
            moves = [
                min(math.floor((d + 1) / 2 * (2 * n + 1)), 2 * n) - n for d, n in zip((dx, dy), steps, strict=True)
            ]
            changes.append(translation(*moves))
        if mirror < augment.flip:
            changes.append(hflip(ow))
        return compose(*changes)

    def _box(self, height: int, width: int) -> Box:
        """The part of the picture that is shown where nothing is drawn."""
        whole = Box(0.0, 0.0, float(width), float(height))
        if self.fit != "crop":
            return whole.scaled(self.zoom)
        oh, ow = self.canvas
        side = min(width / ow, height / oh) * self.zoom  # picture pixels a canvas pixel
        cx, cy = whole.centre
        return Box(cx - side * ow / 2, cy - side * oh / 2, cx + side * ow / 2, cy + side * oh / 2)


def sample(image: UInt8[Tensor, "c h w"], matrix: Matrix, size: tuple[int, int]) -> Float[Tensor, "c oh ow"]:
    """`snellen.geometry.warp` with black outside; what only moves whole pixels, mirrored or not, is copied exactly.

    Args:
        image: (c, h, w).
        matrix: 3x3 map from image to canvas.
        size: (height, width) of the canvas.

    Returns:
        float32 (c, height, width).
    """
    (a, b, dx), (c, d, dy) = matrix[:2].tolist()
    mirrored = a < 0
    moves = round(dx), round(dy)
    # Plain numbers: numpy's comparisons would cost more than the copy.
    turned = max(abs(abs(a) - 1), abs(b), abs(c), abs(d - 1))
    if turned > 1e-9 or max(abs(dx - moves[0]), abs(dy - moves[1])) > 1e-6:
        return warp(image, matrix, size)
    (oh, ow), (h, w) = size, image.shape[-2:]
    if mirrored:  # x becomes dx - x: the picture mirrored in itself, then moved by dx - w
        image, moves = image.flip(-1), (moves[0] - w, moves[1])
    out = torch.zeros(image.shape[0], oh, ow)
    left, top = max(moves[0], 0), max(moves[1], 0)
    right, bottom = min(moves[0] + w, ow), min(moves[1] + h, oh)
    if right > left and bottom > top:
        out[:, top:bottom, left:right] = image[
            :, top - moves[1] : bottom - moves[1], left - moves[0] : right - moves[0]
        ]
    return out


def _colours(image: Float[Tensor, "c h w"], augment: ClassAugmentConfig, rng: Generator) -> Float[Tensor, "c h w"]:
    """Brightness, contrast, saturation, hue and the erased rectangle on a canvas in 0..255."""
    brightness, contrast, saturation, hue = rng.uniform(-1, 1, size=4).tolist()
    cover, area, aspect, place_x, place_y = rng.uniform(size=5).tolist()
    hue = hue * augment.hue if image.shape[0] == 3 else 0.0
    if augment.brightness or augment.contrast or augment.saturation or hue:
        from torchvision.transforms.v2 import functional as tv

        image = tv.adjust_brightness(image / 255, 1 + brightness * augment.brightness)
        image = tv.adjust_contrast(image, 1 + contrast * augment.contrast)
        image = tv.adjust_saturation(image, 1 + saturation * augment.saturation)
        if hue:
            image = tv.adjust_hue(image, hue)
        image = (image * 255).clamp(0, 255)
    if cover < augment.erase:
        oh, ow = image.shape[-2:]
        share = augment.erase_area[0] + area * (augment.erase_area[1] - augment.erase_area[0])
        low, high = map(math.log, augment.erase_aspect)
        ratio = math.exp(low + aspect * (high - low))
        h = max(1, min(oh, round(math.sqrt(share * oh * ow * ratio))))
        w = max(1, min(ow, round(math.sqrt(share * oh * ow / ratio))))
        top, left = int(place_y * (oh - h + 1)), int(place_x * (ow - w + 1))
        image = image.clone()
        image[:, top : top + h, left : left + w] = image.mean(dim=(1, 2), keepdim=True)
    return image
