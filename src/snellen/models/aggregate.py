"""Ways to bring the maps of a trunk together into one map a keypoint, on any trunk.

Each trunk map first gets a 1x1 convolution to `features` channels (its *lateral*), so that all ways below work at the same
width and can be compared. ``up`` enlarges by repetition to the finer map's size::

    recombine       branch = convs(concat(lateral, up(coarser branch)))           the coarsest branch: convs(lateral)
    recombine-skip  the same; what goes up is concat(branch, up(what came up))    dense, as in the paper
    unet            stage  = convs(concat(lateral, up-convolution(coarser stage)))  the coarsest stage: the lateral itself
    fpn             level  = conv(lateral + up(coarser level))
    sum             answer = sum over levels of weight * up(score maps of the level)

All but "sum" answer from the finest level, by one 3x3 convolution to K maps. How ``up`` enlarges is the choice `unpool` of
`unpooling.py`: repetition, in "unet" the up-convolution, are what the sources have.

How recombination differs from a U-Net, plainly: not by its wiring. A Recombinator Network without skips has the
concatenations of a U-Net's decoder (both are from 2015), and its point is the contrast to "sum", where resolutions meet
only in the answer. What does differ: the coarsest resolution has convolutions of its own before it goes up, where a U-Net hands
on its deepest map as it is; the coarse branch is repeated, not enlarged by a learned 2x2 up-convolution; the published network
is narrow, of nearly constant width, where the U-Net doubles at each level. In "recombine-skip" also the
wiring differs: what came up from below is passed on beside a branch's output, so that every branch sees all coarser
branches themselves, while a U-Net's coarse information reaches the finest level only through every stage between.

Sources: Honari et al., CVPR 2016, arXiv 1511.07356 (rcn.md 2.3 to 2.6); Ronneberger et al., "U-Net", MICCAI 2015, arXiv
1505.04597, figure 1; Lin et al., "Feature Pyramid Networks", CVPR 2017, arXiv 1612.03144, figure 3. Our choices: laterals
before "recombine", "unet" and "sum"; two 3x3 convolutions in every branch; FPN's smoothing inside the way down, since only the
finest level answers. A level that the trunk has no map of (finer than its finest) works on what comes up alone.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from snellen.models.base import conv
from snellen.models.score_sum import ScoreSum
from snellen.models.unpooling import Kept, LiftUnpool, MaxUnpool, UpConvolution, enlarge, make_unpools

__all__ = ["AGGREGATES", "FPN", "Aggregate", "Recombine", "ScoreSum", "UNet", "make_aggregate"]


class Aggregate(nn.Module):
    """Base of the ways that go from the coarsest level to the finest and answer there.

    Subclasses implement `make_branches` and `join`.

    Args:
        channels: of the trunk's map at each level, finest first; None at a level that the trunk has no map of.
        features: width of everything but the answer.
        keypoints: K, maps to answer with.
        norm: "none", or "batch" for a batch norm after each convolution with ReLU.
        unpool: how a coarser level is enlarged, one of `unpools`, None for the first of them.
        pools: the trunk's pooling on each level's map but the coarsest, for "max" and "lift"; None where it has none to tie to.

    Raises:
        ValueError: for an `unpool` that the aggregate does not have or that the trunk's poolings do not serve.
    """

    lateral_relu = True
    #: What `unpool` may be, the default first. Where "max" and "lift" do not fit a level, it has the default.
    unpools: ClassVar[tuple[str, ...]] = ("nearest", "bilinear", "max", "lift")

    def __init__(
        self,
        channels: Sequence[int | None],
        features: int,
        keypoints: int,
        norm: str,
        unpool: str | None = None,
        pools: Sequence[nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.features, self.levels = features, len(channels)
        self.has_map = tuple(c is not None for c in channels)
        self.lateral = nn.ModuleList(
            nn.Identity() if c is None else conv(c, features, 1, norm=norm, relu=self.lateral_relu) for c in channels
        )
        self.head = conv(features, keypoints, 3, relu=False)
        unpool = self.unpools[0] if unpool is None else unpool
        if unpool not in self.unpools:
            raise ValueError(
                f"unpool={unpool!r} is not possible with {type(self).__name__}; give one of {', '.join(self.unpools)}"
            )
        # Entry i brings level i + 1 up to level i.
        self.up = nn.ModuleList(
            make_unpools(
                unpool,
                [self.width_up(level) for level in range(1, self.levels)],
                None if pools is None else [(p, c) for p, c in zip(pools, channels, strict=False) if c is not None],
                learned=lambda _: UpConvolution(features),
                default=self.unpools[0],
            )
        )
        #: Of which level's pooling the trunk has to keep indices or bands.
        self.keeps = tuple(isinstance(up, MaxUnpool | LiftUnpool) for up in self.up)
        self.branch = nn.ModuleList(self.make_branches(channels, norm))

    def make_branches(self, channels: Sequence[int | None], norm: str) -> list[nn.Sequential]:
        """The convolutions of each level."""
        raise NotImplementedError

    def width_up(self, level: int) -> int:
        """Channels that leave a level."""
        return self.features

    def forward(
        self,
        maps: Sequence[Tensor | None],
        sizes: Sequence[tuple[int, int]],
        used: Sequence[bool],
        kept: Sequence[Kept | None] | None = None,
    ) -> Float[Tensor, "b k h w"]:
        """Bring maps together.

        Args:
            maps: of each level, finest first, (b, c, h, w); None where the trunk has none.
            sizes: (height, width) of each level.
            used: which levels' maps to look at. The laterals of others are taken as zeros, and levels coarser than the
                coarsest one in use are left out.
            kept: what the pooling of each level's map kept; None where nothing was, and where the map is not used.

        Returns:
            (b, k, height, width) at the finest level's size.
        """
        seen = [m if on else None for m, on in zip(maps, used, strict=True)]
        coarse: Tensor | None = None
        for level in reversed(range(_coarsest(seen) + 1)):
            m = seen[level]
            fine = None if m is None else self.lateral[level](m)
            if coarse is not None:
                coarse = enlarge(self.up[level], coarse, sizes[level], None if kept is None else kept[level])
            coarse = self.join(level, fine, coarse, sizes[level])
        logits: Tensor = self.head(coarse)
        return logits

    def join(self, level: int, fine: Tensor | None, up: Tensor | None, size: tuple[int, int]) -> Tensor:
        """A level's output from its lateral (b, features, *size) and the coarser level's, enlarged; at most one is None."""
        raise NotImplementedError

    def _concat(self, level: int, fine: Tensor | None, coarse: Tensor | None, size: tuple[int, int]) -> Tensor:
        """Lateral, then what comes up; zeros for what a mask took away, nothing for what never was."""
        parts = []
        if self.has_map[level]:
            parts.append(_or_zeros(fine, coarse, self.features, size))
        if level < self.levels - 1:
            parts.append(_or_zeros(coarse, fine, self.width_up(level + 1), size))
        return torch.cat(parts, dim=1)


class Recombine(Aggregate):
    """Recombination: a branch concatenates its lateral with the coarser branch before it computes.

    Args:
        channels: see `Aggregate`.
        features: see `Aggregate`.
        keypoints: see `Aggregate`.
        norm: see `Aggregate`.
        unpool: see `Aggregate`.
        pools: see `Aggregate`.
        skip: pass what came up from below on beside a branch's output (rcn.md 2.6).

    >>> maps = [torch.zeros(1, 16, 20, 20), torch.zeros(1, 32, 10, 10)]
    >>> Recombine([16, 32], 8, 5, "batch")(maps, [(20, 20), (10, 10)], [True, True]).shape
    torch.Size([1, 5, 20, 20])
    """

    def __init__(
        self,
        channels: Sequence[int | None],
        features: int,
        keypoints: int,
        norm: str,
        unpool: str | None = None,
        pools: Sequence[nn.Module] | None = None,
        *,
        skip: bool = False,
    ) -> None:
        self.skip = skip
        super().__init__(channels, features, keypoints, norm, unpool, pools)

    def make_branches(self, channels: Sequence[int | None], norm: str) -> list[nn.Sequential]:
        """Two convolutions each."""
        branches = []
        for level, c in enumerate(channels):
            up = self.width_up(level + 1) if level < self.levels - 1 else 0
            branches.append(_two_convs((self.features if c is not None else 0) + up, self.features, norm))
        return branches

    def width_up(self, level: int) -> int:
        """A branch's own channels and, with skips, those that came up into it."""
        return self.features * (self.levels - level if self.skip else 1)

    def join(self, level: int, fine: Tensor | None, up: Tensor | None, size: tuple[int, int]) -> Tensor:
        """The branch's output; with skips the upsampled coarser one beside it."""
        joined = self._concat(level, fine, up, size)
        out: Tensor = self.branch[level](joined)
        if not self.skip or level in (0, self.levels - 1):  # the answer reads the finest branch alone, as in the paper
            return out
        return torch.cat((out, joined[:, -self.width_up(level + 1) :]), dim=1)


