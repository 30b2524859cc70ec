"""Classification networks in the forms that suit small images: whole-image canvases of 32 pixels and a little more.

Every one takes a preprocessed image (b, c, h, w) and gives logits (b, classes). VGG and the CIFAR ResNets are written here,
since timm has them for large images only; ResNet-18, MobileNet-V2 and DenseNet are timm's classes with another stem.
"""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from snellen.models.halving import Halved, sides_of
from snellen.models.pooling import make_pool

__all__ = ["VGG", "CifarResNet", "cifar_densenet", "cifar_mobilenet", "cifar_resnet18", "scaled"]

#: Convolutions of each level and their channels (Simonyan and Zisserman 2015, table 1, column B).
_VGG13 = ((2, 64), (2, 128), (2, 256), (2, 512), (2, 512))

#: timm's widths of MobileNet-V2, by the multiplier.
MOBILENET_WIDTHS = {0.35: "035", 0.5: "050", 0.75: "075", 1.0: "100", 1.4: "140"}


def scaled(channels: int, width: float) -> int:
    """Channels times a multiplier, rounded, at least 1."""
    return max(1, round(channels * width))


class VGG(nn.Module):
    """VGG-13: five levels of two 3x3 convolutions and a 2x2 pooling, the mean over what is left, one linear layer.

    Source: Simonyan and Zisserman 2015, column B, with the one linear layer that CIFAR forms have in the place of three.
    The pools are what lift.md 3 replaces. At 32 pixels the mean is over one pixel.

    Args:
        classes: logits.
        channels: of the image.
        width: multiplier of all widths.
        norm: "batch" after each convolution, which then has no bias, or "none".
        pool: one of `snellen.models.pooling.POOLS`; "max" is the paper's.
        pool_options: of `make_pool`.

    >>> sum(p.numel() for n, p in VGG(10, norm="none").named_parameters() if "weight" in n and p.ndim == 4)
    9402048
    """

    def __init__(
        self,
        classes: int,
        channels: int = 3,
        *,
        width: float = 1.0,
        norm: str = "batch",
        pool: str = "max",
        pool_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for convolutions, c in _VGG13:
            for _ in range(convolutions):
                layers.append(nn.Conv2d(channels, scaled(c, width), 3, padding=1, bias=norm == "none"))
                channels = scaled(c, width)
                if norm == "batch":
                    layers.append(nn.BatchNorm2d(channels))
                layers.append(nn.ReLU(inplace=True))
            layers.append(_pooling(pool, channels, pool_options or {}))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, classes)
        _draw(self)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        """Logits of images of at least 32x32."""
        logits: Tensor = self.classifier(self.features(x).mean(dim=(2, 3)))
        return logits


def _pooling(kind: str, channels: int, options: Mapping[str, Any]) -> nn.Module:
    """A halving that rounds odd sides down, as max pooling does."""
    usual = nn.MaxPool2d(2)
    if kind == "max" and not options:
        return usual
    return Halved(make_pool(kind, channels, **options), sides_of(usual), None, pool_first=False)


class _Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut without parameters: every other pixel, zeros for new channels (option A)."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        # A pooling of one pixel takes every other one; as a module, surgery can put another pooling there.
        self.shortcut = nn.MaxPool2d(1, stride) if stride > 1 else nn.Identity()
        self.new_channels = c_out - c_in

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        short: Tensor = self.shortcut(x)
        if self.new_channels:
            before = self.new_channels // 2
            short = F.pad(short, (0, 0, 0, 0, before, self.new_channels - before))
        return F.relu(out + short)


