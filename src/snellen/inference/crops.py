"""From a picture file to canvases, as cheaply as the same pixels can be had.

What training and evaluation do with `snellen.geometry.warp` is done here in an equal form that is faster: the map of a box is a
scale and a shift, so rows and columns can be sampled one after the other. Only the part of the picture that the box shows is
looked at. JPEG files whose box shrinks by 2, 4 or 8 on its way to the canvas are decoded at that
reduced size, and for networks that see grey without their colours, which is what a decoder can do in a fraction of the time
(our choice; it moves no grey level by more than what a JPEG's own errors do).
"""

import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int64, Num, UInt8
from numpy.typing import NDArray
from torch import Tensor

from snellen.geometry import Matrix, scaling, transform_points
from snellen.images import PictureReader, open_picture

__all__ = ["Scaled", "crop", "full_size", "read_scaled"]

_ORIENTATION_TAG = 0x0112
# What Pillow's JPEG decoder and its EXIF reader raise on damaged bytes.
_DAMAGED = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, struct.error)


def crop(
    image: UInt8[NDArray[np.uint8], "h w c"],
    matrix: Matrix,
    size: tuple[int, int],
    *,
    extent: tuple[float, float] | None = None,
) -> Float32[NDArray[np.float32], "c oh ow"]:
    """What `snellen.geometry.warp` answers for a map without rotation, to within rounding.

    Args:
        image: (h, w, c), uint8, channels last as decoders write them.
        matrix: 3x3 map from the image to the canvas: scale and shift alone, as `box_map` makes it.
        size: (height, width) of the canvas.
        extent: height and width of the picture in pixels of `image`, where its last ones reach past the border.

    Returns:
        float32 (c, height, width) in 0..255, black outside of the image.

    Raises:
        ValueError: for a map that turns or mirrors.

    >>> picture = np.full((8, 8, 1), 7, np.uint8)
    >>> crop(picture, np.eye(3), (2, 3))[0]
    array([[7., 7., 7.],
           [7., 7., 7.]], dtype=float32)
    """
    if matrix[0, 1] or matrix[1, 0] or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise ValueError(f"a crop is a scale and a shift; the map {matrix[:2].tolist()} also turns; use geometry.warp")
    h, w = image.shape[:2]
    eh, ew = extent or (float(h), float(w))
    # `warp` takes as many samples along both axes as the one that shrinks more needs.
    shrink = float(1 / min(matrix[0, 0], matrix[1, 1]))
    factor = int(shrink) if shrink >= 2 else 1
    taps = max(1, math.ceil(shrink / factor - 1e-6))
    # As `warp` works it out, to the last bit: which pixels make a block together hangs on how its edges are rounded.
    (oh, ow), inverse = size, np.linalg.inv(matrix).astype(np.float64)
    corners = transform_points(inverse, [[0, 0], [ow, 0], [0, oh], [ow, oh]])
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    rows = _axis(1 / matrix[1, 1], (top, bottom), size[0], h, eh, factor, taps)
    columns = _axis(1 / matrix[0, 0], (left, right), size[1], w, ew, factor, taps)
    part = image[rows.first : rows.last, columns.first : columns.last]
    # Rows first, then columns turned to be rows, so that inner loops are long.
    strip = _sample(part.reshape(part.shape[0], -1), rows, factor).reshape(oh, part.shape[1], -1)
    turned = np.ascontiguousarray(strip.transpose(1, 2, 0)).reshape(part.shape[1], -1)
    return np.ascontiguousarray(_sample(turned, columns, factor).reshape(ow, -1, oh).transpose(1, 2, 0))


class _Axis(NamedTuple):
    """Which pixels of a row (or column) of the picture count how much: those from `first` to `last`, averaged over blocks;
    canvas pixel i is the sum over n of ``weight[n, i]`` times block ``block[n, i]``."""

    first: int
    last: int
    block: Int64[NDArray[np.int64], "n cells"]
    weight: Float32[NDArray[np.float32], "n cells"]


