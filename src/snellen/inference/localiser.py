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
from snellen.keypoints.codecs import Decoded, Decoder
from snellen.models import JointNet, KeypointNet, KeypointOutput
from snellen.models.zoomed import decode_output

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
        return float(self._decoder["radius"]) * self.model.cell(self.canvas)

    @torch.inference_mode()
    def locate(self, canvases: Float[Tensor, "b c h w"], boxes: Float[Tensor, "b k 4"] | None = None) -> Decoded:
        """Points (b, k, 2) in canvas pixels and their confidences (b, k).

        Args:
            canvases: (b, c, h, w) in 0..255.
            boxes: of the objects, canvas pixels, for models that look at given boxes (zoom "boxes").
        """
        output = self._answer(canvases, boxes)
        if self.flip and output.grid is not None:
            # The mirror image has a grid of its own: its points are mirrored back, not its maps.
            found, mirrored = (
                self._decode(o, canvases) for o in (output, self._answer(canvases.flip(-1), _mirrored(boxes, canvases)))
            )
            order = list(self.schema.flip_order)
            across = torch.tensor([canvases.shape[-1], 0.0], device=found.xy.device)
            back = (across - mirrored.xy * torch.tensor([1.0, -1.0], device=across.device))[:, order]
            found = Decoded((found.xy + back) / 2, (found.confidence + mirrored.confidence[:, order]) / 2)
            return Decoded(found.xy.cpu(), found.confidence.cpu())
        if self.flip:
            if canvases.shape[-1] % self.stride:
                raise ValueError(
                    f"a canvas {canvases.shape[-1]} pixels wide cannot be averaged with its mirror image: the heatmaps' stride "
                    f"of {self.stride} does not divide it; evaluate with --no-flip"
                )
            # The mirror image's left eye is the right one: maps are mirrored back and their partners exchanged.
            mirrored_maps = self._answer(canvases.flip(-1)).logits.flip(-1)
            output = KeypointOutput((output.logits + mirrored_maps[:, list(self.schema.flip_order)]) / 2)
        found = self._decode(output, canvases)
        return Decoded(found.xy.cpu(), found.confidence.cpu())

    def _answer(self, canvases: Float[Tensor, "b c h w"], boxes: Tensor | None = None) -> KeypointOutput:
        device = next(self.model.parameters()).device
        given = {"boxes": boxes.to(device)} if self.model.needs_boxes and boxes is not None else {}
        output: KeypointOutput = self.model(canvases.to(device).contiguous(memory_format=torch.channels_last), **given)
        return output

    def _decode(self, output: KeypointOutput, canvases: Tensor) -> Decoded:
        return decode_output(
            output,
            self.decoder,
            window=self._decoder["window"],
            radius=self._decoder["radius"],
            stride=self.stride,
            canvas=(canvases.shape[-2], canvases.shape[-1]),
        )

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


def _mirrored(boxes: Tensor | None, canvases: Tensor) -> Tensor | None:
    """Boxes (b, k, 4) in the mirror image."""
    if boxes is None:
        return None
    left, top, right, bottom = boxes.unbind(-1)
    width = canvases.shape[-1]
    return torch.stack((width - right, top, width - left, bottom), dim=-1)
