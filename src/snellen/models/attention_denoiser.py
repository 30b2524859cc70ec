"""The practical denoiser: attention over the points, a mixture of Gaussians over the canvas for each (our choice).

The paper's denoiser convolves 68 maps of 80x80 cells with 45x45 kernels because a map is how it writes a point down. A point
is two numbers: attention between 68 of them costs about 1/6800 of those convolutions::

    68 points (x, y)  ->  Fourier features + name  ->  blocks of attention  ->  4 Gaussians + a uniform floor a point  ->  maps

The answer is a density over the plane, so it is exact between cells and has a map of any size; that it is a *distribution*
is what lets it be added to an image model's logits. The floor, a share of the mass spread over the whole canvas, bounds how
much structure alone may hold against a point.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from snellen.layers.precision import no_autocast
from snellen.models.denoisers import Denoiser

__all__ = ["AttentionDenoiser", "Mixture"]

#: Frequencies of the positions' features: periods from two canvases to a sixteenth of one.
_OCTAVES = 6
#: Smallest deviation of a Gaussian, in cells: narrower ones would fall between the cells' centres.
_NARROWEST = 0.35


class Mixture(NamedTuple):
    """A density for each point over the canvas, whose longer side has length 1; `Density` says what it is asked.

    Attributes:
        log_weight: (b, k, m + 1) log shares of the m Gaussians and, last, of the uniform density over the canvas.
        mean: (b, k, m, 2).
        whitening: (b, k, m, 3) entries l11, l21, l22 of the lower triangular L with L^T L the inverse covariance.
        size: (height, width) in cells: the canvas's proportions, and the cell that a surprise is of.
    """

    log_weight: Float[Tensor, "b k m1"]
    mean: Float[Tensor, "b k m 2"]
    whitening: Float[Tensor, "b k m 3"]
    size: tuple[int, int]

    def _sides(self) -> tuple[float, float]:
        return sides(self.size)

    def _floor(self) -> Float[Tensor, "b k"]:
        """Log density of the uniform part."""
        width, height = self._sides()
        return self.log_weight[..., -1] - math.log(width * height)

    def _peaks(self) -> Float[Tensor, "b k m"]:
        """Log density of each Gaussian at its own mean, its share included."""
        return self.log_weight[..., :-1] + self.whitening[..., 0::2].log().sum(dim=-1) - math.log(2 * math.pi)

    def log_density(self, at: Float[Tensor, "b k 2"]) -> Float[Tensor, "b k"]:
        """At places whose unit is the canvas's longer side; the uniform part goes on outside the canvas."""
        dx, dy = (at[..., None, :] - self.mean).unbind(-1)
        l11, l21, l22 = self.whitening.unbind(-1)
        squares = (l11 * dx).square() + (l21 * dx + l22 * dy).square()
        return torch.logaddexp(torch.logsumexp(self._peaks() - 0.5 * squares, dim=-1), self._floor())

    def surprise(self, truth: Float[Tensor, "b k 2"]) -> Float[Tensor, "b k"]:
        """From the density at the point times a cell's area: no map is made."""
        with no_autocast(truth.device.type):
            at = truth * truth.new_tensor(self._sides())
            return 2 * math.log(max(self.size)) - self.log_density(at)

    def likeliest(self) -> Float[Tensor, "b k 2"]:
        """The mean of a Gaussian at which the whole density is highest."""
        at_means = [self.log_density(mean) for mean in self.mean.unbind(dim=2)]
        best = torch.stack(at_means, dim=-1).argmax(dim=-1)
        chosen = self.mean.gather(2, best[..., None, None].expand(-1, -1, 1, 2))[:, :, 0]
        return chosen / chosen.new_tensor(self._sides())

    def maps(self, size: tuple[int, int]) -> Float[Tensor, "b k h w"]:
        """The log density at the cells' centres, whatever their number."""
        (h, w), (width, height), means = size, self._sides(), self.mean
        with no_autocast(means.device.type):
            xs = (torch.arange(w, device=means.device, dtype=means.dtype) + 0.5) * (width / w)
            ys = (torch.arange(h, device=means.device, dtype=means.dtype) + 0.5) * (height / h)
            total = self._floor()[..., None, None].expand(-1, -1, h, w)
            tops = self._peaks()
            for i in range(means.shape[2]):  # one at a time: maps of all at once would take m times the memory
                dx = xs - means[..., i, 0, None]  # (b, k, w)
                dy = ys - means[..., i, 1, None]  # (b, k, h)
                l11, l21, l22 = (part[..., None] for part in self.whitening[..., i, :].unbind(-1))
                tilt = (l21 * dx)[..., None, :] + (l22 * dy)[..., :, None]
                squares = (l11 * dx).square()[..., None, :] + tilt.square()
                total = torch.logaddexp(total, tops[..., i, None, None] - 0.5 * squares)
        return total


