"""What training a keypoint model means."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snellen.config import KeypointConfig
from snellen.data import Batch
from snellen.keypoints import Schema
from snellen.models import KeypointNet, KeypointOutput
from snellen.models.zoomed import decode_output
from snellen.training.losses import keypoint_loss, sum_of_squares
from snellen.training.metrics import image_errors, normalised_errors
from snellen.training.tasks.task import GuidedTask
from snellen.training.zoom_loss import original_frame_loss, point_boxes

__all__ = ["KeypointTask"]


class KeypointTask(GuidedTask):
    """Loss, optimiser and validation of a keypoint model.

    Logs train/loss every step and val/loss, val/nme (fraction of the normaliser) at validations.

    Args:
        model: answers `KeypointOutput` for canvases in 0..255.
        config: the run; `train.steps` must be set (a time budget is turned into steps before).
        schema: the points.
    """

    metrics = ("val/nme", "val/loss")
    better = "min"
    config: KeypointConfig

    def __init__(self, model: KeypointNet, config: KeypointConfig, schema: Schema) -> None:
        super().__init__(model, config)
        self.schema = schema
        self.normaliser = config.evaluate.normaliser or schema.default_normaliser
        self._stride = model.stride
        groups = model.parameter_groups()
        weights = {name: getattr(config.train, f"l2_{name}") for name in groups}
        self._penalties = [(weights[n], [p for p in g if p.requires_grad]) for n, g in groups.items() if weights[n]]

    def _answer(self, batch: Batch, boxes: Tensor | None = None) -> KeypointOutput:
        """What the model says; told the true boxes where it needs them."""
        if self.model.needs_boxes:
            boxes = point_boxes(batch.xy, batch.labelled)
        output: KeypointOutput = self._ask(batch.image.contiguous(memory_format=torch.channels_last), boxes=boxes)
        return output

    def _data_term(self, output: KeypointOutput, batch: Batch) -> Tensor:
        train = self.config.train
        if output.grid is not None:
            size = (batch.image.shape[-2], batch.image.shape[-1])
            return original_frame_loss(
                output, batch.xy, batch.mask, canvas=size, target=train.target, sigma=train.sigma
            )
        return keypoint_loss(
            output.logits, batch.xy, batch.mask, stride=self._stride, target=train.target, sigma=train.sigma
        )

    def loss(self, batch: Batch) -> Tensor:
        """The data term plus the paper's L2 terms, and the saliency's supervision, where their weights are not zero."""
        boxes = point_boxes(batch.xy, batch.labelled)
        output = self._answer(batch, self._guide(boxes))
        # Both terms sum over the points, so that one weight suits any number of them.
        loss = self._data_term(output, batch) + output.logits.shape[1] * self._supervision(output, boxes, batch.image)
        for weight, group in self._penalties:
            loss = loss + weight * sum_of_squares(group)
        return loss

    def progress(self, metrics: Mapping[str, Any]) -> str:
        """The error."""
        return f"validation error {100 * float(metrics.get('val/nme', math.nan)):.2f} % of {self.normaliser}"

    def validation_step(self, batch: Batch, _: int) -> None:
        """Loss and normalised mean error in the original frame; of a model that looks again, the loss of its first look."""
        evaluate = self.config.evaluate
        output = self._answer(batch)
        self.log("val/loss", self._data_term(output.first, batch), batch_size=len(batch.image), on_epoch=True)
        self.log_zoom(output.first, batch.image, point_boxes(batch.xy, batch.labelled))
        found = decode_output(
            output, evaluate.decoder, window=evaluate.window, stride=self._stride, canvas=self.config.data.canvas
        )
        xy = found.xy.cpu().double()
        inverse = torch.linalg.inv(batch.matrix.cpu())
        predicted, true = (_apply(inverse, points) for points in (xy, batch.xy.cpu().double()))
        true = np.where(batch.labelled.cpu().numpy()[..., None], true, np.nan)
        errors = image_errors(normalised_errors(predicted, true, self.schema, self.normaliser))
        usable = errors[~np.isnan(errors)]  # an image without labelled points or normaliser has no error
        if usable.size:
            self.log("val/nme", float(usable.mean()), batch_size=usable.size, on_epoch=True, prog_bar=True)


def _apply(matrix: Tensor, xy: Tensor) -> np.ndarray[Any, Any]:
    return (xy @ matrix[:, :2, :2].mT + matrix[:, None, :2, 2]).numpy()
