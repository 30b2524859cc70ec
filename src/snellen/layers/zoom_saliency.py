"""From a saliency map to a sampling grid: salient parts of a picture get more pixels.

Source: Recasens, Kellnhofer, Stent, Matusik, Torralba, "Learning to Zoom", ECCV 2018, arXiv 1809.03355 (zoom.md 2.1). A
node looks at the mean position of the saliency around it, weighed by a Gaussian k::

    u(i) = sum_n k(n - i) S(n) X(n) / sum_n k(n - i) S(n)

How this differs: sums over the padded map are products with two small constant matrices an axis instead of a 61x61
convolution (zoom.md 6, exact), any aspect ratio, reflect padding by default (zoom.md 2.3: no folds, nothing cropped), and
float32 under autocast. The separable form, with the sums of the saliency over rows and over columns, is FOVEA's
(Thavamani et al., ICCV 2021; zoom.md 7.1).
"""

import math
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from snellen.layers.precision import no_autocast
from snellen.layers.zoom_grid import Legacy, ZoomGrid, jacobian

__all__ = [
    "SIGMA",
    "Padding",
    "ZoomMatrices",
    "bounded",
    "clamped_share",
    "position_sums",
    "saliency_to_grid",
    "zoom_matrices",
]

Padding = Literal["reflect", "replicate"]

#: The repository's Gaussian, 13 cells wide at half its height on a grid of 31, as a share of the grid (zoom.md 2.1).
SIGMA = 13 / math.sqrt(8 * math.log(2)) / 31


class ZoomMatrices(NamedTuple):
    """The constants of `saliency_to_grid`, float64.

    Attributes:
        rows: (2 gh, gh), the Gaussian sums over padded rows, and below them the same, each row weighed by its position.
        columns: (gw, 2 gw), the same of the columns, transposed.
        floor: what is added to a saliency of mean 1, so that the sums never vanish; 0 where they cannot.
    """

    rows: Float[Tensor, "2*gh gh"]
    columns: Float[Tensor, "gw 2*gw"]
    floor: float


def zoom_matrices(size: tuple[int, int], sigma: float = SIGMA, padding: Padding = "reflect") -> ZoomMatrices:
    """The matrices A = K R and Ax = K diag(X) R of each axis (zoom.md 6), for a grid of `size` (rows, columns).

    K holds the Gaussian, R the padding and X the positions of the padded cells. The padding is one less than the shorter side
    on both axes, as is the kernel's width (FOVEA's layout; the paper's 30 at 31).

    Args:
        size: nodes, at least 2 a side.
        sigma: the Gaussian's standard deviation, a share of the shorter side.
        padding: "reflect" or "replicate".

    Raises:
        ValueError: for values not possible.
    """
    if min(size) < 2:
        raise ValueError(f"a grid of {size[0]}x{size[1]} nodes spans nothing; give at least 2x2")
    if not sigma > 0:
        raise ValueError(f"sigma={sigma} is no width; give a share of the grid's shorter side above 0, e.g. 0.18")
    if padding not in get_args(Padding):
        raise ValueError(f"padding={padding!r} is not known; give 'reflect' or 'replicate'")
    short = min(size)
    pad, cells = short - 1, sigma * short
    rows, columns = (torch.cat(_axis(g, pad, cells, padding)) for g in size)
    # In float32 the Gaussian of the farthest cell must not vanish (zoom.md 2.5), and every cell must lie within reach.
    safe = (short - 1) ** 2 / cells**2 < 87 and size[0] == size[1]
    return ZoomMatrices(rows, columns.T.contiguous(), 0.0 if safe else 1e-6)


def _axis(g: int, pad: int, sigma: float, padding: str) -> tuple[Tensor, Tensor]:
    n = torch.arange(g + 2 * pad)
    inner = n - pad
    reflected = (g - 1) - ((g - 1) - inner.abs()).abs()
    source = inner.clamp(0, g - 1) if padding == "replicate" else reflected
    gauss = torch.exp(-0.5 * ((inner[None] - torch.arange(g)[:, None]).to(torch.float64) / sigma) ** 2)
    # A valid correlation: a node sees `pad` cells to each side.
    gauss = gauss * ((inner[None] - torch.arange(g)[:, None]).abs() <= pad)
    chosen = torch.nn.functional.one_hot(source, g).to(torch.float64)
    positions = inner.to(torch.float64) / (g - 1)
    return gauss @ chosen, (gauss * positions) @ chosen