class UNet(Aggregate):
    """A U-Net's decoder: up-convolution, concatenation, two convolutions; the coarsest map goes up as it is.

    The up-convolution (`unpool` "learned", its default) is a transposed 2x2 convolution of stride 2, brought to the finer
    map's size by repetition where that is not exactly twice the coarse one's. For what sets this apart from `Recombine`
    see the module.

    >>> maps = [torch.zeros(1, 16, 19, 20), torch.zeros(1, 32, 10, 10)]
    >>> UNet([16, 32], 8, 5, "batch")(maps, [(19, 20), (10, 10)], [True, True]).shape
    torch.Size([1, 5, 19, 20])
    """

    unpools = ("learned", "nearest", "bilinear", "max", "lift")

    def make_branches(self, channels: Sequence[int | None], norm: str) -> list[nn.Sequential]:
        """Two convolutions in each stage but the coarsest."""
        f = self.features
        return [_two_convs(f * (1 if c is None else 2), f, norm) for c in channels[:-1]]

    def join(self, level: int, fine: Tensor | None, up: Tensor | None, size: tuple[int, int]) -> Tensor:
        """The stage's output; the coarsest stage's is its lateral."""
        if level == self.levels - 1:
            assert fine is not None  # the coarsest level has a map, and is left out where a mask takes it away
            return fine
        out: Tensor = self.branch[level](self._concat(level, fine, up, size))
        return out


