"""Reading a picture through a zoom grid, anti-aliased where the grid shrinks it.

Separable grids are two small matrices an image: row j of one holds a triangle over the source pixels that output pixel j
covers, as wide as that and at least as wide as bilinear interpolation's. For a plain resize this is torch's
`interpolate(antialias=True)`. Other grids read four samples a pixel from two neighbouring levels of a pyramid of halved
pictures, chosen by the size of the samples' footprint (our choice).
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from torch import Tensor

from snellen.layers.precision import no_autocast
from snellen.layers.zoom_grid import ZoomGrid

__all__ = ["axis_weights", "zoom"]

#: Samples a side of an output pixel of a general grid.
TAPS = 2


def zoom(
    image: Num[Tensor, "b c h w"],
    grid: ZoomGrid,
    *,
    antialias: bool = True,
    mode: Literal["bilinear", "nearest"] = "bilinear",
) -> Num[Tensor, "b c oh ow"]:
    """Read a picture through a grid.

    Args:
        image: (b, c, h, w), any range; full resolution.
        grid: of the same batch.
        antialias: average over what an output pixel covers; without it, plain bilinear sampling of single positions. Legacy
            grids are never anti-aliased.
        mode: "nearest" keeps values as they are, for label maps (of integers those up to 2^24).

    Returns:
        (b, c, *grid.size); float32 at least for "bilinear", in the input's type for "nearest". Beyond the picture's edges
        its border goes on (zeros under legacy, as the authors have it).

    Raises:
        ValueError: for batches that differ.

    >>> from snellen.layers.zoom_grid import uniform_grid
    >>> x = torch.rand(1, 3, 40, 60)
    >>> resized = F.interpolate(x, (10, 15), mode="bilinear", antialias=True)
    >>> bool((zoom(x, uniform_grid(1, (10, 15))) - resized).abs().max() < 1e-5)
    True
    """
    if image.shape[0] != grid.nodes.shape[0]:
        raise ValueError(f"{image.shape[0]} pictures but {grid.nodes.shape[0]} grids; give one grid a picture")
    with no_autocast(image.device.type):
        source = image.to(torch.promote_types(image.dtype, torch.float32))
        if mode == "nearest" or grid.legacy or not antialias:
            padding = "zeros" if grid.legacy else "border"
            sampling = grid.sampling().to(source.dtype)
            out = _sample(source, sampling, mode=mode, padding_mode=padding, align_corners=bool(grid.legacy))
            return out.to(image.dtype) if mode == "nearest" else out
        if grid.separable:
            return _separable(source, grid)
        return _pyramid(source, grid)


def axis_weights(
    centres: Float[Tensor, "b n"], widths: Float[Tensor, "b n"], pixels: int
) -> Float[Tensor, "b n pixels"]:
    """For each output pixel of one axis, the weights of the source's pixels: a triangle, sum 1.

    Args:
        centres: of the output pixels, in source pixels.
        widths: source pixels that each covers; the triangle's half base, at least 1.
        pixels: of the source.
    """
    positions = torch.arange(pixels, device=centres.device, dtype=centres.dtype) + 0.5
    distance = (positions - centres.clamp(0, pixels)[..., None]).abs()
    weights = (1 - distance / widths.abs().clamp(min=1)[..., None]).clamp(min=0)
    return weights / weights.sum(dim=-1, keepdim=True)


def _separable(source: Tensor, grid: ZoomGrid) -> Tensor:
    h, w = source.shape[-2:]
    centres, corners = grid.positions(), grid.corners()
    x, y = centres[:, 0, :, 0] * w, centres[:, :, 0, 1] * h
    edges_x, edges_y = corners[:, 0, :, 0] * w, corners[:, :, 0, 1] * h
    across = axis_weights(x, edges_x.diff(dim=-1), w).to(source.dtype)
    down = axis_weights(y, edges_y.diff(dim=-1), h).to(source.dtype)
    # Rows first: whole rows of the source are read in the order they lie in memory.
    return (down[:, None] @ source.contiguous()) @ across[:, None].mT


def _sample(source: Tensor, place: Tensor, *, mode: str, padding_mode: str, align_corners: bool) -> Tensor:
    """`grid_sample`, of a single picture by all threads: torch shares pictures among them, not a picture's rows."""
    # Not where a gradient flows to the picture: its parts would be added up, each of the size of the whole.
    with_gradient = torch.is_grad_enabled() and source.requires_grad
    if torch.compiler.is_compiling() or len(source) != 1 or source.device.type != "cpu" or with_gradient:
        return F.grid_sample(source, place, mode, padding_mode, align_corners)
    parts, rows = torch.get_num_threads(), place.shape[1]
    if parts < 2 or rows % parts:
        return F.grid_sample(source, place, mode, padding_mode, align_corners)
    bands = place[0].unflatten(0, (parts, rows // parts))
    read = F.grid_sample(source.expand(parts, -1, -1, -1), bands, mode, padding_mode, align_corners)
    return read.transpose(0, 1).flatten(1, 2)[None]


def _pyramid(source: Tensor, grid: ZoomGrid) -> Tensor:
    h, w = source.shape[-2:]
    oh, ow = grid.size
    fine = (TAPS * oh, TAPS * ow)
    positions = grid.positions(fine)
    pixels = grid.corners(fine) * torch.tensor([w, h], device=positions.device, dtype=positions.dtype)
    # The longer side of each sample's footprint, in source pixels: (b, TAPS * oh, TAPS * ow).
    along = (pixels[:, :-1, 1:] - pixels[:, :-1, :-1]).square().sum(dim=-1)
    down = (pixels[:, 1:, :-1] - pixels[:, :-1, :-1]).square().sum(dim=-1)
    level = 0.5 * torch.maximum(along, down).clamp(min=1).log2()
    levels = max(1, math.ceil(math.log2(max(1.0, min(h / oh, w / ow)))) + 2)  # a plain resize's level, and two coarser
    level = level.clamp(max=levels - 1)
    out = source.new_zeros((*source.shape[:2], *fine))
    for i in range(levels):
        share = (1 - (level - i).abs()).clamp(min=0)[:, None]
        # The pixel grid of a level of odd size reaches beyond the source: positions are in its own pixels.
        extent = torch.tensor(
            [w / (2**i * source.shape[-1]), h / (2**i * source.shape[-2])],
            device=positions.device,
            dtype=positions.dtype,
        )
        place = (2 * positions * extent - 1).to(source.dtype)
        read = _sample(source, place, mode="bilinear", padding_mode="border", align_corners=False)
        out = out + read * share.to(source.dtype)
        if i + 1 < levels:
            odd = (0, source.shape[-1] % 2, 0, source.shape[-2] % 2)
            source = F.avg_pool2d(F.pad(source, odd, mode="replicate") if any(odd) else source, 2)
    return F.avg_pool2d(out, TAPS)
