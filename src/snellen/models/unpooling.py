"""The ways to bring a coarse map up to the finer one's size: the `unpool` choice of models.

::

    nearest     repetition (the papers')
    bilinear    interpolation between pixel centres
    learned     a learned kernel: the released RCN-68's one kernel for all channels, or a U-Net's up-convolution
    max         each value goes back to the pixel that the trunk's max pooling took, zeros around it
    lift        `LiftUp2d`: the coarse map takes the place of the lowest band, the other three, P and U are the trunk's own

Sources: "max" Zeiler and Fergus 2014, as in SegNet; where the windows of a 3x3 pooling overlap, values that fall on one pixel
add up (our choice: then it is the pooling's adjoint). "lift": lift.md 2.8. There one pixel of each 2x2 block holds the coarse
map and the other three are the trunk's details and see it through a tanh (lift.md 5.1): a checkerboard, which is why it is
used only where convolutions follow. A last row or column that the trunk's pooling cut is repeated (our choice).
"""

import logging
from collections.abc import Callable, Sequence

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from snellen.layers.lift import Bands
from snellen.layers.lift_pool import LiftDown2d
from snellen.layers.lift_unpool import LiftUp2d
from snellen.layers.recombine import upsample_to
from snellen.models.halving import Halved, fit

__all__ = [
    "UNPOOLS", "Bilinear", "Kept", "LiftUnpool", "MaxUnpool", "Nearest", "UpConvolution", "enlarge", "make_unpools",
    "pool_and_keep",
]  # fmt: skip

log = logging.getLogger("snellen")

#: What a pooling leaves behind for an unpooling: LiftPool's bands, or the indices of max pooling's (b, c, h, w) values.
Kept = Bands | Tensor

UNPOOLS = ("nearest", "bilinear", "learned", "max", "lift")


class Nearest(nn.Module):
    """Enlarge by repetition."""

    def forward(self, x: Float[Tensor, "b c h w"], size: tuple[int, int]) -> Float[Tensor, "b c oh ow"]:
        """`x` at `size`, (height, width)."""
        return upsample_to(x, size)


class Bilinear(nn.Module):
    """Enlarge by interpolation; pixel centres, as everywhere here."""

    def forward(self, x: Float[Tensor, "b c h w"], size: tuple[int, int]) -> Float[Tensor, "b c oh ow"]:
        """`x` at `size`, (height, width)."""
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class UpConvolution(nn.ConvTranspose2d):
    """A U-Net's: a transposed 2x2 convolution of stride 2, then repetition where the size is not exactly twice.

    Args:
        channels: in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 2, stride=2)

    def forward(self, x: Float[Tensor, "b c h w"], size: tuple[int, int]) -> Float[Tensor, "b c oh ow"]:  # type: ignore[override]
        """`x` at `size`, (height, width)."""
        return upsample_to(super().forward(x), size)


class MaxUnpool(nn.Module):
    """Put values back where a max pooling found its maxima.

    >>> import torch
    >>> x = torch.tensor([[[[1.0, 2.0], [4.0, 3.0]]]])
    >>> y, indices = F.max_pool2d(x, 2, return_indices=True)
    >>> MaxUnpool()(10 * y, (2, 2), indices)
    tensor([[[[ 0.,  0.],
              [40.,  0.]]]])
    """

    def forward(
        self, x: Float[Tensor, "b c h w"], size: tuple[int, int], kept: Int[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c oh ow"]:
        """`x` spread over a map of the pooled map's `size`, by the flat indices `kept` of the pooling."""
        b, c = x.shape[:2]
        flat = x.new_zeros((b, c, size[0] * size[1])).scatter_add(2, kept.flatten(2), x.flatten(2))
        return flat.reshape(b, c, *size)


class LiftUnpool(nn.Module):
    """`LiftUp2d` with the trunk's own bands, weights tied by reference.

    Args:
        down: the trunk's layer.
    """

    def __init__(self, down: LiftDown2d) -> None:
        super().__init__()
        self.up = LiftUp2d(down)

    def forward(self, x: Float[Tensor, "b c h w"], size: tuple[int, int], kept: Bands) -> Float[Tensor, "b c oh ow"]:
        """`x` in the place of LL, at `size`, (height, width)."""
        y: Tensor = self.up(kept, low=x)
        return fit(y.to(x.dtype), *size)  # bands are float32 under autocast too