class FPN(Aggregate):
    """A feature pyramid: linear laterals are added on the way from coarse to fine, and each sum is smoothed.

    >>> maps = [torch.zeros(1, 16, 19, 20), torch.zeros(1, 32, 10, 10)]
    >>> FPN([16, 32], 8, 5, "batch")(maps, [(19, 20), (10, 10)], [True, True]).shape
    torch.Size([1, 5, 19, 20])
    """

    lateral_relu = False
    unpools = ("nearest", "bilinear")  # what comes up is added to the lateral, which holds the trunk's details already

    def make_branches(self, channels: Sequence[int | None], norm: str) -> list[nn.Sequential]:
        """One convolution each."""
        return [conv(self.features, self.features, 3, norm=norm) for _ in channels]

    def join(self, level: int, fine: Tensor | None, up: Tensor | None, size: tuple[int, int]) -> Tensor:
        """The smoothed sum."""
        total = up if fine is None else fine if up is None else fine + up
        out: Tensor = self.branch[level](total)
        return out


#: Names of the ways, as `create_model`'s `aggregate` has them.
AGGREGATES = ("recombine", "recombine-skip", "sum", "unet", "fpn")


def make_aggregate(
    name: str,
    channels: Sequence[int | None],
    features: int,
    keypoints: int,
    norm: str,
    unpool: str | None = None,
    pools: Sequence[nn.Module] | None = None,
) -> Aggregate | ScoreSum:
    """One of `AGGREGATES` by its name; arguments as for `Aggregate`, ValueError for another name."""
    if name == "recombine":
        return Recombine(channels, features, keypoints, norm, unpool, pools)
    if name == "recombine-skip":
        return Recombine(channels, features, keypoints, norm, unpool, pools, skip=True)
    if name == "sum":
        if unpool not in (None, "nearest"):
            raise ValueError(f"unpool={unpool!r} is not possible with ScoreSum: it enlarges score maps by repetition")
        return ScoreSum(channels, features, keypoints, norm)
    if name == "unet":
        return UNet(channels, features, keypoints, norm, unpool, pools)
    if name == "fpn":
        return FPN(channels, features, keypoints, norm, unpool, pools)
    raise ValueError(f"aggregate={name!r} is not known; give one of {', '.join(AGGREGATES)}")


def _two_convs(c_in: int, c_out: int, norm: str) -> nn.Sequential:
    return nn.Sequential(conv(c_in, c_out, 3, norm=norm), conv(c_out, c_out, 3, norm=norm))


def _coarsest(maps: Sequence[Tensor | None]) -> int:
    return max(level for level, m in enumerate(maps) if m is not None)


def _or_zeros(x: Tensor | None, like: Tensor | None, channels: int, size: tuple[int, int]) -> Tensor:
    """`x`, or zeros (b, channels, *size) where there is none, of the kind of `like`."""
    if x is not None:
        return x
    assert like is not None
    return like.new_zeros((like.shape[0], channels, *size))
