"""A trained segmentation network with everything needed to use it on images."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor

from snellen.inference.pictures import Picture, as_list, image_tensor
from snellen.inference.shareable import Shareable
from snellen.inference.tiles import Segmentation, canvas_logits, read_off
from snellen.models import LabelNet, LabelOutput

__all__ = ["Segmenter"]

#: Side of the largest canvas that is shown whole, in pixels; what is larger is shown in tiles of it. A memory bound: SegNet's
#: first stage holds 64 maps of the canvas's size.
LARGEST = 1024
#: Pixels that neighbouring tiles share.
OVERLAP = 128


class Segmenter(Shareable):
    """A model, its classes and its preprocessing.

    Images are shown at the scale of the training: those of a model trained on windows (`data.crop`) as they are, others
    scaled to fit into its canvas, without the empty borders that they may have had there.

    Attributes:
        model: answers `LabelOutput` for canvases (b, c, h, w) in 0..255.
        classes: names; the position is the label.
        canvas: (height, width) in pixels of what the model was trained on.
        channels: 1 or 3.
        card: model.json: choices, canvas, recipe.
        flip: whether the mirror image is asked too and the logits are averaged.
    """

    def __init__(self, model: LabelNet, card: dict[str, Any]) -> None:
        self.model, self.card = model.eval(), card
        self.classes: tuple[str, ...] = tuple(card["classes"])
        self.canvas: tuple[int, int] = (int(card["canvas"][0]), int(card["canvas"][1]))
        self.channels: int = card["channels"]
        self.flip: bool = card["flip"]

    def scale(self, size: tuple[int, int]) -> float:
        """Canvas pixels for a pixel of an image of (height, width)."""
        return 1.0 if self.card["crop"] else min(self.canvas[0] / size[0], self.canvas[1] / size[1])

    @torch.inference_mode()
    def logits(self, image: Num[Tensor, "c h w"]) -> Float[Tensor, "classes ch cw"]:
        """Logits of an image in 0..255 at the resolution the model sees, on the model's device."""
        tile = (max(LARGEST, self.canvas[0]), max(LARGEST, self.canvas[1]))
        image = image.to(next(self.model.parameters()).device)
        scale = self.scale((image.shape[-2], image.shape[-1]))
        return canvas_logits(self._answer, image, scale=scale, tile=tile, overlap=OVERLAP, step=self.model.step)

    def _answer(self, canvas: Tensor) -> LabelOutput:
        x = canvas.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.model(x).logits
        if self.flip:
            logits = (logits + self.model(x.flip(-1)).logits.flip(-1)) / 2
        return LabelOutput(logits)

    @torch.inference_mode()
    def predict(self, images: Picture | Sequence[Picture]) -> list[Segmentation]:
        """Label every pixel of images.

        Args:
            images: paths, PIL images, NumPy arrays (h, w) or (h, w, 3) uint8, or tensors (c, h, w) uint8; one or many,
                each of any size.

        Returns:
            Labels (positions in `classes`) and their probabilities, each of its image's size, on the CPU.
        """
        answers = []
        for picture in as_list(images):
            image = image_tensor(picture, self.channels)
            found = read_off(self.logits(image), (image.shape[-2], image.shape[-1]))
            answers.append(Segmentation(found.labels.cpu(), found.confidence.cpu()))
        return answers
