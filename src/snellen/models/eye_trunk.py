"""The residual network of `gaze-small`, for pictures of one eye."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["BRANCHES", "HALVES", "EyeTrunk"]

#: Names, as shell patterns, of what halves maps behind the first convolution, and of what ends each residual branch.
HALVES = ("layers.*.body.0", "layers.*.shortcut.0")
BRANCHES = ("layers.*.body.4",)


class EyeTrunk(nn.Module):
    """A residual network for pictures of one eye: our choice, small enough for one core of a CPU.

    A 5x5 convolution of stride 2, then four stages of `blocks` blocks (two 3x3 convolutions with batch norm and a shortcut), at
    `width`, 2, 4 and 8 times as many channels; each stage but the first halves. The mean over what is left are the features.

    Args:
        channels: of the image.
        width: channels of the first stage.
        blocks: of each stage.

    Attributes:
        features: how many numbers it answers with.
    """

    def __init__(self, channels: int = 1, *, width: int = 16, blocks: int = 1) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(4)]
        layers: list[nn.Module] = [
            nn.Conv2d(channels, width, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        before = width
        for stage, c in enumerate(widths):
            for block in range(blocks):
                layers.append(_Block(before, c, 2 if stage and not block else 1))
                before = c
        self.layers = nn.Sequential(*layers)
        self.features = before

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b features"]:
        """Features of images of at least 16x16 pixels."""
        found: Tensor = self.layers(x).mean(dim=(2, 3))
        return found


class _Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, which halves by averaging so that no pixel is passed over (He et al. 2019, D)."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(c_out, c_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(c_out),
        )
        shortcut: list[nn.Module] = [nn.AvgPool2d(2, ceil_mode=True)] if stride == 2 else []
        if c_in != c_out:
            shortcut += [nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out)]
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))
