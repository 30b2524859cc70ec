"""Training a run from its configuration, and resuming it."""

import copy
import dataclasses
import json
import logging
import pickle
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from snellen.config import ConfigError, RunConfig
from snellen.data import CanvasDataset, KeypointDataset, StepBatches, build_dataset, evaluation_loader, training_loader
from snellen.keypoints import Schema
from snellen.models import KeypointNet, create_model
from snellen.training.callbacks import (
    AtomicCheckpointIO,
    MetricsFile,
    PlainProgress,
    RandomState,
    ResumeCheckpoint,
    StopOnInterrupt,
)
from snellen.training.pace import time_steps
from snellen.training.runs import RunFolder, write_atomically
from snellen.training.task import KeypointTask

__all__ = ["build_model", "fit"]

log = logging.getLogger("snellen")


def build_model(config: RunConfig, schema: Schema, *, load_pretrained: bool = True) -> KeypointNet:
    """The model of a configuration, its weights drawn from the run's seed; see `create_model` for `load_pretrained`."""
    choices = {"channels": config.data.channels, "keypoints": len(schema), **config.model.choices}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return create_model(config.model.name, load_pretrained=load_pretrained, **choices)


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
    folder = resume or RunFolder(Path(config.out) / config.run_name)
    if resume is None:
        folder.refuse_if_taken()  # before data are read, which may take minutes
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    train_data, val_data = (build_dataset(config.data, split) for split in ("train", "val"))
    schema = train_data.schema
    _check_data(config, val_data)
    model = build_model(config, schema, load_pretrained=resume is None)
    if min(config.data.canvas) < model.minimum_size:
        raise ConfigError(
            f"data.canvas {list(config.data.canvas)} is too small for {config.model.name!r} with {model.branches} branches; "
            f"give at least {[model.minimum_size] * 2}, or fewer model.choices.branches"
        )
    train_set = CanvasDataset(train_data, config.data.canvas, config.augment, seed=config.seed)
    val_set = CanvasDataset(val_data, config.data.canvas, config.validation, seed=0)
    if resume is None:
        if config.train.minutes is not None:
            config = _with_steps(config, model, train_set, schema)
        folder.create(config, command)
    steps = config.train.steps
    start = _finished_steps(folder) if resume else 0
    task = KeypointTask(model, config, schema)
    clock, interrupt = RandomState(), StopOnInterrupt()
    trainer = _trainer(config, folder, task, clock, interrupt)
    batches = StepBatches(
        len(train_set),
        config.train.batch_size,
        steps,
        seed=config.seed,
        start=start,
        rank=trainer.global_rank,
        world=trainer.world_size,
    )
    log.info(
        "training %s on %d images, validating on %d: %d steps of %d, %s parameters",
        config.model.name, len(train_set), len(val_set), steps, config.train.batch_size,
        f"{sum(p.numel() for p in model.parameters()):,}",
    )  # fmt: skip
    with warnings.catch_warnings():
        # Lightning recommends more workers and finer logging; both are settings of the recipe.
        warnings.filterwarnings("ignore", module="lightning")
        try:
            trainer.fit(
                task,
                training_loader(train_set, batches, workers=config.data.workers),
                evaluation_loader(val_set, config.evaluate.batch_size),
                ckpt_path=folder.last_checkpoint if resume else None,
                weights_only=True,
            )
        except Exception:
            if not folder.last_checkpoint.exists():
                shutil.rmtree(folder.path, ignore_errors=True)  # nothing to go on with, and the name is free again
            raise
    if interrupt.interrupted:
        log.warning(
            "stopped at step %d of %d; go on with: snellen train --resume %s", trainer.global_step, steps, folder.path
        )
        return folder
    if trainer.is_global_zero:
        _keep(folder, config, schema, trainer, clock)
    return folder


def _check_data(config: RunConfig, val_data: KeypointDataset) -> None:
    """Refuse data that cannot be trained and scored as the configuration says; warn of mirror images without swaps."""
    schema, wanted = val_data.schema, config.evaluate.normaliser
    if wanted and wanted not in schema.normaliser_names:
        known = ", ".join(schema.normaliser_names)
        raise ConfigError(f"evaluate.normaliser {wanted!r} does not exist for {schema.name!r}; it has {known}")
    sided = [p for p in schema.points if re.search(r"(^|[^a-z])(left|right)([^a-z]|$)", p.lower())]
    if config.augment.flip and sided and not schema.swaps:
        log.warning(
            "augment.flip mirrors images, but no points are swapped; name the pairs of %s in data.swaps", sided[:4]
        )
    name = wanted or schema.default_normaliser
    for i in range(len(val_data)):  # nearly always the first sample has the distance
        distance = schema.normalising_distance(name, val_data[i].keypoints.xy)
        if np.isfinite(distance) and distance > 0:
            return
    raise ConfigError(
        f"no validation image has the distance {name!r} to divide errors by (one point alone spans none, nor do unlabelled "
        f"ones); set evaluate.normaliser to pixels or another of {', '.join(schema.normaliser_names)}"
    )


