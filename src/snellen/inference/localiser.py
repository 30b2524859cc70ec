"""A trained keypoint model with everything needed to use it on images."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from snellen.inference.point_finder import PointFinder
from snellen.inference.shareable import Shareable
from snellen.keypoints.codecs import Decoded, Decoder
from snellen.models import JointNet, KeypointNet, KeypointOutput
from snellen.models.zoomed import decode_output

__all__ = ["Localiser"]


class Localiser(PointFinder, Shareable):
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
        super().__init__(card)
        self.model: KeypointNet | JointNet = model.eval()
        self.stride = model.stride
        self._decoder = dict(card["decoder"])
        #: How positions are read off, "local" or "argmax" (keypoints/codecs.py).
        self.decoder: Decoder = self._decoder["method"]

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
        found = self.find(canvases.to(next(self.model.parameters()).device), boxes)
        return Decoded(found.xy.cpu(), found.confidence.cpu())

    def find(self, canvases: Float[Tensor, "b c h w"], boxes: Float[Tensor, "b k 4"] | None = None) -> Decoded:
        """As `locate`, for canvases on the model's device, where the answer stays: what an exported file does."""
        output = self.answer(canvases, boxes)
        order = list(self.schema.flip_order)
        if self.flip and output.grid is not None:
            # The mirror image has a grid of its own: its points are mirrored back, not its maps.
            found, mirrored = (
                self.read_off(o, canvases) for o in (output, self.answer(canvases.flip(-1), _mirrored(boxes, canvases)))
            )
            across = torch.tensor([canvases.shape[-1], 0.0], device=found.xy.device)
            back = (across - mirrored.xy * torch.tensor([1.0, -1.0], device=across.device))[:, order]
            return Decoded((found.xy + back) / 2, (found.confidence + mirrored.confidence[:, order]) / 2)
        if self.flip:
            if canvases.shape[-1] % self.stride:
                raise ValueError(
                    f"a canvas {canvases.shape[-1]} pixels wide cannot be averaged with its mirror image: the heatmaps' stride "
                    f"of {self.stride} does not divide it; evaluate with --no-flip"
                )
            # The mirror image's left eye is the right one: maps are mirrored back and their partners exchanged.
            mirrored_maps = self.answer(canvases.flip(-1)).logits.flip(-1)
            output = KeypointOutput((output.logits + mirrored_maps[:, order]) / 2)
        return self.read_off(output, canvases)

    def answer(self, canvases: Float[Tensor, "b c h w"], boxes: Tensor | None = None) -> KeypointOutput:
        """Heatmaps, and the grid where the model zooms; the mirror image is not asked."""
        given = {"boxes": boxes.to(canvases.device)} if self.model.needs_boxes and boxes is not None else {}
        output: KeypointOutput = self.model(canvases.contiguous(memory_format=torch.channels_last), **given)
        return output

    def read_off(self, output: KeypointOutput, canvases: Tensor) -> Decoded:
        """Points in canvas pixels and confidences from an answer to canvases."""
        return decode_output(
            output,
            self.decoder,
            window=self._decoder["window"],
            radius=self._decoder["radius"],
            stride=self.stride,
            canvas=(canvases.shape[-2], canvases.shape[-1]),
        )


def _mirrored(boxes: Tensor | None, canvases: Tensor) -> Tensor | None:
    """Boxes (b, k, 4) in the mirror image."""
    if boxes is None:
        return None
    left, top, right, bottom = boxes.unbind(-1)
    width = canvases.shape[-1]
    return torch.stack((width - right, top, width - left, bottom), dim=-1)
