"""A trained denoiser with everything needed to use it on points."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snellen.config import ConfigError
from snellen.geometry import Box, Matrix, box_map, transform_points
from snellen.keypoints import Keypoints, Schema
from snellen.keypoints.codecs import decode
from snellen.models import Denoiser

__all__ = ["StructureModel", "refuse_other_points"]

Array = NDArray[np.float64]


class StructureModel:
    """A denoiser, its schema and its frame.

    Attributes:
        model: answers maps for points given as fractions of the canvas.
        schema: the points.
        canvas: (height, width) in pixels of the frame that points are put in.
        card: model.json: choices, box rule, recipe.
    """

    def __init__(self, model: Denoiser, card: dict[str, Any]) -> None:
        self.model, self.card = model.eval(), card
        self.schema = Schema.from_dict(card["schema"])
        self.canvas: tuple[int, int] = (int(card["canvas"][0]), int(card["canvas"][1]))

    def framed(self, keypoints: Sequence[Keypoints], boxes: Sequence[Box]) -> tuple[Array, list[Matrix]]:
        """Points as the model is given them: (n, k, 2) fractions of the canvas, NaN where unlabelled, and the maps to pixels of it.

        Raises:
            ConfigError: for points of another schema.
            ValueError: where there is not one box an object.
        """
        if len(keypoints) != len(boxes):
            raise ValueError(f"{len(keypoints)} objects but {len(boxes)} boxes; give one box an object")
        for points in keypoints:
            refuse_other_points(self.schema, points.schema, "these points")
        maps = [box_map(box, self.canvas) for box in boxes]
        size = [self.canvas[1], self.canvas[0]]
        xy = [transform_points(m, points.xy) / size for m, points in zip(maps, keypoints, strict=True)]
        return np.array(xy).reshape(-1, len(self.schema), 2), maps

    @torch.inference_mode()
    def surprise(self, xy: Array, given: NDArray[np.bool_], truth: Array, *, batch_size: int = 256) -> Array:
        """Nats by which each point of `truth` surprises, (n, k), for the points of `xy` (n, k, 2) that are given (n, k).

        See `Denoiser.surprise`; all in fractions of the canvas. NaN where `truth` is.
        """
        parts = [np.empty((0, len(self.schema)))]
        for start in range(0, len(xy), batch_size):
            here = slice(start, start + batch_size)
            of = truth[here]
            found = self.model.surprise(self._tensor(xy[here]), self._tensor(given[here]), self._tensor(of))
            parts.append(np.where(np.isnan(of).any(axis=-1), np.nan, found.double().cpu().numpy()))
        return np.concatenate(parts)

    @torch.inference_mode()
    def expected(self, xy: Array, given: NDArray[np.bool_], *, batch_size: int = 64) -> Array:
        """Where the model would put each point, (n, k, 2) fractions of the canvas; arguments as for `surprise`."""
        parts = [np.empty((0, len(self.schema), 2))]
        for start in range(0, len(xy), batch_size):
            here = slice(start, start + batch_size)
            logits = self.model(self._tensor(xy[here]), self._tensor(given[here])).logits
            size = np.array([logits.shape[-1], logits.shape[-2]])
            parts.append(decode(logits, "local").xy.double().cpu().numpy() / size)
        return np.concatenate(parts)

    def predict(self, keypoints: Sequence[Keypoints], boxes: Sequence[Box]) -> list[Keypoints]:
        """Where each object's points should lie by all of its labelled ones, unlabelled ones filled in.

        Args:
            keypoints: of the model's schema, pixels of the images.
            boxes: the region of each object, by the rule of the training (`card["box"]`).

        Returns:
            One `Keypoints` an object, in pixels of its image.
        """
        xy, maps = self.framed(keypoints, boxes)
        found = self.expected(np.nan_to_num(xy), np.isfinite(xy).all(axis=-1)) * [self.canvas[1], self.canvas[0]]
        back = [transform_points(np.linalg.inv(m).astype(np.float64), p) for m, p in zip(maps, found, strict=True)]
        return [Keypoints.visible(p, self.schema) for p in back]

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        device = next(self.model.parameters()).device
        made = torch.from_numpy(np.ascontiguousarray(np.nan_to_num(values) if values.dtype != bool else values))
        return (made if made.dtype == torch.bool else made.to(torch.float32)).to(device)


def refuse_other_points(own: Schema, other: Schema, whose: str) -> None:
    """A ConfigError in one sentence where two schemas differ in names, order or mirror pairs of points."""
    if own.points != other.points:
        raise ConfigError(
            f"the denoiser knows {own.name!r} ({len(own)} points, {own.points[0]} first), but {whose} follow {other.name!r} "
            f"({len(other)} points, {other.points[0]} first); give a denoiser trained on that schema"
        )
    if own.flip_order != other.flip_order:
        raise ConfigError(
            f"the denoiser and {whose} name the same points but other left and right pairs; give both the same data.swaps"
        )
