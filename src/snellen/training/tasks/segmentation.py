"""What training a segmentation network means."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from snellen.config import SegmentationConfig
from snellen.data import LabelBatch
from snellen.models import LabelNet, LabelOutput
from snellen.training.segmentation import confusion_matrix, label_loss, label_scores
from snellen.training.tasks.task import Task

__all__ = ["LabelTask"]


class LabelTask(Task):
    """Loss, optimiser and validation of a segmentation network.

    Logs train/loss every step, and at validations val/miou and val/pixel_accuracy (of one confusion matrix over all pixels
    of the split, summed over devices; on canvases, where scoring looks at the images' own pixels) and val/loss.

    Args:
        model: answers `LabelOutput` for canvases in 0..255.
        config: the run; `train.steps` must be set (a time budget is turned into steps before).
        ignore: label of pixels that do not count.
        weights: (classes,) of the loss, see `label_loss`; None weighs all classes alike.
    """

    metrics = ("val/miou", "val/pixel_accuracy", "val/loss")
    better = "max"
    config: SegmentationConfig
    class_weights: Tensor | None

    def __init__(
        self, model: LabelNet, config: SegmentationConfig, *, ignore: int, weights: Float[Tensor, " c"] | None = None
    ) -> None:
        super().__init__(model, config)
        self.ignore, self.classes = ignore, model.classes
        # Moves with the network, but is no part of its weights: a resumed run counts again.
        self.register_buffer("class_weights", weights, persistent=False)
        self.confusion = torch.zeros(self.classes, self.classes, dtype=torch.int64)

    def _answer(self, batch: LabelBatch) -> LabelOutput:
        output: LabelOutput = self.model(batch.image.contiguous(memory_format=torch.channels_last))
        return output

    def _loss(self, logits: Tensor, batch: LabelBatch) -> Tensor:
        return label_loss(logits, batch.labels, ignore=self.ignore, weights=self.class_weights)

    def loss(self, batch: LabelBatch) -> Tensor:
        """Cross-entropy over the labelled pixels, weighed by class where the configuration says so."""
        return self._loss(self._answer(batch).logits, batch)

    def progress(self, metrics: Mapping[str, Any]) -> str:
        """The mean intersection over union."""
        return f"validation mean IoU {100 * float(metrics.get('val/miou', math.nan)):.2f} %"

    def on_validation_epoch_start(self) -> None:
        """A new confusion matrix."""
        self.confusion = torch.zeros(self.classes, self.classes, dtype=torch.int64, device=self.device)

    def validation_step(self, batch: LabelBatch, _: int) -> None:
        """The loss; the pixels are counted."""
        output = self._answer(batch)
        logits = output.logits
        self.log_zoom(output, batch.image)
        self.log("val/loss", self._loss(logits, batch), batch_size=len(batch.labels), on_epoch=True)
        self.confusion += confusion_matrix(batch.labels, logits.argmax(dim=1), self.classes, ignore=self.ignore)

    def on_validation_epoch_end(self) -> None:
        """The scores of all pixels; NaN where none is labelled."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(self.confusion)
        miou, accuracy = math.nan, math.nan
        if self.confusion.any():
            scores = label_scores(self.confusion)
            miou, accuracy = scores.mean_iou, scores.pixel_accuracy
        self.log("val/miou", miou, prog_bar=True)
        self.log("val/pixel_accuracy", accuracy)
