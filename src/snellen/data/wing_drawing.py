"""Drawing a wing the way a bright-field microscope shows it.

Light passes through the specimen, so everything adds up as optical density and the picture is light * exp(-density)
(Beer-Lambert), a little stronger in blue than in red because cuticle is brown. Veins are not drawn by a rasteriser,
whose coordinates are whole pixels: each ribbon is filled with small patches of area that are shared out between the
four nearest pixel centres. A vein's centre line is then exact to rounding error, wherever it runs.
"""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from snellen.data.wing_anatomy import CURVES, WIDTHS, curve_points, curve_steps, knot_position
from snellen.data.wing_textures import GRAIN, Plane, Points, grain_tile, hairs, splat, uneven
from snellen.geometry import Matrix, transform_points

__all__ = ["blurred", "draw_specimen", "expose", "photograph", "ribbon", "vein_coverage"]

# Pieces of the hinge, in wing units: start, end, (half-width, unused).
_SCLERITES = np.array(
    [
        [(-0.035, -0.034), (0.075, -0.056), (0.014, 0)],
        [(-0.050, -0.014), (0.070, -0.020), (0.013, 0)],
        [(-0.040, 0.008), (0.060, 0.006), (0.012, 0)],
        [(-0.030, -0.030), (-0.005, 0.035), (0.011, 0)],
        [(-0.055, -0.010), (-0.020, 0.015), (0.012, 0)],
    ]
)


def ribbon(
    line: Points, step: Points, half_width: NDArray[np.float64], across: int
) -> tuple[Points, NDArray[np.float64]]:
    """Patches that fill a ribbon around a curve.

    Args:
        line: (n, 2) points on the curve, pixels.
        step: (n, 2) the piece of the curve that each point stands for, pixels.
        half_width: (n,) pixels.
        across: patches across the ribbon.

    Returns:
        centres (n * across, 2) and areas (n * across) in square pixels.
    """
    length = np.hypot(step[:, 0], step[:, 1])
    normal = np.stack([-step[:, 1], step[:, 0]], axis=1) / np.maximum(length, 1e-9)[:, None]
    offset = (np.arange(across) + 0.5) / across * 2 - 1
    centres = line[:, None] + (half_width[:, None] * offset)[..., None] * normal[:, None]
    # The walls of a vein, a tube, are seen edge-on and look darker than its middle.
    wall = 1 + 0.35 * (offset**2 - (offset**2).mean())
    areas = (length * half_width * 2 / across)[:, None] * wall
    return centres.reshape(-1, 2), areas.ravel()


@cache
def _half_widths(samples: int) -> NDArray[np.float64]:
    """Half-width, in wing lengths, at every point that `curve_steps` gives."""
    result = []
    for name in CURVES:
        widths = WIDTHS[name]
        at = np.arange(len(widths)) * samples
        half = np.interp(np.arange(at[-1] + 1), at, np.array(widths) / 1000)
        if name == "margin":
            # The costa is broken where it meets the humeral crossvein: a short pinch marks the landmark.
            away = (np.arange(len(half)) - knot_position("margin", "costal_break", samples)) / samples
            half *= 1 - 0.6 * np.exp(-((away / 0.1) ** 2))
        result.append(half)
    return np.concatenate(result)


def _samples(length: float) -> int:
    """Points in each span between two knots, so that the longest span is sampled about every 0.8 pixel."""
    return 8 * max(1, math.ceil(length / 40))


def vein_coverage(knots: Points, length: float, size: tuple[int, int]) -> Plane:
    """How much of each pixel is covered by veins and margin.

    Args:
        knots: (N, 2) the wing's knots, pixels.
        length: the wing's length, pixels; it sets the veins' widths.
        size: (height, width).

    Returns:
        (height, width) float32 from 0 to 1.
    """
    samples = _samples(length)
    line, step = curve_steps(knots, samples)
    # Below a third of a pixel a vein would vanish; optics never let it look thinner than that.
    half_width = np.maximum(_half_widths(samples) * length, 0.3)
    return np.minimum(splat(*ribbon(line, step, half_width, 3 + math.ceil(length / 100)), size), 1.0)


