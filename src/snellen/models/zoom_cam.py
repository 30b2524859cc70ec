"""A crop by class activation: look at the whole, then at what made the first look's answer (Zhou et al. 2016; zoom.md 4)."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from snellen.layers.zoom_grid import ZoomGrid, box_grid, uniform_grid
from snellen.layers.zoom_sample import zoom
from snellen.models.zoomers import Zoomed, Zoomer

__all__ = ["CamCrop"]


class CamCrop(Zoomer):
    """The box of the likeliest class's activation, above a share of its maximum ("cam"); no gradient goes through it.

    Args:
        size: of the zoomed picture.
        threshold: share of the map's range above which activation belongs to the object.
        antialias: see `Zoomer`.
    """

    def __init__(self, size: tuple[int, int], threshold: float = 0.5, *, antialias: bool = True) -> None:
        super().__init__(size, antialias=antialias)
        if not 0 < threshold < 1:
            raise ValueError(f"zoom_options.threshold={threshold} is not possible; give a share between 0 and 1")
        self.threshold = threshold

    def check(self, net: nn.Module) -> None:
        """Refuse (ValueError) a network without a linear classifier on pooled maps."""
        parts: Any = net
        head = parts.get_classifier() if hasattr(net, "get_classifier") and hasattr(net, "forward_features") else None
        if not isinstance(head, nn.Linear):
            raise ValueError(
                "zoom='cam' needs a linear classifier on pooled maps; take one of timm's, e.g. timm:resnet18"
            )

    def whole(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c oh ow"]:
        """The first look: a plain resize."""
        return zoom(image, uniform_grid(image.shape[0], self.size, device=image.device), antialias=self.antialias)

    def close(self, image: Float[Tensor, "b c h w"], net: Any, preprocess: nn.Module) -> Zoomed:
        """The second look: the crop."""
        with torch.no_grad():
            training = net.training
            net.eval()  # a look that trains nothing must not move the running statistics
            features = net.forward_features(preprocess(self.whole(image)))
            net.train(training)
            head = net.get_classifier()
            best = (features.mean(dim=(2, 3)) @ head.weight.T + head.bias).argmax(dim=1)
            activation = torch.einsum("bchw,bc->bhw", features, head.weight[best])
            # Finer than the map, so that a box is not cut to its few cells.
            fine = F.interpolate(activation[:, None], scale_factor=4.0, mode="bilinear", align_corners=False)[:, 0]
            grid = _box(fine, self.threshold, self.size)
        return Zoomed(zoom(image, grid, antialias=self.antialias), grid)


def _box(activation: Float[Tensor, "b h w"], threshold: float, size: tuple[int, int]) -> ZoomGrid:
    """The grid of the box around what lies above `threshold` of each map's range."""
    low = activation.amin(dim=(1, 2), keepdim=True)
    high = activation.amax(dim=(1, 2), keepdim=True)
    inside = activation >= low + threshold * (high - low)
    sides = []
    for held in (inside.any(dim=1), inside.any(dim=2)):  # columns, rows
        count = held.shape[1]
        first = held.float().argmax(dim=1)
        last = count - held.flip(1).float().argmax(dim=1)
        sides.append((first / count, last / count))
    (left, right), (top, bottom) = sides
    return box_grid(torch.stack((left, top, right, bottom), dim=-1), size)
