"""Grids that say where each pixel of a zoomed picture is read from.

A grid is a map from the zoomed picture to the source picture, given at nodes and bilinear between them::

    zoomed picture, ow wide              source picture, width 1
    |----|----|----|----|                |-|--|----|--------|
    0   the nodes, evenly spaced  ow     0   where they look    1

Node (i, j) of (gh, gw) lies at (j / (gw - 1) * ow, i / (gh - 1) * oh) of the zoomed picture, so the outer nodes lie on its
edges, and pixel j, whose centre is j + 0.5, reads the node map at (j + 0.5) / ow * (gw - 1) (design: zoom grids; zoom.md 2.4).
Positions in the source are fractions of its width and height, so one grid fits a picture and its thumbnail.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.export import register_dataclass

from snellen.layers.grid_forms import constant

__all__ = ["Legacy", "ZoomGrid", "affine_grid", "box_grid", "jacobian", "magnification", "uniform_grid"]

Legacy = Literal["", "paper", "lzu"]


@dataclass(frozen=True)
class ZoomGrid:
    """Where a zoomed picture is read from.

    Attributes:
        nodes: (b, gh, gw, 2), the source position (x, y) of each node, fractions of the source's width and height.
        size: (height, width) of the zoomed picture, pixels.
        separable: x depends on the column alone and y on the row alone.
        legacy: "" follows geometry.py; "paper" and "lzu" are the sampling of Saliency-Sampler and of LZU (zoom.md 2.4), for
            parity: such a grid can be sampled, but not inverted.

    >>> uniform_grid(2, (4, 8)).positions()[0, 0, :, 0]
    tensor([0.0625, 0.1875, 0.3125, 0.4375, 0.5625, 0.6875, 0.8125, 0.9375])
    """

    nodes: Float[Tensor, "b gh gw 2"]
    size: tuple[int, int]
    separable: bool = False
    legacy: str = ""

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of cells between the nodes."""
        return self.nodes.shape[1] - 1, self.nodes.shape[2] - 1

    def axes(self) -> tuple[Float[Tensor, "b gw"], Float[Tensor, "b gh"]]:
        """The x of each column and the y of each row; of a separable grid, these are all there is."""
        return self.nodes[:, 0, :, 0], self.nodes[:, :, 0, 1]

    def positions(self, size: tuple[int, int] | None = None) -> Float[Tensor, "b oh ow 2"]:
        """Source positions of pixel centres, fractions.

        Args:
            size: (height, width) of a raster over the zoomed picture; by default its own pixels.
        """
        return self._read(self.nodes, size or self.size, corners=False)

    def corners(self, size: tuple[int, int] | None = None) -> Float[Tensor, "b oh+1 ow+1 2"]:
        """Source positions of the corners of the pixels of such a raster, fractions."""
        return self._read(self.nodes, size or self.size, corners=True)

    def sampling(self) -> Float[Tensor, "b oh ow 2"]:
        """What torch's `grid_sample` wants: -1..1, for align_corners=False, or for True where the grid is a legacy one."""
        if not self.legacy:
            # Reading is linear with weights of sum 1: the few nodes are moved, not the many pixels.
            return self._read((2 * self.nodes).sub_(1), self.size, corners=False)
        g = (2 * self.nodes - 1).clamp(-1, 1).permute(0, 3, 1, 2)
        dense = F.interpolate(g, self.size, mode="bilinear", align_corners=self.legacy == "lzu")
        return dense.permute(0, 2, 3, 1)

    def resized(self, size: tuple[int, int]) -> "ZoomGrid":
        """The same map for a zoomed picture of another size."""
        return ZoomGrid(self.nodes, size, self.separable, self.legacy)

    def refuse_legacy(self) -> None:
        """Refuse a legacy grid (ValueError): its picture does not lie where its nodes say."""
        if self.legacy:
            raise ValueError(
                f"a grid with legacy={self.legacy!r} can only be sampled: its picture is shifted against its nodes; "
                "make it without legacy to move points, boxes and maps"
            )

    def _read(self, nodes: Tensor, size: tuple[int, int], corners: bool) -> Tensor:
        """Values of the nodes, as `nodes`, at the middles of a raster's pixels or at their corners."""
        if self.separable:
            x, y = _along(nodes[:, 0, :, 0], 1, size[1], corners), _along(nodes[:, :, 0, 1], 1, size[0], corners)
            shape = (x.shape[0], y.shape[1], x.shape[1])
            return torch.stack((x[:, None].expand(shape), y[:, :, None].expand(shape)), dim=-1)
        # Rows outermost, so that the second reading, of far more numbers, copies whole rows.
        rows = _along(nodes.permute(1, 0, 3, 2), 3, size[1], corners)
        return _along(rows, 0, size[0], corners).permute(1, 0, 3, 2)


# torch.export and functorch need to look inside; the name lets an exported program be saved.
register_dataclass(ZoomGrid, serialized_type_name="snellen.ZoomGrid")


