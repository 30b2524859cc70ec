"""Lightning callbacks and plugins of a run: atomic checkpoints, metrics.csv, plain progress, a clean stop on Ctrl-C."""

import contextlib
import csv
import io
import logging
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, TQDMProgressBar

from snellen.training.runs import RunFolder, write_atomically

__all__ = [
    "AtomicCheckpointIO", "MetricsFile", "PlainProgress", "ProgressBar", "RandomState", "ResumeCheckpoint", "StopOnInterrupt",
]  # fmt: skip

log = logging.getLogger("snellen")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints written under a temporary name and renamed; read with weights_only, so that no pickle is run."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Serialise to memory, then rename into place."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_atomically(Path(path), buffer.getvalue())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        """Read a checkpoint of plain tensors, numbers and dicts."""
        loaded: dict[str, Any] = torch.load(path, map_location=map_location or "cpu", weights_only=True)
        return loaded


class RandomState(Callback):
    """Keeps torch's generators and the time spent training in the checkpoint, so that a resumed run goes on exactly."""

    def __init__(self) -> None:
        self.seconds, self._since = 0.0, time.monotonic()
        self._restored: torch.Tensor | None = None
        self._restored_cuda: list[torch.Tensor] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the generator where the checkpoint left it: building the trainer may have drawn from it."""
        self._since = time.monotonic()
        if self._restored is not None:
            torch.set_rng_state(self._restored)
        if self._restored_cuda and len(self._restored_cuda) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(self._restored_cuda)

    def elapsed(self) -> float:
        """Seconds of training, those before a resume included."""
        return self.seconds + time.monotonic() - self._since

    def state_dict(self) -> dict[str, Any]:
        """States of the generators, the GPUs' too, and seconds."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {"torch": torch.get_rng_state(), "cuda": cuda, "seconds": self.elapsed()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state of a checkpoint."""
        self._restored, self.seconds = state_dict["torch"], state_dict["seconds"]
        self._restored_cuda = state_dict.get("cuda", [])


class MetricsFile(Callback):
    """Appends to metrics.csv at every validation; a resume drops the rows after its checkpoint.

    Lightning's own CSV logger deletes the rows of the run it resumes.
    """

    def __init__(self, path: Path, clock: RandomState, metrics: Sequence[str]) -> None:
        self.path, self.clock, self.metrics = path, clock, tuple(metrics)
        self.columns = ("step", "seconds", "lr", "train/loss", *self.metrics)
        self._sum, self._count = 0.0, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Cut what a killed run wrote beyond the checkpoint."""
        if not trainer.is_global_zero:
            return
        rows = []
        if self.path.exists():
            with self.path.open(newline="") as file:
                rows = [r for r in csv.DictReader(file) if int(r["step"]) <= trainer.global_step]
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns)
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.path, text.getvalue())

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        """Collect the loss of the step."""
        self._sum += float(outputs["loss"])
        self._count += 1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """One row: the mean training loss since the last one, and the validation's numbers."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        metrics = trainer.callback_metrics
        row: dict[str, object] = {
            "step": trainer.global_step,
            "seconds": f"{self.clock.elapsed():.1f}",
            "lr": f"{trainer.optimizers[0].param_groups[0]['lr']:.6g}",
            "train/loss": f"{self._sum / max(1, self._count):.6g}",
            **{name: f"{float(metrics[name]):.6g}" for name in self.metrics if name in metrics},
        }
        self._sum, self._count = 0.0, 0
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self.columns).writerow(row)

    def state_dict(self) -> dict[str, Any]:
        """The loss collected since the last row."""
        return {"sum": self._sum, "count": self._count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state of a checkpoint."""
        self._sum, self._count = state_dict["sum"], state_dict["count"]


class ProgressBar(TQDMProgressBar):
    """Lightning's, with the error in words: a unit and what it is divided by."""

    def __init__(self, words: Callable[[Mapping[str, Any]], str]) -> None:
        super().__init__()
        self.words = words

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The loss, and a validation's outcome once there was one."""
        metrics = trainer.callback_metrics
        shown = {name: f"{float(metrics[key]):.3f}" for name, key in (("loss", "train/loss"),) if key in metrics}
        if any(key.startswith("val/") for key in metrics):
            shown["last validation"] = self.words(metrics)
        return shown


class PlainProgress(Callback):
    """One line a validation, for logs and pipes where a progress bar would only make noise."""

    def __init__(self, words: Callable[[Mapping[str, Any]], str]) -> None:
        self.words = words
        self._since, self._from = time.monotonic(), 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the rate."""
        self._since, self._from = time.monotonic(), trainer.global_step

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Step, loss, error, rate."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        m, done = trainer.callback_metrics, trainer.global_step - self._from
        rate = done / max(1e-9, time.monotonic() - self._since)
        log.info(
            "step %d/%d  loss %.3f  %s  %.2f steps/s",
            trainer.global_step, trainer.max_steps, float(m.get("train/loss", float("nan"))), self.words(m), rate,
        )  # fmt: skip


class ResumeCheckpoint(Checkpoint):
    """Writes the checkpoint to resume from: every so many steps, after every validation, and where Ctrl-C stops the run.

    A step that is validated is saved after its validation only: saved before, a run killed in between would resume without
    that validation and might keep other weights.
    """

    def __init__(self, folder: RunFolder, every: int, validate_every: int, interrupt: "StopOnInterrupt") -> None:
        self.folder, self.every, self.validate_every, self.interrupt = folder, every, validate_every, interrupt

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Save where no validation follows."""
        step = trainer.global_step
        if step % self.validate_every and (step % self.every == 0 or self.interrupt.interrupted):
            trainer.save_checkpoint(self.folder.last_checkpoint)
        if self.interrupt.interrupted:
            trainer.should_stop = True
            # Lightning validates whenever it is told to stop; a validation that the schedule does not have would leave a
            # row, a best checkpoint and a count of patience that an uninterrupted run lacks.
            trainer.fit_loop.epoch_loop._skip_next_val = step % self.validate_every != 0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save with the validation's outcome."""
        if not trainer.sanity_checking:
            trainer.save_checkpoint(self.folder.last_checkpoint)


class StopOnInterrupt(Callback):
    """Ctrl-C or SIGTERM ends training after the step at hand (see `ResumeCheckpoint`); a second one stops at once.

    SIGTERM is what schedulers and `kill` send. Of several processes one alone may get it, so there it is left to Lightning.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._previous: dict[signal.Signals, Any] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Catch Ctrl-C."""
        self._catch(signal.SIGINT)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Catch SIGTERM, after Lightning has set its own handler, which would end the process as if it had finished."""
        if trainer.world_size == 1:
            self._catch(signal.SIGTERM)

    def _catch(self, number: signal.Signals) -> None:
        def stop(*_: Any) -> None:
            self.interrupted = True
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

        with contextlib.suppress(ValueError):  # only the main thread may
            self._previous[number] = signal.signal(number, stop)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
