"""SegNet, whose decoder enlarges by what the encoder's poolings remember: the places of their maxima, or LiftPool's sub-bands.

Source: Badrinarayanan, Kendall, Cipolla, "SegNet", TPAMI 2017, arXiv 1511.00561; the encoder is VGG-13 or VGG-16 (Simonyan,
Zisserman, ICLR 2015) without its linear layers, each convolution followed by batch norm and ReLU. The decoder mirrors it::

    convs -> pool -> ... -> convs -> pool          what a pool keeps goes across to its unpool
               |                      |
    convs <- unpool <- ... <- convs <- unpool      a stage's last convolution has the width of the next finer stage

So a decoder feature has, where it is enlarged, the channels of the encoder's map at that pool, which both max-unpooling
and `LiftUp2d` need (lift.md 2.8).

Our choices: poolings round odd sides up, so that canvases of any size work and no pixel is dropped; the last convolution
answers (the authors' release does that; the paper has a classifier behind it).
"""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from snellen.layers import LiftDown2d, LiftUp2d
from snellen.layers.lift import Bands
from snellen.layers.recombine import upsample_to
from snellen.models.base import conv
from snellen.models.halving import Halved, Side
from snellen.models.label_net import LabelNet
from snellen.models.outputs import LabelOutput
from snellen.models.pooling import POOLS, make_pool
from snellen.models.preprocess import Contrast

__all__ = ["CURES", "ENCODERS", "UNPOOLS", "SegNet"]

#: Convolutions of each stage; VGG's table of configurations B and D.
ENCODERS = {"vgg13": (2, 2, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3)}
WIDTHS = (64, 128, 256, 512, 512)
UNPOOLS = ("max", "lift", "nearest", "bilinear")
CURES = ("none", "norm", "conv")

#: Half, an odd side rounded up.
_HALF = Side(2, 0, 1, ceil=True)


