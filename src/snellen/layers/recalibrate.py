"""MS-SAR: weigh each response by what surrounds it, at several scales.

After Wang, Xie, Qiao, Zhang, Zhang, Yuille, "Multi-Scale Spatially-Asymmetric Recalibration for Image Classification", ECCV
2018, arXiv 1804.00787. Only its abstract and introduction were at hand (ms-sar.md 2.1): every response gets a score of its own
from local regions of several scales that contain it, and is multiplied by it; where regions differ, so do scores. The rest is
our reading (ms-sar.md 2.2, docs/recalibration.md), with each open choice as an argument::

    x (b, c, h, w) --mean over K x K regions, K = 1, 2, 4--> p_K --W1_K--> + --ReLU--> W2 --sigmoid--> s (b, c, 4, 4)
    |                                                                                                  |
    +--------------------------------------------- x * s, each cell's score for its pixels <-----------+

With one scale and K = 1 this is squeeze-and-excitation (Hu et al., CVPR 2018) exactly.

How this is computed: the linear map of all scales' means is the sum of one for each scale on its own small grid, so nothing but
the last product has the map's size. The gate is computed in the weights' precision under autocast too.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from snellen.layers.cells import cell_mean, common_cells, scale_cells, spread_cells
from snellen.layers.precision import no_autocast
from snellen.layers.recalibrate_gate import Bottleneck, activation, bottleneck_width, hidden_features, weigh
from snellen.layers.regions import Extent, Pool, Region, pool_regions

__all__ = ["MultiScaleRecalibration", "multi_scale_recalibrate"]

Fuse = Literal["concat", "sum_hidden", "sum_pool", "sum_logit", "mul_gate", "mean_gate"]
Share = Literal["all", "bias", "cell", "cell_both", "rank", "pixel"]
Upsample = Literal["nearest", "bilinear"]
Init = Literal["default", "identity"]


def multi_scale_recalibrate(
    x: Float[Tensor, "b c h w"],
    reduce_weight: Float[Tensor, "scales d c"],
    restore_weight: Float[Tensor, "c d"],
    reduce_bias: Float[Tensor, " d"] | None = None,
    restore_bias: Float[Tensor, " c"] | None = None,
    *,
    grids: Sequence[int] = (1, 2, 4),
) -> Float[Tensor, "b c h w"]:
    """Multiply each response by a score of its surroundings: reading A of ms-sar.md 2.2, with shared weights.

    Args:
        x: map of any size.
        reduce_weight: W1 of each scale.
        restore_weight: W2.
        reduce_bias: b1.
        restore_bias: b2.
        grids: cells along an axis for each scale, growing; at most one a pixel is used.

    Returns:
        (b, c, h, w) in the input's dtype.

    >>> x = torch.ones(1, 8, 6, 5)
    >>> multi_scale_recalibrate(x, torch.zeros(3, 2, 8), torch.zeros(8, 2)).unique()
    tensor([0.5000])
    """
    with no_autocast(x.device.type):
        pooled = [p.to(reduce_weight.dtype) for p in pool_regions(x, grids)]
        hidden = hidden_features(pooled, reduce_weight, reduce_bias, (x.shape[-2], x.shape[-1]))
        logits = weigh(restore_weight, F.relu(hidden), restore_bias)
        return scale_cells(x, logits.sigmoid())


class MultiScaleRecalibration(nn.Module):
    """Multi-scale spatially-asymmetric recalibration, as timm's `attn_layer` or anywhere behind a convolution.

    Parameters, with C channels, L scales, a finest grid of K and bottleneck width d: (L + 1) C d + d + C with all defaults
    (ms-sar.md 6). Here d is `rd_channels`, or else C `rd_ratio` rounded to a multiple of `rd_divisor` and at least that.

    Args:
        channels: of the map.
        grids: cells along an axis for each scale, growing; (1,) is squeeze-and-excitation.
        region: "grid", adaptive pooling's cells; "window", boxes around each pixel; "strided", overlapping boxes of side 2e - 1
            and stride e (gather-excite's).
        extents: sides of the boxes of "window" (odd) or their strides e of "strided", coarsest first: pixels (whole numbers) or
            shares of the map's side (floats, 1.0 the whole map). By default 1 / K for each of `grids`.
        fuse: how scales meet. "concat": one W1 over all means, which is the same as "sum_hidden"; "sum_pool": one W1 of their
            sum; with weights for each scale "sum_logit", "mul_gate" and "mean_gate".
        share: weights that differ between the cells of the finest grid: none ("all"), "bias" (b2), "cell" (W2 and b2),
            "cell_both" (W1 too), "rank" (a factor on each hidden feature); or "pixel", a map of logits beside b2.
        symmetric: one score a channel, of the mean logit over all positions: the paper's asymmetry taken away.
        rd_ratio: bottleneck width as a share of the channels.
        rd_channels: the width itself.
        rd_divisor: what the width by `rd_ratio` is rounded to.
        norm_layer: class of a norm of the hidden features, called with their number.
        act_layer: of the hidden features, a class or one of `snellen.layers.recalibrate_gate.ACTIVATIONS`.
        gate_layer: of the scores, likewise.
        bias: b1 and b2.
        pool: "avg", "max" or "avg+max" over the regions.
        upsample: "nearest", the regions' cells; "bilinear", logits in between, then no longer of one region.
        init: "default", torch's of linear layers, whose gate starts near 1/2; "identity": W2 and b2 are 0 and the gate is
            doubled, so that the layer starts as nothing at all.
        map_size: (height, width) of the logits of "pixel"; resampled to maps of other sizes.
        map_channels: 1 for one logit a pixel, None for one a channel; "pixel" only.
        device: of the weights.
        dtype: of the weights.

    Raises:
        ValueError: for values not listed or that make no sense together.

    >>> MultiScaleRecalibration(64, rd_channels=4)(torch.zeros(2, 64, 33, 7)).shape
    torch.Size([2, 64, 33, 7])
    """

    def __init__(
        self,
        channels: int,
        grids: Sequence[int] = (1, 2, 4),
        *,
        region: Region = "grid",
        extents: Sequence[Extent] | None = None,
        fuse: Fuse = "concat",
        share: Share = "all",
        symmetric: bool = False,
        rd_ratio: float = 1 / 16,
        rd_channels: int | None = None,
        rd_divisor: int = 8,
        norm_layer: Callable[[int], nn.Module] | None = None,
        act_layer: str | Callable[[], nn.Module] = "relu",
        gate_layer: str | Callable[[], nn.Module] = "sigmoid",
        bias: bool = True,
        pool: Pool = "avg",
        upsample: Upsample = "nearest",
        init: Init = "default",
        map_size: Sequence[int] = (8, 8),
        map_channels: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        for key, value, known in (
            ("region", region, Region), ("fuse", fuse, Fuse), ("share", share, Share), ("pool", pool, Pool),
            ("upsample", upsample, Upsample), ("init", init, Init),
        ):  # fmt: skip
            if value not in get_args(known):
                raise ValueError(f"{key}={value!r} is not known; give one of {', '.join(get_args(known))}")
        if channels < 1:
            raise ValueError(f"channels={channels} is not possible; give at least 1")
        self.channels, self.region, self.pool, self.upsample = channels, region, pool, upsample
        self.grids, self.extents = tuple(grids), _extents(grids, region, extents)
        self.fuse: Fuse = "concat" if fuse == "sum_hidden" else fuse
        self.share, self.symmetric, self.init = share, symmetric, init
        self.width = bottleneck_width(channels, rd_ratio, rd_channels, rd_divisor)
        apart = self.fuse in ("sum_logit", "mul_gate", "mean_gate")
        _refuse_combinations(region, self.fuse, share, bias, apart)
        if map_channels not in (None, 1) or len(map_size) != 2 or min(map_size) < 1:
            raise ValueError(
                f"map_channels={map_channels!r}, map_size={map_size!r} are not possible; give 1 or None, and a height and width"
            )
        # A path leads from the means of one scale or more to logits.
        cells = self.grids if region == "grid" else (1,) * len(self.extents)
        scales = [(k,) for k in cells] if apart else [cells[-1:] if self.fuse == "sum_pool" else cells]
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.paths = nn.ModuleList(
            Bottleneck(
                channels,
                self.width,
                own,
                share=share,
                norm=None if norm_layer is None else norm_layer(self.width).to(device=device, dtype=dtype),
                act=activation("act_layer", act_layer),
                bias=bias,
                last_bias=bias and (i == 0 or self.fuse != "sum_logit"),
                map_shape=(map_channels or channels, map_size[0], map_size[1]),
                factory=factory,
                identity=init == "identity",
            )
            for i, own in enumerate(scales)
        )
        self.gate = activation("gate_layer", gate_layer)
        if init == "identity" and float(self.gate(torch.zeros((), device="cpu"))) != 0.5:
            raise ValueError(
                "init='identity' doubles a gate that is 1/2 at 0; give gate_layer='sigmoid' or another such"
            )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights from torch's generator, see `init`."""
        for path in self.paths:
            assert isinstance(path, Bottleneck)
            path.reset_parameters()

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that weight decay should leave alone: biases, also a cell's own, factors and logit maps."""
        kinds = ("bias", "rank", "logit_map")
        return {name for name, _ in self.named_parameters() if name.endswith(kinds)}

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Multiply each response of `x` (b, channels, h, w) by its score; in the dtype of `x`, under autocast too."""
        with no_autocast(x.device.type):
            return scale_cells(x, self.scores(x))

    def scores(self, x: Float[Tensor, "b c h w"], scale: int | None = None) -> Float[Tensor, "b c n m"]:
        """The gate on cells: as few as it is constant on, one where it is symmetric, and as many as pixels at most.

        Args:
            x: map.
            scale: with a number the other scales see their means over all cells, to show what this one tells apart.
        """
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise ValueError(
                f"a map of shape {tuple(x.shape)} was given; it takes (batch, {self.channels}, height, width)"
            )
        if not x.is_floating_point():
            raise ValueError(
                f"a map of {x.dtype} was given, which no score between 0 and 1 fits; give floating-point numbers"
            )
        size = (x.shape[-2], x.shape[-1])
        if 0 in size:
            raise ValueError(f"a map of size {size[0]}x{size[1]} has no surroundings; each side needs at least 1")
        with no_autocast(x.device.type):
            pooled = pool_regions(x, self.extents, self.region, self.pool)
            if scale is not None:
                pooled = [p if i == scale else p.mean((2, 3), keepdim=True).expand_as(p) for i, p in enumerate(pooled)]
            first = self.paths[0]
            assert isinstance(first, Bottleneck)
            kind = first.restore_weight.dtype
            inputs = self._inputs([p.to(kind) for p in pooled], size)
            logits = [self._logits(path, means, size) for path, means in inputs]
            if self.fuse == "sum_logit":
                logits = [_together(logits, size, torch.add)]
            gates = [self.gate(z) if self.init == "default" else 2 * self.gate(z) for z in logits]
            if self.fuse == "mean_gate":
                return _together(gates, size, torch.add) / len(gates)
            return _together(gates, size, torch.mul)

    def score_map(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The gate of every response, for figures: what `forward` multiplies by."""
        return spread_cells(self.scores(x), (x.shape[-2], x.shape[-1]))

    def score_map_of_scale(self, x: Float[Tensor, "b c h w"], scale: int) -> Float[Tensor, "b c h w"]:
        """The same where only one scale tells places apart, see `scores`."""
        return spread_cells(self.scores(x, scale), (x.shape[-2], x.shape[-1]))

    def extra_repr(self) -> str:
        """The arguments that say which reading this is."""
        boxes = "" if self.region == "grid" else f", region={self.region!r}, extents={self.extents}"
        more = "".join(
            f", {key}={getattr(self, key)!r}"
            for key, usual in (("fuse", "concat"), ("share", "all"), ("symmetric", False), ("pool", "avg"),
                               ("upsample", "nearest"), ("init", "default"))
            if getattr(self, key) != usual
        )  # fmt: skip
        return f"{self.channels}, grids={self.grids}, width={self.width}{boxes}{more}"

    def _inputs(self, pooled: list[Tensor], size: tuple[int, int]) -> list[tuple[nn.Module, list[Tensor]]]:
        """Each path with the means that it sees."""
        if len(self.paths) > 1:
            return [(path, [p]) for path, p in zip(self.paths, pooled, strict=True)]
        return [(self.paths[0], [_together(pooled, size, torch.add)] if self.fuse == "sum_pool" else pooled)]

    def _logits(self, path: nn.Module, pooled: list[Tensor], size: tuple[int, int]) -> Tensor:
        """A path's logits; between the cells where they are interpolated, their mean over all positions where symmetric."""
        finest = self.grids[-1]
        logits: Tensor = path(pooled, (min(finest, size[0]), min(finest, size[1])), size)
        if self.upsample == "bilinear" and logits.shape[-2:] != (1, 1):
            wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
            logits = F.interpolate(wide, size, mode="bilinear", align_corners=False)
        return cell_mean(logits, size) if self.symmetric else logits


def _together(maps: Sequence[Tensor], size: tuple[int, int], combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Sum or product of values on the cells of different scales."""
    h, w = size
    cells = common_cells([m.shape[2] for m in maps], h), common_cells([m.shape[3] for m in maps], w)
    placed = [m if m.shape[-2:] == (1, 1) else spread_cells(m, cells) for m in maps]
    return functools.reduce(combine, placed)


def _extents(grids: Sequence[int], region: str, extents: Sequence[Extent] | None) -> tuple[Extent, ...]:
    """The extents of `pool_regions`, checked."""
    grids = tuple(grids)
    if not grids or any(type(k) is not int or k < 1 for k in grids) or list(grids) != sorted(set(grids)):
        raise ValueError(f"grids={grids} is not possible; give growing whole numbers of cells, e.g. (1, 2, 4)")
    if region == "grid":
        if extents is not None:
            raise ValueError(f"extents={extents!r} are sizes of boxes, and region='grid' has none; give grids")
        return grids
    found = tuple(1 / k for k in grids) if extents is None else tuple(extents)
    if not found:
        raise ValueError("extents=() is not possible; give at least one size of boxes")
    for extent in found:
        pixels = type(extent) is int and extent > 0 and (region == "strided" or extent % 2 == 1)
        if not (pixels or (isinstance(extent, float) and 0 < extent <= 1)):
            kind = "odd numbers of pixels" if region == "window" else "numbers of pixels"
            raise ValueError(f"extents={extents!r} is not possible; give {kind}, or shares of the map up to 1.0")
    return found


def _refuse_combinations(region: str, fuse: str, share: str, bias: bool, apart: bool) -> None:
    if apart and share != "all":
        raise ValueError(f"share={share!r} has no form with fuse={fuse!r}; give fuse='concat' or 'sum_pool'")
    if region != "grid" and share not in ("all", "pixel"):
        raise ValueError(
            f"share={share!r} gives weights to the cells of a grid, and region={region!r} has none; give region='grid'"
        )
    if share == "cell_both" and fuse == "sum_pool":
        raise ValueError("share='cell_both' has a W1 for each scale, and fuse='sum_pool' one; give fuse='concat'")
    if share == "bias" and not bias:
        raise ValueError("share='bias' is about b2, which bias=False leaves out; give bias=True, or another share")
