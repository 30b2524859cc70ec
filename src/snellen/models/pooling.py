"""The ways to halve a map, behind one name each: the `pool` choice of models (`trunk.py` adds "strided") and of surgery.

Each halves maps (b, c, h, w) of even height and width exactly, and keeps the channels::

    max      the largest of each 2x2 window
    avg      its mean
    blur     binomial 3x3 filter, then every other pixel (Zhang 2019, "Making Convolutional Networks Shift-Invariant Again";
             timm's layer)
    dwt      the low band of the LeGall 5/3 wavelet, the fixed lifting scheme of JPEG 2000, scaled to keep a constant
    lift     LiftPool (lift.md), which learns; here a quarter of the sum of its bands, and it starts as "avg" exactly: a network
             that was trained with another pooling is disturbed as little as can be. `zero_init=False, scale=1` is the paper's.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from snellen.layers import LiftDown2d

__all__ = ["POOLS", "LowBand", "make_pool"]

#: Analysis low-pass filter of LeGall and Tabatabai's 5/3 wavelet; its taps sum to 1.
_LEGALL = (-1 / 8, 2 / 8, 6 / 8, 2 / 8, -1 / 8)


class LowBand(nn.Module):
    """The low band of the LeGall 5/3 wavelet in both axes: a separable 5x5 filter centred on even pixels.

    In lifting form: predict each odd pixel as the mean of its even neighbours, update the even ones by a quarter of both
    prediction errors. Mirrored at the border, as JPEG 2000 does it.

    >>> LowBand(3)(torch.ones(1, 3, 8, 6)).shape
    torch.Size([1, 3, 4, 3])
    """

    taps: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("taps", torch.tensor(_LEGALL), persistent=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h/2 w/2"]:
        """Filter and halve `x` (b, channels, h, w)."""
        taps = self.taps.to(x.dtype)
        # Two pixels of reflection need three; below that the border's pixel is repeated, of which a filter that sums to 1
        # makes the same constant.
        padding = [2, 2, 2, 2]
        x = F.pad(x, padding, mode="reflect" if min(x.shape[-2:]) > 2 else "replicate")
        x = F.conv2d(x, taps.view(1, 1, 1, 5).expand(self.channels, 1, 1, 5), stride=(1, 2), groups=self.channels)
        return F.conv2d(x, taps.view(1, 1, 5, 1).expand(self.channels, 1, 5, 1), stride=(2, 1), groups=self.channels)

    def extra_repr(self) -> str:
        """The constructor's argument."""
        return str(self.channels)


def _blur(channels: int, **options: Any) -> nn.Module:
    from timm.layers import BlurPool2d

    layer: nn.Module = BlurPool2d(channels, **options)
    return layer


def _lift(channels: int, *, zero_init: bool = True, scale: float = 0.25, **options: Any) -> nn.Module:
    if "stride" in options:
        raise TypeError("a pooling has stride 2")
    layer = LiftDown2d(channels, zero_init=zero_init, scale=scale, **options)
    if layer.output == "all" or isinstance(layer.output, tuple):
        raise ValueError(
            f"output={layer.output!r} is several maps, a pooling gives one; give 'sum', or a band such as 'LL'"
        )
    return layer


POOLS: dict[str, Callable[..., nn.Module]] = {
    "max": lambda _: nn.MaxPool2d(2),
    "avg": lambda _: nn.AvgPool2d(2),
    "blur": _blur,
    "dwt": LowBand,
    "lift": _lift,
}


def make_pool(kind: str, channels: int, **options: Any) -> nn.Module:
    """A module that halves maps of even sides.

    Args:
        kind: one of `POOLS`.
        channels: of the maps.
        options: of the layer: for "lift" those of `LiftDown2d` but a `stride` and an `output` of several maps, for "blur"
            timm's `filt_size`; the others have none.

    Raises:
        ValueError: for a kind that does not exist, and for options that the layer does not have.

    >>> make_pool("avg", 8)(torch.zeros(1, 8, 6, 4)).shape
    torch.Size([1, 8, 3, 2])
    """
    if kind not in POOLS:
        raise ValueError(f"there is no pooling {kind!r}; give one of {', '.join(POOLS)}")
    try:
        return POOLS[kind](channels, **options)
    except TypeError as error:
        raise ValueError(f"pooling {kind!r} does not take these options ({error})") from None