class CifarResNet(nn.Module):
    """ResNet of 6n + 2 layers for CIFAR: three stages of n blocks, 16, 32 and 64 channels (He et al. 2016, 4.2).

    Args:
        depth: 20, 32, 44, 56, ...
        classes: logits.
        channels: of the image.
        width: multiplier of all widths.

    Raises:
        ValueError: for a depth that is not 6n + 2.

    >>> sum(p.numel() for p in CifarResNet(20, 10).parameters())
    269722
    """

    def __init__(self, depth: int, classes: int, channels: int = 3, *, width: float = 1.0) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth={depth} is not possible; give 6n + 2 layers, e.g. 20, 32, 44 or 56")
        widths = [scaled(c, width) for c in (16, 32, 64)]
        self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        blocks, c_in = [], widths[0]
        for stage, c in enumerate(widths):
            for i in range((depth - 2) // 6):
                blocks.append(_Block(c_in, c, 2 if stage and not i else 1))
                c_in = c
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(c_in, classes)
        _draw(self)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        """Logits of images of any size."""
        x = self.blocks(F.relu(self.bn1(self.conv1(x))))
        logits: Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits


def cifar_resnet18(classes: int, channels: int = 3, *, width: float = 1.0) -> nn.Module:
    """timm's ResNet-18 with a 3x3 stem of stride 1 and no first pooling: 32 pixels end as 4.

    Args:
        classes: logits.
        channels: of the image.
        width: multiplier of the stages' widths; timm's stem always has 64 channels.
    """
    from timm.models.resnet import BasicBlock, ResNet

    widths = tuple(scaled(c, width) for c in (64, 128, 256, 512))
    net: nn.Module = ResNet(BasicBlock, (2, 2, 2, 2), num_classes=classes, in_chans=channels, channels=widths)
    net.conv1 = _stem(channels, 64)
    net.maxpool = nn.Identity()
    return net


def cifar_mobilenet(classes: int, channels: int = 3, *, width: float = 1.0) -> nn.Module:
    """timm's MobileNet-V2 with stride 1 in the stem and in the second stage: 32 pixels end as 4.

    Args:
        classes: logits.
        channels: of the image.
        width: multiplier, one of `MOBILENET_WIDTHS`, which timm has.

    Raises:
        ValueError: for another width.
    """
    import timm

    if width not in MOBILENET_WIDTHS:
        known = ", ".join(f"{w:g}" for w in MOBILENET_WIDTHS)
        raise ValueError(f"width={width:g} is not possible: timm's MobileNet-V2 has the widths {known}")
    name = f"mobilenetv2_{MOBILENET_WIDTHS[width]}"
    net: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, in_chans=channels)
    for path in ("conv_stem", "blocks.1.0.conv_dw"):
        convolution = net.get_submodule(path)
        if not isinstance(convolution, nn.Conv2d) or convolution.stride != (2, 2):
            raise RuntimeError(f"timm's {name} has no convolution of stride 2 at {path}; take the tested timm 1.0")
        convolution.stride = (1, 1)
    return net


def cifar_densenet(classes: int, channels: int = 3, *, depth: int = 100, width: float = 1.0) -> nn.Module:
    """DenseNet-BC (Huang et al. 2017, 4.2): timm's class with three equal blocks and a 3x3 stem of stride 1.

    Args:
        classes: logits.
        channels: of the image.
        depth: 6n + 4 layers, e.g. 40 or 100.
        width: multiplier of the growth rate 12.

    Raises:
        ValueError: for a depth that is not 6n + 4.
    """
    from timm.models.densenet import DenseNet

    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"depth={depth} is not possible; give 6n + 4 layers, e.g. 40 or 100")
    growth, block = scaled(12, width), (depth - 4) // 6
    net: nn.Module = DenseNet(
        growth_rate=growth, block_config=(block,) * 3, bn_size=4, num_classes=classes, in_chans=channels
    )
    features = net.get_submodule("features")
    features.conv0, features.norm0, features.pool0 = _stem(channels, 2 * growth), nn.Identity(), nn.Identity()
    return net


def _stem(c_in: int, c_out: int) -> nn.Conv2d:
    stem = nn.Conv2d(c_in, c_out, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    return stem


def _draw(module: nn.Module) -> None:
    """Weights from torch's generator: He et al. 2015 for convolutions, N(0, 0.01) for the linear layer, biases 0."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.01)
        if isinstance(part, nn.Conv2d | nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
