"""Networks that know where keypoints can be, from points alone: the base class, and the paper's convolutional denoiser.

Source: Honari et al., CVPR 2016 (rcn.md 2.7). A denoiser is shown all points of an object, some of them wrong, and answers
for each point where it should lie, as a map of log-probabilities like an image model's, so that the two can be added
(models/joint.py). It never sees an image.

How this differs: points come as fractions of the canvas rather than as maps; sizes and schemas are arguments; the first
layer is summed sparsely and the others through their spectra (layers/wide_conv.py), which changes nothing but the time.
"""

from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from snellen.layers.wide_conv import WideConv2d, one_hot_maps, place_kernels
from snellen.models.base import draw_weights
from snellen.models.outputs import KeypointOutput

__all__ = ["ConvDenoiser", "Denoiser", "Density", "MapDensity", "cells_of", "peaks"]


def cells_of(xy: Float[Tensor, "b k 2"], size: tuple[int, int]) -> Int[Tensor, "b k"]:
    """Index y * w + x of the cell that holds each point, floor(size * clip(xy, 0, 0.99999)) an axis (rcn.md 3.1).

    >>> cells_of(torch.tensor([[[0.5, 0.0], [2.0, 1.0]]]), (4, 8))
    tensor([[ 4, 31]])
    """
    h, w = size
    at = (xy.clamp(0, 0.99999) * xy.new_tensor([w, h])).floor().long()
    return at[..., 1] * w + at[..., 0]


class Density(Protocol):
    """Where each point of a batch of objects may lie, according to a denoiser."""

    def surprise(self, truth: Float[Tensor, "b k 2"]) -> Float[Tensor, "b k"]:
        """See `Denoiser.surprise`."""
        ...

    def likeliest(self) -> Float[Tensor, "b k 2"]:
        """Each point's most probable place, fractions of the canvas."""
        ...

    def maps(self, size: tuple[int, int]) -> Float[Tensor, "b k h w"]:
        """Logits on a grid of (height, width) cells over the canvas."""
        ...


class MapDensity(NamedTuple):
    """A density as maps.

    Attributes:
        logits: (b, k, h, w).
    """

    logits: Float[Tensor, "b k h w"]

    def surprise(self, truth: Float[Tensor, "b k 2"]) -> Float[Tensor, "b k"]:
        """Of the cells that hold the points; places outside the canvas count as its border."""
        flat = self.logits.to(torch.float32).flatten(2)
        cells = cells_of(truth, (self.logits.shape[-2], self.logits.shape[-1]))
        return torch.logsumexp(flat, dim=-1) - flat.gather(-1, cells[..., None])[..., 0]

    def likeliest(self) -> Float[Tensor, "b k 2"]:
        """The centres of the highest cells."""
        return peaks(self.logits)

    def maps(self, size: tuple[int, int]) -> Float[Tensor, "b k h w"]:
        """The logits, interpolated bilinearly where the size is another."""
        if tuple(size) == tuple(self.logits.shape[-2:]):
            return self.logits
        return F.interpolate(self.logits, size=size, mode="bilinear", align_corners=False)