def _along(values: Tensor, dim: int, pixels: int, corners: bool) -> Tensor:
    """Evenly spaced values read linearly along an axis, at the middles of pixels or at their corners.

    Not as a product with a matrix, of which `torch.set_float32_matmul_precision` and autocast may leave ten bits or fewer.
    """
    side = (pixels, values.shape[dim])
    near = constant(_neighbours, values, side, corners, 0)
    far = constant(_neighbours, values, side, corners, 1)
    share = constant(_shares, values, side, corners, values.dtype, values.ndim - 1 - dim)
    # In place, since fresh memory takes as long as the arithmetic.
    return values.index_select(dim, near).lerp_(values.index_select(dim, far), share)


def _places(side: tuple[int, int], corners: bool) -> Float[Tensor, " n"]:
    """Where (pixels, nodes) along an axis are read, in nodes; float64."""
    pixels, nodes = side
    places = torch.arange(pixels + 1, dtype=torch.float64)
    return (places if corners else places[:-1] + 0.5) / pixels * (nodes - 1)


def _neighbours(side: tuple[int, int], corners: bool, after: int, device: torch.device) -> Int[Tensor, " n"]:
    """The nodes before each of `_places`, or those `after` them."""
    return _before(side, corners).add(after).clamp(max=side[1] - 1).to(device)


def _before(side: tuple[int, int], corners: bool) -> Int[Tensor, " n"]:
    return _places(side, corners).long().clamp(max=max(side[1] - 2, 0))


def _shares(
    side: tuple[int, int], corners: bool, dtype: torch.dtype, behind: int, device: torch.device
) -> Float[Tensor, "n ..."]:
    """How far each of `_places` lies towards the node after it, 0 to 1; with as many axes of 1 `behind`."""
    return (_places(side, corners) - _before(side, corners)).to(device, dtype).view(-1, *[1] * behind)


def uniform_grid(
    batch: int, size: tuple[int, int], *, device: torch.device | None = None, dtype: torch.dtype = torch.float32
) -> ZoomGrid:
    """The grid of a plain resize: the whole source on a picture of `size`."""
    whole = torch.tensor([0.0, 0.0, 1.0, 1.0], device=device, dtype=dtype)
    return box_grid(whole.expand(batch, 4), size)


def box_grid(boxes: Float[Tensor, "b 4"], size: tuple[int, int]) -> ZoomGrid:
    """The grid of a crop.

    Args:
        boxes: left, top, right, bottom as fractions of the source's width and height.
        size: (height, width) of the picture that the box fills.
    """
    left, top, right, bottom = boxes.unbind(-1)
    x, y = torch.stack((left, right), dim=-1), torch.stack((top, bottom), dim=-1)
    nodes = torch.stack((x[:, None, :].expand(-1, 2, -1), y[:, :, None].expand(-1, -1, 2)), dim=-1)
    return ZoomGrid(nodes, size, separable=True)


def affine_grid(theta: Float[Tensor, "b 2 3"], size: tuple[int, int]) -> ZoomGrid:
    """The grid of an affine map, as torch's `affine_grid` writes it: of coordinates -1..1, from zoomed picture to source."""
    corners = torch.tensor(
        [[[-1.0, -1, 1], [1, -1, 1]], [[-1, 1, 1], [1, 1, 1]]], device=theta.device, dtype=theta.dtype
    )
    return ZoomGrid((torch.einsum("bij,hwj->bhwi", theta, corners) + 1) / 2, size)


def jacobian(grid: ZoomGrid) -> Float[Tensor, "b gh-1 gw-1 4 2 2"]:
    """The map's derivative in each corner of each cell (top left, top right, bottom left, bottom right).

    Fractions of the source per fraction of the zoomed picture: the identity for a plain resize. Columns are the derivatives
    along the zoomed picture's x and y. Within a cell the derivative's entries lie between those of its corners.
    """
    n, (rows, columns) = grid.nodes, grid.cells
    along = (n[:, :, 1:] - n[:, :, :-1]) * columns  # (b, gh, gw - 1, 2)
    down = (n[:, 1:] - n[:, :-1]) * rows  # (b, gh - 1, gw, 2)
    top, bottom, left, right = along[:, :-1], along[:, 1:], down[:, :, :-1], down[:, :, 1:]
    pairs = ((top, left), (top, right), (bottom, left), (bottom, right))
    return torch.stack([torch.stack(pair, dim=-1) for pair in pairs], dim=3)


def magnification(grid: ZoomGrid) -> Float[Tensor, "b gh-1 gw-1"]:
    """How many times larger than by a plain resize each cell's part of the source appears: the root of 1 / determinant.

    The determinant of a bilinear cell's centre is that of its whole area. Collapsed cells have 1000, folded ones too.

    >>> magnification(box_grid(torch.tensor([[0.0, 0.0, 0.5, 0.5]]), (8, 8)))
    tensor([[[2.]]])
    """
    area = torch.linalg.det(jacobian(grid).mean(dim=3))
    return area.clamp(min=1e-6).rsqrt()
