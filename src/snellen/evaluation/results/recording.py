"""From scored runs of several seeds to records of results/."""

import csv
from collections.abc import Mapping, Sequence
from typing import Any

from snellen.config import ConfigError
from snellen.evaluation.results.records import Record, mean_interval
from snellen.training.runs import RunFolder

__all__ = ["MAIN", "METRICS", "has_metric", "records_of", "run_circumstances"]

#: Score in evaluation-SPLIT.json -> what the record calls it, its unit, and the factor to it.
METRICS = {
    "nme": ("nme", "%", 100),
    "median": ("median over images", "%", 100),
    "failure_rate": ("failures above 10 %", "%", 100),
    "grid80": ("nme on the paper's 80-grid", "%", 100),
    "point_median_pixels": ("median point error", "px", 1),
    "point_p95_pixels": ("95th percentile point error", "px", 1),
    "top1": ("top-1 accuracy", "%", 100),
    "top5": ("top-5 accuracy", "%", 100),
    "ece": ("expected calibration error", "%", 100),
    "corruption_error": ("error on corrupted images", "%", 100),
    "shift_consistency": ("same answer for two shifts", "%", 100),
    "mean_flip_probability": ("answer changes between frames", "%", 100),
    "mean_iou": ("mean IoU", "%", 100),
    "boundary_f": ("boundary F-score", "%", 100),
    "pixel_accuracy": ("pixel accuracy", "%", 100),
    "checkerboard.fixed": ("fixed 2x2 pattern in the logits", "% of energy", 100),
    "checkerboard.modulated": ("modulated 2x2 pattern in the logits", "%", 100),
    "checkerboard.answers.fixed": ("fixed 2x2 pattern in the pictures", "% of energy", 100),
    "checkerboard.answers.modulated": ("modulated 2x2 pattern in the pictures", "%", 100),
    "psnr": ("PSNR", "dB", 1),
    "gain": ("PSNR above bicubic", "dB", 1),
    # Of a keypoint model joined with a denoiser, against the same model without it on the same images; of the hardest tenth
    # only pairs can be told, since both models' errors say which images these are (evaluation/joint.py).
    "denoiser.gains.all.difference": ("change of nme, all", "%", 100),
    "denoiser.gains.hardest tenth.first": ("nme without the denoiser, hardest tenth", "%", 100),
    "denoiser.gains.hardest tenth.second": ("nme, hardest tenth", "%", 100),
    "denoiser.gains.hardest tenth.difference": ("change of nme, hardest tenth", "%", 100),
    # Of gaze, whose scores say the unit: degrees between directions, or centimetres between points.
    "error": ("mean error of the gaze", "", 1),
    "person_mean": ("mean error of the gaze, mean over people", "", 1),
}
#: Scores whose interval over images (of gaze, over people) is known, so that a single seed has one; each is its task's main
#: number.
MAIN = ("nme", "top1", "mean_iou", "psnr", "error")


