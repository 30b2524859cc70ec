"""The one pixel convention: affine maps for images and points, boxes, warping.

Continuous image coordinates: x to the right, y downwards, the top-left *corner* of the image is (0, 0), the centre of
the top-left pixel is (0.5, 0.5), and the image covers [0, W] x [0, H]::

      0     1     2     3  = W
    0 +-----+-----+-----+
      |  .  |  .  |  .  |        . = pixel centres (0.5, 0.5), (1.5, 0.5), ...
    1 +-----+-----+-----+

Then resizing by s is ``x * s``, a horizontal flip is ``W - x`` and a normalised grid coordinate is ``2 * x / W - 1``
(torch's ``align_corners=False``). Readers of file formats convert to this convention at the door; nothing inside adds
half a pixel by hand.

A map is a 3x3 float64 matrix that multiplies column vectors (x, y, 1) and goes from source to result coordinates. The
same matrix moves the points (`transform_points`) and the image (`warp`), so the two cannot drift apart.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Matrix = NDArray[np.float64]

__all__ = [
    "Box",
    "Matrix",
    "box_map",
    "box_of_points",
    "compose",
    "hflip",
    "rotation",
    "scaling",
    "transform_points",
    "translation",
    "warp",
]

#: Above what is lost to rounding when a sample's distance to the image's edge is counted in footprints.
_ROUNDING = 1e-3


class Box(NamedTuple):
    """An axis-aligned box in continuous image coordinates: left, top, right, bottom, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Right minus left, in pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Bottom minus top, in pixels."""
        return self.bottom - self.top

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of the box, (x, y)."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def scaled(self, factor: float) -> "Box":
        """The box grown (or shrunk) about its centre by `factor`."""
        (cx, cy), w, h = self.centre, self.width * factor / 2, self.height * factor / 2
        return Box(cx - w, cy - h, cx + w, cy + h)

    def shifted(self, dx: float, dy: float) -> "Box":
        """The box moved by (dx, dy) pixels."""
        return Box(self.left + dx, self.top + dy, self.right + dx, self.bottom + dy)

    def inside(self, width: float, height: float) -> "Box":
        """The box moved, and only where it is too large shrunk, so that it lies inside a `width` x `height` image."""
        w, h = min(self.width, width), min(self.height, height)
        left = min(max(self.left + (self.width - w) / 2, 0.0), width - w)
        top = min(max(self.top + (self.height - h) / 2, 0.0), height - h)
        return Box(left, top, left + w, top + h)


def translation(dx: float, dy: float) -> Matrix:
    """The map x + dx, y + dy."""
    return np.array([[1.0, 0.0, dx], [0.0, 1.0, dy], [0.0, 0.0, 1.0]])


def scaling(sx: float, sy: float | None = None, *, centre: tuple[float, float] = (0.0, 0.0)) -> Matrix:
    """Scale by `sx` (and `sy`, by default the same) about `centre`."""
    sy = sx if sy is None else sy
    cx, cy = centre
    return np.array([[sx, 0.0, cx - sx * cx], [0.0, sy, cy - sy * cy], [0.0, 0.0, 1.0]])


def rotation(degrees: float, *, centre: tuple[float, float] = (0.0, 0.0)) -> Matrix:
    """Rotate by `degrees` about `centre`; positive turns the x axis towards the y axis (clockwise on the screen)."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    cx, cy = centre
    return np.array([[c, -s, cx - c * cx + s * cy], [s, c, cy - s * cx - c * cy], [0.0, 0.0, 1.0]])