def peaks(logits: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k 2"]:
    """The centre of each map's highest cell, as fractions of the map's width and height.

    >>> maps = torch.zeros(1, 1, 2, 4); maps[0, 0, 1, 2] = 1
    >>> peaks(maps)
    tensor([[[0.6250, 0.7500]]])
    """
    h, w = logits.shape[-2:]
    best = logits.flatten(2).argmax(dim=-1)
    x = (best % w).to(torch.float32) + 0.5
    y = torch.div(best, w, rounding_mode="floor").to(torch.float32) + 0.5
    return torch.stack((x / w, y / h), dim=-1)


class Denoiser(nn.Module):
    """Base of the denoisers; subclasses implement `density`.

    Args:
        keypoints: K, how many points there are.
        size: (height, width) in cells of its maps: the canvas it was trained on.

    Attributes:
        name: the preset that `create_denoiser` was asked for; empty for a network built directly.
        choices: all choices `create_denoiser` resolved, JSON-able; empty for a network built directly.

    Raises:
        ValueError: at construction for values not possible.
    """

    def __init__(self, *, keypoints: int, size: tuple[int, int]) -> None:
        super().__init__()
        if keypoints < 1:
            raise ValueError(f"keypoints={keypoints} is not possible; a denoiser needs at least one point")
        if len(size) != 2 or min(size) < 2:
            raise ValueError(f"size is (height, width) of at least 2 cells, not {tuple(size)}")
        self.name = ""
        self.choices: dict[str, Any] = {}
        self.keypoints, self.size = keypoints, (int(size[0]), int(size[1]))

    def density(self, xy: Float[Tensor, "b k 2"], given: Bool[Tensor, "b k"]) -> Density:
        """Where each point should lie, by all points that are given.

        Args:
            xy: points as fractions of the canvas's width and height; ignored where not given.
            given: False for points that nobody has located.
        """
        raise NotImplementedError

    def forward(
        self, xy: Float[Tensor, "b k 2"], given: Bool[Tensor, "b k"], size: tuple[int, int] | None = None
    ) -> KeypointOutput:
        """The density as maps.

        Args:
            xy: as for `density`.
            given: as for `density`.
            size: (height, width) of the maps to answer with, over the same canvas; by default `self.size`.

        Returns:
            Logits (b, k, height, width): a softmax over the positions makes them probabilities.
        """
        return KeypointOutput(self.density(xy, given).maps(self.size if size is None else size))

    def surprise(
        self, xy: Float[Tensor, "b k 2"], given: Bool[Tensor, "b k"], truth: Float[Tensor, "b k 2"]
    ) -> Float[Tensor, "b k"]:
        """Minus the log-probability, in nats, of the cells (of `self.size`) that hold `truth`, as fractions; float32.

        A uniform guess has ln(h w): 8.76 on 80 x 80 cells. Differentiable: its mean over moved points is the training loss.
        """
        return self.density(xy, given).surprise(truth)

    def penalised(self) -> list[nn.Parameter]:
        """Weights that the paper's L2 term acts on: matrices and kernels, no biases (rcn.md 3.1)."""
        return [p for p in self.parameters() if p.ndim > 1]

    def _checked(self, xy: Tensor, given: Tensor) -> None:
        if xy.shape[1:] != (self.keypoints, 2) or given.shape != xy.shape[:2]:
            raise ValueError(
                f"a denoiser of {self.keypoints} points needs xy (b, {self.keypoints}, 2) and given "
                f"(b, {self.keypoints}), not {tuple(xy.shape)} and {tuple(given.shape)}"
            )


class ConvDenoiser(Denoiser):
    """The paper's denoiser (rcn.md 2.7): wide convolutions over one-hot maps, a 1x1 convolution to K maps.

    For 68 points as published: 45x45 68 -> 64 ReLU, two of 45x45 64 -> 64 ReLU, 1x1 64 -> 68, on 80x80: 25,406,212 parameters.

    Args:
        keypoints: K.
        size: (height, width) in cells.
        kernel: side of the wide kernels, odd; the paper's 45 of 80 cells would be 11 of 20.
        features: width.
        layers: wide convolutions, the first included.
        fast: sparse first layer and the others through spectra; False convolves one-hot maps tap by tap. The same answers.

    >>> net = ConvDenoiser(keypoints=5, size=(20, 20), kernel=11, features=8)
    >>> net(torch.rand(2, 5, 2), torch.ones(2, 5, dtype=torch.bool)).logits.shape
    torch.Size([2, 5, 20, 20])
    """

    def __init__(
        self,
        *,
        keypoints: int,
        size: tuple[int, int] = (80, 80),
        kernel: int = 45,
        features: int = 64,
        layers: int = 3,
        fast: bool = True,
    ) -> None:
        super().__init__(keypoints=keypoints, size=size)
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel={kernel} has no centre; give an odd side, e.g. 45 (the paper's, of 80 cells)")
        if kernel // 2 >= min(self.size):
            raise ValueError(f"kernel={kernel} reaches past maps of {list(self.size)} cells; give a smaller kernel")
        if features < 1 or layers < 1:
            raise ValueError(f"features={features} and layers={layers} are not possible; give at least 1 of each")
        self.fast = fast
        self.first = nn.Conv2d(keypoints, features, kernel, padding=kernel // 2)
        self.wide = nn.ModuleList(WideConv2d(features, features, kernel, fourier=fast) for _ in range(layers - 1))
        self.head = nn.Conv2d(features, keypoints, 1)
        draw_weights(self)

    def density(self, xy: Float[Tensor, "b k 2"], given: Bool[Tensor, "b k"]) -> MapDensity:
        """See `Denoiser.density`."""
        self._checked(xy, given)
        cells = torch.where(given, cells_of(torch.nan_to_num(xy), self.size), -1)
        if self.fast and not torch.compiler.is_exporting():
            x = place_kernels(cells, self.size, self.first.weight, self.first.bias)
        else:
            x = self.first(one_hot_maps(cells, self.size).to(self.first.weight.dtype))
        x = F.relu(x)
        for layer in self.wide:
            x = F.relu(layer(x))
        return MapDensity(self.head(x))
