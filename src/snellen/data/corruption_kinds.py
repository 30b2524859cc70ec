"""The corruptions of CIFAR-10-C one by one, on numpy arrays: (c, h, w) float64 in 0..1 in and out.

Each takes the picture, its severity's constant and a generator. `snellen.data.corruptions` is the door.
"""

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from snellen.geometry import Matrix, scaling

Array = NDArray[np.float64]

__all__ = ["CIFAR_KINDS", "bilinear", "brighter", "gaussian_filter", "gaussian_noise", "shot_noise"]


def gaussian_noise(x: Array, deviation: float, rng: Generator) -> Array:
    """Noise of a standard deviation, of 1."""
    return x + rng.normal(scale=deviation, size=x.shape) if deviation else x


def shot_noise(x: Array, photons: float, rng: Generator) -> Array:
    """Poisson noise of so many photons in white."""
    return rng.poisson(x * photons) / photons


def _impulse_noise(x: Array, share: float, rng: Generator) -> Array:
    """Salt and pepper, half each, in a share of the values."""
    hit, salt = rng.uniform(size=x.shape) < share, rng.uniform(size=x.shape) < 0.5
    return np.where(hit, salt.astype(np.float64), x)


def _defocus_blur(x: Array, constant: tuple[float, float], _: Generator) -> Array:
    """A disc of a radius, its edge softened by a 3x3 Gaussian."""
    radius, edge = constant
    reach = math.ceil(radius) + 1
    grid = np.arange(-reach, reach + 1)
    disc = (grid[:, None] ** 2 + grid**2 <= radius**2).astype(np.float64)
    side = math.exp(-1 / (2 * edge**2))
    soft = np.array([side, 1, side]) / (1 + 2 * side)
    for axis in (0, 1):
        disc = np.apply_along_axis(np.convolve, axis, disc, soft, "same")
    disc /= disc.sum()
    h, w = x.shape[1:]
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach)), mode="reflect")
    out = np.zeros_like(x)
    for i, j in np.argwhere(disc > 0):
        out += disc[i, j] * padded[:, i : i + h, j : j + w]
    return out


def _gaussian_blur(x: Array, deviation: float, _: Generator) -> Array:
    return gaussian_filter(x, deviation, "edge")


def gaussian_filter(x: Array, deviation: float, border: Any, truncate: float = 4.0) -> Array:
    """Gaussian of `deviation` pixels along the last two axes; `border` is a mode of numpy's pad."""
    reach = int(truncate * deviation + 0.5)
    if not reach:
        return x
    taps = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * deviation**2))
    taps /= taps.sum()
    for axis in (-2, -1):
        pads = [(0, 0)] * x.ndim
        pads[axis] = (reach, reach)
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, pads, mode=border), 2 * reach + 1, axis=axis)
        x = windows @ taps
    return x


def _motion_blur(x: Array, constant: tuple[int, float], rng: Generator) -> Array:
    """One-sided Gaussian along a direction within 45 degrees of the horizontal, in whole pixels; borders are repeated."""
    radius, deviation = constant
    angle = math.radians(rng.uniform(-45, 45))
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * deviation**2))
    weights /= weights.sum()
    h, w = x.shape[1:]
    out = np.zeros_like(x)
    for step, weight in zip(steps.tolist(), weights.tolist(), strict=True):
        rows = np.clip(np.arange(h) + round(step * math.sin(angle)), 0, h - 1)
        columns = np.clip(np.arange(w) + round(step * math.cos(angle)), 0, w - 1)
        out += weight * x[:, rows[:, None], columns]
    return out


def _zoom_blur(x: Array, constant: tuple[float, float], _: Generator) -> Array:
    """The mean of the picture and of its zooms from 1 up to a factor, in steps."""
    end, step = constant
    zooms = 1 + step * np.arange(round((end - 1) / step))
    h, w = x.shape[1:]
    out = x.copy()
    for zoom in zooms.tolist():
        out += bilinear(x, scaling(1 / zoom, centre=(w / 2, h / 2)))
    return out / (len(zooms) + 1)


def bilinear(x: Array, back: Matrix, offsets: tuple[Array, Array] | None = None) -> Array:
    """Sample a picture (c, h, w) bilinearly, mirrored beyond its border.

    Args:
        x: the picture.
        back: 3x3 map from result to source coordinates (pixels, the convention of `snellen.geometry`).
        offsets: (h, w) further pixels along x and y, added behind the map.
    """
    h, w = x.shape[1:]
    rows, columns = np.mgrid[:h, :w] + 0.5
    xs = back[0, 0] * columns + back[0, 1] * rows + back[0, 2] - 0.5
    ys = back[1, 0] * columns + back[1, 1] * rows + back[1, 2] - 0.5
    if offsets is not None:
        xs, ys = xs + offsets[0], ys + offsets[1]
    # Sampling the very middle of a pixel gives it back exactly.
    left, top = np.floor(xs + 1e-9).astype(int), np.floor(ys + 1e-9).astype(int)
    fx, fy = np.maximum(xs - left, 0), np.maximum(ys - top, 0)
    x0, x1, y0, y1 = _mirror(left, w), _mirror(left + 1, w), _mirror(top, h), _mirror(top + 1, h)
    above = x[:, y0, x0] * (1 - fx) + x[:, y0, x1] * fx
    below = x[:, y1, x0] * (1 - fx) + x[:, y1, x1] * fx
    return np.asarray(above * (1 - fy) + below * fy)


def _mirror(index: NDArray[Any], size: int) -> NDArray[Any]:
    """Indices beyond 0..size-1 come back, the border's pixel not repeated."""
    if size == 1:
        return np.zeros_like(index)
    index = np.abs(index) % (2 * size - 2)
    return np.minimum(index, 2 * size - 2 - index)