def _finished_steps(folder: RunFolder) -> int:
    if folder.finished:
        raise ConfigError(f"{folder.path} is finished; start a new run with another --name or --seed")
    if not folder.last_checkpoint.exists():
        raise ConfigError(f"{folder.path} has no checkpoint to resume from; delete the folder and train again")
    try:
        return int(torch.load(folder.last_checkpoint, map_location="cpu", weights_only=True)["global_step"])
    except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise ConfigError(
            f"{folder.last_checkpoint} cannot be read ({str(error).splitlines()[0]}); delete {folder.path} and train again"
        ) from None


def _with_steps(config: RunConfig, model: KeypointNet, data: CanvasDataset, schema: Schema) -> RunConfig:
    """Turn a time budget into a number of steps, once, by timing a few on a copy of the model."""
    minutes = config.train.minutes or 0.0
    task = KeypointTask(copy.deepcopy(model), config, schema)
    seconds = sum(sum(part) for part in time_steps(task, data, config, 10)) / 10
    steps = max(1, int(minutes * 60 / seconds))
    log.info("a step takes %.3f s, so %g minutes are %d steps", seconds, minutes, steps)
    return dataclasses.replace(config, train=dataclasses.replace(config.train, steps=steps, minutes=None))


def _trainer(
    config: RunConfig, folder: RunFolder, task: KeypointTask, clock: RandomState, interrupt: StopOnInterrupt
) -> Trainer:
    train = config.train
    steps = train.steps
    every = min(steps, train.validate_every or max(1, steps // 20))
    callbacks: list[Callback] = [
        clock,
        interrupt,
        MetricsFile(folder / "metrics.csv", clock),
        TQDMProgressBar() if sys.stderr.isatty() else PlainProgress(task.normaliser),
        ModelCheckpoint(
            monitor="val/nme",
            filename="best",
            dirpath=folder / "checkpoints",
            save_top_k=1,
            mode="min",
            enable_version_counter=False,
            auto_insert_metric_name=False,
        ),
        # After ModelCheckpoint, whose state it saves.
        ResumeCheckpoint(folder, train.checkpoint_every or every, every, interrupt),
    ]
    if train.ema:
        callbacks.append(WeightAveraging(use_buffers=True, avg_fn=_moving_average(train.ema)))
    if train.patience:
        callbacks.append(EarlyStopping("val/nme", patience=train.patience, mode="min"))
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


def _keep(folder: RunFolder, config: RunConfig, schema: Schema, trainer: Trainer, clock: RandomState) -> None:
    """Write the weights that the run keeps, and all that deployment needs beside them."""
    trainer.save_checkpoint(folder.last_checkpoint)
    best = config.train.keep == "best" and folder.best_checkpoint.exists()
    source = folder.best_checkpoint if best else folder.last_checkpoint
    checkpoint = torch.load(source, map_location="cpu", weights_only=True)
    weights = {
        name.removeprefix("model."): value.contiguous()
        for name, value in checkpoint["state_dict"].items()
        if name.startswith("model.")
    }
    model = build_model(config, schema, load_pretrained=False)
    card = {
        "format": 1,
        "model": {"name": config.model.name, "choices": model.choices},
        "schema": schema.to_dict(),
        "canvas": list(config.data.canvas),
        "channels": config.data.channels,
        "stride": model.stride,  # canvas pixels a heatmap cell
        "box": {"rule": config.data.box, "scale": config.data.box_scale},
        "decoder": {
            "method": config.evaluate.decoder,
            "window": config.evaluate.window,
            "radius": config.evaluate.radius,
            "flip": config.evaluate.flip,
        },
        "terms": config.data.terms,
        "parameters": sum(p.numel() for p in model.parameters()),
        "recipe": config.recipe,
        "step": int(checkpoint["global_step"]),
    }
    write_atomically(folder / "model.safetensors", safetensors_bytes(weights))
    folder.update(steps=trainer.global_step, train_seconds=round(clock.elapsed(), 1), kept_step=card["step"])
    # Written last: its presence means that the run is complete.
    write_atomically(folder / "model.json", json.dumps(card, indent=2) + "\n")
