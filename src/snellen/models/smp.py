"""U-Net and DeepLabV3+ of segmentation-models-pytorch, for canvases of any size.

Sources: Ronneberger et al., "U-Net", MICCAI 2015, arXiv 1505.04597; Chen et al., "Encoder-Decoder with Atrous Separable
Convolution", ECCV 2018, arXiv 1802.02611; the package by P. Iakubovskii (MIT), imported when a network is built. Weights
are always drawn, never downloaded. Canvases are padded at the right and at the bottom, by repeating their last pixels, to
multiples of the encoder's stride, and the answer is cropped.
"""

import difflib
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from snellen.models.label_net import LabelNet
from snellen.models.outputs import LabelOutput
from snellen.models.preprocess import Contrast
from snellen.models.surgery import replace_pooling

__all__ = ["SMP_DECODERS", "SmpNet"]

SMP_DECODERS = ("unet", "deeplabv3plus")

#: Widths of U-Net's five stages, coarsest first, in units of the finest's.
_UNET_WIDTHS = (16, 8, 4, 2, 1)


class SmpNet(LabelNet):
    """A network of segmentation-models-pytorch.

    Args:
        classes: how many labels.
        decoder: "unet" or "deeplabv3plus".
        encoder: the package's name of an encoder, e.g. "resnet18", or "timm:NAME".
        features: "unet": width of the finest stage, each coarser one has twice as many, by default 16; "deeplabv3plus": of the
            whole decoder but for its 48 channels of fine detail, by default 256.
        pool: "own", or a pooling that takes the place of all of the encoder's (`replace_pooling`); of DeepLabV3+'s those that
            it has not changed for dilations.
        pool_options: of that pooling, see `make_pool`.
        channels: 1 or 3, what the network sees.
        contrast: see `Preprocess`.

    Raises:
        ValueError: where the package is missing or has no such encoder, or for values not listed; in `forward`, for
            DeepLabV3+ in training mode on a batch of one, whose pooled features have no variance to normalise by.

    >>> import torch
    >>> SmpNet(11, features=4).eval()(torch.rand(1, 3, 45, 60) * 255).logits.shape
    torch.Size([1, 11, 45, 60])
    """

    def __init__(
        self,
        classes: int,
        *,
        decoder: str = "unet",
        encoder: str = "resnet18",
        features: int | None = None,
        pool: str = "own",
        pool_options: dict[str, Any] | None = None,
        channels: int = 3,
        contrast: Contrast = "fixed",
    ) -> None:
        if decoder not in SMP_DECODERS:
            raise ValueError(f"decoder={decoder!r} is not known; give one of {', '.join(SMP_DECODERS)}")
        if features is not None and features < 1:
            raise ValueError(f"features={features} is not possible; give the number of channels, at least 1")
        if pool == "own" and pool_options:
            raise ValueError("pool_options are for another pool than the encoder's own; give pool, or leave them out")
        super().__init__(classes=classes, step=32 if decoder == "unet" else 16, channels=channels, contrast=contrast)
        self.decoder = decoder
        self.net = _build(decoder, encoder, features, classes, channels)
        if pool != "own":
            encoder_net, image = self.net.get_submodule("encoder"), torch.zeros(1, channels, 64, 64)
            replace_pooling(encoder_net, pool, example=image, verbose=False, **(pool_options or {}))

    def forward(self, x: Float[Tensor, "b c h w"]) -> LabelOutput:
        """Canvas (b, 1 or 3, h, w), values 0..255, any size, to logits (b, classes, h, w)."""
        if self.decoder == "deeplabv3plus" and self.training and x.shape[0] == 1:
            raise ValueError(
                "DeepLabV3+ cannot be trained on a batch of one image: its batch norm of pooled features needs two; "
                "give a larger batch, or call eval()"
            )
        h, w = x.shape[-2:]
        image = F.pad(self.preprocess(x), (0, -w % self.step, 0, -h % self.step), mode="replicate")
        return LabelOutput(self.net(image)[..., :h, :w])


def _build(decoder: str, encoder: str, features: int | None, classes: int, channels: int) -> nn.Module:
    try:
        import segmentation_models_pytorch as smp
    except ImportError:
        raise ValueError(
            f"decoder={decoder!r} needs segmentation-models-pytorch; install it with: pip install 'snellen[train]'"
        ) from None
    known = smp.encoders.get_encoder_names()
    if encoder.startswith("timm:"):
        name = "tu-" + encoder.removeprefix("timm:")
    elif encoder in known:
        name = encoder
    else:
        near = ", ".join(difflib.get_close_matches(encoder, known, 3, 0.0))
        raise ValueError(f"encoder={encoder!r} is not known; nearest: {near}; or timm:NAME, e.g. timm:resnet18")
    shared = {"encoder_name": name, "encoder_weights": None, "in_channels": channels, "classes": classes}
    try:
        net: nn.Module
        if decoder == "unet":
            net = smp.Unet(**shared, decoder_channels=[(features or 16) * m for m in _UNET_WIDTHS])
        else:
            net = smp.DeepLabV3Plus(**shared, decoder_channels=features or 256)
    except (RuntimeError, KeyError, ValueError, NotImplementedError, AssertionError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"encoder={encoder!r} cannot be used by {decoder} ({first}); take another") from None
    return net
