"""Train a recipe with several seeds, score a split, and store the outcome as one record of results/.

    python benchmarks/record.py faces5/rcn faces5-rcn --seeds 0 1 2 --set data.root=../shared/data/faces5

Runs that are finished are not repeated, so the command can be interrupted and given again.
"""

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from snellen import api
from snellen.evaluation.results import Record, add_record, mean_interval
from snellen.training.runs import RunFolder

#: Score in evaluation-SPLIT.json -> what the record calls it, its unit, and the factor to it.
METRICS = {
    "nme": ("nme", "%", 100),
    "median": ("median over images", "%", 100),
    "failure_rate": ("failures above 10 %", "%", 100),
    "grid80": ("nme on the paper's 80-grid", "%", 100),
    "point_median_pixels": ("median point error", "px", 1),
    "point_p95_pixels": ("95th percentile point error", "px", 1),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", help="record name, e.g. faces5/rcn")
    parser.add_argument("recipe")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], metavar="SETTING=VALUE", help="settings by dotted names")
    parser.add_argument("--split", default="test")
    parser.add_argument("--metrics", nargs="+", default=["nme"], choices=METRICS)
    parser.add_argument("--note", default="")
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--results", default="results")
    parser.add_argument("--no-robustness", action="store_true", help="do not measure the error against the box")
    chosen = parser.parse_args(argv)
    overrides = {key: yaml.safe_load(value) for key, value in (s.split("=", 1) for s in chosen.set)}
    outcomes = [one_seed(chosen, overrides, seed) for seed in chosen.seeds]
    scores = [s for s, _ in outcomes]
    info = outcomes[-1][1]
    flags = " ".join(f"--{s.replace('=', ' ', 1)}" for s in chosen.set if not s.startswith("data.root="))
    data = " --data.root DATA" if any(s.startswith("data.root=") for s in chosen.set) else ""
    run = f"runs/{chosen.record.replace('/', '-')}-seedN"
    command = f"snellen train {chosen.recipe}{data} --seed N{' ' + flags if flags else ''} --name {Path(run).name}"
    for metric in chosen.metrics:
        name, unit, factor = METRICS[metric]
        values = [factor * s[metric] for s in scores]
        over_images = [factor * v for v in scores[0]["interval"]] if metric == "nme" else [values[0], values[0]]
        record = Record(
            name=chosen.record,
            metric=name,
            unit=unit,
            normaliser="" if unit == "px" else scores[0]["normaliser"],
            values=values,
            interval=mean_interval(values) if len(values) > 1 else over_images,
            train_seconds=sum(i["train_seconds"] for _, i in outcomes) / len(outcomes),
            steps=info["steps"],
            command=f"{command} && snellen evaluate {run} --split {chosen.split}",
            hardware=info["hardware"],
            device=info["device"],
            threads=info["threads"],
            versions=info["versions"],
            commit=info["commit"],
            date=info["date"],
            pretrained=False,
            note=chosen.note,
            seeds=chosen.seeds,
            extra=_extra(outcomes) if metric == "nme" else {},
        )
        add_record(Path(chosen.results) / f"{chosen.record.split('/')[0]}.json", record)
        print(f"{record.name} {name}: {record.mean:.3f} ± {record.spread:.3f} {unit} {values}")


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
    )
    return {
        "scores": [{k: s[k] for k in keep if k in s} for s, _ in outcomes],
        "box_jitter": first["box_jitter"],
        "parameters": first["parameters"],
        "curves": [i["curve"] for _, i in outcomes],
    }


def one_seed(chosen: argparse.Namespace, overrides: dict[str, Any], seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train (or resume, or take the finished run) and score; returns the scores and the run's circumstances."""
    folder = RunFolder(Path(chosen.runs) / f"{chosen.record.replace('/', '-')}-seed{seed}")
    if not folder.finished:
        if folder.last_checkpoint.exists():
            api.resume(folder.path)
        else:
            api.train(chosen.recipe, seed=seed, name=folder.path.name, out=str(folder.path.parent), **overrides)
    stored = folder / f"evaluation-{chosen.split}.json"
    if stored.exists():
        scores = json.loads(stored.read_text())["scores"]
    else:
        # The error against the box is measured once: twelve more passes a seed would add nothing.
        robustness = seed == chosen.seeds[0] and not chosen.no_robustness
        scores = api.evaluate(folder.path, split=chosen.split, robustness=robustness)
    with (folder / "metrics.csv").open(newline="") as file:
        curve = [[int(r["step"]), float(r["val/nme"])] for r in csv.DictReader(file)]
    return scores, {**folder.info(), "curve": curve}


if __name__ == "__main__":
    main()
