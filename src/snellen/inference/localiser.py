"""A trained keypoint model with everything needed to use it on images."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from snellen.geometry import Box, Matrix, box_map, transform_points, warp
from snellen.inference.pictures import Picture, as_list, image_tensor
from snellen.keypoints import Keypoints, Schema
from snellen.keypoints.codecs import Decoded, Decoder, decode
from snellen.models import JointNet, KeypointNet

__all__ = ["Localiser"]

log = logging.getLogger("snellen")


class Localiser:
    """A model, its schema and its preprocessing.

    Attributes:
        model: answers heatmaps for canvases (b, c, h, w) in 0..255; a `JointNet` where a denoiser was joined.
        stride: side of a heatmap's cell in canvas pixels.
        schema: the points.
        canvas: (height, width) in pixels of what the model sees.
        channels: 1 or 3.
        card: model.json: choices, decoder, box rule, recipe.
    """

    def __init__(self, model: KeypointNet | JointNet, card: dict[str, Any]) -> None:
        self.model: KeypointNet | JointNet = model.eval()
        self.card = card
        self.schema = Schema.from_dict(card["schema"])
        self.canvas: tuple[int, int] = (int(card["canvas"][0]), int(card["canvas"][1]))
        self.channels: int = card["channels"]
        self.stride = model.stride
        self._decoder = dict(card["decoder"])
        #: How positions are read off, "local" or "argmax" (keypoints/codecs.py).
        self.decoder: Decoder = self._decoder["method"]
        #: Whether the mirror image is asked too and the logits are averaged (cards of old runs do not say).
        self.flip: bool = self._decoder.get("flip", False)

    @property
    def radius(self) -> float:
        """Radius in canvas pixels of the disc whose probability mass is a point's confidence."""
        return float(self._decoder["radius"]) * self.stride

    @torch.inference_mode()
    def locate(self, canvases: Float[Tensor, "b c h w"]) -> Decoded:
        """Points (b, k, 2) in canvas pixels and their confidences (b, k)."""
        logits = self._logits(canvases)
        if self.flip:
            if canvases.shape[-1] % self.stride:
                raise ValueError(
                    f"a canvas {canvases.shape[-1]} pixels wide cannot be averaged with its mirror image: the heatmaps' stride "
                    f"of {self.stride} does not divide it; evaluate with --no-flip"
                )
            # The mirror image's left eye is the right one: maps are mirrored back and their partners exchanged.
            mirrored = self._logits(canvases.flip(-1)).flip(-1)
            logits = (logits + mirrored[:, list(self.schema.flip_order)]) / 2
        found = decode(
            logits,
            self.decoder,
            window=self._decoder["window"],
            radius=self._decoder["radius"],
            stride=self.stride,
            canvas=(canvases.shape[-2], canvases.shape[-1]),
        )
        return Decoded(found.xy.cpu(), found.confidence.cpu())

    def _logits(self, canvases: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        device = next(self.model.parameters()).device
        logits: Tensor = self.model(canvases.to(device).contiguous(memory_format=torch.channels_last)).logits
        return logits

    def predict(self, images: Picture | Sequence[Picture], boxes: Sequence[Box] | None = None) -> list[Keypoints]:
        """Find the points in images.

        Args:
            images: paths, PIL images, NumPy arrays (h, w) or (h, w, 3) uint8, or tensors (c, h, w) uint8; one or many.
            boxes: the region of each image that holds the object, as large as those of the training (`card["box"]`); by default
                the whole image, with a warning where the model was trained on closer crops.

        Returns:
            One `Keypoints` an image, in pixels of the original image, `score` the confidence that the point lies within
            `radius` canvas pixels.
        """
        pictures = as_list(images)
        if boxes is not None and len(boxes) != len(pictures):
            raise ValueError(f"{len(pictures)} images but {len(boxes)} boxes; give one box an image")
        rule = self.card.get("box", {}).get("rule", "image")
        if boxes is None and rule != "image":
            log.warning(
                "this model was trained on boxes around the object (rule %r, scale %g) and now sees whole images; "
                "give boxes= for answers as good as its evaluation", rule, self.card["box"]["scale"],
            )  # fmt: skip
        answers = []
        for i, picture in enumerate(pictures):
            image = image_tensor(picture, self.channels)
            height, width = image.shape[-2:]
            box = boxes[i] if boxes is not None else Box(0, 0, width, height)
            matrix = box_map(box, self.canvas)
            found = self.locate(warp(image, matrix, self.canvas)[None])
            answers.append(self._keypoints(found, matrix))
        return answers

    def _keypoints(self, found: Decoded, matrix: Matrix) -> Keypoints:
        xy = transform_points(np.linalg.inv(matrix).astype(np.float64), found.xy[0].double().numpy())
        visible = np.full(len(self.schema), 2)
        return Keypoints(xy, visible, self.schema, found.confidence[0].double().numpy())
