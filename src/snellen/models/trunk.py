"""What RCN and SumNet share: the trunk, its sizes, and the checks of their arguments.

Source: Honari et al., "Recombinator Networks", CVPR 2016, arXiv 1511.07356, tables of rcn.md 2.2 to 2.6 and 2.9.

Levels are counted from the finest, as the data flows. For an 80x80 input::

    level        0      1      2      3      4      5      6
    map        80x80  40x40  20x20  10x10   5x5    2x2    1x1
    pool before  -     2x2    2x2    2x2    2x2   3x3/2   2x2

Branch *masks* are written as in the paper's table, coarsest branch first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from snellen.models.base import KeypointNet, conv, parse_mask
from snellen.models.preprocess import Contrast

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


def find_topology(name: str) -> Topology:
    """The widths called "5" or "68"."""
    if name not in TOPOLOGIES:
        raise ValueError(f"topology={name!r} is not known; give '5' or '68'")
    return TOPOLOGIES[name]


def scaled_widths(topology: Topology, branches: int, width: float) -> tuple[int, ...]:
    """Trunk channels of each level; other multipliers than 1 round to multiples of 8 (our choice)."""
    widths = topology.trunk[:branches]
    return widths if width == 1.0 else tuple(max(8, 8 * round(c * width / 8)) for c in widths)


class Trunk(nn.Module):
    """The shared path: at each level a pool (but the first) and one 3x3 convolution with ReLU.

    Args:
        in_channels: channels of the preprocessed image.
        widths: channels of each level, finest first.
        norm: "none" or "batch".
    """

    #: Any size of canvas will do.
    step = 1

    def __init__(self, in_channels: int, widths: Sequence[int], norm: str) -> None:
        super().__init__()
        self.in_channels, self.channels = in_channels, tuple(widths)
        self.reductions = tuple(2**level for level in range(len(widths)))
        self.minimum_size = minimum_size(len(widths))
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


class PaperNet(KeypointNet):
    """Base of the paper's two networks: the trunk, and branches as wide as it.

    Subclasses add `branch` (finest first, as all lists of levels), then call `finish`, and implement `forward`.

    Args:
        keypoints: K, maps to answer with; by default the topology's, 5 or 68.
        branches: number of resolutions.
        topology: "5" or "68", the widths.
        possible: what `branches` may be.
        branches_words: the same in words, for the sentence that refuses others.
        kernel: "3x3" or "5x5".
        norm: "none" or "batch".
        channels: 1 or 3, what the network sees.
        contrast: see `Preprocess`.
        width: multiplies all channels.
        branch_mask: coarsest branch first, or None for all branches.
    """

    trunk: Trunk
    branch: nn.ModuleList

    def __init__(
        self,
        keypoints: int | None,
        branches: int,
        *,
        topology: str,
        possible: range,
        branches_words: str,
        kernel: str,
        norm: str,
        channels: int,
        contrast: Contrast,
        width: float,
        branch_mask: str | None,
    ) -> None:
        kind = find_topology(topology)
        if branches not in possible:
            raise ValueError(f"branches={branches} is not possible; {branches_words}")
        if kernel not in KERNELS:
            raise ValueError(f"kernel={kernel!r} is not known; give '3x3' or '5x5'")
        widths = scaled_widths(kind, branches, width)
        super().__init__(
            keypoints=kind.keypoints if keypoints is None else keypoints,
            reductions=[2**level for level in range(branches)],
            stride=1,
            norm=norm,
            channels=channels,
            contrast=contrast,
            branch_mask=branch_mask,
            minimum_size=minimum_size(branches),
        )
        self.widths = widths
        self.trunk = Trunk(channels, widths, norm)

    def maps(self, x: Float[Tensor, "b c h w"], branch_mask: str | None) -> tuple[list[Tensor], tuple[bool, ...]]:
        """Trunk maps down to the coarsest branch in use, and which branches are, both finest first."""
        used = self.used_branches(x, branch_mask)
        depth = max(level for level, on in enumerate(used) if on) + 1
        return self.trunk(self.preprocess(x), depth), used[:depth]

    def finish(self, idle: Iterable[nn.Module]) -> None:
        """Initialise, and freeze what the branch mask leaves without a gradient: deep trunk levels and `idle`."""
        self.reset_parameters()
        used = parse_mask(self.branch_mask, self.branches)
        depth = max(level for level, on in enumerate(used) if on) + 1
        for module in (*self.trunk.convs[depth:], *idle):
            module.requires_grad_(False)
