"""Back from a zoomed picture to the source: points, boxes, label maps and feature maps.

The map of a grid goes from the zoomed picture to the source, and is piecewise bilinear. Points found in the zoomed picture are
mapped by reading it (`unzoom_points`). What the source holds is found in the zoomed picture by its inverse, which is exact: by
bisection of each axis for separable grids (zoom.md 7.2), else by Newton's method from cell to cell with the derivative of the
inverse by the implicit function theorem.
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from snellen.layers.precision import no_autocast
from snellen.layers.zoom_grid import ZoomGrid

__all__ = ["Placed", "Unzoomed", "unzoom", "unzoom_boxes", "unzoom_points", "zoom_boxes", "zoom_points"]

#: Newton's steps of at most a few cells each: grids of 31 nodes need about ten, strongly bent ones a few times that.
STEPS = 60
#: As many meet nearly all of a raster's targets; the others go on by themselves.
FEW_STEPS = 5
#: Bins across the source that share a start, where there are more targets than bins.
BINS = 64
#: How far from a target an answer may be mapped, as a fraction of the source, and beside the zoomed picture, in cells.
CLOSE, BESIDE = 1e-5, 1e-4


class Placed(NamedTuple):
    """Points of the source in the zoomed picture.

    Attributes:
        xy: (b, k, 2), pixels of the zoomed picture; outside it for points that it does not show.
        inside: (b, k), whether it shows them.
    """

    xy: Float[Tensor, "b k 2"]
    inside: Bool[Tensor, "b k"]


class Unzoomed(NamedTuple):
    """Maps of a zoomed picture, brought back to the source.

    Attributes:
        maps: (b, c, h, w).
        inside: (b, h, w), whether the zoomed picture shows that pixel of the source; elsewhere its border goes on.
    """

    maps: Shaped[Tensor, "b c h w"]
    inside: Bool[Tensor, "b h w"]


def unzoom_points(xy: Float[Tensor, "b k 2"], grid: ZoomGrid, source: tuple[int, int]) -> Float[Tensor, "b k 2"]:
    """Points of the zoomed picture in the source, differentiable in both.

    Args:
        xy: (b, k, 2), pixels of the zoomed picture; outside it the outermost cells go on.
        grid: of the zoomed picture.
        source: (height, width) of the source, pixels.

    >>> from snellen.layers.zoom_grid import box_grid
    >>> crop = box_grid(torch.tensor([[0.5, 0.5, 1.0, 1.0]]), (10, 10))
    >>> unzoom_points(torch.tensor([[[5.0, 5.0]]]), crop, (100, 200))
    tensor([[[150.,  75.]]])
    """
    grid.refuse_legacy()
    with no_autocast(xy.device.type):
        place = _to_cells(xy.to(grid.nodes.dtype), grid)
        return _forward(grid.nodes, place)[0] * _pixels(source, grid.nodes)


def zoom_points(xy: Float[Tensor, "b k 2"], grid: ZoomGrid, source: tuple[int, int]) -> Placed:
    """Points of the source in the zoomed picture: the inverse of `unzoom_points`, differentiable in points and grid.

    Args:
        xy: (b, k, 2), source pixels.
        grid: of the zoomed picture. Where it folds or collapses there is no inverse; some answer is given.
        source: (height, width) of the source, pixels.

    >>> from snellen.layers.zoom_grid import box_grid
    >>> crop = box_grid(torch.tensor([[0.5, 0.5, 1.0, 1.0]]), (10, 10))
    >>> zoom_points(torch.tensor([[[150.0, 75.0], [50.0, 75.0]]]), crop, (100, 200)).inside
    tensor([[ True, False]])
    """
    grid.refuse_legacy()
    with no_autocast(xy.device.type):
        target = xy.to(grid.nodes.dtype) / _pixels(source, grid.nodes)
        if grid.separable:
            x, y = grid.axes()
            place = torch.stack((_invert_axis(x, target[..., 0]), _invert_axis(y, target[..., 1])), dim=-1)
            hit = torch.ones_like(place[..., 0], dtype=torch.bool)
        else:
            place, hit = _invert(grid.nodes, target)
        rows, columns = grid.cells
        limit = torch.tensor([columns, rows], device=place.device, dtype=place.dtype)
        inside = hit & ((place >= -BESIDE) & (place <= limit + BESIDE)).all(dim=-1)
        return Placed(place / limit * _pixels(grid.size, place), inside)


def unzoom_boxes(boxes: Float[Tensor, "b k 4"], grid: ZoomGrid, source: tuple[int, int]) -> Float[Tensor, "b k 4"]:
    """Boxes (left, top, right, bottom) of the zoomed picture in the source: exact for separable grids, else the tight boxes
    around their bent outlines (nine points a side)."""
    return _hull(unzoom_points(_outline(boxes), grid, source), boxes)


def zoom_boxes(boxes: Float[Tensor, "b k 4"], grid: ZoomGrid, source: tuple[int, int]) -> Float[Tensor, "b k 4"]:
    """Boxes (left, top, right, bottom) of the source in the zoomed picture, as `unzoom_boxes` the other way."""
    return _hull(zoom_points(_outline(boxes), grid, source).xy, boxes)


def unzoom(
    maps: Shaped[Tensor, "b c h w"],
    grid: ZoomGrid,
    size: tuple[int, int],
    *,
    mode: Literal["bilinear", "nearest"] = "bilinear",
) -> Unzoomed:
    """Bring maps of the zoomed picture back to the source's frame (LZU; zoom.md 7.2).

    Args:
        maps: (b, c, h, w) over the zoomed picture, of any resolution: features, logits, labels.
        grid: of the zoomed picture.
        size: (height, width) of the result, which covers the source.
        mode: "nearest" for label maps (of integers those up to 2^24).

    >>> from snellen.layers.zoom_grid import uniform_grid
    >>> x = torch.rand(1, 2, 6, 8)
    >>> bool((unzoom(x, uniform_grid(1, (6, 8)), (6, 8)).maps - x).abs().max() < 1e-5)
    True
    """
    grid.refuse_legacy()
    with no_autocast(maps.device.type):
        h, w = size
        like = grid.nodes
        x = (torch.arange(w, device=like.device, dtype=like.dtype) + 0.5) / w
        y = (torch.arange(h, device=like.device, dtype=like.dtype) + 0.5) / h
        if grid.separable:
            # An axis at a time: the raster's positions need not be inverted one by one.
            wide, tall = torch.stack((x, x), dim=-1)[:, :], torch.stack((y, y), dim=-1)
            columns = zoom_points(wide.expand(like.shape[0], -1, -1), grid, (1, 1)).xy[..., 0]
            rows = zoom_points(tall.expand(like.shape[0], -1, -1), grid, (1, 1)).xy[..., 1]
            shape = (like.shape[0], h, w)
            xy = torch.stack((columns[:, None].expand(shape), rows[:, :, None].expand(shape)), dim=-1)
            limit = _pixels(grid.size, like)
            inside = ((xy >= -BESIDE) & (xy <= limit + BESIDE)).all(dim=-1)
        else:
            raster = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(1, -1, 2)
            placed = zoom_points(raster.expand(like.shape[0], -1, -1), grid, (1, 1))
            xy, inside = placed.xy.unflatten(1, (h, w)), placed.inside.unflatten(1, (h, w))
        floating = maps.to(torch.promote_types(maps.dtype, torch.float32))
        sampling = (2 * xy / _pixels(grid.size, xy) - 1).to(floating.dtype)
        found = F.grid_sample(floating, sampling, mode=mode, padding_mode="border", align_corners=False)
        return Unzoomed(found.to(maps.dtype) if mode == "nearest" else found, inside)


def _pixels(size: tuple[int, int], like: Tensor) -> Tensor:
    """(width, height), to multiply fractions (x, y) by."""
    return torch.tensor([size[1], size[0]], device=like.device, dtype=like.dtype)


def _to_cells(xy: Tensor, grid: ZoomGrid) -> Tensor:
    """Zoomed pixels to node coordinates, where node j lies at j."""
    rows, columns = grid.cells
    return xy / _pixels(grid.size, xy) * torch.tensor([columns, rows], device=xy.device, dtype=xy.dtype)


def _forward(nodes: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """The node map at `place` (b, k, 2) in node coordinates, and its derivative (b, k, 2, 2)."""
    b, gh, gw, _ = nodes.shape
    # A point that is NaN is nowhere: it is read from some cell, and stays NaN.
    column = place[..., 0].detach().floor().clamp(0, gw - 2).nan_to_num()
    row = place[..., 1].detach().floor().clamp(0, gh - 2).nan_to_num()
    fx, fy = (place[..., 0] - column)[..., None], (place[..., 1] - row)[..., None]
    first = (row * gw + column).long()[..., None].expand(-1, -1, 2)
    flat = nodes.reshape(b, gh * gw, 2)
    p00, p01, p10, p11 = (flat.gather(1, first + step) for step in (0, 1, gw, gw + 1))
    top, bottom = p00 + fx * (p01 - p00), p10 + fx * (p11 - p10)
    along = (p01 - p00) * (1 - fy) + (p11 - p10) * fy
    return top + fy * (bottom - top), torch.stack((along, bottom - top), dim=-1)


def _invert_axis(nodes: Tensor, target: Tensor) -> Tensor:
    """Node coordinates at which increasing `nodes` (b, g) reach `target` (b, k)."""
    flat = nodes.detach().contiguous()
    cell = torch.searchsorted(flat, target.detach().contiguous(), right=True) - 1
    cell = cell.clamp(0, nodes.shape[1] - 2)
    low, high = nodes.gather(1, cell), nodes.gather(1, cell + 1)
    return cell + (target - low) / (high - low).clamp(min=1e-7)  # a collapsed cell is somewhere in it


def _invert(nodes: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Node coordinates that are mapped onto `target` (b, k, 2), and whether they are."""
    with torch.no_grad():
        if torch.compiler.is_compiling() or target.shape[1] <= BINS * BINS:
            place = _newton(nodes, target, _nearest_node(nodes, target))
        else:
            # A raster has far more targets than there are nodes, and neighbours begin at the same node. The few that this
            # misleads where a grid bends strongly begin again from their own.
            place = _newton(nodes, target, _nearest_node_of_bin(nodes, target), FEW_STEPS)
            missed = (_forward(nodes, place)[0] - target).abs().amax(dim=-1) >= CLOSE
            for i in missed.any(dim=1).nonzero().flatten().tolist():
                grid, lost = nodes[i : i + 1], target[i : i + 1, missed[i]]
                place[i, missed[i]] = _newton(grid, lost, _nearest_node(grid, lost))[0]
        found, derivative = _forward(nodes, place)
        hit = (found - target).abs().amax(dim=-1) < CLOSE
    # One more step with gradients: those of the implicit function, J^-1 (dtarget - dmap).
    again, _ = _forward(nodes, place)
    return place + _solve(derivative, target - again), hit