def enlarge(up: nn.Module, x: Tensor, size: tuple[int, int], kept: Kept | None) -> Tensor:
    """`x` (b, c, h, w) at `size` by one of the modules above; those that need what was kept repeat where it is masked."""
    if not isinstance(up, MaxUnpool | LiftUnpool):
        y: Tensor = up(x, size)
        return y
    if kept is None:
        return upsample_to(x, size)
    y = up(x, size, kept)
    return y


def pool_and_keep(pool: nn.Module, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b c oh ow"], Kept]:
    """What a trunk's max or lift pooling passes on, and what it leaves behind."""
    if isinstance(pool, nn.MaxPool2d):
        return F.max_pool2d(x, pool.kernel_size, pool.stride, return_indices=True)
    assert isinstance(pool, Halved)
    layer = pool.pool
    assert isinstance(layer, LiftDown2d)
    bands = layer.bands(pool.fitted(x))
    passed = layer.select(bands)
    assert isinstance(passed, Tensor)
    return passed.to(x.dtype), bands


def make_unpools(
    kind: str,
    widths: Sequence[int],
    pools: Sequence[tuple[nn.Module, int]] | None,
    *,
    learned: Callable[[int], nn.Module],
    default: str = "nearest",
) -> list[nn.Module]:
    """How each level is brought up, finest first: entry i brings level i + 1 to level i.

    Args:
        kind: one of `UNPOOLS`.
        widths: channels of what comes up into each level.
        pools: the trunk's pooling on each of these levels' maps and its channels; None for a trunk that has none to tie to.
        learned: makes the "learned" one of a level.
        default: "nearest" or "learned", for levels where "max" and "lift" do not fit.

    Raises:
        ValueError: for an unknown kind, and for "max" and "lift" without poolings of that kind, or where no width matches.
    """
    levels = range(len(widths))
    if kind not in UNPOOLS:
        raise ValueError(f"unpool={kind!r} is not known; give one of {', '.join(UNPOOLS)}")
    if kind not in ("max", "lift"):
        return [_make(kind, level, learned) for level in levels]
    if pools is None or not all(_fits(kind, pool) for pool, _ in pools):
        raise ValueError(f"unpool={kind!r} undoes the trunk's own pooling; give the papers' trunk with pool={kind!r}")
    matching = [width == channels for width, (_, channels) in zip(widths, pools, strict=True)]
    if not any(matching):
        raise ValueError(
            f"unpool={kind!r} needs coarse maps as wide as the trunk's: {', '.join(map(str, widths))} channels come up into "
            f"the levels, finest first, where the trunk has {', '.join(str(c) for _, c in pools)}; give other features or "
            "width, or unpool='nearest'"
        )
    if not all(matching):
        log.info(
            "unpool=%r is used between levels %s; the widths of levels %s differ, which are %s",
            kind,
            ", ".join(f"{i}-{i + 1}" for i in levels if matching[i]),
            ", ".join(f"{i}-{i + 1}" for i in levels if not matching[i]),
            "enlarged by repetition" if default == "nearest" else "enlarged by learned kernels",
        )
    return [_tied(kind, pools[i][0]) if matching[i] else _make(default, i, learned) for i in levels]


def _make(kind: str, level: int, learned: Callable[[int], nn.Module]) -> nn.Module:
    if kind == "learned":
        return learned(level)
    return Nearest() if kind == "nearest" else Bilinear()


def _fits(kind: str, pool: nn.Module) -> bool:
    if kind == "max":
        return isinstance(pool, nn.MaxPool2d)
    return isinstance(pool, Halved) and isinstance(pool.pool, LiftDown2d)


def _tied(kind: str, pool: nn.Module) -> nn.Module:
    if kind == "max":
        return MaxUnpool()
    assert isinstance(pool, Halved)
    assert isinstance(pool.pool, LiftDown2d)
    return LiftUnpool(pool.pool)
