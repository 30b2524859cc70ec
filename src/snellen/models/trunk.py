"""What RCN and SumNet share: the trunk, its sizes, and the checks of their arguments.

Source: Honari et al., "Recombinator Networks", CVPR 2016, arXiv 1511.07356, tables of rcn.md 2.2 to 2.6 and 2.9.

Levels are counted from the finest, as the data flows. For an 80x80 input::

    level        0      1      2      3      4      5      6
    map        80x80  40x40  20x20  10x10   5x5    2x2    1x1
    pool before  -     2x2    2x2    2x2    2x2   3x3/2   2x2

Other poolings than the papers' max give maps of the same sizes: they see the map without the last row or column that max
pooling leaves out. "strided" has no pooling: the level's convolution has stride 2 (Springenberg et al. 2015), with as
many weights as before but at level 6, where it is 3x3, since a 1x1 would see a quarter of the pixels (our choice).

Branch *masks* are written as in the paper's table, coarsest branch first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from snellen.models.base import KeypointNet, conv, parse_mask
from snellen.models.halving import Halved, Side
from snellen.models.pooling import make_pool
from snellen.models.preprocess import Contrast
from snellen.models.unpooling import Kept, pool_and_keep

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
        pool: one of `TRUNK_POOLS`; all give maps of the same sizes.
        pool_options: of "blur" and "lift", see `make_pool`.

    Attributes:
        pools: between each two levels, finest first; "strided" only cuts odd sides.

    Raises:
        ValueError: for a pooling that does not exist, and for options that it does not have.
    """

    #: Any size of canvas will do.
    step = 1

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int],
        norm: str,
        pool: str = "max",
        pool_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.channels = in_channels, tuple(widths)
        self.reductions = tuple(2**level for level in range(len(widths)))
        self.minimum_size = minimum_size(len(widths))
        self.convs = nn.ModuleList(
            conv(c_in, c_out, 1 if level == PIXEL_LEVEL and pool != "strided" else 3, norm=norm, stride=stride)
            for level, (c_in, c_out) in enumerate(zip((in_channels, *widths), widths, strict=False))
            for stride in (2 if level and pool == "strided" else 1,)
        )
        self.pools = nn.ModuleList(
            _make_pool(pool, c, 3 if level == WIDE_POOL_LEVEL else 2, pool_options or {})
            for level, c in enumerate(widths[:-1], 1)
        )

    def forward(self, x: Float[Tensor, "b c h w"], levels: int | None = None) -> list[Tensor]:
        """The maps of the first `levels` levels (default all), finest first; level i is about h / 2^i by w / 2^i."""
        return self.with_kept(x, levels, ())[0]

    def with_kept(
        self, x: Float[Tensor, "b c h w"], levels: int | None, keep: Sequence[bool]
    ) -> tuple[list[Tensor], list[Kept | None]]:
        """The same, and what the poolings leave behind for unpoolings.

        Args:
            x: the image.
            levels: see `forward`.
            keep: of which level's pooling, finest first; only those of "max" and "lift" leave something.

        Returns:
            The maps, and for each what the pooling of that level's map kept, None where it was not asked.
        """
        maps: list[Tensor] = []
        kept: list[Kept | None] = []
        for level, block in enumerate(self.convs[:levels]):
            if level:
                wanted = level <= len(keep) and keep[level - 1]
                x, held = pool_and_keep(self.pools[level - 1], x) if wanted else (self.pools[level - 1](x), None)
                kept.append(held)
            x = block(x)
            maps.append(x)
        return maps, [*kept, None]


#: Ways to halve the maps of the papers' trunks.
TRUNK_POOLS = ("max", "avg", "blur", "strided", "dwt", "lift")


def _make_pool(kind: str, channels: int, window: int, options: Mapping[str, Any]) -> nn.Module:
    """A pooling with the output size of max pooling with a window of 2 or 3."""
    if kind not in TRUNK_POOLS:
        raise ValueError(f"pool={kind!r} is not known; give one of {', '.join(TRUNK_POOLS)}")
    if kind in ("max", "strided"):
        if options:
            raise ValueError(f"pool={kind!r} has no options and was given {', '.join(options)}; leave pool_options out")
        if kind == "max":
            return nn.MaxPool2d(window, stride=2)
    pool = nn.Identity() if kind == "strided" else make_pool(kind, channels, **options)
    side = Side(window, padding=0, dilation=1)
    return Halved(pool, (side, side), None, pool_first=False)


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
        pool: of the trunk.
        pool_options: of the pool.
    """

    trunk: Trunk
    branch: nn.ModuleList
    #: Of which level's pooling something is kept for an unpooling, finest first.
    keeps: tuple[bool, ...] = ()

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
        pool: str,
        pool_options: Mapping[str, Any] | None,
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
        self.trunk = Trunk(channels, widths, norm, pool, pool_options)

    def maps(
        self, x: Float[Tensor, "b c h w"], branch_mask: str | None
    ) -> tuple[list[Tensor], tuple[bool, ...], list[Kept | None]]:
        """Trunk maps down to the coarsest branch in use, which branches are, and what was kept; all finest first."""
        used = self.used_branches(x, branch_mask)
        depth = max(level for level, on in enumerate(used) if on) + 1
        # What a masked level's pooling kept is of that level's map, and stays unseen like it.
        keep = [kept and on for kept, on in zip(self.keeps, used, strict=False)]
        maps, kept = self.trunk.with_kept(self.preprocess(x), depth, keep)
        return maps, used[:depth], kept

    def finish(self, idle: Iterable[nn.Module]) -> None:
        """Initialise, and freeze what the branch mask leaves without a gradient: deep trunk levels and `idle`."""
        self.reset_parameters()
        used = parse_mask(self.branch_mask, self.branches)
        depth = max(level for level, on in enumerate(used) if on) + 1
        for module in (*self.trunk.convs[depth:], *self.trunk.pools[depth - 1 :], *idle):
            module.requires_grad_(False)
