"""The bottleneck of MS-SAR's gate: from the means of regions to a logit a channel and cell (ms-sar.md 2.2, 2.3)."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from snellen.layers.cells import common_cells, spread_cells

__all__ = ["ACTIVATIONS", "Bottleneck", "activation", "bottleneck_width", "hidden_features", "weigh"]

#: Activations and gates by name, as a configuration file writes them.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "hard_swish": nn.Hardswish,
    "sigmoid": nn.Sigmoid,
    "hard_sigmoid": nn.Hardsigmoid,
    "tanh": nn.Tanh,
}


def bottleneck_width(channels: int, rd_ratio: float, rd_channels: int | None, rd_divisor: int) -> int:
    """Hidden features d: `rd_channels`, or channels times `rd_ratio` rounded to a multiple of `rd_divisor`, at least that.

    >>> bottleneck_width(256, 1 / 16, None, 8), bottleneck_width(16, 1 / 16, None, 8), bottleneck_width(16, 1 / 16, None, 1)
    (16, 8, 1)
    """
    if rd_channels is not None:
        if rd_channels < 1:
            raise ValueError(f"rd_channels={rd_channels} is not possible; give at least 1, or None for rd_ratio")
        return rd_channels
    if not rd_ratio > 0 or rd_divisor < 1:
        raise ValueError(f"rd_ratio={rd_ratio}, rd_divisor={rd_divisor} are not possible; give numbers above 0")
    return max(rd_divisor, int(channels * rd_ratio + rd_divisor / 2) // rd_divisor * rd_divisor)


def activation(key: str, layer: str | Callable[[], nn.Module]) -> nn.Module:
    """An activation by name or class."""
    if callable(layer):
        return layer()
    if layer not in ACTIVATIONS:
        raise ValueError(f"{key}={layer!r} is not known; give a class or one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[layer]()


def hidden_features(
    pooled: Sequence[Float[Tensor, "b c _ _"]],
    weights: Sequence[Tensor] | Float[Tensor, "scales d c"],
    bias: Tensor | None,
    size: tuple[int, int],
) -> Float[Tensor, "b d n m"]:
    """b1 + sum over scales of W1 p, on the fewest cells that tell all scales' cells apart.

    The linear map of the concatenated means is a sum of one for each scale, so each is computed on its own small grid.

    Args:
        pooled: means of each scale.
        weights: W1 of each, (d, c) or one a cell, (d, c, n, m).
        bias: b1 (d,), or one a cell of the finest scale, (d, n, m).
        size: (height, width) of the map.
    """
    h, w = size
    cells = common_cells([p.shape[2] for p in pooled], h), common_cells([p.shape[3] for p in pooled], w)
    parts = [weigh(weight, p) for weight, p in zip(weights, pooled, strict=True)]
    if bias is not None:
        parts.append(bias.view(1, -1, 1, 1) if bias.ndim == 1 else bias[None])
    # A single cell is broadcast; the finest scale has them all, where grids nest.
    parts = [p if p.shape[-2:] == (1, 1) else spread_cells(p, cells) for p in parts]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def weigh(
    weight: Float[Tensor, "o i"] | Float[Tensor, "o i n m"],
    p: Float[Tensor, "b i n m"],
    bias: Float[Tensor, " o"] | None = None,
) -> Float[Tensor, "b o n m"]:
    """A linear map of every cell's channels: one for all cells, or one each.

    One for all is a single product of all cells' rows of channels, which is also how `pool_regions` lays out the means of small
    maps; the answer is laid out likewise.
    """
    if weight.ndim == 4:
        each = torch.einsum("oinm,binm->bonm", weight, p)
    else:
        rows = p.permute(2, 3, 0, 1)
        flat = F.linear(rows.reshape(-1, rows.shape[-1]), weight)
        each = flat.view(*rows.shape[:-1], len(weight)).permute(2, 3, 0, 1)
    return each if bias is None else each + bias[:, None, None]


class Bottleneck(nn.Module):
    """Means of regions to logits: W2 act(norm(b1 + sum of W1 p)) + b2.

    Args:
        channels: c.
        width: d, hidden features.
        grids: cells along an axis for each scale that has a W1 of its own; the last is the finest of all.
        share: what differs between cells, see `MultiScaleRecalibration`.
        norm: of the hidden features, or None.
        act: of the hidden features.
        bias: b1.
        last_bias: b2; paths whose logits are added have one between them.
        map_shape: channels, height and width of the logit map of "pixel".
        factory: device and dtype.
        identity: start with W2 and b2 of 0.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        grids: Sequence[int],
        *,
        share: str,
        norm: nn.Module | None,
        act: nn.Module,
        bias: bool,
        last_bias: bool,
        map_shape: tuple[int, int, int],
        factory: dict[str, Any],
        identity: bool = False,
    ) -> None:
        super().__init__()
        self.identity = identity

        def weights(present: bool, *shape: int) -> nn.Parameter | None:
            return nn.Parameter(torch.empty(shape, **factory)) if present else None

        k = grids[-1]
        each = (k, k) if share in ("cell", "cell_both") else ()  # weights of a cell stand in the last two axes
        self.reduce_weight: nn.Parameter | nn.ParameterList
        if share == "cell_both":
            self.reduce_weight = nn.ParameterList(
                nn.Parameter(torch.empty(width, channels, n, n, **factory)) for n in grids
            )
        else:
            self.reduce_weight = nn.Parameter(torch.empty(len(grids), width, channels, **factory))
        self.reduce_bias = weights(bias, width, *(each if share == "cell_both" else ()))
        self.norm, self.act = norm if norm is not None else nn.Identity(), act
        self.restore_weight = nn.Parameter(torch.empty(channels, width, *each, **factory))
        self.restore_bias = weights(last_bias, channels, *((k, k) if share == "bias" else each))
        self.rank = weights(share == "rank", width, k, k)
        self.logit_map = weights(share == "pixel", *map_shape)
        if share == "pixel":
            self.register_load_state_dict_pre_hook(_resample_stored_map)

    def reset_parameters(self) -> None:
        """Draw the weights as torch draws linear layers', or W2 and b2 as zeros; factors are 1, logit maps 0."""
        weight = self.reduce_weight
        firsts = list(weight) if isinstance(weight, nn.ParameterList) else [weight]
        channels, width = self.restore_weight.shape[:2]
        bound = 1 / math.sqrt(len(weight) * channels)
        for parameter in (*firsts, self.reduce_bias):
            if parameter is not None:
                nn.init.uniform_(parameter, -bound, bound)
        bound = 0.0 if self.identity else 1 / math.sqrt(width)
        for parameter in (self.restore_weight, self.restore_bias):
            if parameter is not None:
                nn.init.uniform_(parameter, -bound, bound)
        if self.rank is not None:
            nn.init.ones_(self.rank)
        if self.logit_map is not None:
            nn.init.zeros_(self.logit_map)

    def forward(
        self, pooled: Sequence[Float[Tensor, "b c _ _"]], grid: tuple[int, int], size: tuple[int, int]
    ) -> Float[Tensor, "b c n m"]:
        """Logits on cells, or on pixels where there is a logit map of them.

        Args:
            pooled: means of each scale with a W1, finest last.
            grid: the finest scale's cells along the axes, which a map smaller than the grid has fewer of.
            size: (height, width) of the map.
        """
        weights = [_fitted(w, (p.shape[2], p.shape[3])) for w, p in zip(self.reduce_weight, pooled, strict=True)]
        bias = None if self.reduce_bias is None else _fitted(self.reduce_bias, grid)
        hidden = self.act(self.norm(hidden_features(pooled, weights, bias, size)))
        cells = hidden.shape[-2], hidden.shape[-1]
        if self.rank is not None:
            hidden = hidden * spread_cells(_fitted(self.rank, grid), cells)
        last = _fitted(self.restore_weight, grid)
        bias = None if self.restore_bias is None else _fitted(self.restore_bias, grid)
        shared = bias if bias is not None and bias.ndim == 1 else None
        logits = weigh(last if last.ndim == 2 else spread_cells(last, cells), hidden, shared)
        if bias is not None and bias.ndim > 1:
            logits = logits + spread_cells(bias, cells)
        if self.logit_map is None:
            return logits
        return (logits if cells == (1, 1) else spread_cells(logits, size)) + resample_map(self.logit_map, size)


def _fitted(weight: Tensor, grid: tuple[int, int]) -> Tensor:
    """Weights of k by k cells averaged to those of a smaller map; others as they are."""
    if weight.ndim < 3 or weight.shape[-2:] == grid:
        return weight
    flat = weight.reshape(1, -1, *weight.shape[-2:])
    return F.adaptive_avg_pool2d(flat, grid).reshape(*weight.shape[:-2], *grid)


def resample_map(logits: Float[Tensor, "c h w"], size: tuple[int, int]) -> Float[Tensor, "c oh ow"]:
    """A stored map at another size: bilinear in float32, antialiased where it shrinks; itself where the size is its own."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    shrinks = size[0] < logits.shape[-2] or size[1] < logits.shape[-1]
    wide = logits[None].to(torch.promote_types(logits.dtype, torch.float32))
    return F.interpolate(wide, size, mode="bilinear", align_corners=False, antialias=shrinks)[0].to(logits.dtype)


def _resample_stored_map(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """A stored logit map of another size is brought to the module's."""
    name, own = f"{prefix}logit_map", module.logit_map
    if name in state and isinstance(own, Tensor) and state[name].shape[:1] == own.shape[:1]:
        state[name] = resample_map(state[name], (own.shape[-2], own.shape[-1]))