def run_circumstances(folder: RunFolder) -> dict[str, Any]:
    """What run.json says, and `curve`, the [step, score] of the validations."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = csv.DictReader(file)
        main = next(name for name in rows.fieldnames or [] if name.startswith("val/"))
        curve = [[int(r["step"]), float(r[main])] for r in rows]
    return {**folder.info(), "curve": curve}


def records_of(
    name: str,
    outcomes: Sequence[tuple[dict[str, Any], dict[str, Any]]],
    *,
    seeds: Sequence[int],
    command: str,
    metrics: Sequence[str] = (),
    note: str = "",
) -> list[Record]:
    """A record a metric of the same runs.

    Args:
        name: of the records, e.g. "faces5/rcn".
        outcomes: of each seed its scores (evaluation-SPLIT.json) and circumstances (`run_circumstances`).
        seeds: in that order.
        command: what repeats them, `N` standing for the seed.
        metrics: of `METRICS`, "nme:NORMALISER" or "per_class_iou.CLASS"; by default the task's main one.
        note: one sentence of context.

    Raises:
        ConfigError: for a metric that is not known, or that the runs were not scored by.
    """
    scores = [s for s, _ in outcomes]
    info = outcomes[-1][1]
    made = []
    for metric in metrics or [next(m for m in MAIN if m in scores[0])]:
        own = scores[0].get(f"{metric}_normaliser", scores[0].get("normaliser", ""))
        words, unit, factor, normaliser = _described(metric, own)
        unit = unit or scores[0]["unit"]
        values = [factor * _value(s, metric) for s in scores]
        ends = scores[0]["interval"] if metric in MAIN else scores[0].get("intervals", {}).get(metric)
        over_images = [factor * v for v in ends] if ends else [values[0], values[0]]
        record = Record(
            name=name,
            metric=words,
            unit=unit,
            normaliser=normaliser,
            values=values,
            interval=mean_interval(values) if len(values) > 1 else over_images,
            train_seconds=sum(i["train_seconds"] for _, i in outcomes) / len(outcomes),
            steps=info["steps"],
            command=command,
            hardware=info["hardware"],
            device=info["device"],
            threads=info["threads"],
            versions=info["versions"],
            commit=info["commit"],
            date=info["date"],
            pretrained=False,
            note=note,
            seeds=list(seeds),
            extra=_extra(outcomes) if metric in MAIN else {},
        )
        made.append(record)
    return made


def has_metric(scores: Mapping[str, Any], metric: str) -> bool:
    """Whether scores hold a metric, so that it can be recorded."""
    try:
        _value(scores, metric)
    except ConfigError:
        return False
    return True


def _described(metric: str, normaliser: str) -> tuple[str, str, float, str]:
    """Name, unit, factor and normaliser of a metric.

    "nme:NORMALISER" is the mean error over another distance, "per_class_iou.CLASS" the IoU of one class.
    """
    if metric.startswith("nme:"):
        return f"nme over {metric[4:]}", "%", 100, metric[4:]
    if metric.startswith("per_class_iou."):
        return f"IoU of {metric.removeprefix('per_class_iou.')}", "%", 100, ""
    if metric not in METRICS:
        raise ConfigError(
            f"there is no metric {metric!r}; choose of {', '.join(METRICS)}, nme:NORMALISER, per_class_iou.CLASS"
        )
    name, unit, factor = METRICS[metric]
    return name, unit, factor, "" if unit == "px" else normaliser


def _value(scores: Mapping[str, Any], metric: str) -> float:
    keys = ["other_normalisers", metric[4:]] if metric.startswith("nme:") else metric.split(".")
    found: Any = scores
    for key in keys:
        if not isinstance(found, Mapping) or found.get(key) is None:
            raise ConfigError(f"{scores.get('run')} was not scored by {metric}; evaluate it again, with robustness")
        found = found[key]
    return float(found)


def _extra(outcomes: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """Further numbers of the same runs, kept beside the main one."""
    first = outcomes[0][0]
    keep = (
        "nme",
        "median",
        "failure_rate",
        "auc",
        "point_median_pixels",
        "point_p95_pixels",
        "grid80",
        "grid80_normaliser",
        "calibration_error",
        "other_normalisers",
        "groups",
        "top1",
        "top5",
        "ece",
        "corruptions",
        "flip_probability",
        "mean_iou",
        "per_class_iou",
        "boundary_f",
        "per_class_boundary_f",
        "checkerboard",
        "psnr",
        "bicubic_psnr",
        "axes",
        "by_person",
        "by_head_yaw",
    )
    denoised = ("weight", "fitted", "gains")
    return {
        "scores": [{k: s[k] for k in keep if k in s} for s, _ in outcomes],
        **({"denoiser": [{k: s["denoiser"][k] for k in denoised} for s, _ in outcomes]} if "denoiser" in first else {}),
        **({"box_jitter": first["box_jitter"]} if "box_jitter" in first else {}),
        "parameters": first["parameters"],
        "curves": [i["curve"] for _, i in outcomes],
    }
