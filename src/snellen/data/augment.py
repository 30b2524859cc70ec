"""Augmentation: every geometric change is one matrix, the image is sampled once, the points are multiplied by it.

A draw depends on nothing but its key (seed, epoch, index), so a resumed run and any number of workers see the same images.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.random import Generator
from torch import Tensor

from snellen.config import AugmentConfig
from snellen.data.base import Sample
from snellen.geometry import Box, Matrix, box_map, compose, hflip, rotation, scaling, warp

__all__ = ["draw_map", "keyed_generator", "photometric", "render"]


def keyed_generator(*key: int) -> Generator:
    """A random generator that depends on `key` alone."""
    return np.random.default_rng(list(key))


def draw_map(box: Box, canvas: tuple[int, int], augment: AugmentConfig, rng: Generator) -> tuple[Matrix, bool]:
    """Draw the map from image to canvas, and whether it mirrors.

    Order as in the paper (rcn.md 3.5): translate and scale the box, rotate about its centre; our additions (stretch,
    tight, flip) are part of the same matrix.
    """
    height, width = canvas
    # Every number is drawn whether used or not, so that changing one range does not reshuffle the others.
    tight, press_x, press_y, apply_tight = rng.uniform(size=4)
    (dx, dy, turn), mirror = rng.uniform(-1, 1, size=3).tolist(), rng.uniform()
    scale, stretch = rng.uniform(*augment.scale), rng.uniform(*augment.stretch)
    if apply_tight < augment.tight_probability:
        low, high = augment.tight
        window = box.scaled(low + tight * (high - low))
        slack_x, slack_y = 0.1 * box.width * (2 * press_x - 1), 0.1 * box.height * (2 * press_y - 1)
        moved = box.shifted(-window.left - slack_x, -window.top - slack_y).inside(window.width, window.height)
        box = moved.shifted(window.left + slack_x, window.top + slack_y)
    box = box.shifted(dx * augment.shift * box.width, dy * augment.shift * box.height)
    centre = (width / 2, height / 2)
    matrix = compose(
        box_map(box, canvas),
        scaling(scale * stretch, scale, centre=centre),
        rotation(turn * augment.rotate, centre=centre),
    )
    flipped = mirror < augment.flip
    return (compose(matrix, hflip(width)) if flipped else matrix), flipped


def photometric(image: Float[Tensor, "c h w"], augment: AugmentConfig, rng: Generator) -> Float[Tensor, "c h w"]:
    """Coarseness, blur, brightness, contrast, noise and the black rectangle on a canvas in 0..255."""
    coarse, blur, cover = rng.uniform(size=3)
    factor, sigma = rng.uniform(*augment.coarse), rng.uniform(*augment.blur)
    up_brightness, up_contrast, level = rng.uniform(-1, 1, size=3)
    size = image.shape[-2:]
    if coarse < augment.coarse_probability and factor > 1:
        small = [max(4, round(s / factor)) for s in size]
        image = F.interpolate(image[None], small, mode="bilinear", antialias=True, align_corners=False)
        image = F.interpolate(image, size, mode="bilinear", align_corners=False)[0]
    blurred = blur < augment.blur_probability
    if blurred or augment.brightness or augment.contrast:
        from torchvision.transforms.v2 import functional as tv  # seconds, which a mere evaluation need not wait
    if blurred:
        image = tv.gaussian_blur(image, 2 * int(np.ceil(2 * sigma)) + 1, sigma)
    if augment.brightness or augment.contrast:
        image = tv.adjust_brightness(image / 255, 1 + up_brightness * augment.brightness)
        image = tv.adjust_contrast(image, 1 + up_contrast * augment.contrast) * 255
    if augment.noise:
        std = abs(level) * augment.noise
        image = image + torch.from_numpy(rng.standard_normal(tuple(image.shape), dtype=np.float32)) * std
    image = image.clamp(0, 255)
    if cover < augment.rectangle_probability:
        # rcn.md 3.5: sides independent and uniform, position uniform, wholly inside the canvas.
        side = min(size)
        h, w = (
            int(rng.integers(round(augment.rectangle[0] * side), round(augment.rectangle[1] * side) + 1)) for _ in "hw"
        )
        top, left = int(rng.integers(0, size[0] - h + 1)), int(rng.integers(0, size[1] - w + 1))
        image[:, top : top + h, left : left + w] = 0
    return image


def render(
    sample: Sample, canvas: tuple[int, int], augment: AugmentConfig, rng: Generator
) -> tuple[Float[Tensor, "c h w"], Float[Tensor, "k 2"], Matrix, bool]:
    """A sample drawn on a canvas.

    Returns:
        The canvas (c, height, width) float32 in 0..255; the points (k, 2) on it, NaN where unlabelled, in the order the
        network should answer (left and right exchanged where mirrored); the map from image to canvas; whether it mirrors.
    """
    matrix, flipped = draw_map(sample.box, canvas, augment, rng)
    image = photometric(warp(sample.image, matrix, canvas), augment, rng)
    points = sample.keypoints.transformed(matrix).xy
    if flipped:
        points = points[list(sample.keypoints.schema.flip_order)]
    return image, torch.from_numpy(points).to(torch.float32), matrix, flipped
