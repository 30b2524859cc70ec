"""Training a run from its configuration, and resuming it."""

import copy
import dataclasses
import json
import logging
import os
import pickle
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from snellen.config import ConfigError, RunConfig
from snellen.data import StepBatches, evaluation_loader, training_loader
from snellen.training.callbacks import (
    AtomicCheckpointIO,
    MetricsFile,
    PlainProgress,
    ProgressBar,
    RandomState,
    ResumeCheckpoint,
    StopOnInterrupt,
)
from snellen.training.jobs import Job, prepare
from snellen.training.memory import peak_memory
from snellen.training.pace import time_steps
from snellen.training.runs import RunFolder, environment, write_atomically
from snellen.training.tasks.task import Task
from snellen.training.zoom_history import ZoomHistory

__all__ = ["fit"]

log = logging.getLogger("snellen")


def fit(config: RunConfig, *, command: str = "", resume: RunFolder | None = None) -> RunFolder:
    """Train a model and write its run folder.

    Args:
        config: the run.
        command: what the user typed, for the records.
        resume: a folder to go on with, from its last checkpoint; `config` is then the one stored there.

    Returns:
        The run folder; `finished` is False where Ctrl-C stopped the training.

    Raises:
        ConfigError, DataError, AnnotationError: one sentence each, before anything is written.
    """
    _refuse_missing_devices(config)
    folder = resume or RunFolder(Path(config.out) / config.run_name)
    if resume is None and _first_process():
        folder.refuse_if_taken()  # before data are read, which may take minutes
    elif resume is None and (folder / "config.yaml").exists():
        config = folder.config()  # of the first process, which turned a time budget into steps
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    job = prepare(config, load_pretrained=resume is None)
    if resume is None:
        if config.train.minutes is not None:
            train = dataclasses.replace(config.train, steps=_with_steps(job), minutes=None)
            config = dataclasses.replace(config, train=train)
            job.task.config = config
        if _first_process():
            folder.create(config, command)
    steps = config.train.steps
    start = _finished_steps(folder) if resume else 0
    if resume and _first_process():
        _tell_other_circumstances(folder)
    clock, interrupt = RandomState(), StopOnInterrupt()
    trainer = _trainer(folder, job.task, clock, interrupt)
    batches = StepBatches(
        len(job.train_set),
        config.train.batch_size,
        steps,
        seed=config.seed,
        start=start,
        rank=trainer.global_rank,
        world=trainer.world_size,
    )
    log.info(
        "training %s on %d images, validating on %d: %d steps of %d, %s parameters",
        config.model.name, len(job.train_set), len(job.val_set), steps, config.train.batch_size,
        f"{sum(p.numel() for p in job.task.model.parameters()):,}",
    )  # fmt: skip
    with warnings.catch_warnings():
        # Lightning recommends more workers and finer logging; both are settings of the recipe.
        warnings.filterwarnings("ignore", module="lightning")
        try:
            trainer.fit(
                job.task,
                training_loader(job.train_set, batches, workers=config.data.workers),
                evaluation_loader(job.val_set, config.evaluate.batch_size),
                ckpt_path=folder.last_checkpoint if resume else None,
                weights_only=True,
            )
        except BaseException:  # a second Ctrl-C too
            if _first_process() and not folder.last_checkpoint.exists():
                shutil.rmtree(folder.path, ignore_errors=True)  # nothing to go on with, and the name is free again
            raise
    if interrupt.interrupted:
        log.warning(
            "stopped at step %d of %d; go on with: snellen train --resume %s", trainer.global_step, steps, folder.path
        )
        return folder
    trainer.save_checkpoint(folder.last_checkpoint)
    last = trainer.callback_metrics.get(job.task.metrics[0])
    if last is not None and not bool(last.isfinite()):
        log.warning("the last validation found no number: the training diverged; train again with a lower --train.lr")
    if trainer.is_global_zero:
        _keep(folder, job, trainer, clock)
    trainer.strategy.barrier("the run is complete")
    return folder


def _refuse_missing_devices(config: RunConfig) -> None:
    train, gpus = config.train, torch.cuda.device_count()
    if train.accelerator == "gpu" and not (gpus or torch.backends.mps.is_available()):
        raise ConfigError("train.accelerator is gpu, and torch sees none here; give cpu, or auto to take what there is")
    if train.accelerator != "cpu" and 0 < gpus < train.devices:
        raise ConfigError(
            f"train.devices is {train.devices}, and torch sees {gpus} GPU{'s' * (gpus > 1)} here; give at most {gpus}"
        )


