"""Train a recipe with several seeds, score a split, and store the outcome as one record of results/.

    python benchmarks/record.py faces5/rcn faces5-rcn --seeds 0 1 2 --set data.root=../shared/data/faces5

Runs that are finished are not repeated, so the command can be interrupted and given again.
"""

import argparse
import csv
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from snellen import api
from snellen.config import RunConfig, to_dict
from snellen.evaluation.results import Record, add_record, mean_interval
from snellen.models import model_choices
from snellen.training.runs import RunFolder

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
    "psnr": ("PSNR", "dB", 1),
    "gain": ("PSNR above bicubic", "dB", 1),
    # Of gaze, whose scores say the unit: degrees between directions, or centimetres between points.
    "error": ("mean error of the gaze", "", 1),
    "person_mean": ("mean error of the gaze, mean over people", "", 1),
}
#: Scores whose interval over images (of gaze, over people) is known, so that a single seed has one; each is its task's main
#: number.
MAIN = ("nme", "top1", "mean_iou", "psnr", "error")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", help="record name, e.g. faces5/rcn")
    parser.add_argument("recipe")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], metavar="SETTING=VALUE", help="settings by dotted names")
    parser.add_argument("--split", default="test")
    parser.add_argument(
        "--metrics", nargs="+", help=f"{', '.join(METRICS)}, nme:NORMALISER; by default the task's main one"
    )
    parser.add_argument("--note", default="")
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--results", default="results")
    parser.add_argument("--runs-of", default="", metavar="RECORD", help="score the runs of another record again")
    parser.add_argument("--flip", action=argparse.BooleanOptionalAction, help="as for snellen evaluate")
    parser.add_argument("--decoder", help="as for snellen evaluate")
    parser.add_argument("--no-robustness", action="store_true", help="do not measure the error against the box")
    chosen = parser.parse_args(argv)
    overrides = {key: yaml.safe_load(value) for key, value in (s.split("=", 1) for s in chosen.set)}
    outcomes = [one_seed(chosen, overrides, seed) for seed in chosen.seeds]
    scores = [s for s, _ in outcomes]
    info = outcomes[-1][1]
    for metric in chosen.metrics or [next(m for m in MAIN if m in scores[0])]:
        name, unit, factor, normaliser = _described(metric, scores[0].get("normaliser", ""))
        unit = unit or scores[0]["unit"]
        values = [factor * _value(s, metric) for s in scores]
        over_images = [factor * v for v in scores[0]["interval"]] if metric in MAIN else [values[0], values[0]]
        record = Record(
            name=chosen.record,
            metric=name,
            unit=unit,
            normaliser=normaliser,
            values=values,
            interval=mean_interval(values) if len(values) > 1 else over_images,
            train_seconds=sum(i["train_seconds"] for _, i in outcomes) / len(outcomes),
            steps=info["steps"],
            command=_command(chosen),
            hardware=info["hardware"],
            device=info["device"],
            threads=info["threads"],
            versions=info["versions"],
            commit=info["commit"],
            date=info["date"],
            pretrained=False,
            note=chosen.note,
            seeds=chosen.seeds,
            extra=_extra(outcomes) if metric in MAIN else {},
        )
        add_record(Path(chosen.results) / f"{chosen.record.split('/')[0]}.json", record)
        print(f"{record.name} {name}: {record.mean:.3f} ± {record.spread:.3f} {unit} {values}")


def _described(metric: str, normaliser: str) -> tuple[str, str, float, str]:
    """Name, unit, factor and normaliser of a metric; "nme:NORMALISER" is the mean error over another distance."""
    if metric.startswith("nme:"):
        return f"nme over {metric[4:]}", "%", 100, metric[4:]
    if metric not in METRICS:
        raise SystemExit(f"there is no metric {metric!r}; choose of {', '.join(METRICS)}, nme:NORMALISER")
    name, unit, factor = METRICS[metric]
    return name, unit, factor, "" if unit == "px" else normaliser


