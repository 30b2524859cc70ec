"""Drawing a wing the way a bright-field microscope shows it.

Light passes through the specimen, so everything adds up as optical density and the picture is light * exp(-density)
(Beer-Lambert), a little stronger in blue than in red because cuticle is brown. Lines are not drawn by a rasteriser, whose
coordinates are whole pixels: each ribbon is filled with small patches of area that are shared out between the four nearest
pixel centres. A line's centre is then exact to rounding error, wherever it runs.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from snellen.data.wing_anatomy import WIDTHS, knot_position

Plane = NDArray[np.float32]

__all__ = ["Occluder", "draw_wing", "ribbons", "splat"]

_TILE_SCALE = 360.0  # texture pixels for one wing length
_TILE = 640


@dataclass(frozen=True)
class Occluder:
    """Something that lies over the wing: what it is and where, in pixels."""

    kind: str
    centre: tuple[float, float]
    radius: float


def splat(xy: NDArray[np.float64], weight: NDArray[np.float64], size: tuple[int, int]) -> Plane:
    """Share weights out between the four pixel centres around each point.

    Args:
        xy: (n, 2) pixels; points off the image are dropped.
        weight: (n,) amounts.
        size: (height, width).

    Returns:
        (height, width) float32. The centroid of what one point leaves is the point itself.
    """
    height, width = size
    # One pixel of border on each side receives what falls beside the image.
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