def sides(size: tuple[int, int]) -> tuple[float, float]:
    """Width and height of a canvas of (height, width) cells, the longer one 1."""
    h, w = size
    return w / max(h, w), h / max(h, w)


class _Block(nn.Module):
    """Attention, then two linear layers, each behind a layer norm and added to what came in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.mix = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.inner = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Float[Tensor, "b k d"]) -> Float[Tensor, "b k d"]:
        q, k, v = (
            self.mix(self.norms[0](x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )  # (b, heads, k, d)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        changed: Tensor = x + self.inner(self.norms[1](x))
        return changed


class AttentionDenoiser(Denoiser):
    """Attention between points; see the module.

    Args:
        keypoints: K.
        size: (height, width) in cells of its maps; only their proportions and the width of the narrowest Gaussian depend on it.
        features: width of the attention, a multiple of `heads`.
        heads: of the attention.
        blocks: how many.
        components: Gaussians a point.

    >>> net = AttentionDenoiser(keypoints=5)
    >>> xy, given = torch.rand(2, 5, 2), torch.ones(2, 5, dtype=torch.bool)
    >>> net(xy, given).logits.shape, net(xy, given, (24, 24)).logits.shape
    (torch.Size([2, 5, 80, 80]), torch.Size([2, 5, 24, 24]))
    """

    def __init__(
        self,
        *,
        keypoints: int,
        size: tuple[int, int] = (80, 80),
        features: int = 96,
        heads: int = 4,
        blocks: int = 4,
        components: int = 4,
    ) -> None:
        super().__init__(keypoints=keypoints, size=size)
        if min(features, heads, blocks, components) < 1 or features % heads:
            raise ValueError(
                f"features={features}, heads={heads}, blocks={blocks}, components={components} are not possible; give at "
                "least 1 of each, and features a multiple of heads"
            )
        self.components = components
        self.place = nn.Linear(2 + 4 * _OCTAVES, features)
        self.names = nn.Parameter(torch.randn(keypoints, features) * 0.5)
        self.blank = nn.Parameter(torch.randn(features) * 0.5)
        self.blocks = nn.ModuleList(_Block(features, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(features)
        self.head = nn.Linear(features, 6 * components + 1)
        self.tails = nn.Parameter(torch.zeros(keypoints, 6 * components + 1))
        self._spread_out()

    def _spread_out(self) -> None:
        """Start with broad Gaussians about the middle of the canvas and a small floor."""
        m = self.components
        nn.init.zeros_(self.head.bias)
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            start = torch.zeros(6 * m + 1)
            start[m] = -3.0  # the floor's share before the softmax
            start[m + 1 : 3 * m + 1] = 0.5 * torch.tensor(sides(self.size)).repeat(m)
            deviations = torch.logspace(-1.2, -0.4, m)
            start[3 * m + 1 : 6 * m + 1 : 3] = -deviations.log()
            start[3 * m + 3 : 6 * m + 1 : 3] = -deviations.log()
            self.tails.copy_(start.expand_as(self.tails))

    def density(self, xy: Float[Tensor, "b k 2"], given: Bool[Tensor, "b k"]) -> Mixture:
        """See `Denoiser.density`; float32 at least."""
        self._checked(xy, given)
        width, height = sides(self.size)
        at = torch.where(given[..., None], torch.nan_to_num(xy), 0.5) * xy.new_tensor([width, height])
        angles = at[..., None] * (math.pi * 2.0 ** torch.arange(_OCTAVES, device=xy.device, dtype=xy.dtype))
        waves = torch.cat((angles.sin(), angles.cos()), dim=-1).flatten(2)
        seen = self.place(torch.cat((2 * at - 1, waves), dim=-1))
        x = torch.where(given[..., None], seen, self.blank.to(seen.dtype)) + self.names
        for block in self.blocks:
            x = block(x)
        with no_autocast(x.device.type):
            m = self.components
            parts = self.head(self.norm(x.to(self.tails.dtype))) + self.tails
            shares, means, shapes = parts.split((m + 1, 2 * m, 3 * m), dim=-1)
            shapes = shapes.unflatten(-1, (m, 3))
            sharpest = math.log(max(self.size) / _NARROWEST)
            # A soft ceiling keeps the gradient alive where a Gaussian has become as narrow as it may be.
            logs = sharpest - F.softplus(sharpest - shapes[..., 0::2])
            l11, l22 = logs.exp().unbind(-1)
            whitening = torch.stack((l11, shapes[..., 1] * l22, l22), dim=-1)
            return Mixture(F.log_softmax(shares, dim=-1), means.unflatten(-1, (m, 2)), whitening, self.size)
