"""A trained classifier with everything needed to use it on images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from snellen.data.batches import evaluation_loader
from snellen.data.class_canvas import ClassificationCanvas
from snellen.data.classes import ClassificationDataset, LabelledImage
from snellen.inference.pictures import Picture, as_list, image_tensor
from snellen.inference.shareable import Shareable
from snellen.models.classifiers import ClassNet

__all__ = ["ClassAnswer", "Classifier"]


@dataclass(frozen=True)
class ClassAnswer:
    """What a classifier says of one image.

    Attributes:
        label: number of the likeliest class.
        name: its name.
        score: its probability.
        probabilities: of all classes, in order; they sum to 1.
    """

    label: int
    name: str
    score: float
    probabilities: NDArray[np.float64]


class Classifier(Shareable):
    """A model, its classes and its preprocessing.

    Attributes:
        model: answers `ClassOutput` for canvases (b, c, h, w) in 0..255.
        classes: names, in the order of the logits.
        canvas: (height, width) in pixels of what the model sees.
        channels: 1 or 3.
        card: model.json: choices, how images are fitted, recipe.
        flip: whether the mirror image is asked too and the logits are averaged.
    """

    def __init__(self, model: ClassNet, card: dict[str, Any]) -> None:
        self.model, self.card = model.eval(), card
        self.classes: tuple[str, ...] = tuple(card["classes"])
        self.canvas: tuple[int, int] = (int(card["canvas"][0]), int(card["canvas"][1]))
        self.channels: int = card["channels"]
        self.flip: bool = card["flip"]

    @torch.inference_mode()
    def logits(self, canvases: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        """Logits of canvases in 0..255, on the CPU."""
        device = next(self.model.parameters()).device
        x = canvases.to(device).contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.model(x).logits
        if self.flip:
            logits = (logits + self.model(x.flip(-1)).logits) / 2
        return logits.float().cpu()

    def logits_of(
        self, data: ClassificationDataset, *, batch_size: int = 64, zoom: float | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Logits (n, k) and true labels (n,) of a data set, each image fitted to the canvas as in training.

        Args:
            data: the images.
            batch_size: images at a time.
            zoom: in the place of the training's; 1 for pictures that were cropped to the canvas before.
        """
        fit, zoom = self.card["fit"], float(self.card["zoom"]) if zoom is None else zoom
        parts, labels = [], []
        for batch in evaluation_loader(ClassificationCanvas(data, self.canvas, fit=fit, zoom=zoom), batch_size):
            parts.append(self.logits(batch.image).double().numpy())
            labels.append(batch.label.numpy())
        return np.concatenate(parts), np.concatenate(labels)

    def predict(self, images: Picture | Sequence[Picture]) -> list[ClassAnswer]:
        """Name the class of images.

        Args:
            images: paths, PIL images, NumPy arrays (h, w) or (h, w, 3) uint8, or tensors (c, h, w) uint8; one or many.
        """
        pictures = [image_tensor(p, self.channels) for p in as_list(images)]
        if not pictures:
            return []
        logits, _ = self.logits_of(_Unlabelled(pictures, self.classes))
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        answers = []
        for p in shifted / shifted.sum(axis=1, keepdims=True):
            best = int(p.argmax())
            answers.append(ClassAnswer(best, self.classes[best], float(p[best]), p))
        return answers


class _Unlabelled:
    """Images without truth, in the shape of a data set."""

    def __init__(self, images: list[Tensor], classes: tuple[str, ...]) -> None:
        self.images, self.classes = images, classes

    @property
    def names(self) -> Sequence[str]:
        return [str(i) for i in range(len(self.images))]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> LabelledImage:
        return LabelledImage(self.images[index], 0, str(index))
