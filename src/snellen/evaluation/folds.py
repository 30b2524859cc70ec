"""Cross-validation: a run for each part of the data, and the error over all images when each was held out."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from snellen.config import ConfigError, KeypointConfig, RunConfig
from snellen.evaluation.evaluate import evaluate_run
from snellen.evaluation.record import EvaluationRecord
from snellen.training.fit import fit
from snellen.training.metrics import bootstrap_interval
from snellen.training.runs import RunFolder

__all__ = ["cross_validate"]

_FIXED = ("wings", "mtfl", "pts", "wflw")


def cross_validate(config: RunConfig, folds: int, *, command: str = "") -> dict[str, Any]:
    """Train and validate `folds` runs, named NAME-fold0, NAME-fold1, ...; a finished one is not trained again.

    The validation chooses which weights a run keeps where `train.keep` is "best", so a fold's error is then a little better
    than that of new images; set it to "last" for an error without that.

    Args:
        config: of keypoints in a user's own files.
        folds: number of parts, 2 or more.
        command: what the user typed, for the records.

    Returns:
        nme (mean over all images, each when held out, a fraction), interval (95 % bootstrap over images), folds (mean of each),
        normaliser, images, runs; empty where Ctrl-C stopped a training.

    Raises:
        ConfigError: for data that have splits of their own, or runs of these names with other settings.
    """
    if not isinstance(config, KeypointConfig) or config.data.format in _FIXED:
        raise ConfigError("--folds is for keypoints in your own files; other data have splits of their own")
    if folds < 2:
        raise ConfigError(f"--folds needs 2 parts or more, not {folds}")
    errors, runs, normaliser = [], [], ""
    for i in range(folds):
        data = dataclasses.replace(config.data, folds=folds, fold=i)
        part = dataclasses.replace(config, data=data, name=f"{config.run_name}-fold{i}")
        folder = RunFolder(Path(part.out) / part.run_name)
        if not (folder.finished and folder.config() == part):
            folder = fit(part, command=command)
        if not folder.finished:
            return {}
        evaluate_run(folder.path, split="val", robustness=False)
        record = EvaluationRecord.load(folder / "predictions-val")
        errors.append(record.errors_of_images())
        normaliser = record.normaliser
        runs.append(str(folder.path))
    pooled = np.concatenate(errors)
    return {
        "nme": float(np.nanmean(pooled)),
        "interval": list(bootstrap_interval(pooled)),
        "folds": [float(np.nanmean(e)) for e in errors],
        "normaliser": normaliser,
        "images": int(np.isfinite(pooled).sum()),
        "runs": runs,
    }
