"""The verbs, as typed functions: the command line and Python call the same ones.

Nothing heavy is imported at the top, so that `import snellen` and `snellen --help` answer at once.
"""

import fnmatch
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snellen.config import RunConfig, override

if TYPE_CHECKING:
    from snellen.inference import Loaded
    from snellen.inference.command import Summary
    from snellen.inference.export import Exported

__all__ = [
    "evaluate", "export", "load", "models", "predict", "recipes", "report", "resolve", "resume", "train", "train_config",
]  # fmt: skip


def recipes(pattern: str = "*") -> dict[str, str]:
    """Built-in recipes whose names match a shell pattern, with a line on each."""
    from snellen.recipes import list_recipes

    return {name: line for name, line in list_recipes().items() if fnmatch.fnmatch(name, pattern)}


def models(pattern: str = "*") -> list[str]:
    """Registered models whose names match a shell pattern."""
    from snellen.models import list_models

    return list(list_models(pattern))


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


def resume(run: str | Path) -> Path:
    """Go on with a run that was interrupted; returns the run folder."""
    from snellen.training.fit import fit
    from snellen.training.runs import RunFolder

    folder = RunFolder(run)
    config = folder.config()
    return fit(config, command=str(folder.info().get("command", "")), resume=folder).path


def load(run: str | Path, device: str | None = None) -> "Loaded":
    """A trained model with its preprocessing.

    Args:
        run: a run folder, a file that `export` wrote, or the name of weights that come with the library (wings-rcn).
        device: where it runs; by default a GPU where there is one.
    """
    from snellen.inference import load as load_run

    return load_run(run, device)


def predict(
    run: str | Path, files: Sequence[str | Path], out: str | Path = "predictions.csv", **options: Any
) -> "Summary":
    """Run a model over files and write its answers, in the files' order, going on where an earlier call stopped.

    Args:
        run: as for `load`.
        files: pictures, folders, patterns, .txt lists and videos.
        out: the file to write.
        **options: fields of `snellen.inference.command.Options`: to, draw, boxes, locator, min_confidence, ...

    Returns:
        How many were answered and which were skipped.

    Raises:
        ConfigError: one sentence on what to change.
    """
    from snellen.inference.command import Options, predict_files

    return predict_files(run, files, out, Options(**options))


def export(run: str | Path, out: str | Path | None = None, *, format: str = "onnx", **options: Any) -> "Exported":
    """Write a keypoint model as one ONNX or .pt2 file, decoding included, and compare its answers with PyTorch's.

    Args:
        run: a run folder or the name of shipped weights.
        out: the file; by default model.onnx or model.pt2 in the run folder.
        format: "onnx" or "pt2".
        **options: further arguments of `snellen.inference.export_command.export_run`: samples, data, flip, opset.

    Returns:
        The file and the largest difference, canvas pixels.

    Raises:
        ConfigError: where the answers differ by more than 0.05 px, and for a model without keypoints.
    """
    from snellen.inference.export_command import export_run

    return export_run(run, out, format=format, **options)


def evaluate(
    run: str | Path,
    *,
    split: str = "val",
    data: str | None = None,
    on_error: str | None = None,
    robustness: bool = True,
    flip: bool | None = None,
    decoder: str | None = None,
    corrupted: str | None = None,
) -> dict[str, Any]:
    """Score a run on a split of its data.

    Args:
        run: the run folder.
        split: "train", "val" or "test". Scoring a real data set's test split is counted in a ledger.
        data: folder of the data, where it is not the one the run was trained on.
        on_error: "raise" or "skip" broken files; by default as the run did in training.
        robustness: also measure, for keypoints, the error against box shift and scale; for classes, corruptions,
            perturbation sequences and shifts.
        flip: average with the answer on the mirror image, or do not; by default as the run's `evaluate.flip` says.
        decoder: for keypoints, "local" or "argmax"; by default the run's.
        corrupted: for classes, a folder of corrupted images as ImageNet-C is distributed (KIND/SEVERITY/class/image); by
            default images are corrupted here.

    Returns:
        JSON-able numbers. Keypoints: nme (fraction of the normaliser), normaliser, interval, median, per_keypoint, images,
        groups (name: {nme, images}, where the data has named subsets), ... Classification: top1, top5, interval, ece,
        per_class, corruptions (kind: errors at severities 1 to 5), shift_consistency, ... Segmentation: mean_iou, interval,
        per_class_iou, boundary_f, ... Super-resolution: psnr (dB), interval, bicubic_psnr, ... Gaze: error (degrees or cm,
        `unit`), interval (over people), median, by_person, by_head_yaw, ... Shares are fractions.
    """
    from snellen.evaluation.evaluate import evaluate_run

    return evaluate_run(
        run,
        split=split,
        data=data,
        on_error=on_error,
        robustness=robustness,
        flip=flip,
        decoder=decoder,
        corrupted=corrupted,
    )


def report(run: str | Path, *, split: str = "") -> Path:
    """Write report.html of a run from its newest evaluation, evaluating the validation split where there is none."""
    from snellen.evaluation.evaluate import report_run

    return report_run(run, split=split)
