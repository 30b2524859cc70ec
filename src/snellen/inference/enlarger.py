"""A trained super-resolution network with everything needed to use it on pictures."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from snellen.inference.pictures import Picture, as_list, image_tensor
from snellen.inference.shareable import Shareable
from snellen.models.superres import SuperResolver

__all__ = ["Enlarger"]


class Enlarger(Shareable):
    """A model that doubles the height and width of pictures.

    Attributes:
        model: from pictures (b, c, h, w) of 0..255 to (b, c, 2h, 2w).
        channels: 1 or 3.
        card: model.json: choices, recipe.
        flip: whether the mirror image is asked too and the answers are averaged.
    """

    def __init__(self, model: SuperResolver, card: dict[str, Any]) -> None:
        self.model, self.card = model.eval(), card
        self.channels: int = card["channels"]
        self.flip: bool = card["flip"]

    @torch.inference_mode()
    def enlarge(self, pictures: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 2*h 2*w"]:
        """Pictures of 0..255 at twice their size, as a file would hold them: whole grey levels of 0..255, on the CPU."""
        device = next(self.model.parameters()).device
        x = pictures.to(device).contiguous(memory_format=torch.channels_last)
        found: Tensor = self.model(x)
        if self.flip:
            found = (found + self.model(x.flip(-1)).flip(-1)) / 2
        return found.float().round().clamp(0, 255).cpu()

    def predict(self, images: Picture | Sequence[Picture]) -> list[UInt8[Tensor, "c h w"]]:
        """Enlarge images of any size.

        Args:
            images: paths, PIL images, NumPy arrays (h, w) or (h, w, 3) uint8, or tensors (c, h, w) uint8; one or many.

        Returns:
            One tensor (channels, 2 h, 2 w) an image, uint8.
        """
        pictures = [image_tensor(p, self.channels) for p in as_list(images)]
        return [self.enlarge(p[None].float())[0].to(torch.uint8) for p in pictures]
