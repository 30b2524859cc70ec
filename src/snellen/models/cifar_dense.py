"""DenseNet without bottlenecks, as its paper first has it for CIFAR; the BC form is timm's class, see `cifar_nets.py`."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["CifarDenseNet"]


class _Layer(nn.Module):
    """Batch norm, ReLU and a 3x3 convolution to the new maps, put behind the old."""

    def __init__(self, c_in: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(c_in)
        self.conv1 = nn.Conv2d(c_in, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.conv1(F.relu(self.norm1(x)))), dim=1)


class _Transition(nn.Module):
    """Batch norm, ReLU, a 1x1 convolution of as many channels, and average pooling."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pool(self.conv(F.relu(self.norm(x))))
        return out


class CifarDenseNet(nn.Module):
    """DenseNet of 3n + 4 layers: three dense blocks of n layers behind a 3x3 stem of 16 channels.

    Source: Huang et al. 2017, 3 and 4.2.

    Args:
        classes: logits.
        channels: of the image.
        depth: 3n + 4 layers, 40 or 100 in the paper.
        growth: k, new maps of a layer.

    Raises:
        ValueError: for a depth that is not 3n + 4.

    >>> sum(p.numel() for p in CifarDenseNet(10).parameters())
    1019722
    """

    def __init__(self, classes: int, channels: int = 3, *, depth: int = 40, growth: int = 12) -> None:
        super().__init__()
        if depth < 7 or (depth - 4) % 3:
            raise ValueError(f"depth={depth} is not possible; give 3n + 4 layers, e.g. 40 or 100")
        c = 16
        layers: list[nn.Module] = [nn.Conv2d(channels, c, 3, padding=1, bias=False)]
        for block in range(3):
            if block:
                layers.append(_Transition(c))
            for _ in range((depth - 4) // 3):
                layers.append(_Layer(c, growth))
                c += growth
        self.features = nn.Sequential(*layers, nn.BatchNorm2d(c), nn.ReLU(inplace=True))
        self.classifier = nn.Linear(c, classes)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        """Logits of images of at least 4x4."""
        logits: Tensor = self.classifier(self.features(x).mean(dim=(2, 3)))
        return logits
