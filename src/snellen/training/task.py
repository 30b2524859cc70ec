"""What training a keypoint model means, as a LightningModule."""

import math
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from snellen.config import RunConfig, TrainConfig
from snellen.data import Batch
from snellen.keypoints import Schema
from snellen.keypoints.codecs import decode
from snellen.models import KeypointNet
from snellen.training.losses import keypoint_loss, sum_of_squares
from snellen.training.metrics import image_errors, normalised_errors

__all__ = ["KeypointTask", "make_optimiser"]


def make_optimiser(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser a configuration names, over the model's trainable parameters.

    Weight decay leaves biases and normalisation alone, as usual. Adadelta is the paper's (rho 0.95, eps 1e-8: torch's own
    default eps is 1e-6).
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if config.optimiser == "adadelta":
        return torch.optim.Adadelta(parameters, lr=config.lr, rho=0.95, eps=1e-8)
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=config.lr)


def one_cycle(step: int, steps: int, warmup: float) -> float:
    """Factor on the learning rate: a linear rise over `warmup` of the steps, then a cosine to zero."""
    rise = max(1, round(warmup * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


class KeypointTask(LightningModule):
    """Loss, optimiser and validation of a keypoint model.

    Logs train/loss every step and val/loss, val/nme (fraction of the normaliser) at validations.

    Args:
        model: answers `KeypointOutput` for canvases in 0..255.
        config: the run; `train.steps` must be set (a time budget is turned into steps before).
        schema: the points.
    """

    def __init__(self, model: KeypointNet, config: RunConfig, schema: Schema) -> None:
        super().__init__()
        # Channels last runs these convolutions faster on a CPU, and suits tensor cores.
        self.model = model.to(memory_format=torch.channels_last)
        self.config, self.schema = config, schema
        self.normaliser = config.evaluate.normaliser or schema.default_normaliser
        self._stride = model.stride
        groups = model.parameter_groups()
        weights = {name: getattr(config.train, f"l2_{name}") for name in groups}
        self._penalties = [(weights[n], [p for p in g if p.requires_grad]) for n, g in groups.items() if weights[n]]

    def configure_optimizers(self) -> Any:
        """Optimiser and schedule of the configuration."""
        train = self.config.train
        optimiser = make_optimiser(self.model, train)
        if train.schedule == "constant":
            return optimiser
        steps = train.steps
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda s: one_cycle(s, steps, train.warmup))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _logits(self, batch: Batch) -> Tensor:
        logits: Tensor = self.model(batch.image.contiguous(memory_format=torch.channels_last)).logits
        return logits

    def _data_term(self, logits: Tensor, batch: Batch) -> Tensor:
        train = self.config.train
        return keypoint_loss(logits, batch.xy, batch.mask, stride=self._stride, target=train.target, sigma=train.sigma)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """One update's loss: the data term plus the paper's L2 terms where their weights are not zero."""
        logits = self._logits(batch)
        loss = self._data_term(logits, batch)
        for weight, group in self._penalties:
            loss = loss + weight * sum_of_squares(group)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss became {loss.item()} at step {self.global_step}; lower train.lr or set train.clip"
            )
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Loss and normalised mean error in the original frame."""
        evaluate = self.config.evaluate
        logits = self._logits(batch)
        self.log("val/loss", self._data_term(logits, batch), batch_size=len(batch.image), on_epoch=True)
        found = decode(
            logits, evaluate.decoder, window=evaluate.window, stride=self._stride, canvas=self.config.data.canvas
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