def saliency_to_grid(
    saliency: Float[Tensor, "b gh gw"],
    out_size: tuple[int, int],
    sigma: float = SIGMA,
    padding: Padding | None = None,
    separable: bool = False,
    strength: float = 1.0,
    *,
    max_zoom: float | None = None,
    legacy: Legacy = "",
    matrices: ZoomMatrices | None = None,
) -> ZoomGrid:
    """The grid that gives salient parts more pixels.

    Args:
        saliency: (b, gh, gw), not negative, of any sum above 0; nodes on the picture's edges. Any aspect ratio.
        out_size: (height, width) of the zoomed picture, pixels.
        sigma: standard deviation of the Gaussian as a share of the grid's shorter side: small zooms sharply and locally, large
            gently. The paper's code has 0.178, its text 1/3 (zoom.md 3).
        padding: "reflect" (default) keeps the picture's edges on the edges and folds nothing; "replicate" (the paper's, and
            the default of legacy "paper") pulls towards the edges, and what it pulls beyond is clamped.
        separable: x from the saliency's sums over rows, y from those over columns; rows and columns stay straight.
        strength: 0 (a plain resize) to 1 (the saliency as it is): the share of it beside a uniform one.
        max_zoom: the largest magnification along any direction; the grid is mixed with a plain resize by as little as that
            needs (our choice).
        legacy: "paper" or "lzu" sample as the authors' code does, see `ZoomGrid`.
        matrices: those of `zoom_matrices` for the saliency's size, where a module keeps them; any dtype.

    Returns:
        The grid, float32 under autocast too, float64 for float64 saliency.

    Raises:
        ValueError: for values not possible.

    >>> grid = saliency_to_grid(torch.ones(1, 31, 31), (224, 224))
    >>> bool((grid.nodes[0, 0, :, 0] - torch.linspace(0, 1, 31)).abs().max() < 5e-6)
    True
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength={strength} is not possible; give 0 (plain resize) to 1 (all of the saliency)")
    if max_zoom is not None and not max_zoom > 1:
        raise ValueError(f"max_zoom={max_zoom} leaves no room to zoom; give a number above 1, or None for no bound")
    if legacy not in get_args(Legacy):
        raise ValueError(f"legacy={legacy!r} is not known; give 'paper', 'lzu', or '' for the library's own sampling")
    if min(out_size) < 1:
        raise ValueError(f"out_size={tuple(out_size)} is not possible; give at least 1 pixel a side")
    if saliency.ndim != 3:
        raise ValueError(f"the saliency has shape {tuple(saliency.shape)}; it must be (batch, rows, columns)")
    gh, gw = saliency.shape[-2:]
    if matrices is None:
        matrices = zoom_matrices((gh, gw), sigma, padding or ("replicate" if legacy == "paper" else "reflect"))
    with no_autocast(saliency.device.type):
        s = saliency.to(torch.promote_types(saliency.dtype, torch.float32))
        if strength < 1 or matrices.floor:
            # Only ratios of sums of it count, so its own sum need not be 1.
            even = s.mean(dim=(1, 2), keepdim=True)
            s = torch.add(s if strength == 1 else strength * s, even, alpha=1 - strength + matrices.floor)
        rows, columns = matrices.rows.to(s), matrices.columns.to(s)
        if separable:
            across, down = s.mean(dim=1) @ columns, s.mean(dim=2) @ rows.T
            x, y = across[:, gw:] / across[:, :gw], down[:, gh:] / down[:, :gh]
            nodes = torch.stack((x[:, None].expand(-1, gh, -1), y[:, :, None].expand(-1, -1, gw)), dim=-1)
        else:
            sums = position_sums(s, rows, columns)
            p, nx, ny = sums[:, :gh, :gw], sums[:, :gh, gw:], sums[:, gh:, :gw]
            # Laid out as planes of x and y, as matrices read them.
            nodes = (torch.stack((nx, ny), dim=1) / p[:, None]).permute(0, 2, 3, 1)
        grid = ZoomGrid(nodes.clamp(0, 1), out_size, separable, legacy)
        return grid if max_zoom is None else bounded(grid, max_zoom)


def position_sums(
    saliency: Float[Tensor, "b gh gw"], rows: Float[Tensor, "2*gh gh"], columns: Float[Tensor, "gw 2*gw"]
) -> Float[Tensor, "b 2*gh 2*gw"]:
    """The Gaussian sums of a padded saliency as one product (zoom.md 6), for the matrices of `zoom_matrices`.

    Top left p = A S A', top right nx = A S Ax', the sum weighed by x, bottom left ny = Ax S A'; the rest has no use.
    """
    return rows @ (saliency @ columns)


def bounded(grid: ZoomGrid, max_zoom: float) -> ZoomGrid:
    """Mix a grid with the plain resize, by as little as keeps its magnification along every direction below a bound.

    The smallest eigenvalue m of the derivative's symmetric part becomes (1 - a) m + a where a share of a is mixed in, and
    magnification is at most its inverse (exact for the grids of `saliency_to_grid` with reflect padding, whose derivative is
    symmetric but for the discretisation; zoom.md 2.2).

    Args:
        grid: of nodes from edge to edge.
        max_zoom: above 1.
    """
    j = jacobian(grid)
    middle = (j[..., 0, 0] + j[..., 1, 1]) / 2
    half, off = (j[..., 0, 0] - j[..., 1, 1]) / 2, (j[..., 0, 1] + j[..., 1, 0]) / 2
    # The tiny number keeps the root's gradient finite where the derivative is a multiple of the identity.
    smallest = (middle - (half.square() + off.square() + 1e-12).sqrt()).amin(dim=(1, 2, 3))
    lacking = ((1 / max_zoom - smallest) / (1 - smallest).clamp(min=1e-6)).clamp(0, 1)[:, None, None, None]
    rows, columns = (torch.linspace(0, 1, n + 1).to(grid.nodes) for n in grid.cells)
    plain = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    return ZoomGrid((1 - lacking) * grid.nodes + lacking * plain, grid.size, grid.separable, grid.legacy)


def clamped_share(grid: ZoomGrid) -> Float[Tensor, " b"]:
    """Share of the nodes off the border that lie on an edge of the source: those that replicate padding pulled beyond it."""
    edge = (grid.nodes <= 0) | (grid.nodes >= 1)
    held = edge.any(dim=-1)[:, 1:-1, 1:-1]
    return held.to(grid.nodes.dtype).mean(dim=(1, 2)) if held.numel() else grid.nodes.new_zeros(grid.nodes.shape[0])