def _axis(
    step: float, edges: tuple[float, float], cells: int, pixels: int, extent: float, factor: int, taps: int
) -> _Axis:
    """Weights for `cells` canvas pixels of `step` picture pixels each between two edges; the picture ends at `extent`."""
    start, stop = edges
    samples = ((np.arange(cells * taps) + 0.5) / taps * step + start).reshape(cells, taps)
    # The share of a sample's footprint that lies on the picture, [0, extent].
    inside = np.clip((extent / 2 - np.abs(samples - extent / 2)) * (taps / step) + 0.5, 0, 1) / taps
    margin = 2 * factor
    first = int(np.clip(math.floor(start) - margin, 0, pixels - 1))
    last = int(np.clip(math.ceil(stop) + margin, first + 1, pixels))
    blocks = -(-(last - first) // factor)
    position = np.clip((samples - first) / factor - 0.5, 0, blocks - 1)
    left = position.astype(np.int64)
    right, fraction = np.minimum(left + 1, blocks - 1), position - left
    index = np.concatenate((left, right), axis=1).T
    weight = np.concatenate((inside * (1 - fraction), inside * fraction), axis=1).T
    return _Axis(first, last, index, np.ascontiguousarray(weight, dtype=np.float32))


def _sample(pixels: Num[NDArray[Any], "n x"], axis: _Axis, factor: int) -> Float32[NDArray[np.float32], "cells x"]:
    """Weighted sums of rows. No matrix product: BLAS would take all cores for it and fight the network for them."""
    if factor > 1:
        short = -len(pixels) % factor
        if short:  # the last block repeats its last row
            pixels = np.concatenate((pixels, pixels[-1:].repeat(short, axis=0)))
        blocks = np.zeros((len(pixels) // factor, pixels.shape[1]), np.float32)
        for i in range(factor):
            blocks += pixels[i::factor]
        pixels = blocks / np.float32(factor)
    found = np.zeros((axis.block.shape[1], pixels.shape[1]), np.float32)
    for index, weight in zip(axis.block, axis.weight, strict=True):
        found += pixels[index] * weight[:, None]
    return found


class Scaled(NamedTuple):
    """A decoded picture.

    Attributes:
        pixels: (h, w, c) uint8; of a reduced picture ceil(height / scale) by ceil(width / scale).
        size: height and width of the picture at full size.
        scale: picture pixels for a pixel of `pixels`: 1, 2, 4 or 8.
    """

    pixels: UInt8[NDArray[np.uint8], "h w c"]
    size: tuple[int, int]
    scale: int = 1

    def canvas(self, matrix: Matrix, size: tuple[int, int]) -> Float32[NDArray[np.float32], "c oh ow"]:
        """`crop` with a map from the picture at full size."""
        extent = (self.size[0] / self.scale, self.size[1] / self.scale)
        return crop(self.pixels, matrix @ scaling(self.scale), size, extent=extent)


def read_scaled(
    path: str | Path,
    channels: int,
    shrink: Callable[[int, int], float],
    reader: PictureReader = PictureReader(),  # noqa: B008  # frozen
) -> Scaled:
    """Decode a picture, JPEG files perhaps at a half, a quarter or an eighth of their size.

    Args:
        path: the file.
        channels: 1 or 3.
        shrink: asked for the picture's height and width: picture pixels for a canvas pixel.
        reader: how it is read.

    Raises:
        ImageError: as `snellen.images.read_image`, which reads everything that is no plain JPEG.
    """
    return _plain_jpeg(path, channels, shrink, reader) or full_size(reader.image(path, channels=channels))


def full_size(image: UInt8[Tensor, "c h w"]) -> Scaled:
    """A tensor as `read_scaled` would answer it."""
    return Scaled(image.permute(1, 2, 0).contiguous().numpy(), (image.shape[-2], image.shape[-1]))


def _plain_jpeg(
    path: str | Path, channels: int, shrink: Callable[[int, int], float], reader: PictureReader
) -> Scaled | None:
    """None for what is no upright JPEG in grey or RGB, and for all that is wrong with a file: `read_image` finds words."""
    try:
        with open(path, "rb") as file:
            if file.read(3) != b"\xff\xd8\xff":
                return None
            file.seek(0)
            with open_picture(file, ("JPEG",)) as image:
                width, height = image.size
                if image.mode not in ("L", "RGB") or width * height > reader.max_pixels:
                    return None
                if image.getexif().get(_ORIENTATION_TAG, 1) != 1:
                    return None
                wanted = 2 ** min(3, max(0, math.floor(math.log2(shrink(height, width)) + 1e-9)))
                mode = "L" if channels == 1 else "RGB"
                # Rounded down, as draft takes the largest reduction that leaves at least this size.
                drafted = image.draft(mode, (max(1, width // wanted), max(1, height // wanted)))
                image.load()
                pixels = np.asarray(image.convert(mode))
    except _DAMAGED:
        return None
    scale = round(width / drafted[1][2]) if drafted else 1
    return Scaled(pixels[..., None] if channels == 1 else pixels, (height, width), scale)
