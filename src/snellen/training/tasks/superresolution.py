"""What training a super-resolution network means."""

import math
from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from snellen.config import SuperResolutionConfig
from snellen.data import ClassBatch
from snellen.models.superres import SuperResolver
from snellen.training.boundaries import psnr
from snellen.training.tasks.task import Task

__all__ = ["HIGHEST", "SuperTask", "halve"]


#: Decibels of a picture that is met exactly, such as a blank one: beyond what grey levels can tell, and finite.
HIGHEST = 100.0


def halve(pictures: Float[Tensor, "b c 2*h 2*w"]) -> Float[Tensor, "b c h w"]:
    """What the network sees of a picture: the mean of each 2x2 pixels, rounded to whole grey levels as a file would hold them.

    >>> halve(Tensor([[[[0, 1], [2, 4]]]])).item()
    2.0
    """
    return F.avg_pool2d(pictures, 2).round()


class SuperTask(Task):
    """Loss, optimiser and validation of a network that doubles a picture's size.

    Logs train/loss every step and val/psnr (decibels, mean over the pictures) and val/loss at validations.

    Args:
        model: answers pictures of twice the size.
        config: the run; `train.steps` must be set (a time budget is turned into steps before).
    """

    metrics = ("val/psnr", "val/loss")
    better = "max"
    config: SuperResolutionConfig

    def __init__(self, model: SuperResolver, config: SuperResolutionConfig) -> None:
        super().__init__(model, config)

    def loss(self, batch: ClassBatch) -> Tensor:
        """The mean absolute difference to the picture, over 255."""
        return F.l1_loss(self.model(halve(batch.image)), batch.image) / 255

    def progress(self, metrics: Mapping[str, Any]) -> str:
        """The signal-to-noise ratio."""
        return f"validation PSNR {float(metrics.get('val/psnr', math.nan)):.2f} dB"

    def validation_step(self, batch: ClassBatch, _: int) -> None:
        """Loss, and the signal-to-noise ratio of the answers as a file would hold them."""
        found, pictures = self.model(halve(batch.image)), len(batch.image)
        self.log("val/loss", F.l1_loss(found, batch.image) / 255, batch_size=pictures, on_epoch=True)
        ratio = psnr(found.round().clamp(0, 255), batch.image.round()).clamp(max=HIGHEST)
        self.log("val/psnr", ratio.mean(), batch_size=pictures, on_epoch=True, prog_bar=True)