def _first_process() -> bool:
    """Whether this process owns the run folder: Lightning starts one more for each further device, by the same command."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "NODE_RANK", "LOCAL_RANK", "SLURM_PROCID"))


def _finished_steps(folder: RunFolder) -> int:
    if folder.finished:
        raise ConfigError(f"{folder.path} is finished; start a new run with another --name or --seed")
    if not folder.last_checkpoint.exists():
        raise ConfigError(f"{folder.path} has no checkpoint to resume from; delete the folder and train again")
    try:
        return int(torch.load(folder.last_checkpoint, map_location="cpu", weights_only=True)["global_step"])
    except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError):
        # Not torch's own words: they advise reading it in a way that would run what it holds.
        raise ConfigError(
            f"{folder.last_checkpoint} is damaged, or no checkpoint; delete {folder.path} and train again"
        ) from None


def _tell_other_circumstances(folder: RunFolder) -> None:
    """A resumed run ends in the same bytes by as many threads and the same torch alone: say where they differ."""
    begun, here = folder.info(), environment()
    then = {
        "threads": begun.get("threads"),
        "torch": begun.get("versions", {}).get("torch"),
        "device": begun.get("device"),
    }
    now = {"threads": here["threads"], "torch": here["versions"].get("torch"), "device": here["device"]}
    changed = [f"{name} {then[name]}, now {now[name]}" for name in now if then[name] not in (None, now[name])]
    if changed:
        log.warning("the run began with %s: it goes on, but not to byte-identical weights", "; ".join(changed))


def _with_steps(job: Job) -> int:
    """The number of steps that a time budget is worth, found by timing a few on a copy of the model."""
    minutes = job.config.train.minutes or 0.0
    seconds = sum(sum(part) for part in time_steps(copy.deepcopy(job.task), job.train_set, 10)) / 10
    steps = max(1, int(minutes * 60 / seconds))
    log.info("a step takes %.3f s, so %g minutes are %d steps", seconds, minutes, steps)
    return steps


def _trainer(folder: RunFolder, task: Task, clock: RandomState, interrupt: StopOnInterrupt) -> Trainer:
    train = task.config.train
    steps = train.steps
    every = min(steps, train.validate_every or max(1, steps // 20))
    callbacks: list[Callback] = [
        clock,
        interrupt,
        MetricsFile(folder / "metrics.csv", clock, (*task.metrics, *task.diagnostics)),
        ProgressBar(task.progress) if sys.stderr.isatty() else PlainProgress(task.progress),
        ModelCheckpoint(
            monitor=task.metrics[0],
            filename="best",
            dirpath=folder / "checkpoints",
            save_top_k=1,
            mode=task.better,
            enable_version_counter=False,
            auto_insert_metric_name=False,
        ),
        # After ModelCheckpoint, whose state it saves.
        ResumeCheckpoint(folder, train.checkpoint_every or every, every, interrupt),
    ]
    if task.diagnostics:
        callbacks.append(ZoomHistory(folder.path))
    if train.ema:
        callbacks.append(WeightAveraging(use_buffers=True, avg_fn=_moving_average(train.ema)))
    if train.patience:
        callbacks.append(EarlyStopping(task.metrics[0], patience=train.patience, mode=task.better))
    gpu = torch.cuda.is_available() and train.accelerator != "cpu"
    bf16 = train.precision == "bf16" or (train.precision == "auto" and gpu and torch.cuda.is_bf16_supported())
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    arguments: dict[str, Any] = {
        "accelerator": "cpu" if train.accelerator == "auto" and not gpu else train.accelerator,
        "devices": train.devices or ("auto" if gpu else 1),
        "precision": "bf16-mixed" if bf16 else "32-true",
        "deterministic": "warn" if gpu else None,
        "gradient_clip_val": train.clip or None,
    }
    return Trainer(
        max_steps=steps,
        max_epochs=-1,
        val_check_interval=every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        logger=TensorBoardLogger(folder.path, name="", version="tensorboard"),
        log_every_n_steps=max(1, min(10, every)),
        enable_progress_bar=sys.stderr.isatty(),
        enable_model_summary=False,
        use_distributed_sampler=False,
        **arguments,
    )


def _moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Exponential moving average whose decay grows from 0.1, so that the random start is forgotten within a few steps."""

    def update(average: Tensor, current: Tensor, updates: Tensor) -> Tensor:
        if not torch.is_floating_point(current):
            return current  # counters such as batch norm's
        rate = max(1 - decay, 9.0 / (10.0 + float(updates)))
        return average + (current - average) * rate

    return update


def _keep(folder: RunFolder, job: Job, trainer: Trainer, clock: RandomState) -> None:
    """Write the weights that the run keeps, and all that deployment needs beside them."""
    config, model = job.task.config, job.task.model
    best = config.train.keep == "best" and folder.best_checkpoint.exists()
    source = folder.best_checkpoint if best else folder.last_checkpoint
    checkpoint = torch.load(source, map_location="cpu", weights_only=True)
    weights = {
        name.removeprefix("model."): value.contiguous()
        for name, value in checkpoint["state_dict"].items()
        if name.startswith("model.")
    }
    card = {
        "format": 1,
        "task": config.task,
        "model": {"name": config.model.name, "choices": job.choices},
        "terms": config.data.terms,
        **job.card,
        "canvas": list(config.data.canvas),
        "channels": config.data.channels,
        "parameters": sum(p.numel() for p in model.parameters()),
        "recipe": config.recipe,
        "step": int(checkpoint["global_step"]),
    }
    write_atomically(folder / "model.safetensors", safetensors_bytes(weights))
    folder.update(
        steps=trainer.global_step,
        train_seconds=round(clock.elapsed(), 1),
        kept_step=card["step"],
        peak_memory_mb=round(peak_memory() / 2**20),
    )
    # Written last: its presence means that the run is complete.
    write_atomically(folder / "model.json", json.dumps(card, indent=2) + "\n")
