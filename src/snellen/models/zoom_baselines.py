"""Zooms that predict a grid without a saliency, for comparison: spatial transformers, and the nodes themselves (zoom.md 4).

All look at the thumbnail that the saliency sampler looks at, and begin as a plain resize.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from snellen.layers.precision import no_autocast
from snellen.layers.zoom_grid import ZoomGrid, affine_grid
from snellen.models.blur_curriculum import BlurCurriculum
from snellen.models.saliency_net import Thumbnail
from snellen.models.zoomers import Zoomer

__all__ = ["AffineZoom", "DirectZoom", "SplineZoom"]


class AffineZoom(Zoomer):
    """A spatial transformer ("stn"): six numbers from a thumbnail (Jaderberg et al. 2015)."""

    def __init__(self, size: tuple[int, int], *, antialias: bool = True, blur: BlurCurriculum | None = None,
                 thumbnail: tuple[int, int] | None = None, **look: object) -> None:  # fmt: skip
        super().__init__(size, antialias=antialias, blur=blur)
        self.look = Thumbnail(6, None, size=thumbnail or size, **look)  # type: ignore[arg-type]  # it names them

    def grid(self, image: Tensor, boxes: Tensor | None) -> tuple[ZoomGrid, Tensor | None]:
        """See `Zoomer`."""
        identity = torch.tensor([[1.0, 0, 0], [0, 1, 0]], device=image.device)
        return affine_grid(identity + self.look(image).view(-1, 2, 3), self.size), None


class SplineZoom(Zoomer):
    """A thin plate spline ("tps") through `points` x `points` control points whose places are predicted."""

    nodes_of_points: Tensor

    def __init__(self, size: tuple[int, int], nodes: tuple[int, int] = (31, 31), *, points: int = 4,
                 antialias: bool = True, blur: BlurCurriculum | None = None,
                 thumbnail: tuple[int, int] | None = None, **look: object) -> None:  # fmt: skip
        super().__init__(size, antialias=antialias, blur=blur)
        if points < 2:
            raise ValueError(f"zoom_options.points={points} is not possible; give at least 2 control points a side")
        self.nodes, self.points = nodes, points
        # Nodes are linear in the control points: one constant matrix, of the spline's equations solved once.
        self.register_buffer("nodes_of_points", _spline(nodes, points).float(), persistent=False)
        self.look = Thumbnail(2 * points**2, None, size=thumbnail or size, **look)  # type: ignore[arg-type]

    def grid(self, image: Tensor, boxes: Tensor | None) -> tuple[ZoomGrid, Tensor | None]:
        """See `Zoomer`."""
        moved = self.look(image).view(image.shape[0], -1, 2)
        with no_autocast(image.device.type):
            nodes = self.nodes_of_points @ (_lattice(self.points, self.points).to(moved) + moved)
        return ZoomGrid(nodes.unflatten(1, self.nodes), self.size), None


class DirectZoom(Zoomer):
    """The grid's nodes themselves ("direct"): how far each is moved, from a thumbnail."""

    def __init__(self, size: tuple[int, int], nodes: tuple[int, int] = (31, 31), *, antialias: bool = True,
                 blur: BlurCurriculum | None = None, thumbnail: tuple[int, int] | None = None,
                 **look: object) -> None:  # fmt: skip
        super().__init__(size, antialias=antialias, blur=blur)
        self.nodes = nodes
        self.look = Thumbnail(2, nodes, size=thumbnail or size, **look)  # type: ignore[arg-type]  # it names them

    def grid(self, image: Tensor, boxes: Tensor | None) -> tuple[ZoomGrid, Tensor | None]:
        """See `Zoomer`."""
        moved = self.look(image).permute(0, 2, 3, 1)
        return ZoomGrid(_lattice(*self.nodes).unflatten(0, self.nodes).to(moved) + moved, self.size), None


def _lattice(rows: int, columns: int) -> Float[Tensor, "n 2"]:
    """Evenly spaced (x, y) from 0 to 1, row by row."""
    return torch.cartesian_prod(torch.linspace(0, 1, rows), torch.linspace(0, 1, columns)).flip(-1)


def _spline(nodes: tuple[int, int], points: int) -> Float[Tensor, "nodes points"]:
    """The matrix from control points to nodes of the thin plate spline, float64 (Bookstein 1989)."""

    def bend(a: Tensor, b: Tensor) -> Tensor:
        square = torch.cdist(a, b).square()
        return square * square.clamp(min=1e-300).log()

    def plane(a: Tensor) -> Tensor:
        return torch.cat((torch.ones(len(a), 1, dtype=a.dtype), a), dim=1)

    control, wanted = _lattice(points, points).double(), _lattice(*nodes).double()
    n = len(control)
    equations = torch.zeros(n + 3, n + 3, dtype=torch.float64)
    equations[:n, :n], equations[:n, n:], equations[n:, :n] = bend(control, control), plane(control), plane(control).T
    return (torch.cat((bend(wanted, control), plane(wanted)), dim=1) @ torch.linalg.inv(equations))[:, :n]
