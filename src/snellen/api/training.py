"""Training: a recipe becomes a run."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snellen.config import RunConfig, override


def resolve(recipe: str, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """A recipe with settings changed, by dotted names.

    >>> resolve("wings-rcn", {"train.batch_size": 8}).train.batch_size
    8
    """
    from snellen.recipes import read_recipe

    return override(read_recipe(recipe), overrides or {})


def train(recipe: str, *, seed: int | None = None, **overrides: Any) -> Path:
    """Train a model by a recipe.

    Args:
        recipe: a built-in name (see `recipes`) or the path of a YAML file.
        seed: shorthand for the setting of that name.
        **overrides: settings by dotted names, e.g. ``**{"data.root": "faces", "train.steps": 500}``.

    Returns:
        The run folder.

    Raises:
        ConfigError, DataError, AnnotationError: one sentence on what to change.
    """
    if seed is not None:
        overrides["seed"] = seed
    changed = " ".join(f"--{key} {shlex.quote(str(value))}" for key, value in overrides.items())
    return train_config(resolve(recipe, overrides), command=f"snellen train {recipe} {changed}".strip())


def train_config(config: RunConfig, *, command: str = "") -> Path:
    """Train a model by a resolved configuration; returns the run folder."""
    from snellen.training.fit import fit

    return fit(config, command=command).path


def cross_validate(config: RunConfig, folds: int, *, command: str = "") -> dict[str, Any]:
    """Train and validate a run for each of `folds` parts of a user's own files; the error over all images, each when held out.

    Returns:
        nme, interval, folds, normaliser, images, runs (`snellen.evaluation.folds.cross_validate`).
    """
    from snellen.evaluation.folds import cross_validate as run_folds

    return run_folds(config, folds, command=command)


def resume(run: str | Path) -> Path:
    """Go on with a run that was interrupted; returns the run folder."""
    from snellen.training.fit import fit
    from snellen.training.runs import RunFolder

    folder = RunFolder(run)
    config = folder.config()
    return fit(config, command=str(folder.info().get("command", "")), resume=folder).path
