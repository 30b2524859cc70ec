"""A trained keypoint model with everything needed to use it on images."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from snellen.inference.point_finder import PointFinder
from snellen.keypoints.codecs import Decoded, Decoder, decode
from snellen.models import JointNet, KeypointNet

__all__ = ["Localiser"]


class Localiser(PointFinder):
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
        return float(self._decoder["radius"]) * self.stride

    @torch.inference_mode()
    def locate(self, canvases: Float[Tensor, "b c h w"]) -> Decoded:
        """Points (b, k, 2) in canvas pixels and their confidences (b, k)."""
        found = self.read_off(self.logits(canvases), (canvases.shape[-2], canvases.shape[-1]))
        return Decoded(found.xy.cpu(), found.confidence.cpu())

    def logits(self, canvases: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """Heatmaps of canvases in 0..255 on the model's device, averaged with the mirror image's where `flip` says so."""
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
        return logits

    def read_off(self, logits: Float[Tensor, "b k h w"], canvas: tuple[int, int]) -> Decoded:
        """Points in pixels of a canvas of (height, width), and confidences, from heatmaps."""
        return decode(
            logits,
            self.decoder,
            window=self._decoder["window"],
            radius=self._decoder["radius"],
            stride=self.stride,
            canvas=canvas,
        )

    def _logits(self, canvases: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        device = next(self.model.parameters()).device
        logits: Tensor = self.model(canvases.to(device).contiguous(memory_format=torch.channels_last)).logits
        return logits
