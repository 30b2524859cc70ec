"""The base class of networks that give every pixel of a canvas a label."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from snellen.models.outputs import LabelOutput
from snellen.models.preprocess import Contrast, Preprocess

__all__ = ["LabelNet"]


class LabelNet(nn.Module):
    """Base of the segmentation networks; subclasses implement `forward`.

    Args:
        classes: how many labels there are.
        step: what an image's parts are best aligned to (see inference/tiles.py): the side of the coarsest map's pixel.
        channels: 1 or 3, what the network sees.
        contrast: see `Preprocess`.

    Attributes:
        preprocess: what happens to the canvas first.
        name: the preset that `create_segmenter` was asked for; empty for a network built directly.
        choices: all choices `create_segmenter` resolved, JSON-able; empty for a network built directly.

    Raises:
        ValueError: for values not possible.
    """

    def __init__(self, *, classes: int, step: int, channels: int, contrast: Contrast) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"classes={classes} is not possible; a network needs at least one label to answer with")
        self.name = ""
        self.choices: dict[str, Any] = {}
        self.classes, self.step = classes, step
        self.preprocess = Preprocess(channels, contrast)

    def forward(self, x: Float[Tensor, "b c h w"]) -> LabelOutput:
        """Canvas (b, 1 or 3, h, w), values 0..255, any size, to logits (b, classes, h, w)."""
        raise NotImplementedError
