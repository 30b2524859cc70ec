"""A small network that doubles a picture's size, with three ways to enlarge: what LiftUp does is compared with its peers.

::

    picture -> convs at its own size -> enlarge -> 3x3 conv -> + the picture, enlarged bilinearly

    nearest         repetition, then a 3x3 convolution (Odena et al. 2016, against checkerboards)
    pixel-shuffle   a 3x3 convolution to four times the channels, then their pixels side by side (Shi et al. 2016)
    lift            LiftUp (lift.md 2.8): the feature is LL, a 3x3 convolution predicts LH, HL and HH

The network, its residual form, and the use of LiftUp without an encoder that pooled are our choices: the lift's predictor and
updater are then weights of the enlarging layer alone.
"""

import itertools
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from snellen.layers import Bands, LiftDown2d, LiftUp2d
from snellen.models.base import conv
from snellen.models.choices import UnknownChoiceError, nearest
from snellen.models.preprocess import Preprocess

__all__ = ["ENLARGERS", "SuperResolver", "create_enlarger", "enlarger_choices"]

ENLARGERS = ("nearest", "pixel-shuffle", "lift")


#: Every choice and its default.
_CHOICES: dict[str, Any] = {"up": "nearest", "features": 32, "depth": 4, "channels": 3, "lift_options": {}}


def enlarger_choices(**choices: Any) -> dict[str, Any]:
    """All choices of a `SuperResolver`, with those given; UnknownChoiceError for one that does not exist."""
    for key in choices:
        if key not in _CHOICES:
            raise UnknownChoiceError(
                f"super-resolution networks have no choice {key!r}; {nearest(key, _CHOICES)}; all are {', '.join(_CHOICES)}"
            )
    resolved = _CHOICES | choices
    for key in ("features", "depth"):
        value = resolved[key]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UnknownChoiceError(f"{key}={value!r} is not possible; give a whole number of at least 1")
    if not isinstance(resolved["lift_options"], dict):
        raise UnknownChoiceError(f"lift_options={resolved['lift_options']!r} is not possible; give a group of options")
    return resolved


def create_enlarger(**choices: Any) -> "SuperResolver":
    """A `SuperResolver` with fresh weights, by the names of its arguments.

    >>> create_enlarger(up="lift").choices["features"]
    32
    """
    resolved = enlarger_choices(**choices)
    try:
        network = SuperResolver(**resolved)
    except (TypeError, ValueError) as error:
        raise UnknownChoiceError(f"model 'superres': {error}") from None
    network.name, network.choices = "superres", resolved
    return network


class SuperResolver(nn.Module):
    """Twice the height and width.

    Args:
        up: "nearest", "pixel-shuffle" or "lift".
        features: width of the convolutions.
        depth: 3x3 convolutions at the picture's own size.
        channels: 1 or 3, of pictures and answers.
        lift_options: of the lift, see `LiftDown2d`; "lift" only.

    Raises:
        ValueError: for values not possible; in `forward`, for pictures of another number of channels.

    >>> import torch
    >>> SuperResolver("lift", features=8)(torch.rand(2, 3, 16, 15) * 255).shape
    torch.Size([2, 3, 32, 30])
    """

    def __init__(
        self,
        up: str = "nearest",
        *,
        features: int = 32,
        depth: int = 4,
        channels: int = 3,
        lift_options: dict[str, bool | int | str] | None = None,
    ) -> None:
        super().__init__()
        if up not in ENLARGERS:
            raise ValueError(f"up={up!r} is not known; give one of {', '.join(ENLARGERS)}")
        if features < 1 or depth < 1:
            raise ValueError(f"features={features} and depth={depth} are not possible; give at least 1 of each")
        if lift_options and up != "lift":
            raise ValueError(f"lift_options make no sense with up={up!r}; give up='lift', or leave them out")
        self.name = ""
        self.choices: dict[str, Any] = {}  # what `create_enlarger` resolved
        self.up, self.channels = up, channels
        self.preprocess = Preprocess(channels, "fixed")
        widths = (channels, *[features] * depth)
        self.body = nn.Sequential(*(conv(a, b, 3) for a, b in itertools.pairwise(widths)))
        if up == "nearest":
            self.enlarge: nn.Module = nn.Sequential(nn.Upsample(scale_factor=2), conv(features, features, 3))
        elif up == "pixel-shuffle":
            self.enlarge = nn.Sequential(conv(features, 4 * features, 3), nn.PixelShuffle(2))
        else:
            self.enlarge = _LiftEnlarge(features, **(lift_options or {}))
        self.head = conv(features, channels, 3, relu=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 2*h 2*w"]:
        """Pictures (b, channels, h, w) of 0..255 to pictures of twice the size, 0..255 where they are right; not clamped."""
        if x.shape[1] != self.channels:
            raise ValueError(f"a picture of {x.shape[1]} channels does not fit a network for {self.channels}")
        plain = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        # The answer is in units of the preprocessed picture: a quarter of the range of grey levels.
        return plain + self.head(self.enlarge(self.body(self.preprocess(x)))) * (255 / 4)


class _LiftEnlarge(nn.Module):
    """LiftUp with predicted details."""

    def __init__(self, features: int, **options: bool | int | str) -> None:
        super().__init__()
        self.details = conv(features, 3 * features, 3, relu=False)
        # It never pools: it holds the weights that LiftUp refers to.
        self.lift = LiftDown2d(features, **options)  # type: ignore[arg-type]
        self.inverse = LiftUp2d(self.lift)

    def forward(self, x: Tensor) -> Tensor:
        lh, hl, hh = self.details(x).chunk(3, dim=1)
        up: Tensor = self.inverse(Bands({"LL": x, "LH": lh, "HL": hl, "HH": hh}, (2 * x.shape[-2], 2 * x.shape[-1])))
        return up.to(x.dtype)
