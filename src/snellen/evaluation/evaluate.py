"""Scoring a run of any task on a split of its data, and writing its report."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snellen.config import (
    ClassificationConfig,
    ConfigError,
    DenoisingConfig,
    GazeConfig,
    KeypointConfig,
    RunConfig,
    SegmentationConfig,
    SuperResolutionConfig,
    override,
    to_dict,
)
from snellen.data import Split, as_split
from snellen.evaluation.baselines import against_baseline, read_baseline
from snellen.evaluation.joint import Conditions, parse_weight
from snellen.training.runs import RunFolder, environment, write_atomically

__all__ = ["count_test_look", "evaluate_run", "report_run"]


def evaluate_run(
    run: str | Path,
    *,
    split: str = "val",
    data: str | None = None,
    on_error: str | None = None,
    robustness: bool = True,
    flip: bool | None = None,
    decoder: str | None = None,
    corrupted: str | None = None,
    baseline: str | Path | None = None,
    denoiser: str | Path | None = None,
    denoiser_weight: float | str | None = None,
    occlude: bool = False,
    name: str | None = None,
) -> dict[str, Any]:
    """Score a run on a split; writes evaluation-SPLIT.json and what the report needs into the run folder.

    `name`, of a keypoint run, is put after the split in the names of files, so that scores asked for in another way are kept
    beside the plain ones.

    The validation split is scored as it was during training, with the run's validation changes drawn once an image; other
    splits are scored as they are. See `snellen.api.evaluate`.
    """
    folder = RunFolder(run)
    config = folder.config()
    chosen = as_split(split)
    drawn = isinstance(config, KeypointConfig | DenoisingConfig) and config.data.format == "wings"
    if data is not None and drawn:
        raise ConfigError(f"{folder.path} was trained on drawn wings, which have no folder; leave --data out")
    if decoder is not None and not isinstance(config, KeypointConfig):
        raise ConfigError(f"{folder.path} is of the task {config.task}, which no decoder reads; leave --decoder out")
    if corrupted is not None and not isinstance(config, ClassificationConfig):
        raise ConfigError(f"{folder.path} is of the task {config.task}, not classification; leave --corrupted out")
    if baseline is not None and not (isinstance(config, ClassificationConfig) and robustness):
        raise ConfigError(
            f"a baseline is for the robustness of classes, and {folder.path} is of the task {config.task} or scored without; "
            "leave --baseline out"
        )
    reference = None if baseline is None else read_baseline(baseline, chosen)
    if (denoiser is not None or occlude) and not isinstance(config, KeypointConfig):
        raise ConfigError(
            f"{folder.path} is of the task {config.task}, not keypoints; leave --denoiser and --occlude out"
        )
    if denoiser is None and denoiser_weight is not None:
        raise ConfigError(
            "--denoiser-weight weighs a denoiser's answers; name its run with --denoiser, or leave it out"
        )
    conditions = Conditions(None if denoiser is None else str(denoiser), parse_weight(denoiser_weight), occlude, name)
    asked = {
        "data.root": data,
        "data.on_error": on_error,
        "evaluate.flip": flip,
        "evaluate.decoder": decoder,
        "evaluate.corrupted": corrupted,
    }
    config = override(to_dict(config), {key: value for key, value in asked.items() if value is not None})
    scores = _finite(_score(folder, config, chosen, robustness, conditions))
    result = {
        "run": str(folder.path), "task": config.task, "data": _data_name(config), "split": split, **scores
    }  # fmt: skip
    now = environment()
    if split == "test" and not drawn:
        # Before anything that may refuse: the split has been looked at.
        _count_test_look(folder, config, result, now)
    if reference is not None:
        result |= against_baseline(scores, reference)
    text = json.dumps({"scores": result, **now}, indent=1, allow_nan=False)
    # Written last: its presence means that the scoring is complete, and counted.
    write_atomically(folder / f"evaluation-{split}{conditions.suffix}.json", text + "\n")
    return result


def _score(
    folder: RunFolder, config: RunConfig, split: Split, robustness: bool, conditions: Conditions
) -> dict[str, Any]:
    if isinstance(config, KeypointConfig):
        from snellen.evaluation.keypoints import evaluate_keypoints

        return evaluate_keypoints(folder, config, split, robustness=robustness, conditions=conditions)
    if isinstance(config, ClassificationConfig):
        from snellen.evaluation.classes import evaluate_classes

        return evaluate_classes(folder, config, split, robustness=robustness)
    if isinstance(config, SegmentationConfig):
        from snellen.evaluation.labels import evaluate_labels

        return evaluate_labels(folder, config, split, robustness=robustness)
    if isinstance(config, SuperResolutionConfig):
        from snellen.evaluation.superresolution import evaluate_pictures

        return evaluate_pictures(folder, config, split)
    if isinstance(config, GazeConfig):
        from snellen.evaluation.gaze import evaluate_gaze

        return evaluate_gaze(folder, config, split)
    if isinstance(config, DenoisingConfig):
        from snellen.evaluation.denoising import evaluate_denoising

        return evaluate_denoising(folder, config, split)
    raise TypeError(f"no scoring is known for {type(config).__name__}")


def _data_name(config: RunConfig) -> str:
    return str(getattr(config.data, "format", "images"))


def _finite(value: Any) -> Any:
    """JSON knows no NaN: what is not known becomes None."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _headline(scores: Mapping[str, Any]) -> tuple[str, Any]:
    """The number that a test is remembered by, and its name."""
    if scores["task"] == "classification":
        return "top1", scores["top1"]
    if scores["task"] == "segmentation":
        return "mean_iou", scores["mean_iou"]
    if scores["task"] == "super-resolution":
        return "psnr", scores["psnr"]
    if scores["task"] == "gaze":
        return f"error, {scores['unit']}", scores["error"]
    if scores["task"] == "denoising":
        return f"nme of changed points / {scores['normaliser']}", scores["nme"]
    return f"nme / {scores['normaliser']}", scores["nme"]


