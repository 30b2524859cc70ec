"""The small network that looks at a thumbnail and says what deserves pixels, and the other heads that baselines put on it."""

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from snellen.models.preprocess import Preprocess

__all__ = ["Thumbnail", "make_backbone"]

#: Widths of the tiny backbone, each half as fine as the one before, for small pictures on CPUs. It ends at stride 8: at 16 a
#: thumbnail of 64 pixels would have 4 x 4 positions, too few to say where an object is and how large (our choice).
TINY = (16, 32, 64)
#: Widths and dilations of its last layers, which see further than their stride: what is salient depends on the whole.
WIDE = ((48, 1), (48, 2), (48, 4), (48, 2), (48, 1))
#: The stride at which saliency is read off timm's: conv1 to layer3 of ResNet-18, as in the paper (zoom.md 2.1).
STRIDE = 16


def make_backbone(name: str, channels: int, pretrained: bool | str) -> tuple[nn.Module, int]:
    """A backbone's map, at stride 8 of "tiny" and 16 of others, and how many channels that has.

    Args:
        name: "tiny", ours, or "timm:NAME"; "timm:resnet18" is the paper's prefix.
        channels: of the picture, 1 or 3.
        pretrained: False, True or a file, see `TimmTrunk`; timm only.

    Raises:
        ValueError: for an unknown name, and pretrained weights that do not exist.
    """
    if name.startswith("timm:"):
        from snellen.models.timm_trunk import TimmTrunk

        trunk = TimmTrunk(
            name.removeprefix("timm:"), in_channels=channels, stride=STRIDE, levels=1, pretrained=pretrained
        )
        return _Last(trunk), trunk.channels[0]
    if name != "tiny":
        raise ValueError(
            f"zoom_options.backbone={name!r} is not known; give 'tiny', or timm:NAME such as 'timm:resnet18'"
        )
    if pretrained:
        raise ValueError(
            "zoom_options.pretrained makes no sense with backbone 'tiny'; take a timm backbone, or leave it out"
        )
    layers: list[nn.Module] = []
    before = channels
    for width, stride, dilation in [*((w, 2, 1) for w in TINY), *((w, 1, d) for w, d in WIDE)]:
        conv = nn.Conv2d(before, width, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)
        layers += [conv, nn.BatchNorm2d(width), nn.ReLU()]
        before = width
    return nn.Sequential(*layers), before


class _Last(nn.Module):
    """The deepest of a trunk's maps."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, x: Tensor) -> Any:
        return self.trunk(x)[-1]


class Thumbnail(nn.Module):
    """A picture's thumbnail through a backbone and a linear head whose weights begin at zero.

    Args:
        outputs: numbers answered with, at each position or for the whole picture.
        nodes: (rows, columns) to which the answer at the backbone's positions is enlarged, bilinearly; None averages the
            features over the whole picture first.
        size: (height, width) of the thumbnail.
        channels: 1 or 3.
        backbone: see `make_backbone`.
        pretrained: see `make_backbone`.
        bias: of the head. The paper's has one, which its softmax over positions takes out again.

    >>> import torch
    >>> net = Thumbnail(1, (31, 31), size=(96, 96), channels=3)
    >>> net(torch.rand(2, 3, 200, 300) * 255).unique()
    tensor([0.], grad_fn=<Unique2Backward0>)
    """

    def __init__(
        self,
        outputs: int,
        nodes: tuple[int, int] | None,
        *,
        size: tuple[int, int],
        channels: int,
        backbone: str = "tiny",
        pretrained: bool | str = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.nodes, self.size = nodes, size
        self.preprocess = Preprocess(channels, "imagenet" if pretrained else "fixed")
        self.backbone, features = make_backbone(backbone, channels, pretrained)
        self.head = nn.Conv2d(features, outputs, 1, bias=bias)
        # Zero weights are the identity: training begins with a plain resize (our choice; zoom.md 2.2).
        nn.init.zeros_(self.head.weight)
        if self.head.bias is not None:
            nn.init.zeros_(self.head.bias)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b outputs gh gw"]:
        """(b, outputs, *nodes), or (b, outputs, 1, 1), float32 under autocast."""
        # The paper averages adaptively; sizes need not divide here, and the filter is that of the uniform zoom.
        small = F.interpolate(image.float(), self.size, mode="bilinear", antialias=True, align_corners=False)
        features = self.backbone(self.preprocess(small))
        if self.nodes is None:
            return self.head(features.mean(dim=(2, 3), keepdim=True)).float()
        # Logits are enlarged, and the softmax is taken of the result, as in the paper.
        return F.interpolate(self.head(features).float(), self.nodes, mode="bilinear", align_corners=False)
