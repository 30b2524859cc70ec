"""From a canvas of pixels to what a network sees: the one module that training, prediction and export share."""

from typing import Literal

import torch
from jaxtyping import Num, Shaped
from torch import Tensor, nn

from snellen.layers.contrast import LocalContrastNorm

__all__ = ["Preprocess"]

Contrast = Literal["lcn", "image", "fixed", "imagenet"]
CONTRASTS: tuple[Contrast, ...] = ("lcn", "image", "fixed", "imagenet")
#: ITU-R BT.601 luma of red, green, blue.
LUMA = (0.299, 0.587, 0.114)
#: Mean and standard deviation of red, green, blue over ImageNet, of 1: what most pretrained backbones were trained with.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Preprocess(nn.Module):
    """Bring a canvas to the number of channels and the contrast that the network was made for.

    Args:
        channels: what the network sees. 1: grey, colour canvases are converted by the ITU-R 601 luma. 3: colour, a
            grey canvas is repeated.
        contrast: "lcn", local contrast normalisation (what the paper trains on, rcn.md 2.1); "image", minus the mean
            and over the standard deviation of each image (the authors' alternative); "fixed", (x / 255 - 0.5) / 0.25;
            "imagenet", (x / 255 - mean) / deviation with ImageNet's of each colour, or their averages where the network
            sees grey (our choice).

    Raises:
        ValueError: at construction for unknown values; in `forward` for canvases of neither 1 nor 3 channels.

    >>> Preprocess(channels=1)(torch.rand(2, 3, 80, 80) * 255).shape
    torch.Size([2, 1, 80, 80])
    """

    luma: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int = 1, contrast: Contrast = "lcn") -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ValueError(f"channels={channels!r} is not possible; give 1 (grey) or 3 (colour)")
        if contrast not in CONTRASTS:
            raise ValueError(f"contrast={contrast!r} is not known; give one of {', '.join(CONTRASTS)}")
        self.channels = channels
        self.contrast: Contrast = contrast
        self.lcn = LocalContrastNorm() if contrast == "lcn" else nn.Identity()
        self.register_buffer("luma", torch.tensor(LUMA).view(1, 3, 1, 1), persistent=False)
        for name, values in zip(("mean", "deviation"), torch.tensor(IMAGENET), strict=True):
            shown = values if channels == 3 else values.mean(dim=0, keepdim=True)
            self.register_buffer(name, shown.view(1, channels, 1, 1), persistent=False)

    def forward(self, x: Num[Tensor, "b _ h w"]) -> Shaped[Tensor, "b c h w"]:
        """Preprocess a canvas (b, 1 or 3, h, w) with values 0..255, of a float dtype or uint8.

        Returns:
            (b, channels, h, w) in the input's dtype, float32 for integers; computed in float32 at least.
        """
        if x.shape[1] not in (1, 3):
            raise ValueError(
                f"the canvas has {x.shape[1]} channels (shape {tuple(x.shape)}); "
                "it needs 1 (grey) or 3 (red, green, blue), as (batch, channels, height, width)"
            )
        image = x.to(torch.promote_types(x.dtype, torch.float32))
        if self.channels == 1 and image.shape[1] == 3:
            image = (image * self.luma).sum(dim=1, keepdim=True)
        elif self.channels == 3 and image.shape[1] == 1:
            image = image.repeat(1, 3, 1, 1)
        if self.contrast == "lcn":
            image = self.lcn(image)
        elif self.contrast == "image":
            image = _standardise(image)
        elif self.contrast == "imagenet":
            image = (image / 255 - self.mean) / self.deviation
        else:
            image = (image / 255 - 0.5) / 0.25
        return image.to(x.dtype) if x.dtype.is_floating_point else image

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return f"channels={self.channels}, contrast={self.contrast!r}"


def _standardise(image: Tensor) -> Tensor:
    """Zero mean and unit deviation over all channels and pixels of each image; a blank image becomes zeros."""
    centred = image - image.mean(dim=(1, 2, 3), keepdim=True)
    # The epsilon is a millionth of a squared grey level: nothing beside the noise of any picture.
    return centred * torch.rsqrt((centred * centred).mean(dim=(1, 2, 3), keepdim=True) + 1e-6)
