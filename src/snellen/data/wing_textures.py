"""Textures of the drawn wings: the membrane's hairs, smooth unevenness, sensor noise.

Each is a constant tile, made when first needed from a fixed seed, of which every image takes a random piece; making
them anew for every image would be slow.
"""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from snellen.geometry import Matrix

Plane = NDArray[np.float32]
Points = NDArray[np.float64]

__all__ = ["GRAIN", "Plane", "Points", "grain_tile", "hairs", "splat", "uneven"]

_TILE = 640  # texture pixels, square, toroidal
GRAIN = 1024  # side of the tile of noise
_TILE_SCALE = 360.0  # texture pixels for one wing length


def splat(xy: Points, weight: NDArray[np.float64], size: tuple[int, int]) -> Plane:
    """Share weights out between the four pixel centres around each point.

    Args:
        xy: (n, 2) pixels; points off the image are dropped.
        weight: (n,) amounts.
        size: (height, width).

    Returns:
        (height, width) float32. The centroid of what one point leaves is the point itself.

    >>> splat(np.array([[1.5, 0.75]]), np.array([1.0]), (2, 3))
    array([[0.  , 0.75, 0.  ],
           [0.  , 0.25, 0.  ]], dtype=float32)
    """
    height, width = size
    # The plane has one pixel of border on each side, which receives what falls beside the image.
    u, v = xy[:, 0] + 0.5, xy[:, 1] + 0.5
    keep = (u >= 0) & (u < width + 1) & (v >= 0) & (v < height + 1)
    u, v, weight = u[keep], v[keep], weight[keep]
    i, j = u.astype(np.int64), v.astype(np.int64)
    fx, fy = u - i, v - j
    row = width + 2
    first = j * row + i
    right, low = weight * fx, weight * fy
    both = right * fy
    index = np.concatenate([first, first + 1, first + row, first + row + 1])
    amount = np.concatenate([weight - right - low + both, right - both, low - both, both])
    plane = np.bincount(index, amount, minlength=row * (height + 2)).reshape(height + 2, row)
    return plane[1:-1, 1:-1].astype(np.float32)


@cache
def _trichomes(level: int) -> Image.Image:
    """A toroidal tile of the membrane's hairs, distal to the right, halved `level` times; grey 128 is the mean."""
    rng = np.random.default_rng(20240612)
    pitch = 5.0
    gx, gy = np.meshgrid(np.arange(0, _TILE, pitch), np.arange(0, _TILE, pitch))
    gx = gx + (np.arange(len(gx))[:, None] % 2) * pitch / 2  # staggered rows, as cells are packed
    roots = np.stack([gx.ravel(), gy.ravel()], axis=1) + rng.normal(0, 0.7, (gx.size, 2))
    t = np.linspace(0, 1, 6)
    angle = rng.normal(0, 0.25, len(roots))
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=1) * rng.uniform(2.5, 4.5, len(roots))[:, None]
    points = (roots[:, None] + t[:, None] * direction[:, None]) % _TILE
    weight = np.broadcast_to(1 - 0.8 * t, points.shape[:2]) * rng.uniform(0.6, 1.4, len(roots))[:, None]
    plane = splat(points.reshape(-1, 2), weight.ravel(), (_TILE, _TILE))
    grey = 128 + 55 * (plane - plane.mean())
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).reduce(2**level)


@cache
def _clouds() -> Image.Image:
    """A 512 x 512 tile of smooth unevenness over several octaves; grey 128 is the mean, 40 one standard deviation."""
    rng = np.random.default_rng(19530425)
    total = np.zeros((512, 512))
    for cells, amount in ((6, 1.0), (13, 0.6), (29, 0.35), (61, 0.2)):
        coarse = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
        total += amount * np.asarray(coarse.resize((512, 512), Image.Resampling.BICUBIC))
    total = (total - total.mean()) / total.std()
    return Image.fromarray(np.clip(128 + 40 * total, 0, 255).astype(np.uint8))


@cache
def grain_tile() -> Plane:
    """A tile of independent standard normal noise, to cut pieces from."""
    return np.random.default_rng(17760704).standard_normal((GRAIN, GRAIN), dtype=np.float32)


def uneven(size: tuple[int, int], extent: float, rng: np.random.Generator) -> Plane:
    """A random piece of `_clouds`, `extent` (up to 1) of its side wide, about zero with standard deviation 1."""
    height, width = size
    w, h = 512 * extent, 512 * extent * min(1.0, height / width)
    x, y = rng.uniform(0, 512 - w), rng.uniform(0, 512 - h)
    piece = _clouds().resize((width, height), Image.Resampling.BILINEAR, box=(x, y, x + w, y + h))
    return (np.asarray(piece, dtype=np.float32) - 128) / np.float32(40)


def hairs(to_pixels: Matrix, length: float, size: tuple[int, int], rng: np.random.Generator) -> Plane:
    """The trichome texture laid on the wing: a random piece of the tile, turned and scaled with it; about zero."""
    level = min(2, max(0, math.floor(math.log2(_TILE_SCALE / length) + 0.35)))
    # From wing units to the tile, at a random place that leaves room for the blade.
    place = np.array([[1, 0, rng.uniform(0.05, 0.6)], [0, 1, rng.uniform(0.4, 1.3)], [0, 0, 1]])
    scale = _TILE_SCALE / 2**level
    from_output = np.diag([scale, scale, 1.0]) @ place @ np.linalg.inv(to_pixels)
    height, width = size
    coefficients = tuple(float(c) for c in from_output[:2].ravel())
    image = _trichomes(level).transform(
        (width, height), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR, fillcolor=128
    )
    return (np.asarray(image, dtype=np.float32) - 128) / np.float32(55)
