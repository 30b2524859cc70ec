"""What training a classifier means."""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from snellen.config import ClassificationConfig
from snellen.data import ClassBatch
from snellen.models import ClassNet, ClassOutput
from snellen.training.tasks.task import GuidedTask

__all__ = ["ClassTask"]


class ClassTask(GuidedTask):
    """Loss, optimiser and validation of a classifier.

    Logs train/loss every step and val/top1, val/top5 (shares of the images) and val/loss at validations.

    Args:
        model: answers `ClassOutput` for canvases in 0..255.
        config: the run; `train.steps` must be set (a time budget is turned into steps before).
    """

    metrics = ("val/top1", "val/top5", "val/loss")
    better = "max"
    config: ClassificationConfig

    def __init__(self, model: ClassNet, config: ClassificationConfig) -> None:
        super().__init__(model, config)

    def _answer(self, batch: ClassBatch, boxes: Tensor | None = None) -> ClassOutput:
        output: ClassOutput = self._ask(batch.image.contiguous(memory_format=torch.channels_last), boxes=boxes)
        return output

    def loss(self, batch: ClassBatch) -> Tensor:
        """Cross-entropy, with the configuration's label smoothing, and that of the saliency where it is supervised."""
        boxes = batch.box[:, None]
        output = self._answer(batch, self._guide(boxes))
        loss = F.cross_entropy(output.logits, batch.label, label_smoothing=self.config.train.label_smoothing)
        return loss + self._supervision(output, boxes, batch.image)

    def progress(self, metrics: Mapping[str, Any]) -> str:
        """The accuracy."""
        return f"validation accuracy {100 * float(metrics.get('val/top1', math.nan)):.2f} %"

    def validation_step(self, batch: ClassBatch, _: int) -> None:
        """Cross-entropy and accuracy."""
        output, images = self._answer(batch), len(batch.label)
        logits = output.logits
        self.log_zoom(output, batch.image, batch.box[:, None])
        self.log("val/loss", F.cross_entropy(logits, batch.label), batch_size=images, on_epoch=True)
        ranked = logits.topk(min(5, logits.shape[1])).indices == batch.label[:, None]
        self.log("val/top1", ranked[:, 0].float().mean(), batch_size=images, on_epoch=True, prog_bar=True)
        self.log("val/top5", ranked.any(dim=1).float().mean(), batch_size=images, on_epoch=True)
