"""`LabelRecord`: everything the report of a segmentation run needs."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Int, UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from snellen.evaluation.run_record import RunRecord

__all__ = ["LabelRecord", "LabelSample", "thumbnail"]

#: Longer side of the pictures that are kept, pixels.
SIDE = 320


@dataclass(frozen=True, eq=False)
class LabelSample:
    """One image of the gallery, made smaller.

    Attributes:
        kind: the row it stands in.
        picture: (h, w, c) uint8.
        truth: (h, w) uint8 labels.
        answer: (h, w) uint8 labels.
        score: mean IoU of the image on its own, a fraction.
        name: of the image.
    """

    kind: str
    picture: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    answer: NDArray[np.uint8]
    score: float
    name: str


def thumbnail(
    image: UInt8[Tensor, "c h w"], truth: Int[Tensor, "h w"], answer: Int[Tensor, "h w"], side: int = SIDE
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """An image and two label maps with a longer side of at most `side` pixels: the image averaged, labels picked.

    Returns:
        (h', w', c), (h', w') and (h', w').
    """
    h, w = image.shape[-2:]
    factor = min(1.0, side / max(h, w))
    size = (max(1, round(w * factor)), max(1, round(h * factor)))
    pixels = image.permute(1, 2, 0).cpu().numpy()
    photo = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).resize(size, Image.Resampling.BOX)
    picture = np.asarray(photo).reshape(size[1], size[0], -1)
    small = (
        np.asarray(Image.fromarray(np.asarray(m.cpu(), np.uint8)).resize(size, Image.Resampling.NEAREST))
        for m in (truth, answer)
    )
    return picture, *small  # type: ignore[return-value]  # two of them


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelRecord(RunRecord):
    """The numbers of a segmentation run on a split, some of its images, and the circumstances.

    Attributes:
        scores: of `evaluate_labels`; None where a number is not known.
        classes: names; the position is the label.
        image_iou: mean IoU of each image on its own, fractions; None for one without a labelled pixel.
    """

    format: ClassVar[str] = "snellen-labels/1"
    sample: ClassVar[type] = LabelSample

    classes: list[str]
    image_iou: list[float | None]
