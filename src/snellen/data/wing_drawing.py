"""Drawing a wing the way a bright-field microscope shows it.

Light passes through the specimen, so everything adds up as optical density and the picture is light * exp(-density)
(Beer-Lambert), a little stronger in blue than in red because cuticle is brown. Veins are not drawn by a rasteriser, whose
coordinates are whole pixels: each ribbon is filled with small patches of area that are shared out between the four nearest
pixel centres. A vein's centre line is then exact to rounding error, wherever it runs.
"""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from snellen.data.wing_anatomy import WIDTHS, curve_points, knot_position
from snellen.geometry import Matrix, transform_points

Plane = NDArray[np.float32]
Points = NDArray[np.float64]

__all__ = ["draw_specimen", "photograph", "ribbon", "splat", "vein_coverage"]

_TILE = 640  # texture pixels, square, toroidal
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


def ribbon(line: Points, half_width: NDArray[np.float64], across: int) -> tuple[Points, NDArray[np.float64]]:
    """Patches that fill a ribbon around a polyline.

    Args:
        line: (n, 2) pixels.
        half_width: (n,) pixels.
        across: patches across the ribbon.

    Returns:
        centres (n * across, 2) and areas (n * across) in square pixels.
    """
    step = np.empty_like(line)
    step[1:-1] = (line[2:] - line[:-2]) / 2
    step[0], step[-1] = (line[1] - line[0]) / 2, (line[-1] - line[-2]) / 2
    length = np.hypot(step[:, 0], step[:, 1])
    normal = np.stack([-step[:, 1], step[:, 0]], axis=1) / np.maximum(length, 1e-9)[:, None]
    offset = (np.arange(across) + 0.5) / across * 2 - 1
    centres = line[:, None] + (half_width[:, None] * offset)[..., None] * normal[:, None]
    # The walls of a vein, a tube, are seen edge-on and look darker than its middle.
    wall = 1 + 0.35 * (offset**2 - (offset**2).mean())
    areas = (length * half_width * 2 / across)[:, None] * wall
    return centres.reshape(-1, 2), areas.ravel()


@cache
def _half_widths(samples: int) -> dict[str, NDArray[np.float64]]:
    """Half-widths along every curve, in wing lengths, at the points of `curve_points`."""
    result = {}
    for name, widths in WIDTHS.items():
        at = np.arange(len(widths)) * samples
        result[name] = np.interp(np.arange(at[-1] + 1), at, np.array(widths) / 1000)
    # The costa is broken where it meets the humeral crossvein: a short pinch marks the landmark.
    margin, at_break = result["margin"], knot_position("margin", "costal_break", samples)
    away = (np.arange(len(margin)) - at_break) / samples
    margin *= 1 - 0.6 * np.exp(-((away / 0.1) ** 2))
    return result


def _samples(length: float) -> int:
    """Points in each span between two knots, so that the longest span is sampled about every 0.7 pixel."""
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
    across = 3 + math.ceil(length / 100)
    lines, widths = curve_points(knots, samples), _half_widths(samples)
    # Below a third of a pixel a vein would vanish; optics never let it look thinner than that.
    parts = [ribbon(line, np.maximum(widths[name] * length, 0.3), across) for name, line in lines.items()]
    coverage = splat(np.concatenate([p for p, _ in parts]), np.concatenate([a for _, a in parts]), size)
    return np.minimum(coverage, 1.0)


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
def _grain() -> Plane:
    """A 1024 x 1024 tile of independent standard normal noise."""
    return np.random.default_rng(17760704).standard_normal((1024, 1024), dtype=np.float32)


def _uneven(size: tuple[int, int], extent: float, rng: np.random.Generator) -> Plane:
    """A random piece of `_clouds`, `extent` (up to 1) of its side wide, about zero with standard deviation 1."""
    height, width = size
    w, h = 512 * extent, 512 * extent * min(1.0, height / width)
    x, y = rng.uniform(0, 512 - w), rng.uniform(0, 512 - h)
    piece = _clouds().resize((width, height), Image.Resampling.BILINEAR, box=(x, y, x + w, y + h))
    return (np.asarray(piece, dtype=np.float32) - 128) / 40


def _hairs(to_pixels: Matrix, length: float, size: tuple[int, int], rng: np.random.Generator) -> Plane:
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
    return (np.asarray(image, dtype=np.float32) - 128) / 55


def _polygon(outline: Points, size: tuple[int, int], fine: int = 4) -> Plane:
    """Coverage of a polygon (n, 2), pixels: filled on a grid `fine` times finer and averaged; 0 to 1."""
    height, width = size
    mask = Image.new("L", (width * fine, height * fine))
    # PIL counts pixel centres from zero and truncates: x * fine - 0.5, rounded.
    corners = np.floor(outline * fine).astype(int)
    ImageDraw.Draw(mask).polygon([(int(x), int(y)) for x, y in corners], fill=255)
    return np.asarray(mask.reduce(fine), dtype=np.float32) / 255


