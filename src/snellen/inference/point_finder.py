"""What every trained keypoint model can do, whether PyTorch runs it or an exported file does."""

import logging
from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from snellen.geometry import Box
from snellen.images import PictureReader
from snellen.inference.pictures import Picture, as_box, as_list
from snellen.inference.stream import Request, find_points
from snellen.keypoints import Keypoints, Schema
from snellen.keypoints.codecs import Decoded

__all__ = ["PointFinder"]

log = logging.getLogger("snellen")


class PointFinder:
    """A keypoint model's card and what follows from it; subclasses implement `locate`.

    Args:
        card: what model.json holds: schema, canvas, channels, box rule, decoder, terms.

    Attributes:
        card: the same.
        schema: the points.
        canvas: (height, width) in pixels of what the model sees.
        channels: 1 or 3.
        flip: whether the mirror image is asked too and the logits are averaged.
    """

    def __init__(self, card: dict[str, Any]) -> None:
        self.card = card
        self.schema = Schema.from_dict(card["schema"])
        self.canvas: tuple[int, int] = (int(card["canvas"][0]), int(card["canvas"][1]))
        self.channels: int = card["channels"]
        # Cards of old runs do not say.
        self.flip: bool = card["decoder"].get("flip", False)
        grey = card.get("grey_range")
        #: How pictures are read; 16-bit grey as in training.
        self.reader = PictureReader(grey_range=(float(grey[0]), float(grey[1])) if grey else None)

    def locate(self, canvases: Float[Tensor, "b c h w"]) -> Decoded:
        """Points (b, k, 2) in canvas pixels and their confidences (b, k), of canvases in 0..255."""
        raise NotImplementedError

    def predict(
        self,
        images: Picture | Sequence[Picture],
        boxes: Sequence[Box | Sequence[float]] | None = None,
        *,
        min_confidence: float = 0.0,
        locator: "PointFinder | None" = None,
        batch_size: int = 8,
    ) -> list[Keypoints]:
        """Find the points in images.

        Args:
            images: paths, files' bytes, PIL images, NumPy arrays (h, w) or (h, w, 3) uint8, or tensors (c, h, w) uint8; one or
                many.
            boxes: the region of each image that holds the object, (left, top, right, bottom) in pixels, as large as those of
                the training (`card["box"]`); by default the whole image, with a warning where the model was trained on closer
                crops.
            min_confidence: points with less are answered as not found: NaN, visibility 0.
            locator: a model of whole images that finds the boxes, in place of `boxes`.
            batch_size: images at a time.

        Returns:
            One `Keypoints` an image, in pixels of the original image, `score` the confidence that the point lies within
            `radius` canvas pixels.

        Raises:
            ImageError, ValueError: for images that cannot be read, and boxes that are none or do not fit the images in number.
        """
        pictures = as_list(images)
        if boxes is not None and len(boxes) != len(pictures):
            raise ValueError(f"{len(pictures)} images but {len(boxes)} boxes; give one box an image")
        if boxes is None and locator is None:
            self.warn_of_whole_images()
        requests = [
            Request(str(i), p, as_box(boxes[i], i) if boxes is not None else None) for i, p in enumerate(pictures)
        ]
        answers = find_points(self, requests, locator=locator, batch_size=batch_size)
        return [a.keypoints.confident(min_confidence) for a in answers if a.keypoints is not None]

    def warn_of_whole_images(self) -> None:
        """A warning in the log where the model was trained on close crops and is about to see whole images."""
        rule = self.card.get("box", {}).get("rule", "image")
        if rule != "image":
            log.warning(
                "this model was trained on boxes around the object (rule %r, scale %g) and now sees whole images; "
                "give boxes= (on the command line --boxes or --locator) for answers as good as its evaluation",
                rule, self.card["box"]["scale"],
            )  # fmt: skip
