"""LiftPool's layers `LiftDown1d/2d/3d`, in the place of a pooling.

Source: Zhao, Snoek, ICLR 2021, arXiv 2104.00996, as lift.md 2 defines them. What nobody has published is our choice and
an argument: kernel size, groups, biases, initialisation, padding, odd sizes, the reduction of the regularisers.

The sum of the bands is four times an average plus a correction of at most 8 (lift.md 2.6); `scale=0.25` makes it an
average, which is what a pretrained network without batch normalisation expects.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from snellen.layers.auxiliary import AuxiliarySink
from snellen.layers.lift import Bands, LiftWeights, Memory, NetWeights, band_names, down
from snellen.layers.lift_checks import MEMORIES, PADDINGS, check_choices, check_map, whole

__all__ = [
    "REGULARISER_WEIGHTS",
    "LiftDown1d",
    "LiftDown2d",
    "LiftDown3d",
]

#: lambda_u of ||s - o|| and lambda_p of ||d|| (lift.md 2.7), by the names that `auxiliary_losses` gives them.
REGULARISER_WEIGHTS = {"lift/update": 0.01, "lift/predict": 0.1}

Reduction = Literal["mean_square", "norm"]
Output = str | tuple[str, ...]


class LiftNet(nn.Module):
    """The weights of P or U; `lift_net` is what they do.

    Args:
        channels: c.
        kernel_size: k, of the depthwise convolution.
        groups: of the 1x1 convolution; c is depthwise.
        bias: whether both convolutions have one.
        zero_init: whether the 1x1 starts as 0, so that the result is 0.
        kind: `device` and `dtype` of the weights.
    """

    def __init__(self, channels: int, kernel_size: int, groups: int, bias: bool, zero_init: bool, **kind: Any) -> None:
        super().__init__()
        self.zero_init = zero_init
        self.spatial = nn.Parameter(torch.empty(channels, kernel_size, **kind))
        self.point = nn.Parameter(torch.empty(channels, channels // groups, **kind))
        self.spatial_bias = nn.Parameter(torch.empty(channels, **kind)) if bias else None
        self.point_bias = nn.Parameter(torch.empty(channels, **kind)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform within 1 / sqrt(fan in), as torch does for convolutions (our choice)."""
        for weight, bias in ((self.spatial, self.spatial_bias), (self.point, self.point_bias)):
            bound = 1 / math.sqrt(weight.shape[1])
            for parameter in (weight, bias):
                if parameter is not None:
                    nn.init.uniform_(parameter, -bound, bound)
        if self.zero_init:
            nn.init.zeros_(self.point)
            if self.point_bias is not None:
                nn.init.zeros_(self.point_bias)

    def weights(self) -> NetWeights:
        """For the functions."""
        return NetWeights(self.spatial, self.point, self.spatial_bias, self.point_bias)


class LiftPair(nn.Module):
    """A predictor and an updater; arguments as for `LiftNet`."""

    def __init__(self, channels: int, kernel_size: int, groups: int, bias: bool, zero_init: bool, **kind: Any) -> None:
        super().__init__()
        self.predict = LiftNet(channels, kernel_size, groups, bias, zero_init, **kind)
        self.update = LiftNet(channels, kernel_size, groups, bias, zero_init, **kind)

    def weights(self) -> LiftWeights:
        """For the functions."""
        return LiftWeights(self.predict.weights(), self.update.weights())


