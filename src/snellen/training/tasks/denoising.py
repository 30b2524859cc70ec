"""What training a denoiser means."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from snellen.config import DenoisingConfig
from snellen.data.point_noise import PointBatch
from snellen.keypoints import Schema
from snellen.keypoints.codecs import decode
from snellen.models import Denoiser
from snellen.training.losses import sum_of_squares
from snellen.training.metrics import image_errors, normalised_errors
from snellen.training.tasks.task import Task

__all__ = ["DenoisingTask", "denoising_loss", "errors_of_changed"]


def denoising_loss(nll: Float[Tensor, "b k"], mask: Bool[Tensor, "b k"]) -> Float[Tensor, ""]:
    """``K * sum(nll * mask) / (sum(mask) + 1e-8)``: only points that were changed and lie on the canvas count (rcn.md 2.7).

    >>> import torch
    >>> denoising_loss(torch.tensor([[1.0, 3.0]]), torch.tensor([[True, False]])).item()
    2.0
    """
    weight = mask.to(nll.dtype)
    return nll.shape[1] * (nll * weight).sum() / (weight.sum() + 1e-8)


def errors_of_changed(
    xy: Float[Tensor, "b k 2"], batch: PointBatch, schema: Schema, normaliser: str, canvas: tuple[int, int]
) -> NDArray[np.float64]:
    """Mean error of each object's changed points, fractions of the normaliser; NaN where none was changed or it has none.

    Args:
        xy: answers, canvas pixels.
        batch: the truth; points that leave the canvas do not count.
        schema: names of the points.
        normaliser: one of the schema's. The box keeps an image's proportions on the canvas, so that fractions on the canvas
            are those of the image; with "pixels" errors are in canvas pixels. A stretch is scored as it is seen.
        canvas: (height, width).
    """
    true = batch.truth.cpu().double().numpy() * [canvas[1], canvas[0]]
    true = np.where(batch.labelled.cpu().numpy()[..., None], true, np.nan)
    errors = normalised_errors(xy.cpu().double().numpy(), true, schema, normaliser)
    return image_errors(np.where(batch.mask.cpu().numpy(), errors, np.nan))


class DenoisingTask(Task):
    """Loss, optimiser and validation of a denoiser.

    Logs train/loss every step and val/loss, val/nme (error of the changed points, a fraction of the normaliser) at validations.

    Args:
        model: answers maps for points.
        config: the run; `train.steps` must be set (a time budget is turned into steps before).
        schema: the points.
    """

    metrics = ("val/nme", "val/loss")
    better = "min"
    config: DenoisingConfig

    def __init__(self, model: Denoiser, config: DenoisingConfig, schema: Schema) -> None:
        super().__init__(model, config)
        self.schema = schema
        self.normaliser = config.evaluate.normaliser or schema.default_normaliser

    def _data_term(self, batch: PointBatch) -> Tensor:
        nll: Tensor = self.model.surprise(batch.xy, batch.given, batch.truth)  # type: ignore[operator]  # of a Module's attribute
        return denoising_loss(nll, batch.mask)

    def loss(self, batch: PointBatch) -> Tensor:
        """The data term plus the paper's L2 term where its weight is not zero."""
        loss = self._data_term(batch)
        if self.config.train.l2:
            loss = loss + self.config.train.l2 * sum_of_squares(self.model.penalised())  # type: ignore[operator]
        return loss

    def progress(self, metrics: Mapping[str, Any]) -> str:
        """The error."""
        return f"validation error of changed points {100 * float(metrics.get('val/nme', math.nan)):.2f} % of {self.normaliser}"

    def validation_step(self, batch: PointBatch, _: int) -> None:
        """Loss, and the error of the points that were changed."""
        self.log("val/loss", self._data_term(batch), batch_size=len(batch.xy), on_epoch=True)
        canvas = self.config.data.canvas
        logits = self.model(batch.xy, batch.given).logits
        found = decode(logits, "local", stride=1).xy * (canvas[0] / logits.shape[-2])
        errors = errors_of_changed(found, batch, self.schema, self.normaliser, canvas)
        usable = errors[~np.isnan(errors)]
        if usable.size:
            self.log("val/nme", float(usable.mean()), batch_size=usable.size, on_epoch=True, prog_bar=True)
