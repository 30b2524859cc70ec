"""What training means for every task: optimiser, schedule, the loss of a step, and which number a validation is judged by."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from snellen.config import ClassificationConfig, GazeConfig, KeypointConfig, RunConfig, TrainConfig
from snellen.layers import MultiScaleRecalibration, auxiliary_losses
from snellen.training.zoom_diagnostics import DIAGNOSTICS, ZoomView, zoom_diagnostics
from snellen.training.zoom_loss import guiding_boxes, saliency_loss

__all__ = ["GuidedTask", "Task", "make_optimiser", "one_cycle", "step_decay"]


def make_optimiser(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser a configuration names, over the model's trainable parameters.

    Weight decay leaves biases and normalisation alone, as usual, also where recalibration has a bias for each cell (ms-sar.md
    3). Adadelta is the paper's (rho 0.95, eps 1e-8: torch's own default eps is 1e-6).
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if config.optimiser == "adadelta":
        return torch.optim.Adadelta(parameters, lr=config.lr, rho=0.95, eps=1e-8)
    gates = [m for m in model.modules() if isinstance(m, MultiScaleRecalibration)]
    spared = {id(m.get_parameter(name)) for m in gates for name in m.no_weight_decay()}
    decayed = [p for p in parameters if p.ndim > 1 and id(p) not in spared]
    held = {id(p) for p in decayed}
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if id(p) not in held], "weight_decay": 0.0},
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


def step_decay(step: int, steps: int, milestones: Sequence[float]) -> float:
    """Factor on the learning rate: a tenth of the one before from each of the milestones on, shares of the steps."""
    return float(0.1 ** sum(step >= round(share * steps) for share in milestones))


class Task(LightningModule):
    """A network with its loss; subclasses implement `loss` and `validation_step`, and say what a validation logs.

    Logs train/loss every step.

    Args:
        model: the network.
        config: the run; `train.steps` must be set (a time budget is turned into steps before).
    """

    #: What validations log, the number that the best weights are chosen by first.
    metrics: ClassVar[tuple[str, ...]]
    #: Which way the first of `metrics` is better.
    better: ClassVar[Literal["min", "max"]]

    def __init__(self, model: nn.Module, config: RunConfig) -> None:
        super().__init__()
        # Channels last runs convolutions faster on a CPU, and suits tensor cores.
        self.model = model.to(memory_format=torch.channels_last)
        self.config = config
        #: The canvases, grid and saliency of the newest validated batch, where the model zooms.
        self.zoom_view: ZoomView | None = None
        self._auxiliary = {"lift/predict": config.train.lift_predict, "lift/update": config.train.lift_update}

    def configure_optimizers(self) -> Any:
        """Optimiser and schedule of the configuration."""
        train = self.config.train
        optimiser = make_optimiser(self.model, train)
        if train.schedule == "constant":
            return optimiser

        def factor(step: int) -> float:
            if train.schedule == "steps":
                return step_decay(step, train.steps, train.milestones)
            return one_cycle(step, train.steps, train.warmup)

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def diagnostics(self) -> tuple[str, ...]:
        """What validations log beside `metrics`: how a model zooms, where it does."""
        return DIAGNOSTICS if hasattr(self.model, "zoomer") else ()

    def log_zoom(self, output: Any, image: Tensor, boxes: Tensor | None = None) -> None:
        """Log how a validated batch was zoomed, see `zoom_diagnostics`; nothing where the model does not zoom."""
        if output.grid is None:
            return
        self.zoom_view = ZoomView(image, output.grid, output.saliency)
        size = (image.shape[-2], image.shape[-1])
        for name, value in zoom_diagnostics(output.grid, output.saliency, size, boxes).items():
            self.log(name, value, batch_size=len(image), on_epoch=True)

    def loss(self, batch: Any) -> Tensor:
        """The loss of a batch, to be lowered."""
        raise NotImplementedError

    def progress(self, metrics: Mapping[str, Any]) -> str:
        """A validation's outcome in words, for the log."""
        raise NotImplementedError

    def training_step(self, batch: Any, _: int) -> Tensor:
        """One update's loss, with the layers' own losses where their weights are not zero."""
        if any(self._auxiliary.values()):
            with auxiliary_losses(self.model) as found:
                loss = self.loss(batch)
            loss = loss + found.total(self._auxiliary)
        else:
            loss = self.loss(batch)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss became {loss.item()} at step {self.global_step}; lower train.lr or set train.clip"
            )
        self.log("train/loss", loss, prog_bar=True)
        return loss


class GuidedTask(Task):
    """A task whose data may say where the object is, so that a learned zoom can be told, see `ZoomTrainConfig`."""

    config: KeypointConfig | ClassificationConfig | GazeConfig

    def _ask(self, *inputs: Tensor, boxes: Tensor | None = None) -> Any:
        """What the model says of its inputs, told boxes where there are some."""
        return self.model(*inputs) if boxes is None else self.model(*inputs, boxes=boxes)

    def _guide(self, boxes: Tensor) -> Tensor | None:
        """The boxes (b, k, 4) that zoom in this step in place of the predicted saliency, if any."""
        return guiding_boxes(boxes, self.config.train, seed=self.config.seed, step=self.global_step)

    def _supervision(self, output: Any, boxes: Tensor, image: Tensor) -> Tensor | float:
        """The weighted loss of the saliency; 0 where it is not supervised."""
        weight = self.config.train.zoom_boxes
        if not weight:
            return 0.0
        zoomer: Any = self.model.zoomer  # a `SaliencySampler`: `check_supervision` asked
        return weight * saliency_loss(output.saliency, zoomer.told(image, boxes), boxes)