def _value(scores: dict[str, Any], metric: str) -> float:
    if metric.startswith("nme:"):
        return float(scores["other_normalisers"][metric[4:]])
    found: Any = scores
    for key in metric.split("."):
        found = found[key]
    return float(found)


def _command(chosen: argparse.Namespace) -> str:
    """What a reader types to repeat a seed `N`; the path of the data is the reader's own."""
    settings = [s.split("=", 1) for s in chosen.set]
    flags = "".join(f" --{k} {'DATA' if k == 'data.root' else shlex.quote(v)}" for k, v in settings)
    run = _run(chosen.runs_of or chosen.record, "N")
    scoring = f"snellen evaluate runs/{run} --split {chosen.split}"
    if chosen.flip is not None:
        scoring += " --flip" if chosen.flip else " --no-flip"
    if chosen.decoder:
        scoring += f" --decoder {chosen.decoder}"
    return f"snellen train {chosen.recipe}{flags} --seed N --name {run} && {scoring}"


def _run(record: str, seed: int | str) -> str:
    return f"{record.replace('/', '-')}-seed{seed}"


def _extra(outcomes: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
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
    return {
        "scores": [{k: s[k] for k in keep if k in s} for s, _ in outcomes],
        **({"box_jitter": first["box_jitter"]} if "box_jitter" in first else {}),
        "parameters": first["parameters"],
        "curves": [i["curve"] for _, i in outcomes],
    }


def _refuse_other_settings(folder: RunFolder, wanted: RunConfig) -> None:
    """A finished run of the name may be of an older recipe: its numbers would be stored under a false command."""
    have, want = to_dict(folder.config()), to_dict(wanted)
    for values in (have, want):
        for key in ("recipe", "out", "name"):
            values.pop(key)
        values["data"].pop("root")
        # Resolved, since a command line writes some choices in other words: 0111 as the number 111.
        values["model"] = model_choices(values["model"]["name"], **values["model"]["choices"])
    different = [
        f"{group}.{key}" for group in want if isinstance(want[group], dict)
        for key in want[group] if have[group].get(key) != want[group][key]
    ]  # fmt: skip
    if different or have["seed"] != want["seed"]:
        raise SystemExit(f"{folder.path} was trained with other settings ({', '.join(different)}); move it away first")


def one_seed(chosen: argparse.Namespace, overrides: dict[str, Any], seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train (or resume, or take the finished run) and score; returns the scores and the run's circumstances."""
    folder = RunFolder(Path(chosen.runs) / _run(chosen.runs_of or chosen.record, seed))
    if folder.finished and not chosen.runs_of:
        _refuse_other_settings(folder, api.resolve(chosen.recipe, {**overrides, "seed": seed}))
    if not folder.finished:
        if folder.last_checkpoint.exists():
            api.resume(folder.path)
        else:
            api.train(chosen.recipe, seed=seed, name=folder.path.name, out=str(folder.path.parent), **overrides)
    stored = folder / f"evaluation-{chosen.split}.json"
    asked = chosen.flip is not None or chosen.decoder is not None
    if stored.exists() and not asked and not chosen.runs_of:
        scores = json.loads(stored.read_text())["scores"]
    else:
        # The error against the box is measured once: a dozen more passes a seed would add nothing.
        robustness = seed == chosen.seeds[0] and not chosen.no_robustness
        scores = api.evaluate(
            folder.path, split=chosen.split, robustness=robustness, flip=chosen.flip, decoder=chosen.decoder
        )
    with (folder / "metrics.csv").open(newline="") as file:
        rows = csv.DictReader(file)
        main = next(name for name in rows.fieldnames or [] if name.startswith("val/"))
        curve = [[int(r["step"]), float(r[main])] for r in rows]
    return scores, {**folder.info(), "curve": curve}


if __name__ == "__main__":
    main()