def hflip(width: float) -> Matrix:
    """Mirror left and right in an image of `width` pixels: x becomes width - x."""
    return np.array([[-1.0, 0.0, width], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def compose(*maps: Matrix) -> Matrix:
    """One map that applies `maps` in the order given, the first one first."""
    result = np.eye(3)
    for m in maps:
        result = m @ result
    return result


def transform_points(matrix: Matrix, xy: ArrayLike) -> NDArray[np.float64]:
    """Apply a map to points.

    Args:
        matrix: 3x3 map.
        xy: points (..., 2), pixels. NaN stays NaN.

    Returns:
        The moved points (..., 2), float64.

    >>> transform_points(scaling(2.0), [[0.5, 0.5]])
    array([[1., 1.]])
    """
    points = np.asarray(xy, dtype=np.float64)
    return points @ matrix[:2, :2].T + matrix[:2, 2]


def box_of_points(xy: ArrayLike) -> Box:
    """The tight box around the finite points of `xy` (..., 2).

    Raises:
        ValueError: where no point is finite.
    """
    points = np.asarray(xy, dtype=np.float64).reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        raise ValueError("no finite point to put a box around; give a box, or use the whole image")
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return Box(float(left), float(top), float(right), float(bottom))


def box_map(box: Box, size: tuple[int, int], *, keep_aspect: bool = True) -> Matrix:
    """The map from an image to a canvas that shows `box`.

    Args:
        box: the region to show, pixels of the source image; may reach outside it.
        size: (height, width) of the canvas.
        keep_aspect: True fits the whole box in without distortion, centred; False stretches it to the canvas.

    >>> transform_points(box_map(Box(10, 10, 30, 30), (80, 80)), [[10, 10], [30, 30]])
    array([[ 0.,  0.],
           [80., 80.]])
    """
    height, width = size
    if not (box.width > 0 and box.height > 0):
        raise ValueError(f"box {tuple(box)} is empty; right must exceed left and bottom must exceed top")
    sx, sy = width / box.width, height / box.height
    if keep_aspect:
        sx = sy = min(sx, sy)
    cx, cy = box.centre
    return compose(translation(-cx, -cy), scaling(sx, sy), translation(width / 2, height / 2))


def warp(
    image: Num[Tensor, "c h w"],
    matrix: Matrix,
    size: tuple[int, int],
    *,
    fill: float = 0.0,
) -> Float[Tensor, "c oh ow"]:
    """Sample an image once through a map, anti-aliased where the map shrinks.

    Where the map shrinks by a factor of s, the source is first averaged over floor(s) x floor(s) blocks and each output
    pixel then averages ceil of the rest, squared, bilinear samples: a box filter over the pixel's footprint.

    Args:
        image: (c, h, w), any number type and range.
        matrix: 3x3 map from source to output coordinates (pixels, this module's convention).
        size: (height, width) of the output.
        fill: the value outside the source image, which fades over one output pixel at its edge.

    Returns:
        float32 (c, height, width) in the range of the input.
    """
    source = image.to(torch.float32)
    height, width = source.shape[-2:]
    inverse: Matrix = np.linalg.inv(matrix).astype(np.float64)
    # Source pixels per output pixel: the longest side of an output pixel's footprint.
    shrink = float(np.linalg.norm(inverse[:2, :2], axis=0).max())
    taps = max(1, math.ceil((shrink / int(shrink) if shrink >= 2.0 else shrink) - 1e-6))
    oh, ow = size
    xs = (torch.arange(ow * taps, dtype=torch.float32) + 0.5) / taps
    ys = (torch.arange(oh * taps, dtype=torch.float32) + 0.5) / taps
    inside = _inside(inverse, xs, ys, width, height, taps)
    if shrink >= 2.0:
        source, inverse = _reduce(source, inverse, size, int(shrink))
    grid = _grid(inverse, xs, ys, source.shape[-1], source.shape[-2])
    out = F.grid_sample(source[None], grid[None], mode="bilinear", padding_mode="border", align_corners=False)
    if inside is not None:
        out = out.mul_(inside)
        if fill:
            out += fill * (1 - inside)
    return F.avg_pool2d(out, taps)[0] if taps > 1 else out[0]


def _grid(inverse: Matrix, xs: Tensor, ys: Tensor, width: int, height: int) -> Float[Tensor, "oh ow 2"]:
    """Where output positions lie in the source, as grid_sample wants it: 2 x / W - 1 and 2 y / H - 1."""
    theta = np.array([[2.0 / width, 0.0, -1.0], [0.0, 2.0 / height, -1.0], [0.0, 0.0, 1.0]]) @ inverse
    grid = torch.empty(len(ys), len(xs), 2)
    for axis, (a, b, c) in enumerate(theta[:2].tolist()):
        torch.add(a * xs[None, :], b * ys[:, None], out=grid[..., axis]).add_(c)
    return grid


def _inside(
    inverse: Matrix, xs: Tensor, ys: Tensor, width: int, height: int, taps: int
) -> Float[Tensor, "oh ow"] | None:
    """How much of each sample's footprint lies inside the image, which covers [0, W] x [0, H]; None where all of all do."""
    across, down = (float(length) / taps for length in np.linalg.norm(inverse[:2, :2], axis=1))
    steepness = (width / 2 / across, height / 2 / down)
    # The map is affine, so the samples that reach furthest out are those in the corners.
    corners = _grid(inverse, xs[[0, -1]], ys[[0, -1]], width, height).abs().amax(dim=(0, 1)).tolist()
    reaching = [i for i in range(2) if (1 - corners[i]) * steepness[i] < 0.5 + _ROUNDING]
    if not reaching:
        return None
    grid = _grid(inverse, xs, ys, width, height)
    shares = [grid[..., i].abs().neg_().add_(1).mul_(steepness[i]).add_(0.5).clamp_(0, 1) for i in reaching]
    return shares[0] if len(shares) == 1 else shares[0].mul_(shares[1])


def _reduce(source: Tensor, inverse: Matrix, size: tuple[int, int], factor: int) -> tuple[Tensor, Matrix]:
    """Average the part of `source` that the output sees over factor x factor blocks; returns it and the new inverse."""
    oh, ow = size
    corners = transform_points(inverse, [[0, 0], [ow, 0], [0, oh], [ow, oh]])
    h, w = source.shape[-2:]
    margin = 2 * factor
    left, top = np.clip(np.floor(corners.min(axis=0)) - margin, 0, [w, h]).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)) + margin, 0, [w, h]).astype(int)
    if right <= left or bottom <= top:  # the output lies outside the image
        return source.new_zeros((source.shape[0], 1, 1)), inverse
    part = source[:, top:bottom, left:right]
    if part.shape[-1] % factor or part.shape[-2] % factor:
        # Repeats the last pixels to a multiple: `warp` weighs what lies outside the image.
        part = F.pad(part[None], (0, -part.shape[-1] % factor, 0, -part.shape[-2] % factor), mode="replicate")[0]
    reduced = F.avg_pool2d(part[None], factor)[0]
    return reduced, scaling(1.0 / factor) @ translation(-float(left), -float(top)) @ inverse