class LiftDown(nn.Module):
    """What the layers of all dimensions share; the arguments are explained in `LiftDown2d`."""

    dims: int

    def __init__(
        self,
        channels: int,
        kernel_size: int = 5,
        *,
        stride: int = 2,
        output: Output = "sum",
        scale: float = 1.0,
        groups: int | None = None,
        bias: bool = False,
        shared: bool = True,
        zero_init: bool = False,
        padding: Literal["zeros", "replicate", "circular"] = "zeros",
        ceil_mode: bool = True,
        reduction: Reduction = "mean_square",
        memory: Memory | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        channels, kernel_size = whole("channels", channels), whole("kernel_size", kernel_size)
        groups = channels if groups is None else whole("groups", groups)
        names = ("sum", "all", *band_names(self.dims))
        _require(channels >= 1, f"channels={channels} is not possible; give at least 1")
        _require(
            kernel_size >= 1 and kernel_size % 2 == 1,
            f"kernel_size={kernel_size} has no middle; give an odd number, 5 (the default), 3 or 7",
        )
        _require(
            groups >= 1 and channels % groups == 0,
            f"groups={groups} does not divide {channels} channels; give {channels} (depthwise), 1 (dense) or a divisor",
        )
        _require(
            bool(output) and all(name in names[2:] for name in output)
            if isinstance(output, tuple)
            else output in names,
            f"output={output!r} is not known; give one of {', '.join(names)}, or a tuple of band names",
        )
        check_choices(
            padding=(padding, PADDINGS),
            reduction=(reduction, ("mean_square", "norm")),
            memory=(memory, MEMORIES),
            stride=(stride, (1, 2)),
        )
        _require(stride == 2 or output == "sum", f"output={output!r} does not exist with stride=1; give output='sum'")
        plain = {"groups": groups != channels, "bias": bias, "padding": padding != "zeros"}
        _require(
            memory != "recompute" or not any(plain.values()),
            f"memory='recompute' does not exist with other {' and '.join(n for n in plain if plain[n])} than the "
            "default; give memory='autograd' and wrap the layer in torch.utils.checkpoint",
        )
        self.channels, self.kernel_size, self.groups, self.bias = channels, kernel_size, groups, bias
        self.stride = stride
        self.output, self.scale, self.shared, self.zero_init = output, scale, shared, zero_init
        self.padding, self.ceil_mode, self.reduction, self.memory = padding, ceil_mode, reduction, memory
        self.pairs = nn.ModuleList(
            LiftPair(channels, kernel_size, groups, bias, zero_init, device=device, dtype=dtype)
            for _ in range(0 if stride == 1 else 1 if shared else 2**self.dims - 1)
        )
        self.auxiliary = AuxiliarySink(*REGULARISER_WEIGHTS)

    def weights(self) -> list[LiftWeights]:
        """For the functions: one pair for all lifts, or one each."""
        return [pair.weights() for pair in self.pairs if isinstance(pair, LiftPair)]

    def forward(self, x: Tensor) -> Tensor | Bands:
        """Halve a map (b, c, *size): the sum or a band (b, c, *half), or `Bands`, as `output` says."""
        if self.stride == 1:
            self._check(x)
            return x
        if self.output == "sum":
            return self._down(x, self.scale)[0]
        return self.select(self.bands(x))

    def select(self, bands: Bands) -> Tensor | Bands:
        """What `output` says of all bands: what `forward` gives, for an encoder that keeps the bands for `LiftUp`."""
        if self.output == "sum":
            return bands.sum(self.scale)
        if self.output == "all":
            return bands
        if isinstance(self.output, tuple):
            return Bands({name: bands[name] for name in self.output}, bands.size)
        return bands[self.output]

    def bands(self, x: Tensor) -> Bands:
        """All bands whatever `output` says, for an encoder: `select(bands)` goes on, and `LiftUp` takes them."""
        _require(self.stride == 2, "a layer with stride=1 halves nothing and has no bands; give stride=2")
        return Bands(dict(zip(band_names(self.dims), self._down(x, None), strict=True)), tuple(x.shape[2:]))

    def _check(self, x: Tensor) -> None:
        if x.ndim != self.dims + 2 or x.shape[1] != self.channels:
            raise ValueError(
                f"a map of shape {tuple(x.shape)} does not fit {type(self).__name__}({self.channels}); "
                f"it takes (batch, {self.channels}, {', '.join('DHW'[-self.dims :])})"
            )
        if self.stride == 2:
            check_map(x)

    def _down(self, x: Tensor, scale: float | None) -> list[Tensor]:
        self._check(x)
        wanted = self.auxiliary.wanted(self.training)
        results, squares = down(x, self.weights(), self.padding, self.ceil_mode, self.memory, scale, wanted)
        if squares is not None:
            self.auxiliary.record(self._losses(squares, x))
        # The bands stay exact for the inverse; the sum is an ordinary map again.
        return results if scale is None else [results[0].to(x.dtype)]

    def _losses(self, squares: Tensor, x: Tensor) -> Tensor:
        """c_u and c_p (lift.md 2.7), averaged over the lifts (our choice), from their sums of squares (lifts, 2)."""
        if self.reduction == "norm":
            # The root's slope at 0 is infinite; a norm's is 0.
            return squares.clamp_min(torch.finfo(squares.dtype).tiny).sqrt().mean(0)
        numbers, count = [], x.shape[0] * x.shape[1]
        sides = [(side + 1) // 2 * 2 if self.ceil_mode else side // 2 * 2 for side in x.shape[2:]]
        for level in range(self.dims):
            # A lift's s: this axis and those before it halved, the others whole.
            lifted = self.dims - level
            full = [*x.shape[2:][: lifted - 1], *(side // 2 for side in sides[lifted - 1 :])]
            numbers += [max(1, count * math.prod(full))] * 2**level
        return (squares / squares.new_tensor(numbers)[:, None]).mean(0)

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return (
            f"{self.channels}, kernel_size={self.kernel_size}, stride={self.stride}, output={self.output!r}, "
            f"scale={self.scale}, groups={self.groups}, bias={self.bias}, shared={self.shared}, zero_init={self.zero_init}, "
            f"padding={self.padding!r}, ceil_mode={self.ceil_mode}, reduction={self.reduction!r}, memory={self.memory!r}"
        )


class LiftDown1d(LiftDown):
    """`LiftDown2d` for sequences (b, c, w); bands "L" and "H".

    >>> LiftDown1d(8)(torch.zeros(2, 8, 9)).shape
    torch.Size([2, 8, 5])
    """

    dims = 1


class LiftDown2d(LiftDown):
    """Halve a map by lifting, in the place of a 2x2 pooling of stride 2 (lift.md 2.1).

    Args:
        channels: c of the map.
        kernel_size: k of the convolutions in P and U; odd.
        stride: 2; or 1, where timm asks for an `aa_layer` that keeps the size: there is nothing to split, and the map
            goes through unchanged, without weights (our choice, as an average of stride 1).
        output: "sum" of the bands, one band by name ("LL", "LH", "HL", "HH"), a tuple of names (gives `Bands` of
            these), or "all" (gives `Bands` of all).
        scale: what the sum is multiplied by; 0.25 gives it the scale of an average.
        groups: of the 1x1 convolution in P and U: None is c, depthwise, as the author counts; 1 is dense, and slow.
        bias: whether the convolutions have biases.
        shared: whether the layer's three lifts share P and U (the author's answer), or have one each.
        zero_init: start with P = U = 0: the sum is exactly 4 * scale * average pooling, the bands are the pixels.
        padding: what P and U see beyond the border: "zeros", "replicate" or "circular".
        ceil_mode: an odd side: True repeats the last sample (size rounded up, invertible), False drops it (rounded
            down, as `MaxPool2d` does by default; `LiftUp2d` then repeats its neighbour).
        reduction: of the regularisers that `auxiliary_losses` collects: "mean_square" or "norm".
        memory: "recompute" (needs the defaults of groups, bias and padding, and weights of float32 or float64),
            "autograd", or None to choose.
        device: of the weights.
        dtype: of the weights.

    Raises:
        ValueError: for arguments that do not work; in `forward` for maps of other shapes, or too small ones.

    >>> layer = LiftDown2d(64)
    >>> layer(torch.zeros(2, 64, 56, 55)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([2, 64, 28, 28]), 768)
    """

    dims = 2


class LiftDown3d(LiftDown):
    """`LiftDown2d` for volumes (b, c, d, h, w); bands "LLL" to "HHH", letters in the order W, H, D.

    >>> LiftDown3d(8)(torch.zeros(2, 8, 4, 6, 7)).shape
    torch.Size([2, 8, 2, 3, 4])
    """

    dims = 3


def _require(possible: bool, message: str) -> None:
    if not possible:
        raise ValueError(message)