def _blur(plane: Plane, radius: float) -> Plane:
    """Gaussian blur of a plane of values from 0 to 1, to 1/255."""
    image = Image.fromarray((plane * 255 + 0.5).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(image, dtype=np.float32) / 255


def draw_specimen(
    knots: Points, to_pixels: Matrix, length: float, size: tuple[int, int], rng: np.random.Generator
) -> Plane:
    """Optical density of a wing.

    Args:
        knots: (N, 2) the wing's knots in wing units (see wing_anatomy).
        to_pixels: 3x3 map from wing units to pixels.
        length: the wing's length, pixels.
        size: (height, width).
        rng: decides on tone and texture; the veins' places depend on the knots alone.

    Returns:
        (height, width) float32, 0 beside the wing.
    """
    placed = transform_points(to_pixels, knots)
    samples = _samples(length)
    veins = vein_coverage(placed, length, size)
    margin = curve_points(placed, samples)["margin"]
    blade = _polygon(margin, size)
    mirrored = bool(np.linalg.det(to_pixels) < 0)
    membrane, vein = rng.uniform(0.10, 0.22), rng.uniform(0.75, 1.25)
    texture = 0.045 * rng.uniform(0.7, 1.5) * _hairs(to_pixels, length, size, rng)
    texture += membrane * 0.22 * _uneven(size, rng.uniform(0.3, 0.8), rng)
    density = blade * (membrane + texture)
    # Cuticle thickens towards a vein: a faint shade on both sides.
    density += blade * 0.35 * vein * _blur(veins, 0.012 * length)
    density += vein * veins
    density += 1.1 * vein * np.minimum(_bristles(margin, samples, length, mirrored, size, rng), 0.8)
    density += _hinge(to_pixels, length, size, rng)
    return np.maximum(density, 0)


def _hinge(to_pixels: Matrix, length: float, size: tuple[int, int], rng: np.random.Generator) -> Plane:
    """Density of the sclerites at the hinge, where the wing was torn off: a few short, thick, dark pieces."""
    pieces = []
    for x0, y0, x1, y1, half in (
        (-0.035, -0.030, 0.060, -0.050, 0.017),
        (-0.045, -0.012, 0.055, -0.014, 0.013),
        (-0.030, 0.010, 0.045, 0.012, 0.015),
        (-0.020, -0.020, 0.000, 0.040, 0.012),
    ):
        ends = np.array([[x0, y0], [x1, y1]]) + rng.normal(0, 0.006, (2, 2))
        t = np.linspace(0, 1, max(8, math.ceil(length * 0.2)))[:, None]
        line = transform_points(to_pixels, ends[0] + t * (ends[1] - ends[0]))
        taper = half * length * np.sqrt(np.maximum(1 - (2 * t[:, 0] - 1) ** 4, 0.02)) * rng.uniform(0.7, 1.3)
        pieces.append(ribbon(line, taper, 5 + math.ceil(length / 50)))
    coverage = splat(np.concatenate([p for p, _ in pieces]), np.concatenate([a for _, a in pieces]), size)
    return np.float32(rng.uniform(0.5, 0.9)) * np.minimum(coverage, 1.6)


def photograph(density: Plane, unit: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Light the specimen: colour, lighting gradient, dust on the slide, defocus.

    Args:
        density: (h, w) optical density.
        unit: size of a nominal pixel in pixels of this image; 1 at 256 pixels width.
        rng: decides on all of it.

    Returns:
        (h, w, 3) uint8 without noise, which `expose` adds.
    """
    height, width = density.shape
    density = density + _dust((height, width), unit, rng)
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    slope = rng.uniform(-0.10, 0.10, 2)
    middle, vignette = rng.uniform(-0.4, 0.4, 2), rng.uniform(0.0, 0.09)
    light = slope[0] * x + slope[1] * y - vignette * ((x - middle[0]) ** 2 + (y - middle[1]) ** 2)
    exposure = np.exp(light.astype(np.float32) + 0.012 * _uneven((height, width), 0.5, rng))
    level = rng.uniform(0.76, 0.92)
    tint = 1 + rng.normal(0, 0.015) * np.array([1, 0.1, -1.1])
    brown = rng.uniform(0.05, 0.3)
    image = np.empty((height, width, 3), dtype=np.uint8)
    for channel, absorb in enumerate((1 - brown, 1.0, 1 + 1.3 * brown)):
        value = (255 * level * tint[channel]) * exposure * np.exp(np.float32(-absorb) * density)
        image[..., channel] = np.clip(value, 0, 255)
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
        turn = rng.normal(0, 0.04) / unit + rng.normal(0, 0.03, steps) / unit
        angle = heading + np.cumsum(turn)
        points.append(start + 0.5 * np.cumsum(np.stack([np.cos(angle), np.sin(angle)], axis=1), axis=0))
        weights.append(np.full(steps, rng.uniform(0.15, 0.4) * unit / 2))
    return np.minimum(splat(np.concatenate(points), np.concatenate(weights), size), 1.2)


def expose(image: NDArray[np.uint8], blur: float, noise: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Defocus and sensor noise.

    Args:
        image: (h, w, 3).
        blur: radius of the Gaussian, pixels.
        noise: standard deviation at full brightness, grey levels.
        rng: picks the piece of noise.

    Returns:
        (h, w, 3) uint8.
    """
    soft = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(blur)))
    height, width = soft.shape[:2]
    grain = _grain()
    result = np.empty_like(soft)
    rows, columns = np.arange(height), np.arange(width)
    for channel in range(3):
        top, left = rng.integers(0, 1024, 2)
        piece = grain[np.ix_((rows + top) % 1024, (columns + left) % 1024)]
        # Shot noise: its variance grows with the light.
        value = soft[..., channel].astype(np.float32)
        result[..., channel] = np.clip(value + piece * np.sqrt(value * (noise * noise / 255)) + 0.5, 0, 255)
    return result
