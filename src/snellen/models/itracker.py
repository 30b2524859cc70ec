"""iTracker: gaze from both eyes, the face, and where in the frame the face is.

Krafka et al., "Eye Tracking for Everyone", CVPR 2016, sections 4 and 5. The structure below is stated from its description and
not checked against the authors' weights, so no number of parameters is claimed; what the paper leaves to AlexNet is written
out::

    left eye  -+ shared: conv 11x11/4 96 - pool - conv 5x5 256 (2 groups) - pool - conv 3x3 384 - conv 1x1 64
    right eye -+         -> both flattened, side by side -> linear 128 ------------------------------+
    face       the same convolutions, weights of its own -> linear 128 -> linear 64 -----------------+-> linear 128 -> linear 2
    grid       25 x 25 of 0 and 1 -> linear 256 -> linear 128 ---------------------------------------+

Pools are 3x3 of stride 2, followed by local response normalisation over 5 channels, as AlexNet has them; every layer but the
last is followed by ReLU. There is no dropout and no batch norm.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Tracker"]

#: The smallest side whose last pooling has something to pool.
SMALLEST = 35


class Tracker(nn.Module):
    """The network of iTracker, without preprocessing.

    Args:
        canvas: (height, width) of the three pictures; the paper's are (224, 224).
        channels: of the pictures.

    Raises:
        ValueError: for a canvas whose last map would be empty.

    >>> Tracker((67, 67))(torch.zeros(2, 3, 3, 67, 67), torch.zeros(2, 25, 25)).shape
    torch.Size([2, 2])
    """

    def __init__(self, canvas: tuple[int, int] = (224, 224), channels: int = 3) -> None:
        super().__init__()
        if min(canvas) < SMALLEST:
            raise ValueError(
                f"a canvas of {canvas[0]}x{canvas[1]} is too small for iTracker; give at least {SMALLEST}x{SMALLEST} pixels"
            )
        self.canvas = canvas
        self.eye, self.face_trunk = _trunk(channels), _trunk(channels)
        with torch.no_grad():
            size = self.eye(torch.zeros(1, channels, *canvas)).shape[1]
        self.eyes = nn.Sequential(nn.Linear(2 * size, 128), nn.ReLU())
        self.face = nn.Sequential(nn.Linear(size, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
        self.grid = nn.Sequential(nn.Flatten(), nn.Linear(25 * 25, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(128 + 64 + 128, 128), nn.ReLU(), nn.Linear(128, 2))

    def forward(self, parts: Float[Tensor, "b 3 c h w"], grid: Float[Tensor, "b 25 25"]) -> Float[Tensor, "b 2"]:
        """Left eye, right eye and face, and the grid, to two numbers."""
        if tuple(parts.shape[-2:]) != self.canvas:
            raise ValueError(
                f"pictures of {parts.shape[-2]}x{parts.shape[-1]} do not fit a network for {self.canvas[0]}x{self.canvas[1]}"
            )
        eyes = torch.cat([self.eye(parts[:, 0]), self.eye(parts[:, 1])], dim=1)
        found = [self.eyes(eyes), self.face(self.face_trunk(parts[:, 2])), self.grid(grid.to(parts.dtype))]
        answer: Tensor = self.head(torch.cat(found, dim=1))
        return answer


def _trunk(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 96, 11, stride=4),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.LocalResponseNorm(5),
        nn.Conv2d(96, 256, 5, padding=2, groups=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.LocalResponseNorm(5),
        nn.Conv2d(256, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 64, 1),
        nn.ReLU(),
        nn.Flatten(),
    )
