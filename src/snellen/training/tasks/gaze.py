"""What training a gaze network means."""

import math
from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from snellen.config import GazeConfig
from snellen.data.gaze_angles import angular_loss
from snellen.data.gaze_canvas import GazeBatch, GazePartsBatch
from snellen.models.gaze_nets import GazeNet
from snellen.models.outputs import GazeOutput
from snellen.training.tasks.task import GuidedTask

__all__ = ["GazeTask"]


class GazeTask(GuidedTask):
    """Loss, optimiser and validation of a gaze network.

    Logs train/loss every step, and val/error (degrees between directions or centimetres between points, mean over pictures) and
    val/loss at validations.

    Args:
        model: answers `GazeOutput`.
        config: the run; `train.steps` must be set (a time budget is turned into steps before).
    """

    metrics = ("val/error", "val/loss")
    better = "min"
    config: GazeConfig

    def __init__(self, model: GazeNet, config: GazeConfig) -> None:
        super().__init__(model, config)
        self.answer, self.unit = model.answer, model.unit

    def _answer(self, batch: GazeBatch | GazePartsBatch, boxes: Tensor | None = None) -> GazeOutput:
        output: GazeOutput = self._ask(*batch.inputs, boxes=boxes)
        return output

    def _loss(self, found: Tensor, true: Tensor) -> Tensor:
        kind = self.config.train.loss
        if kind == "angular":
            return angular_loss(found, true).mean() / self.unit
        if kind == "smooth-l1":
            return F.smooth_l1_loss(found / self.unit, true / self.unit, beta=0.3)
        return F.l1_loss(found / self.unit, true / self.unit)

    def loss(self, batch: GazeBatch | GazePartsBatch) -> Tensor:
        """The configuration's loss, in units of 10 degrees or 5 centimetres, and that of a supervised saliency."""
        if isinstance(batch, GazePartsBatch):  # which nothing zooms
            return self._loss(self._answer(batch).answer.float(), batch.target)
        boxes = batch.box[:, None]
        output = self._answer(batch, self._guide(boxes))
        return self._loss(output.answer.float(), batch.target) + self._supervision(output, boxes, batch.image)

    def progress(self, metrics: Mapping[str, Any]) -> str:
        """The validation error."""
        unit = "degrees" if self.answer == "angles" else "cm"
        return f"validation error {float(metrics.get('val/error', math.nan)):.2f} {unit}"

    def validation_step(self, batch: GazeBatch | GazePartsBatch, _: int) -> None:
        """Loss and error."""
        output, pictures = self._answer(batch), len(batch.target)
        found = output.answer.float()
        self.log_zoom(output, batch.inputs[0], None if isinstance(batch, GazePartsBatch) else batch.box[:, None])
        self.log("val/loss", self._loss(found, batch.target), batch_size=pictures, on_epoch=True)
        apart = angular_loss(found, batch.target) if self.answer == "angles" else (found - batch.target).norm(dim=1)
        self.log("val/error", apart.mean(), batch_size=pictures, on_epoch=True, prog_bar=True)