def _count_test_look(folder: RunFolder, config: RunConfig, result: dict[str, Any], now: dict[str, Any]) -> None:
    """Count the scoring of a test split; drawn data is not counted: every seed of it is new."""
    metric, value = _headline(result)
    line: dict[str, Any] = {
        "date": now["date"],
        "commit": now["commit"],
        "recipe": config.recipe,
        "run": folder.path.name,
        "seed": config.seed,
        "metric": metric,
        "value": value,
        "data": Path(config.data.root or "").name,
        **{key: result[key] for key in ("flip", "decoder", "occluded") if key in result},
        **({"denoiser": Path(result["denoiser"]["run"]).name} if "denoiser" in result else {}),
    }
    count_test_look(line, elsewhere=folder.path)


def count_test_look(line: Mapping[str, Any], *, elsewhere: Path) -> None:
    """Add a line to the ledger of test evaluations: how often a test was looked at is part of the result.

    Args:
        line: JSON-able; date, commit, recipe, run, seed, metric, value and data at least.
        elsewhere: folder of the ledger where the working directory is no checkout of snellen with results/.
    """
    project = Path("pyproject.toml")
    checkout = project.is_file() and 'name = "snellen"' in project.read_text(encoding="utf-8")
    ledger = Path("results") if checkout and Path("results").is_dir() else elsewhere
    with (ledger / "test-evaluations.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(dict(line)) + "\n")


def report_run(run: str | Path, *, split: str = "") -> Path:
    """Write report.html from the newest evaluation (or that of `split`), evaluating where there is none."""
    file = _report(run, split)
    if (RunFolder(run) / "zoom-history.npz").is_file():
        from snellen.evaluation.reports.zoom import add_zoom_section

        write_atomically(file, add_zoom_section(file.read_text(encoding="utf-8"), RunFolder(run)))
    return file


def _report(run: str | Path, split: str) -> Path:
    folder = RunFolder(run)
    config = folder.config()  # refuses what is no run folder
    found = sorted(folder.path.glob(f"predictions-{split or '*'}.json"), key=lambda f: f.stat().st_mtime)
    if not found:
        evaluate_run(run, split=split or "val")
        found = [folder / f"predictions-{split or 'val'}.json"]
    if isinstance(config, ClassificationConfig):
        from snellen.evaluation.class_record import ClassRecord
        from snellen.evaluation.reports.classes import write_class_report

        return write_class_report(ClassRecord.load(found[-1]), folder / "report.html")
    if isinstance(config, SegmentationConfig):
        from snellen.evaluation.label_record import LabelRecord
        from snellen.evaluation.reports.labels import write_label_report

        return write_label_report(LabelRecord.load(found[-1]), folder / "report.html")
    if isinstance(config, SuperResolutionConfig):
        from snellen.evaluation.reports.superresolution import write_super_report
        from snellen.evaluation.superresolution import SuperRecord

        return write_super_report(SuperRecord.load(found[-1]), folder / "report.html")
    if isinstance(config, GazeConfig):
        from snellen.evaluation.gaze_record import GazeRecord
        from snellen.evaluation.reports.gaze import write_gaze_report

        return write_gaze_report(GazeRecord.load(found[-1]), folder / "report.html")
    if isinstance(config, DenoisingConfig):
        from snellen.evaluation.denoising import DenoisingRecord
        from snellen.evaluation.reports.denoising import write_denoising_report

        return write_denoising_report(DenoisingRecord.load(found[-1]), folder / "report.html")
    from snellen.evaluation.record import EvaluationRecord
    from snellen.evaluation.reports.keypoints import write_report

    return write_report(EvaluationRecord.load(found[-1]), folder / "report.html")
