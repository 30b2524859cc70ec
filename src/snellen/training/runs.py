"""Run folders: what a run leaves behind, written so that nothing half-finished is ever read.

runs/<name>/
  config.yaml         the resolved configuration
  run.json            command, versions, hardware, threads, steps, seconds
  metrics.csv         one row a validation, with the mean loss of the steps before it
  tensorboard/        the same for TensorBoard
  checkpoints/        last.ckpt to resume from, best.ckpt
  model.safetensors   weights
  model.json          all that deployment needs beside them: choices, canvas, schema, licence
  evaluation-*.json   written by `snellen evaluate`
  report.html         written by `snellen report`
"""

import io
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from snellen.config import ConfigError, RunConfig, from_dict, to_dict
from snellen.config.writing import writing

__all__ = ["RunFolder", "environment", "write_atomically"]


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name and rename it, so that readers see the old or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        try:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def packed(arrays: Mapping[str, Any]) -> bytes:
    """Named arrays as the content of a compressed .npz file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def environment() -> dict[str, Any]:
    """Versions, hardware, threads, commit and date: what a record needs to be understood later."""
    versions = {"python": platform.python_version()}
    for package in ("snellen", "torch", "torchvision", "lightning", "timm", "numpy", "pillow"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    cuda = torch.cuda.is_available()
    return {
        "versions": versions,
        "hardware": f"{os.cpu_count()} cores, {_processor()}",
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "threads": torch.get_num_threads(),
        "commit": _commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _commit() -> str:
    """Commit of the source tree this package is imported from; empty for an installed wheel."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


class RunFolder:
    """Paths and small files of one run.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def last_checkpoint(self) -> Path:
        """The checkpoint to resume from."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        """The checkpoint with the lowest validation error."""
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def finished(self) -> bool:
        """Whether training ended and the model was written."""
        return (self.path / "model.json").exists()

    def refuse_if_taken(self) -> None:
        """A ConfigError where a run of that name is there already, or where no folder can be made."""
        if self.path.exists() and any(self.path.iterdir()):
            state = "is finished" if self.finished else f"can go on: snellen train --resume {self.path}"
            raise ConfigError(
                f"{self.path} holds a run that {state}; give another --name or --seed, or delete the folder"
                if self.last_checkpoint.exists() or self.finished
                else f"{self.path} is not empty; give another --name, or delete the folder"
            )
        there = next(p for p in (self.path.absolute(), *self.path.absolute().parents) if p.exists())
        if not there.is_dir() or not os.access(there, os.W_OK):
            raise ConfigError(
                f"{self.path} cannot be made: {there} is no folder that can be written to; choose another --out"
            )

    def create(self, config: RunConfig, command: str) -> None:
        """Start the folder: resolved configuration and circumstances. Errors as for `refuse_if_taken`."""
        self.refuse_if_taken()
        write_atomically(self / "config.yaml", yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True))
        self.update(command=command, **environment())

    def config(self) -> RunConfig:
        """The resolved configuration of the run.

        Raises:
            ConfigError: where the folder is no run.
        """
        file = self / "config.yaml"
        if not file.is_file():
            raise ConfigError(
                f"{self.path} is not a run folder (it has no config.yaml); give the folder that train wrote"
            )
        try:
            config: RunConfig = from_dict(yaml.safe_load(file.read_text(encoding="utf-8")) or {})
        except (yaml.YAMLError, UnicodeDecodeError, AttributeError) as error:
            raise ConfigError(f"{file} is damaged ({str(error).splitlines()[0]}); restore it or train again") from None
        return config

    def info(self) -> dict[str, Any]:
        """What run.json holds."""
        file = self / "run.json"
        try:
            return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        except ValueError as error:
            raise ConfigError(
                f"{file} is damaged ({error}); restore it, or delete it to go on without its notes"
            ) from None

    def update(self, **values: Any) -> None:
        """Add values to run.json."""
        write_atomically(self / "run.json", json.dumps({**self.info(), **values}, indent=2) + "\n")
