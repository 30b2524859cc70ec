"""How well the boundaries of labels are met, and whether a map shows the grid that it was enlarged by."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "BoundaryScores",
    "Checkerboard",
    "boundary_f_scores",
    "boundary_pixels",
    "boundary_scores",
    "checkerboard",
    "psnr",
]

#: No label of a data set: those are 0 or more.
_NOTHING = -1


@dataclass(frozen=True)
class BoundaryScores:
    """Boundary F-scores over images, fractions.

    Attributes:
        mean: mean over images of the mean over an image's classes.
        per_class: mean over the images in which the class has a boundary, in truth or prediction; NaN where none.
        images: images with a boundary.
    """

    mean: float
    per_class: tuple[float, ...]
    images: int


def boundary_pixels(labels: Int[Tensor, "h w"], label: int, *, ignore: int | None = None) -> Bool[Tensor, "h w"]:
    """The pixels of a label that have another label above, below, left or right; the border and `ignore` are none.

    >>> boundary_pixels(torch.tensor([[0, 0, 1, 1]]), 1).tolist()
    [[False, False, True, False]]
    """
    own = labels == label
    other = ~own if ignore is None else ~own & (labels != ignore)
    beside = torch.zeros_like(own)
    beside[1:] |= other[:-1]
    beside[:-1] |= other[1:]
    beside[:, 1:] |= other[:, :-1]
    beside[:, :-1] |= other[:, 1:]
    return own & beside


def boundary_f_scores(
    truth: Int[Tensor, "h w"],
    predicted: Int[Tensor, "h w"],
    classes: int,
    *,
    ignore: int | None = None,
    tolerance: float = 0.0075,
) -> NDArray[np.float64]:
    """The boundary F-score of each class in one image (Csurka et al., "What is a good evaluation measure", BMVC 2013).

    Precision is the share of the predicted boundary's pixels that lie within the tolerance of the true boundary of the
    class, recall the share of the true boundary's near the predicted one, F their harmonic mean. Distances are Euclidean,
    between pixel centres. Our choices: a boundary pixel has one of four neighbours of another label (`boundary_pixels`);
    pixels whose truth is `ignore` are left out of both maps.

    Args:
        truth: (h, w), whole numbers.
        predicted: (h, w), likewise.
        classes: how many there are.
        ignore: true label of pixels that do not count.
        tolerance: the distance, as a share of the image's diagonal.

    Returns:
        (classes,) in 0..1: 0 where only one map has a boundary of the class, NaN where neither has.

    Raises:
        ValueError: for sizes that differ, or a negative tolerance.

    >>> line = torch.tensor([[0, 0, 1, 1]])
    >>> boundary_f_scores(line, line, 3)
    array([ 1.,  1., nan])
    """
    if truth.shape != predicted.shape or truth.ndim != 2:
        raise ValueError(f"labels of {tuple(truth.shape)} and {tuple(predicted.shape)} are not two maps of one size")
    if not tolerance >= 0:
        raise ValueError(f"tolerance={tolerance} is not possible; give a share of the diagonal, such as 0.0075")
    truth, predicted = truth.long(), predicted.long()
    if ignore is not None:
        left_out = truth == ignore
        truth, predicted = (labels.masked_fill(left_out, _NOTHING) for labels in (truth, predicted))
    radius = tolerance * math.hypot(*truth.shape)
    scores = np.full(classes, math.nan)
    for label in range(classes):
        true, said = (boundary_pixels(labels, label, ignore=_NOTHING) for labels in (truth, predicted))
        if not true.any() and not said.any():
            continue
        if not true.any() or not said.any():
            scores[label] = 0.0
            continue
        precision = (said & _grown(true, radius)).sum().item() / said.sum().item()
        recall = (true & _grown(said, radius)).sum().item() / true.sum().item()
        scores[label] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return scores


def _grown(mask: Bool[Tensor, "h w"], radius: float) -> Bool[Tensor, "h w"]:
    """Pixels whose centre is within `radius` of the centre of one in `mask`."""
    h, w = mask.shape
    reach = min(math.floor(radius + 1e-9), max(h, w))
    lines, grown = mask[None, None].float(), torch.zeros_like(mask)
    # A disc is a stack of lines: at `dy` rows from its centre, one of half-length sqrt(radius^2 - dy^2).
    for dy in range(min(reach, h - 1) + 1):
        half = min(math.floor(math.sqrt(max(radius**2 - dy**2, 0.0)) + 1e-9), w)
        line = F.max_pool2d(lines, (1, 2 * half + 1), stride=1, padding=(0, half))[0, 0] > 0 if half else mask
        grown[dy:] |= line[: h - dy]
        grown[: h - dy] |= line[dy:]
    return grown


def boundary_scores(images: Sequence[NDArray[np.float64]]) -> BoundaryScores:
    """Sum up what `boundary_f_scores` gave for each image.

    Raises:
        ValueError: where no image has a boundary.
    """
    table = np.asarray(images, dtype=np.float64)
    if table.ndim != 2 or not np.isfinite(table).any():
        raise ValueError(f"{len(images)} images without any boundary have no boundary score; give labelled images")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # rows and columns of NaN are NaN
        per_image, per_class = np.nanmean(table, axis=1), np.nanmean(table, axis=0)
    return BoundaryScores(float(np.nanmean(per_image)), tuple(per_class.tolist()), int(np.isfinite(per_image).sum()))


@dataclass(frozen=True)
class Checkerboard:
    """How much of maps is a pattern of 2x2 pixels, means over images and channels in 0..1.

    Attributes:
        fixed: variance of the four phases' means over the variance of the map. By Parseval this is the share of its energy
            at the Nyquist frequencies (0, pi), (pi, 0), (pi, pi): 1 for a pattern alone, 0 where all phases have one mean.
        modulated: variance of the four phases' mean squares over three times their mean squared, squares taken of
            the map minus its mean: 1 where one phase holds everything, 0 where all have the same energy. It also sees a
            pattern whose sign follows the content, as where a zero-mean feature takes the place of LL (lift.md 5.1),
            which `fixed` cannot.
    """

    fixed: float
    modulated: float


def checkerboard(maps: Float[Tensor, "b c h w"]) -> Checkerboard:
    """Measure the 2x2 pattern in maps (our choice, for lift.md 5.1).

    The phases are the pixels of even and odd rows and columns; a last odd row or column is left out, and so are constant
    maps; where all are constant both numbers are 0.

    Args:
        maps: (b, c, h, w), at least 2x2: logits, or the maps that `SegNet.upsampled` gives.

    Raises:
        ValueError: for smaller maps.

    >>> x = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).repeat(4, 4)[None, None]
    >>> checkerboard(x).fixed, checkerboard(torch.eye(4)[None, None]).fixed
    (1.0, 0.333...)
    """
    h, w = (side // 2 * 2 for side in maps.shape[-2:])
    if not (h and w):
        raise ValueError(f"maps of {maps.shape[-2]}x{maps.shape[-1]} have no 2x2 pattern; give at least 2x2 pixels")
    x = maps[..., :h, :w].detach().to(torch.float64)
    x = x - x.mean(dim=(2, 3), keepdim=True)
    phases = torch.stack([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], dim=2).flatten(3)  # (b, c, 4, n)
    means, squares = phases.mean(3), phases.square().mean(3)
    variance = squares.mean(2)
    varies = variance > 1e-24 * maps.detach().double().square().mean(dim=(2, 3)).clamp_min(1e-300)
    if not varies.any():
        return Checkerboard(0.0, 0.0)
    fixed = means.square().mean(2)[varies] / variance[varies]
    modulated = squares.var(2, unbiased=False)[varies] / (3 * variance[varies].square())
    return Checkerboard(fixed.mean().item(), modulated.mean().item())


def psnr(
    predicted: Float[Tensor, "b *size"], truth: Float[Tensor, "b *size"], *, peak: float = 255.0
) -> Float[Tensor, " b"]:
    """Peak signal-to-noise ratio of each image, decibels: 10 log10(peak^2 / mean squared error); infinite where they agree.

    >>> psnr(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 25.5)).item()
    20.0
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"images of {tuple(predicted.shape)} cannot be compared with {tuple(truth.shape)}")
    error = (predicted.double() - truth.double()).square().flatten(1).mean(1)
    return (10 * torch.log10(peak**2 / error)).float()