def _bristles(
    margin: Points, samples: int, length: float, mirrored: bool, size: tuple[int, int], rng: np.random.Generator
) -> Plane:
    """Density of the bristles: stout ones along the costa to the end of L3, fine hairs along the hind margin."""
    l2, l3, notch = (knot_position("margin", k, samples) for k in ("l2_end", "l3_end", "m_notch"))
    start = knot_position("margin", "m_base", samples)
    count = 230
    where = np.sort(rng.uniform(start, len(margin) - 2, count))
    base = where.astype(np.int64)
    root = margin[base] + (where - base)[:, None] * (margin[base + 1] - margin[base])
    along = margin[base + 1] - margin[base]
    along /= np.hypot(along[:, 0], along[:, 1])[:, None]
    # Running from the hinge round the tip, outside is to the left of the way; a mirrored wing has it to the right.
    outward = np.stack([along[:, 1], -along[:, 0]], axis=1) * (-1 if mirrored else 1)
    front = where < l3
    stout = np.where(where < l2, 1.0, np.where(front, 0.6, 0.22))
    reach = length * np.where(front, 0.017, np.where(where < notch, 0.013, 0.02)) * rng.uniform(0.7, 1.2, count)
    # Bristles lean towards the tip, hence backwards along the way once past it.
    lean = np.where(front, 0.9, -0.5) + rng.normal(0, 0.25, count)
    steps = max(4, math.ceil(length * 0.03))
    t = (np.arange(steps) + 0.5) / steps
    direction = outward + lean[:, None] * along
    points = root[:, None] + (t[:, None] * reach[:, None, None]) * direction[:, None]
    thickness = np.maximum(length * 0.0045, 0.5) * (1 - 0.7 * t)
    weight = (stout * reach * np.hypot(1, lean) / steps)[:, None] * thickness
    return splat(points.reshape(-1, 2), weight.ravel(), size)


def _polygon(outline: Points, size: tuple[int, int], fine: int = 4) -> Plane:
    """Coverage of a polygon (n, 2), pixels: filled on a grid `fine` times finer and averaged; 0 to 1."""
    height, width = size
    mask = Image.new("L", (width * fine, height * fine))
    # PIL wants the index of the pixel that a corner lies in: x * fine - 0.5, rounded.
    corners = np.floor(outline * fine).astype(int)
    ImageDraw.Draw(mask).polygon(corners.ravel().tolist(), fill=255)
    return np.asarray(mask.reduce(fine), dtype=np.float32) / np.float32(255)


def blurred(plane: Plane, sigma: float) -> Plane:
    """Gaussian blur in float, so that it neither moves nor rounds a line; the edge pixel repeats outside."""
    reach = max(1, math.ceil(2.5 * sigma))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2)
    weights = (taps / taps.sum()).astype(np.float32)
    for axis in (0, 1):
        length = plane.shape[axis]
        pad = [(0, 0), (0, 0)]
        pad[axis] = (reach, reach)
        wide = np.pad(plane, pad, mode="edge")
        parts = [wide[k : k + length] if axis == 0 else wide[:, k : k + length] for k in range(2 * reach + 1)]
        plane = weights[reach] * parts[reach]
        for k in range(reach):  # the kernel is symmetric: one product for two taps
            plane += weights[k] * (parts[k] + parts[-1 - k])
    return plane


def _halo(coverage: Plane, sigma: float) -> Plane:
    """A wide, cheap blur of a coverage from 0 to 1: at a third of the size, to 1/255."""
    height, width = coverage.shape
    image = Image.fromarray((coverage * 255).astype(np.uint8)).reduce(3).filter(ImageFilter.GaussianBlur(sigma / 3))
    # reduce(3) rounds the size up; the box says how much of the small image is real.
    wide = image.resize((width, height), Image.Resampling.BILINEAR, box=(0, 0, width / 3, height / 3))
    return np.asarray(wide, dtype=np.float32) / np.float32(255)


def draw_specimen(
    knots: Points,
    to_pixels: Matrix,
    length: float,
    size: tuple[int, int],
    rng: np.random.Generator,
    more: Plane | None = None,
) -> Plane:
    """Optical density of a wing.

    Args:
        knots: (N, 2) the wing's knots in wing units (see wing_anatomy).
        to_pixels: 3x3 map from wing units to pixels.
        length: the wing's length, pixels.
        size: (height, width).
        rng: decides on tone and texture; the veins' places depend on the knots alone.
        more: (height, width) how much of each pixel further veins cover, 0 and more.

    Returns:
        (height, width) float32, 0 beside the wing.
    """
    placed = transform_points(to_pixels, knots)
    samples = _samples(length)
    veins = vein_coverage(placed, length, size)
    if more is not None:
        veins = np.minimum(veins + more, 1.0)
    margin = curve_points(placed, samples)["margin"]
    blade = _polygon(margin[::4], size)
    mirrored = bool(np.linalg.det(to_pixels) < 0)
    membrane, vein = rng.uniform(0.10, 0.22), rng.uniform(0.75, 1.25)
    texture = 0.12 * rng.uniform(0.6, 1.4) * hairs(to_pixels, length, size, rng)
    texture += membrane * 0.22 * uneven(size, rng.uniform(0.3, 0.8), rng)
    density = blade * (membrane + texture)
    # Cuticle thickens towards a vein: a faint shade on both sides.
    density += blade * 0.35 * vein * _halo(veins, 0.012 * length)
    density += vein * veins
    density += 1.1 * vein * np.minimum(_bristles(margin, samples, length, mirrored, size, rng), 0.8)
    density += _hinge(to_pixels, length, size, rng)
    return np.maximum(density, 0)