def _newton(nodes: Tensor, target: Tensor, place: Tensor, steps: int = STEPS) -> Tensor:
    """Newton's steps from `place` (b, k, 2), node coordinates, until all targets are met or `steps` are done."""
    limit = torch.tensor([nodes.shape[2], nodes.shape[1]], device=nodes.device, dtype=nodes.dtype)
    for _ in range(steps):
        found, derivative = _forward(nodes, place)
        # The step with gradients that follows brings what is this close to the last digit.
        if not torch.compiler.is_compiling() and bool(((target - found).abs() < 0.1 * CLOSE).all()):
            break
        step = _solve(derivative, target - found)
        place = torch.minimum((place + step.clamp(-1.5, 1.5)).clamp(min=-1), limit)
    return place


def _nearest_node(nodes: Tensor, target: Tensor) -> Tensor:
    """The node that looks nearest to each target, to begin with: between it and its neighbours the map bends little."""
    gw = nodes.shape[2]
    nearest = torch.cdist(target, nodes.flatten(1, 2)).argmin(dim=-1)
    return torch.stack((nearest % gw, nearest.div(gw, rounding_mode="floor")), dim=-1).to(target.dtype)


def _nearest_node_of_bin(nodes: Tensor, target: Tensor) -> Tensor:
    """The same for the middle of each target's bin, of `BINS` x `BINS` over the source."""
    middle = (torch.arange(BINS, device=nodes.device, dtype=nodes.dtype) + 0.5) / BINS
    middles = torch.stack(torch.meshgrid(middle, middle, indexing="xy"), dim=-1).reshape(1, -1, 2)
    start = _nearest_node(nodes, middles.expand(nodes.shape[0], -1, -1))
    column, row = (target * BINS).floor().clamp(0, BINS - 1).nan_to_num().long().unbind(-1)
    return start.gather(1, (row * BINS + column)[..., None].expand(-1, -1, 2))


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    """x of matrix x = right for 2x2 matrices; a singular one is kept from dividing by zero."""
    (a, b), (c, d) = (row.unbind(-1) for row in matrix.unbind(-2))
    determinant = a * d - b * c
    tiny = torch.full_like(determinant, 1e-12)
    determinant = torch.where(determinant.abs() < 1e-12, tiny, determinant)
    x, y = right.unbind(-1)
    return torch.stack(((d * x - b * y) / determinant, (a * y - c * x) / determinant), dim=-1)


def _outline(boxes: Tensor) -> Tensor:
    """(b, k, 4) to points on their outlines (b, k * 36, 2): corners, and seven between them."""
    left, top, right, bottom = (side[..., None] for side in boxes.unbind(-1))
    t = torch.linspace(0, 1, 9, device=boxes.device, dtype=boxes.dtype)
    x, y = left + t * (right - left), top + t * (bottom - top)
    sides = ((x, top.expand_as(x)), (x, bottom.expand_as(x)), (left.expand_as(y), y), (right.expand_as(y), y))
    return torch.cat([torch.stack(side, dim=-1) for side in sides], dim=2).flatten(1, 2)


def _hull(points: Tensor, boxes: Tensor) -> Tensor:
    around = points.unflatten(1, (boxes.shape[1], 36))
    return torch.cat((around.amin(dim=2), around.amax(dim=2)), dim=-1)
