"""What may lie over a wing on a slide: debris, an air bubble, a paper label."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["KINDS", "Occluder", "paint_occluder"]

KINDS = ("debris", "bubble", "label")


@dataclass(frozen=True)
class Occluder:
    """One occluder.

    Attributes:
        kind: one of `KINDS`.
        centre: (x, y) pixels.
        outline: (n, 2) pixels, its rim.
    """

    kind: str
    centre: NDArray[np.float64]
    outline: NDArray[np.float64]

    def covers(self, xy: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of the points (k, 2) lie inside the rim."""
        start, end = self.outline, np.roll(self.outline, -1, axis=0)
        x, y = xy[:, None, 0], xy[:, None, 1]
        # Even-odd rule: a ray to the right crosses the rim an odd number of times from inside.
        spans = (start[:, 1] > y) != (end[:, 1] > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = start[:, 0] + (y - start[:, 1]) * (end[:, 0] - start[:, 0]) / (end[:, 1] - start[:, 1])
        return (spans & (x < crossing)).sum(axis=1) % 2 == 1

    @classmethod
    def sample(cls, around: NDArray[np.float64], unit: float, rng: np.random.Generator) -> "Occluder":
        """A random occluder over the point `around` (2,); `unit` is 1 at 256 pixels width."""
        kind = KINDS[rng.integers(len(KINDS))]
        radius = rng.uniform(10, 24) * unit
        turn = rng.uniform(0, 2 * np.pi)
        if kind == "label":
            half = np.array([radius * rng.uniform(1.0, 1.5), radius * rng.uniform(0.5, 0.8)])
            shape = half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
            turn = rng.uniform(-0.3, 0.3)
        else:
            angle = np.arange(48) * (2 * np.pi / 48)
            rough = 0.035 if kind == "bubble" else 0.25
            harmonics = np.arange(1, 14 if kind == "debris" else 3)
            amount = rng.normal(0, rough, len(harmonics)) / harmonics
            phase = rng.uniform(0, 2 * np.pi, len(harmonics))
            r = radius * (1 + (amount * np.cos(np.outer(angle, harmonics) + phase)).sum(axis=1))
            r = np.maximum(r, radius * 0.4)
            shape = r[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        turned = shape @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        # Off centre, but never so far that the point is uncovered.
        shift = rng.uniform(-0.3, 0.3, 2) * radius
        return cls(kind, around + shift, turned + around + shift)


def paint_occluder(image: NDArray[np.float32], occluder: Occluder, unit: float, rng: np.random.Generator) -> None:
    """Paint an occluder over an image (3, h, w) of grey levels, in place."""
    height, width = image.shape[1:]
    pad = 4 * unit
    left, top = np.maximum(np.floor(occluder.outline.min(axis=0) - pad), 0).astype(int)
    right, bottom = np.minimum(np.ceil(occluder.outline.max(axis=0) + pad), (width, height)).astype(int)
    if right <= left or bottom <= top:
        return
    w, h = int(right - left), int(bottom - top)
    fine = 4

    def fill(outline: NDArray[np.float64]) -> NDArray[np.float32]:
        mask = Image.new("L", (w * fine, h * fine))
        corners = np.floor((outline - (left, top)) * fine).astype(int)
        ImageDraw.Draw(mask).polygon(corners.ravel().tolist(), fill=255)
        return np.asarray(mask.reduce(fine), dtype=np.float32) / np.float32(255)

    def soften(plane: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
        grey = Image.fromarray((plane * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
        return np.asarray(grey, dtype=np.float32) / np.float32(255)

    part = image[:, top:bottom, left:right]
    # The light that falls here: whatever is brightest beneath.
    back = np.percentile(part[:, ::2, ::2], 90, axis=(1, 2)).astype(np.float32)[:, None, None]
    whole = fill(occluder.outline)
    inner = fill(occluder.centre + (occluder.outline - occluder.centre) * 0.8)
    rough = np.zeros((h, w), dtype=np.float32)
    for cell, amount in ((8.0, 0.8), (3.5, 0.5), (1.7, 0.4)):  # in nominal pixels
        cells = [max(2, round(side / (cell * unit))) for side in (h, w)]
        coarse = Image.fromarray(rng.standard_normal(cells).astype(np.float32))
        rough += amount * np.asarray(coarse.resize((w, h), Image.Resampling.BICUBIC))
    if occluder.kind == "debris":
        colour = back * np.array([[[0.42]], [[0.34]], [[0.26]]], dtype=np.float32) * np.float32(rng.uniform(0.6, 1.3))
        depth = soften(inner, 3 * unit)
        body = colour * (1.25 - 0.45 * depth + 0.16 * rough)
        alpha = soften(whole, 0.5 * unit)
    elif occluder.kind == "bubble":
        # Air in the mounting medium: the rim refracts light away and is dark, the middle is bright.
        rim = whole * (1 - soften(inner, 1.2 * unit))
        glint = soften(fill(occluder.centre + (occluder.outline - occluder.centre) * 0.3 - 0.35 * unit), 2 * unit)
        body = back * (0.97 + 0.02 * rough - 0.75 * rim + 0.08 * glint)
        alpha = soften(whole, 0.4 * unit)
    else:
        paper = np.array([[[238]], [[235]], [[226]]], dtype=np.float32) * np.float32(rng.uniform(0.8, 1.0))
        body = paper * (1 + 0.015 * rough) * (1 - 0.8 * _writing(occluder, (left, top), (h, w), unit, rng))
        shadow = soften(whole, 2 * unit)
        part *= 1 - 0.35 * shadow
        alpha = whole
    part += alpha * (np.maximum(body, 0) - part)


def _writing(
    label: Occluder, corner: tuple[int, int], size: tuple[int, int], unit: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Ink on a label: two lines of scribble, (h, w), 0 to 1."""
    h, w = size
    fine = 4
    ink = Image.new("L", (w * fine, h * fine))
    pen = ImageDraw.Draw(ink)
    a, b, _, d = label.outline
    for row in (0.32, 0.68):
        t = np.linspace(0.12, rng.uniform(0.6, 0.88), 34)
        up = row + rng.normal(0, 0.075, len(t))
        line = (a + t[:, None] * (b - a) + up[:, None] * (d - a) - corner) * fine
        pen.line(
            [(float(x), float(y)) for x, y in line], fill=255, width=max(1, round(0.7 * fine * unit)), joint="curve"
        )
    return np.asarray(ink.reduce(fine), dtype=np.float32) / np.float32(255)