class SegNet(LabelNet):
    """A VGG encoder and its mirror image.

    Args:
        classes: how many labels.
        encoder: "vgg13" or "vgg16".
        width: multiplies all channels, rounded to multiples of 8 where it is not 1.
        pool: "max", "avg", "blur", "dwt" or "lift", see models/pooling.py.
        unpool: "max", to the places of the maxima (needs pool "max"); "lift", by the encoder's own sub-bands and weights (needs
            pool "lift"); "nearest"; "bilinear"; None is "max" and "lift" for these pools, else "nearest".
        pool_options: of the pooling, see `make_pool`. A lift starts as average pooling by default;
            ``{"zero_init": False, "scale": 1.0}`` is the paper's.
        cure: what is done about the checkerboard that lift.md 5.1 expects of large features in the place of LL: "none";
            "norm", a batch norm before each unpooling; "conv", a 3x3 convolution with batch norm and ReLU after it, beside
            those that SegNet has anyway.
        channels: 1 or 3, what the network sees.
        contrast: see `Preprocess`.

    Raises:
        ValueError: for values not listed, or an unpooling that does not fit the pooling.

    >>> import torch
    >>> SegNet(11, width=0.125, pool="lift")(torch.rand(1, 3, 45, 60) * 255).logits.shape
    torch.Size([1, 11, 45, 60])
    """

    def __init__(
        self,
        classes: int,
        *,
        encoder: str = "vgg16",
        width: float = 1.0,
        pool: str = "max",
        unpool: str | None = None,
        pool_options: Mapping[str, Any] | None = None,
        cure: str = "none",
        channels: int = 3,
        contrast: Contrast = "fixed",
    ) -> None:
        super().__init__(classes=classes, step=2 ** len(WIDTHS), channels=channels, contrast=contrast)
        unpool = unpool or (pool if pool in ("max", "lift") else "nearest")
        for name, value, known in (
            ("encoder", encoder, tuple(ENCODERS)),
            ("pool", pool, tuple(POOLS)),
            ("unpool", unpool, UNPOOLS),
            ("cure", cure, CURES),
        ):
            if value not in known:
                raise ValueError(f"{name}={value!r} is not known; give one of {', '.join(known)}")
        if unpool in ("max", "lift") and unpool != pool:
            raise ValueError(
                f"unpool={unpool!r} makes no sense with pool={pool!r}: it needs what pool={unpool!r} keeps; "
                "give that, or unpool='nearest'"
            )
        if not width > 0:
            raise ValueError(f"width={width} is not possible; give a number above 0")
        widths = WIDTHS if width == 1 else tuple(max(8, 8 * round(c * width / 8)) for c in WIDTHS)
        self.unpool = unpool
        self.encoder, self.decoder, self.pools = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.ups, self.before, self.after = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        coming = channels
        for stage, (count, c) in enumerate(zip(ENCODERS[encoder], widths, strict=True)):
            self.encoder.append(_convs(coming, *[c] * count))
            down = _make_pool(pool, unpool, c, dict(pool_options or {}))
            self.pools.append(down)
            self.ups.append(LiftUp2d(down) if unpool == "lift" and isinstance(down, LiftDown2d) else nn.Identity())
            self.before.append(nn.BatchNorm2d(c) if cure == "norm" else nn.Identity())
            self.after.append(_convs(c, c) if cure == "conv" else nn.Identity())
            # The finest stage ends in the answer, `head`.
            ending = [widths[stage - 1]] if stage else []
            self.decoder.append(_convs(c, *[c] * (count - 1), *ending))
            coming = c
        self.head = conv(widths[0], classes, 3, relu=False)
        self.reset_parameters()

    def forward(self, x: Float[Tensor, "b c h w"]) -> LabelOutput:
        """Canvas (b, 1 or 3, h, w), values 0..255, any size, to logits (b, classes, h, w)."""
        return self._run(x)[0]

    def upsampled(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """The maps that the unpoolings give, coarsest first, each (b, c, h', w'): where a checkerboard would be seen."""
        return self._run(x)[1]

    def _run(self, x: Tensor) -> tuple[LabelOutput, list[Tensor]]:
        x = self.preprocess(x)
        kept, sizes = [], []
        for convs, pool in zip(self.encoder, self.pools, strict=True):
            x = convs(x)
            sizes.append((x.shape[-2], x.shape[-1]))
            x, memory = self._down(pool, x)
            kept.append(memory)
        maps = []
        for stage in reversed(range(len(self.pools))):
            x = self._up(stage, self.before[stage](x), kept[stage], sizes[stage])
            maps.append(x)
            x = self.decoder[stage](self.after[stage](x))
        return LabelOutput(self.head(x)), maps

    def _down(self, pool: nn.Module, x: Tensor) -> tuple[Tensor, Tensor | Bands | None]:
        """The smaller map, and what the unpooling needs to know."""
        if self.unpool == "max":
            return F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
        if self.unpool == "lift":
            assert isinstance(pool, LiftDown2d)
            bands = pool.bands(x)
            # The sum goes on, as where nothing is unpooled; LiftUp gives the decoder's own feature the place of LL.
            return bands.sum(pool.scale).to(x.dtype), bands
        return pool(x), None

    def _up(self, stage: int, x: Tensor, memory: Tensor | Bands | None, size: tuple[int, int]) -> Tensor:
        if isinstance(memory, Bands):
            up: Tensor = self.ups[stage](memory, low=x)
            return up
        if memory is not None:
            # Each maximum back to its place; the windows do not overlap, so no two have the same.
            b, c = x.shape[:2]
            empty = x.new_zeros((b, c, size[0] * size[1]))
            return empty.scatter(2, memory.flatten(2), x.flatten(2)).view(b, c, *size)
        if self.unpool == "bilinear":
            return F.interpolate(x, size, mode="bilinear", align_corners=False)
        return upsample_to(x, size)

    def reset_parameters(self) -> None:
        """Convolutions as He et al. draw them (the paper's choice), the answer's bias 0; the rest as it draws itself."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif module is not self and callable(reset := getattr(module, "reset_parameters", None)):
                reset()


def _convs(c_in: int, *widths: int) -> nn.Sequential:
    """3x3 convolutions, each with batch norm and ReLU."""
    pairs = zip((c_in, *widths), widths, strict=False)
    return nn.Sequential(*(conv(a, b, 3, norm="batch") for a, b in pairs))


def _make_pool(pool: str, unpool: str, channels: int, options: dict[str, Any]) -> nn.Module:
    made = make_pool(pool, channels, **options)
    if unpool == "max":
        return nn.Identity()  # pooled by the function, which also gives the places
    if isinstance(made, LiftDown2d) and unpool == "lift":
        for name, wanted in (("ceil_mode", True), ("output", "sum")):
            if getattr(made, name) != wanted:
                raise ValueError(
                    f"pool_options {name}={getattr(made, name)!r} does not go with unpool='lift'; leave it out"
                )
        return made
    return Halved(made, (_HALF, _HALF), None, pool_first=False)
