"""What RCN and SumNet share: the trunk, branch masks, sizes, initialisation, the base class of keypoint networks.

Source: Honari et al., "Recombinator Networks", CVPR 2016, arXiv 1511.07356, tables of rcn.md 2.2 to 2.6 and 2.9.

Levels are counted from the finest, as the data flows. For an 80x80 input::

    level        0      1      2      3      4      5      6
    map        80x80  40x40  20x20  10x10   5x5    2x2    1x1
    pool before  -     2x2    2x2    2x2    2x2   3x3/2   2x2

Branch *masks* are written as in the paper's table, coarsest branch first.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from snellen.layers.recombine import LearnedUpsample
from snellen.models.outputs import KeypointOutput
from snellen.models.preprocess import Contrast, Preprocess

#: Level whose map comes from a 3x3 pool of stride 2 without padding (5x5 -> 2x2, rcn.md 2.2).
WIDE_POOL_LEVEL = 5
#: Level whose maps are a single pixel at the paper's size: its kernels are 1x1 (rcn.md 2.4).
PIXEL_LEVEL = 6


@dataclass(frozen=True)
class Topology:
    """Widths that tell the papers' nets apart.

    Attributes:
        trunk: channels of the trunk at levels 0..6.
        keypoints: how many the authors used it for.
        rcn_kernel: kernel of RCN's branches, "3x3" or "5x5" (5x5, then 1x1).
        rcn_finest: 64->64 convolutions of RCN's finest branch between its first and its last.
        sum_finest: whether SumNet's finest branch has four convolutions instead of two.
    """

    trunk: tuple[int, ...]
    keypoints: int
    rcn_kernel: str
    rcn_finest: int
    sum_finest: bool


TOPOLOGIES = {
    "5": Topology((16, 32, 48, 48, 48, 48, 48), 5, "3x3", 0, False),  # rcn.md 2.3, 2.4
    "68": Topology((64,) * 7, 68, "5x5", 2, True),  # rcn.md 2.3, 2.5
}

#: First kernel of a branch, and of its later convolutions (rcn.md 2.3, 2.4: "option 5").
KERNELS = {"3x3": (3, 3), "5x5": (5, 1)}


def scaled_widths(topology: Topology, branches: int, width: float) -> tuple[int, ...]:
    """Trunk channels of each level; other multipliers than 1 round to multiples of 8 (our choice)."""
    widths = topology.trunk[:branches]
    return widths if width == 1.0 else tuple(max(8, 8 * round(c * width / 8)) for c in widths)


def conv(c_in: int, c_out: int, kernel: int, *, norm: str = "none", relu: bool = True) -> nn.Sequential:
    """A same-size convolution; with ReLU also a batch norm where `norm` is "batch", which makes the bias needless.

    A convolution without ReLU stays plain: its output is an answer, not a feature.
    """
    batch_norm = relu and norm == "batch"
    layers: list[nn.Module] = [nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=not batch_norm)]
    if batch_norm:
        layers.append(nn.BatchNorm2d(c_out))
    if relu:
        layers.append(nn.ReLU())  # the authors' x * (x > 1e-8), to within 1e-8
    return nn.Sequential(*layers)


class Trunk(nn.Module):
    """The shared path: at each level a pool (but the first) and one 3x3 convolution with ReLU.

    Args:
        in_channels: channels of the preprocessed image.
        widths: channels of each level, finest first.
        norm: "none" or "batch".
    """

    def __init__(self, in_channels: int, widths: Sequence[int], norm: str) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            conv(c_in, c_out, 1 if level == PIXEL_LEVEL else 3, norm=norm)
            for level, (c_in, c_out) in enumerate(zip((in_channels, *widths), widths, strict=False))
        )

    def forward(self, x: Float[Tensor, "b c h w"], levels: int | None = None) -> list[Tensor]:
        """The maps of the first `levels` levels (default all), finest first; level i is about h / 2^i by w / 2^i."""
        maps = []
        for level, block in enumerate(self.convs[:levels]):
            if level:
                x = F.max_pool2d(x, 3 if level == WIDE_POOL_LEVEL else 2, stride=2)
            x = block(x)
            maps.append(x)
        return maps


def minimum_size(branches: int) -> int:
    """The smallest height and width whose coarsest map still has a pixel: 8, 16, 48, 80 for 4, 5, 6, 7 branches.

    >>> minimum_size(5)
    16
    """
    size = 1
    for level in reversed(range(1, branches)):
        size = 2 * size + (1 if level == WIDE_POOL_LEVEL else 0)
    return size


def parse_mask(mask: str | None, branches: int) -> tuple[bool, ...]:
    """Which levels are on, finest first, from a mask as the paper writes it, coarsest first.

    >>> parse_mask("1001", 4), parse_mask("1000", 4)
    ((True, False, False, True), (False, False, False, True))
    """
    if mask is None:
        return (True,) * branches
    if len(mask) != branches or set(mask) - {"0", "1"} or "1" not in mask:
        raise ValueError(
            f"branch_mask={mask!r} does not fit {branches} branches; give {branches} digits, coarsest branch first, "
            f"1 to keep and 0 to leave out, at least one of them 1, e.g. {'1' + '0' * (branches - 2) + '1'!r}"
        )
    return tuple(digit == "1" for digit in reversed(mask))


class KeypointNet(nn.Module):
    """Base of the networks that turn a canvas into one map a keypoint.

    Subclasses add `branch` (finest first, as all lists of levels), then call `finish`, and implement `forward`.

    Attributes:
        preprocess: what happens to the canvas first.
        name: the preset that `create_model` was asked for; empty for a network built directly.
        choices: all choices `create_model` resolved, JSON-able; empty for a network built directly.
        minimum_size: smallest height and width of a canvas, pixels.
    """

    branch: nn.ModuleList

    def __init__(
        self,
        *,
        keypoints: int,
        widths: Sequence[int],
        norm: str,
        channels: int,
        contrast: Contrast,
        branch_mask: str | None,
    ) -> None:
        super().__init__()
        if keypoints < 1:
            raise ValueError(f"keypoints={keypoints} is not possible; a network needs at least one map to answer with")
        if norm not in ("none", "batch"):
            raise ValueError(f"norm={norm!r} is not known; give 'none' (the paper's) or 'batch'")
        parse_mask(branch_mask, len(widths))  # to refuse it here rather than in the first forward
        self.name = ""
        self.choices: dict[str, Any] = {}
        self.keypoints = keypoints
        self.branches = len(widths)
        self.branch_mask = branch_mask
        self.minimum_size = minimum_size(len(widths))
        self.preprocess = Preprocess(channels, contrast)
        self.trunk = Trunk(channels, widths, norm)

    @property
    def config(self) -> dict[str, Any]:
        """What rebuilds this network: ``create_model(config["name"], **config["choices"])``."""
        return {"name": self.name, "choices": dict(self.choices)}

    def maps(self, x: Float[Tensor, "b c h w"], branch_mask: str | None) -> tuple[list[Tensor], tuple[bool, ...]]:
        """Trunk maps down to the coarsest branch in use, and which branches are, both finest first."""
        h, w = x.shape[-2:]
        if h < self.minimum_size or w < self.minimum_size:
            raise ValueError(
                f"a canvas of {h}x{w} is too small: with {self.branches} branches the coarsest map would be empty; "
                f"give at least {self.minimum_size}x{self.minimum_size} pixels, or take fewer branches"
            )
        used = parse_mask(self.branch_mask if branch_mask is None else branch_mask, self.branches)
        depth = max(level for level, on in enumerate(used) if on) + 1
        return self.trunk(self.preprocess(x), depth), used[:depth]

    def forward(self, x: Float[Tensor, "b c h w"], branch_mask: str | None = None) -> KeypointOutput:
        """Canvas (b, c, h, w), values 0..255, to logits (b, k, h, w)."""
        raise NotImplementedError

    def finish(self, idle: Iterable[nn.Module]) -> None:
        """Initialise, and freeze what the branch mask leaves without a gradient: deep trunk levels and `idle`."""
        self.reset_parameters()
        used = parse_mask(self.branch_mask, self.branches)
        depth = max(level for level, on in enumerate(used) if on) + 1
        for module in (*self.trunk.convs[depth:], *idle):
            module.requires_grad_(False)

    def reset_parameters(self) -> None:
        """Draw all weights afresh from torch's generator (rcn.md 2.9).

        Convolutions: U(-b, b), b = sqrt(6 / (fan_in + fan_out / 4)), biases 0. Batch norms as torch has them.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                area = module.kernel_size[0] * module.kernel_size[1]
                bound = math.sqrt(6 / (area * (module.in_channels + module.out_channels / 4)))
                nn.init.uniform_(module.weight, -bound, bound)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d | LearnedUpsample):
                module.reset_parameters()

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Weights that the paper's L2 terms act on (rcn.md 3.1): no biases, no norms, no upsampling kernels.

        Returns:
            "trunk", "branch": convolution weights; "mixing": SumNet's weights of the branches, else empty.
        """
        return {"trunk": _conv_weights(self.trunk), "branch": _conv_weights(self.branch), "mixing": []}


def _conv_weights(module: nn.Module) -> list[nn.Parameter]:
    return [
        p for m in module.modules() if isinstance(m, nn.Conv2d) for name, p in m.named_parameters() if name == "weight"
    ]