def _fog(x: Array, constant: tuple[float, float], rng: Generator) -> Array:
    amount, decay = constant
    h, w = x.shape[1:]
    side = 1 << max(1, (max(h, w) - 1).bit_length())
    highest = x.max()
    return (x + amount * _plasma(side, decay, rng)[:h, :w]) * highest / (highest + amount)


def _plasma(side: int, decay: float, rng: Generator) -> Array:
    """A cloud by the diamond-square algorithm on a torus: (side, side) in 0..1, `side` a power of two."""
    cloud = np.zeros((side, side))
    step, wobble = side, 100.0

    def mean(total: Array) -> Array:
        return total / 4 + wobble * rng.uniform(-wobble, wobble, size=total.shape)

    while step >= 2:
        half = step // 2
        corners = cloud[::step, ::step]
        total = corners + np.roll(corners, -1, axis=0)
        cloud[half::step, half::step] = mean(total + np.roll(total, -1, axis=1))
        middles, corners = cloud[half::step, half::step], cloud[::step, ::step]
        cloud[::step, half::step] = mean(middles + np.roll(middles, 1, axis=0) + corners + np.roll(corners, -1, axis=1))
        cloud[half::step, ::step] = mean(middles + np.roll(middles, 1, axis=1) + corners + np.roll(corners, -1, axis=0))
        step, wobble = half, wobble / decay
    cloud -= cloud.min()
    return np.asarray(cloud / cloud.max())


def brighter(x: Array, amount: float, _: Generator | None = None) -> Array:
    """Add to the value of hue, saturation and value, which scales the three colours alike."""
    value = x.max(axis=0, keepdims=True)
    wanted = np.clip(value + amount, 0, 1)
    # Black has no hue and becomes grey.
    return np.where(value > 0, x * wanted / np.where(value > 0, value, 1), wanted)


def _saturate(x: Array, constant: tuple[float, float], _: Generator) -> Array:
    """Scale the saturation of hue, saturation and value, and add to it; a grey pixel counts as red."""
    factor, amount = constant
    if x.shape[0] == 1:
        return x
    value, low = x.max(axis=0, keepdims=True), x.min(axis=0, keepdims=True)
    spread = value - low
    saturation = np.where(value > 0, spread / np.where(value > 0, value, 1), 0)
    wanted = np.clip(saturation * factor + amount, 0, 1)
    # How far each colour lies below the brightest, from 0 to 1.
    distance = np.where(spread > 0, (value - x) / np.where(spread > 0, spread, 1), np.array([0, 1, 1])[:, None, None])
    return np.asarray(value * (1 - wanted * distance))


def _contrast(x: Array, factor: float, _: Generator) -> Array:
    mean = x.mean(axis=(1, 2), keepdims=True)
    return np.asarray((x - mean) * factor + mean)


def _jpeg(x: Array, quality: int, _: Generator) -> Array:
    stored = io.BytesIO()
    _picture(x).save(stored, "JPEG", quality=quality)
    return _array(Image.open(stored))


def _pixelate(x: Array, factor: float, _: Generator) -> Array:
    """Fewer pixels, by averaging, and as many as before again."""
    h, w = x.shape[1:]
    small = (max(1, int(w * factor)), max(1, int(h * factor)))
    return _array(_picture(x).resize(small, Image.Resampling.BOX).resize((w, h), Image.Resampling.BOX))


def _elastic(x: Array, constant: tuple[float, float, float], rng: Generator) -> Array:
    """A random affine map of three points, and smooth random offsets behind it, sampled in one go."""
    strength, deviation, affine = constant
    h, w = x.shape[1:]
    side = min(h, w) // 3
    cx, cy = w // 2, h // 2
    points = np.array([[cx + side, cy + side], [cx + side, cy - side], [cx - side, cy - side]], dtype=np.float64)
    moved = points + rng.uniform(-affine, affine, size=points.shape)
    offsets = [rng.uniform(-1, 1, size=(h, w)) for _ in "xy"]
    ones = np.ones((3, 1))
    # The map that takes `moved` back to `points`, for column vectors.
    back = np.vstack([np.linalg.solve(np.hstack([moved, ones]), points).T, [0, 0, 1]]) if side else np.eye(3)
    dx, dy = (gaussian_filter(o, deviation, "symmetric", truncate=3.0) * strength for o in offsets)
    return bilinear(x, back, (dx, dy))


def _picture(x: Array) -> Image.Image:
    pixels = np.clip(np.rint(x * 255), 0, 255).astype(np.uint8)
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))


def _array(picture: Image.Image) -> Array:
    pixels = np.asarray(picture, dtype=np.float64) / 255
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


#: Kind -> how it is done, and its constants at severities 1 to 5: those of CIFAR-10-C. Lengths are in pixels of 32.
CIFAR_KINDS: dict[str, tuple[Callable[[Array, Any, Generator], Array], tuple[Any, ...]]] = {
    "gaussian_noise": (gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "shot_noise": (shot_noise, (500, 250, 100, 75, 50)),
    "impulse_noise": (_impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
    "defocus_blur": (_defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))),
    "gaussian_blur": (_gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1)),
    "motion_blur": (_motion_blur, ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))),
    "zoom_blur": (_zoom_blur, ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01))),
    "fog": (_fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),
    "brightness": (brighter, (0.05, 0.1, 0.15, 0.2, 0.3)),
    "contrast": (_contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    "saturate": (_saturate, ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2))),
    "pixelate": (_pixelate, (0.95, 0.9, 0.85, 0.75, 0.65)),
    "jpeg_compression": (_jpeg, (80, 65, 58, 50, 40)),
    "elastic_transform": (
        _elastic,
        ((0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)),
    ),
}
