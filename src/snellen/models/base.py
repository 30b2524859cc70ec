"""The base class of networks that turn a canvas into keypoint maps, and what all of them are built from."""

import math
from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from snellen.layers.lift_pool import LiftNet
from snellen.layers.recalibrate import MultiScaleRecalibration
from snellen.layers.recombine import LearnedUpsample
from snellen.models.outputs import KeypointOutput
from snellen.models.preprocess import Contrast, Preprocess

__all__ = ["KeypointNet", "conv", "draw_weights", "parse_mask"]


def conv(
    c_in: int, c_out: int, kernel: int, *, norm: str = "none", relu: bool = True, stride: int = 1
) -> nn.Sequential:
    """A convolution of padded maps; with ReLU also a batch norm where `norm` is "batch", which makes the bias needless.

    A convolution without ReLU stays plain: its output is an answer, not a feature.
    """
    batch_norm = relu and norm == "batch"
    layers: list[nn.Module] = [nn.Conv2d(c_in, c_out, kernel, stride=stride, padding=kernel // 2, bias=not batch_norm)]
    if batch_norm:
        layers.append(nn.BatchNorm2d(c_out))
    if relu:
        layers.append(nn.ReLU())  # the authors' x * (x > 1e-8), to within 1e-8
    return nn.Sequential(*layers)


def parse_mask(mask: str | None, branches: int) -> tuple[bool, ...]:
    """Which levels are on, finest first, from a mask as the paper writes it, coarsest first.

    >>> parse_mask("1001", 4), parse_mask("1000", 4)
    ((True, False, False, True), (False, False, False, True))
    """
    if mask is None:
        return (True,) * branches
    if len(mask) != branches or set(mask) - {"0", "1"} or "1" not in mask:
        example = "1" + "0" * (branches - 2) + "1" if branches > 1 else "1"
        raise ValueError(
            f"branch_mask={mask!r} does not fit {branches} branches; give {branches} digits, coarsest branch first, "
            f"1 to keep and 0 to leave out, at least one of them 1, e.g. {example!r}"
        )
    return tuple(digit == "1" for digit in reversed(mask))


class KeypointNet(nn.Module):
    """Base of the networks that turn a canvas into one map a keypoint.

    Subclasses add `trunk` and `branch`, then initialise, and implement `forward`.

    Args:
        keypoints: K, maps to answer with.
        reductions: side of a trunk map's pixel in canvas pixels, for each branch, finest first.
        stride: side of a heatmap's cell in canvas pixels. Cell (i, j) covers the canvas from (j * stride, i * stride) to
            ((j + 1) * stride, (i + 1) * stride), and the maps have ceil(h / stride) by ceil(w / stride) cells.
        norm: "none" or "batch".
        channels: 1 or 3, what the network sees.
        contrast: see `Preprocess`.
        branch_mask: coarsest branch first, or None for all branches.
        minimum_size: smallest height and width of a canvas, pixels.

    Attributes:
        preprocess: what happens to the canvas first.
        name: the preset that `create_model` was asked for; empty for a network built directly.
        choices: all choices `create_model` resolved, JSON-able; empty for a network built directly.

    Raises:
        ValueError: for values not listed.
    """

    trunk: nn.Module
    branch: nn.Module
    #: Whether `forward` wants boxes of the objects beside the canvas (zoom="boxes").
    needs_boxes = False

    def __init__(
        self,
        *,
        keypoints: int,
        reductions: Sequence[int],
        stride: int,
        norm: str,
        channels: int,
        contrast: Contrast,
        branch_mask: str | None,
        minimum_size: int,
    ) -> None:
        super().__init__()
        if keypoints < 1:
            raise ValueError(f"keypoints={keypoints} is not possible; a network needs at least one map to answer with")
        if norm not in ("none", "batch"):
            raise ValueError(f"norm={norm!r} is not known; give 'none' (the paper's) or 'batch'")
        parse_mask(branch_mask, len(reductions))  # to refuse it here rather than in the first forward
        self.name = ""
        self.choices: dict[str, Any] = {}
        self.keypoints = keypoints
        self.reductions = tuple(reductions)
        self.branches = len(self.reductions)
        self.stride = stride
        self.branch_mask = branch_mask
        self.minimum_size = minimum_size
        self.preprocess = Preprocess(channels, contrast)

    def used_branches(self, x: Float[Tensor, "b c h w"], branch_mask: str | None) -> tuple[bool, ...]:
        """Which branches are on, finest first; refuses a canvas that is too small for all of them."""
        h, w = x.shape[-2:]
        if h < self.minimum_size or w < self.minimum_size:
            raise ValueError(
                f"a canvas of {h}x{w} is too small: with {self.branches} branches the coarsest map would be empty; "
                f"give at least {self.minimum_size}x{self.minimum_size} pixels, or take fewer branches"
            )
        return parse_mask(self.branch_mask if branch_mask is None else branch_mask, self.branches)

    def forward(self, x: Float[Tensor, "b c h w"], branch_mask: str | None = None) -> KeypointOutput:
        """Canvas (b, c, h, w), values 0..255, to logits (b, k, ceil(h / stride), ceil(w / stride))."""
        raise NotImplementedError

    def cell(self, canvas: tuple[int, int]) -> float:
        """Side in canvas pixels of the cell that the maps have for a canvas of (height, width), where nothing is magnified."""
        return float(self.stride)

    def reset_parameters(self) -> None:
        """Draw all weights afresh from torch's generator, see `draw_weights`."""
        draw_weights(self)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Weights that the paper's L2 terms act on (rcn.md 3.1): no biases, norms, poolings and upsampling
        kernels.

        Returns:
            "trunk", "branch": weights of convolutions (and of linear layers, in a transformer); "mixing": SumNet's weights
            of the branches, else empty.
        """
        return {"trunk": _weights(self.trunk), "branch": _weights(self.branch), "mixing": []}


def draw_weights(module: nn.Module) -> None:
    """Draw the weights of a network, or a part of one, from torch's generator (rcn.md 2.9).

    Convolutions: U(-b, b), b = sqrt(6 / (fan_in + fan_out / 4)), biases 0. Batch norms as torch has them, LiftPool's as
    its layer draws them.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            area = part.kernel_size[0] * part.kernel_size[1]
            bound = math.sqrt(6 / (area * (part.in_channels + part.out_channels / 4)))
            nn.init.uniform_(part.weight, -bound, bound)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.BatchNorm2d | LearnedUpsample | LiftNet | MultiScaleRecalibration):
            part.reset_parameters()


def _weights(module: nn.Module) -> list[nn.Parameter]:
    layers = (m for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    return [p for m in layers for name, p in m.named_parameters(recurse=False) if name == "weight"]