def _hinge(to_pixels: Matrix, length: float, size: tuple[int, int], rng: np.random.Generator) -> Plane:
    """Density of the sclerites at the hinge, where the wing was torn off: a few short, thick, dark pieces."""
    ends = _SCLERITES[:, :2] + rng.normal(0, 0.006, (len(_SCLERITES), 2, 2))
    half = _SCLERITES[:, 2, 0] * rng.uniform(0.7, 1.3, len(_SCLERITES))
    steps = max(8, math.ceil(length * 0.15))
    t = ((np.arange(steps) + 0.5) / steps)[:, None]
    course = ends[:, 1] - ends[:, 0]
    line = transform_points(to_pixels, ends[:, None, 0] + t * course[:, None]).reshape(-1, 2)
    step = np.repeat(course @ to_pixels[:2, :2].T / steps, steps, axis=0)
    outline = np.sqrt(1 - np.abs(2 * t[:, 0] - 1) ** 2.5) * (1 + 0.25 * np.sin(9 * t[:, 0] + rng.uniform(0, 7)))
    width = (half[:, None] * outline).ravel() * length
    coverage = splat(*ribbon(line, step, width, 5 + math.ceil(length / 50)), size)
    return np.float32(rng.uniform(0.5, 0.9)) * np.minimum(coverage, 1.6)


def photograph(density: Plane, unit: float, rng: np.random.Generator) -> Plane:
    """Light the specimen: colour, lighting gradient, dust on the slide, defocus.

    Args:
        density: (h, w) optical density.
        unit: size of a nominal pixel in pixels of this image; 1 at 256 x 192.
        rng: decides on all of it.

    Returns:
        (3, h, w) float32, grey levels from 0 to 255, not yet rounded and free of noise.
    """
    height, width = density.shape
    density = blurred(density + _dust((height, width), unit, rng), rng.uniform(0.3, 1.0) * unit)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)
    slope = rng.uniform(-0.10, 0.10, 2)
    middle, vignette = rng.uniform(-0.4, 0.4, 2), rng.uniform(0.0, 0.09)
    across = (slope[0] * x - vignette * (x - middle[0]) ** 2).astype(np.float32)
    down = (slope[1] * y - vignette * (y - middle[1]) ** 2).astype(np.float32)
    light = across + down + np.float32(0.012) * uneven((height, width), 0.5, rng)
    level = 255 * rng.uniform(0.76, 0.92)
    tint = 1 + rng.normal(0, 0.015) * np.array([1, 0.1, -1.1])
    brown = rng.uniform(0.05, 0.3)
    image = np.empty((3, height, width), dtype=np.float32)
    for channel, absorb in enumerate((1 - brown, 1.0, 1 + 1.3 * brown)):
        np.exp(light - np.float32(absorb) * density + np.float32(np.log(level * tint[channel])), out=image[channel])
    return image


def _dust(size: tuple[int, int], unit: float, rng: np.random.Generator) -> Plane:
    """Density of specks and fibres on the slide."""
    height, width = size
    specks = rng.poisson(7)
    centre = rng.uniform(0, 1, (specks, 1, 2)) * (width, height)
    spread = rng.uniform(0.3, 1.3, (specks, 1, 1)) * unit
    grains = 40 * math.ceil(unit)
    points = [(centre + spread * rng.standard_normal((specks, grains, 2))).reshape(-1, 2)]
    weights = [np.repeat(rng.uniform(1.0, 5.0, specks) * unit**2 / grains, grains)]
    for _ in range(rng.poisson(0.6)):
        start, heading = rng.uniform(0, 1, 2) * (width, height), rng.uniform(0, 2 * np.pi)
        steps = 2 * math.ceil(rng.uniform(12, 50) * unit)
        turn = (rng.normal(0, 0.012) + rng.normal(0, 0.03, steps)) / unit
        angle = heading + np.cumsum(turn)
        points.append(start + 0.5 * np.cumsum(np.stack([np.cos(angle), np.sin(angle)], axis=1), axis=0))
        weights.append(np.full(steps, rng.uniform(0.15, 0.4) * unit / 2))
    return np.minimum(splat(np.concatenate(points), np.concatenate(weights), size), 1.2)


def expose(image: Plane, noise: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Sensor noise, and rounding to grey levels.

    Args:
        image: (3, h, w) grey levels from 0 to 255, or (1, h, w) of the green channel alone.
        noise: standard deviation at full brightness, grey levels.
        rng: picks the piece of noise.

    Returns:
        (3, h, w) or (1, h, w) uint8.
    """
    channels, height, width = image.shape
    # Shot noise: its variance grows with the light. Green stands for all channels.
    strength = np.sqrt(np.clip(image[channels // 2], 0, 255) * np.float32(noise * noise / 255))
    for channel in range(channels):
        if max(height, width) > GRAIN // 2:  # too few places to cut from
            grain = rng.standard_normal((height, width), dtype=np.float32)
        else:
            top, left = rng.integers(0, (GRAIN - height, GRAIN - width))
            grain = grain_tile()[top : top + height, left : left + width]
        image[channel] += strength * grain
    image += 0.5
    return np.clip(image, 0, 255, out=image).astype(np.uint8)
