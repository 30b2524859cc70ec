"""A trained denoiser with everything needed to use it on points."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snellen.config import ConfigError
from snellen.geometry import Box, Matrix, box_map, transform_points
from snellen.inference.shareable import Shareable
from snellen.keypoints import Keypoints, Schema
from snellen.models import Denoiser

__all__ = ["StructureModel", "refuse_other_points"]

Array = NDArray[np.float64]


class StructureModel(Shareable):
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
        """Points as the model is given them, (n, k, 2) fractions of the canvas, NaN where unlabelled; maps to its pixels.

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
    def expected(self, xy: Array, given: NDArray[np.bool_], *, batch_size: int = 256) -> Array:
        """Where each point most probably lies, (n, k, 2), by the points of `xy` (n, k, 2) that are given (n, k).

        All in fractions of the canvas; points that are not given may be NaN.
        """
        parts = [np.empty((0, len(self.schema), 2))]
        for start in range(0, len(xy), batch_size):
            here = slice(start, start + batch_size)
            density = self.model.density(self._tensor(xy[here]), self._tensor(given[here]))
            parts.append(density.likeliest().double().cpu().numpy())
        return np.concatenate(parts)

    @torch.inference_mode()
    def judge(
        self, xy: Array, given: NDArray[np.bool_], *places: Array, batch_size: int = 256
    ) -> tuple[Array, list[Array]]:
        """Each point's most probable place, and how much other places would surprise.

        Args:
            xy: (n, k, 2) points, fractions of the canvas; NaN where not given.
            given: (n, k) which of them the model is shown.
            places: each (n, k, 2), fractions of the canvas; NaN where there is nothing to judge.
            batch_size: objects at a time.

        Returns:
            Places (n, k, 2) as fractions of the canvas; for each of `places`, (n, k) nats *over the surprise of the most
            probable place*, at least 0 but for rounding and for maxima between Gaussians, NaN where `places` is.
        """
        answers, nats = [np.empty((0, len(self.schema), 2))], [[np.empty((0, len(self.schema)))] for _ in places]
        for start in range(0, len(xy), batch_size):
            here = slice(start, start + batch_size)
            density = self.model.density(self._tensor(xy[here]), self._tensor(given[here]))
            best = density.likeliest()
            least = density.surprise(best)
            answers.append(best.double().cpu().numpy())
            for into, of in zip(nats, places, strict=True):
                found = (density.surprise(self._tensor(of[here])) - least).double().cpu().numpy()
                into.append(np.where(np.isnan(of[here]).any(axis=-1), np.nan, found))
        return np.concatenate(answers), [np.concatenate(column) for column in nats]

    def predict(self, keypoints: Sequence[Keypoints], boxes: Sequence[Box]) -> list[Keypoints]:
        """Where each object's points should lie by all of its labelled ones, unlabelled ones filled in.

        Args:
            keypoints: of the model's schema, pixels of the images.
            boxes: the region of each object, by the rule of the training (`card["box"]`).

        Returns:
            One `Keypoints` an object, in pixels of its image.
        """
        xy, maps = self.framed(keypoints, boxes)
        found = self.expected(xy, np.asarray(np.isfinite(xy).all(axis=-1))) * [self.canvas[1], self.canvas[0]]
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
