"""A second pair of eyes, tested: errors are planted in annotations, and denoisers trained on these must find them.

    python benchmarks/planted_labels.py faces68-denoiser --data ../shared/data/faces68

One per cent of the points is moved anywhere in the object's box, one per cent of the left/right pairs exchanged, by a seed that
only the planting sees. The objects are dealt into two halves; a denoiser trained on one half, its planted errors included,
ranks the other (out of fold). Records labels/planted-moved and labels/planted-swapped: area under the precision-recall curve.
No image is read: the annotations are written out beside blank pictures of the true sizes.
"""

import argparse
import csv
import itertools
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from snellen import api
from snellen.config import DenoisingConfig
from snellen.data import PointSet, build_points
from snellen.evaluation.detection import Detection, detection
from snellen.evaluation.results.records import Record, add_record, mean_interval
from snellen.evaluation.suspects import Suspect, rank_suspects
from snellen.inference import load_denoiser
from snellen.keypoints import Keypoints
from snellen.training.runs import RunFolder

SHARE = 0.01
ALARM = 6.0
#: What the ranking is asked for: kind of finding -> record.
RECORDS = {"moved": "labels/planted-moved", "swapped": "labels/planted-swapped"}


@dataclass(frozen=True)
class Planted:
    """Annotations with errors, and which they are: (object, names of the points)."""

    points: PointSet
    moved: set[tuple[int, tuple[str, ...]]]
    swapped: set[tuple[int, tuple[str, ...]]]


def plant(points: PointSet, seed: int, share: float = SHARE) -> Planted:
    """Move a share of the labelled points anywhere in their object's box, and exchange a share of the pairs; never both."""
    rng, schema = np.random.default_rng(seed), points.schema
    wrong: list[Keypoints] = []
    moved: set[tuple[int, tuple[str, ...]]] = set()
    swapped: set[tuple[int, tuple[str, ...]]] = set()
    for i, (found, box) in enumerate(zip(points.keypoints, points.boxes, strict=True)):
        xy, touched = found.xy.copy(), np.zeros(len(schema), dtype=np.bool_)
        for a, b in schema.swaps:
            pair = [schema.index(a), schema.index(b)]
            if rng.uniform() < share and found.labelled[pair].all():
                xy[pair] = xy[pair[::-1]]
                touched[pair] = True
                swapped.add((i, (a, b)))
        for k in np.flatnonzero((rng.uniform(size=len(schema)) < share) & found.labelled & ~touched):
            xy[k] = rng.uniform([box.left, box.top], [box.right, box.bottom])
            moved.add((i, (schema.points[k],)))
        wrong.append(Keypoints(xy, found.visibility, schema))
    return Planted(replace(points, keypoints=wrong), moved, swapped)


def write_annotations(points: PointSet, folder: Path) -> list[Path]:
    """Two CSV files of every second object, and a blank picture of each object's size; coordinates from the corner."""
    folder.mkdir(parents=True, exist_ok=True)
    header = ["file", *itertools.chain.from_iterable((f"{p}_x", f"{p}_y") for p in points.schema.points)]
    files = [folder / "half0.csv", folder / "half1.csv"]
    for half, file in enumerate(files):
        with file.open("w", newline="", encoding="utf-8") as opened:
            writer = csv.writer(opened)
            writer.writerow(header)
            for i in range(half, len(points), 2):
                height, width = points.sizes[i]
                Image.new("1", (width, height)).save(folder / f"{i:06d}.png")
                xy = points.keypoints[i].xy.ravel()
                writer.writerow([f"{i:06d}.png", *("" if np.isnan(v) else f"{v:.4f}" for v in xy)])
    return files


def judge(suspects: Sequence[Suspect], planted: Planted) -> dict[str, Detection]:
    """Precision and recall of each kind of finding; a kind of which nothing was planted is left out."""
    answers = {}
    for kind, looked_for in (("moved", planted.moved), ("swapped", planted.swapped)):
        of_kind = [s for s in suspects if s.kind == kind]
        true = [(s.index, s.points) in looked_for for s in of_kind]
        if any(true):
            answers[kind] = detection([s.score for s in of_kind], true, threshold=ALARM)
    return answers


def out_of_fold(points: PointSet, config: DenoisingConfig, folder: Path, settings: dict[str, Any]) -> list[Suspect]:
    """Findings on every object, by a denoiser trained on the half that it is not in."""
    files = write_annotations(points, folder)
    suspects = []
    for half in range(2):
        run = RunFolder(folder / f"judge{half}")
        if not run.finished:
            data = {
                "data.format": "csv", "data.root": str(folder), "data.annotations": files[1 - half].name, "data.origin": 0.5,
                "data.schema": points.schema.name, "data.train_folders": [], "data.test_groups": {},
            }  # fmt: skip
            api.train(config.recipe, seed=config.seed, out=str(folder), name=run.path.name, **{**data, **settings})
        mine = list(range(half, len(points), 2))
        found = rank_suspects(
            [points.keypoints[i] for i in mine],
            load_denoiser(run.path),
            boxes=[points.boxes[i] for i in mine],
            sizes=[points.sizes[i] for i in mine],
            names=[points.names[i] for i in mine],
            alarm=ALARM,
        )
        suspects += [replace(s, index=mine[s.index]) for s in found]
    return suspects


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="of a denoiser, e.g. faces68-denoiser")
    parser.add_argument("--data", help="folder of the data; none for wings")
    parser.add_argument("--plantings", type=int, default=1, help="how often errors are planted anew")
    parser.add_argument(
        "--set", nargs="*", action="extend", default=[], metavar="SETTING=VALUE", help="settings by dotted names"
    )
    parser.add_argument("--runs", default="runs/planted")
    parser.add_argument("--results", default="results")
    chosen = parser.parse_args(argv)
    settings = {key: yaml.safe_load(value) for key, value in (s.split("=", 1) for s in chosen.set)}
    root = {} if chosen.data is None else {"data.root": chosen.data}
    config = api.resolve(chosen.recipe, {**settings, **root})
    if not isinstance(config, DenoisingConfig):
        raise SystemExit(f"{chosen.recipe} is of the task {config.task}; give the recipe of a denoiser")
    clean = build_points(config.data, "train")
    outcomes: list[dict[str, Detection]] = []
    for number in range(chosen.plantings):
        planted = plant(clean, secrets.randbits(63))
        folder = Path(chosen.runs) / f"{config.recipe}-{secrets.token_hex(4)}-{number}"
        outcomes.append(judge(out_of_fold(planted.points, config, folder, settings), planted))
    for kind, name in RECORDS.items():
        found = [o[kind] for o in outcomes if kind in o]
        if not found:
            print(f"{name}: nothing of the kind could be planted")
            continue
        values = [d.area for d in found]
        flags = " --data DATA" * bool(chosen.data) + f" --plantings {chosen.plantings}"
        flags += f" --set {shlex.join(chosen.set)}" * bool(chosen.set)
        record = Record.here(
            name=name,
            metric=f"area under precision-recall, {config.recipe}",
            unit="of 1",
            values=values,
            interval=mean_interval(values),
            train_seconds=0.0,
            steps=config.train.steps,
            command=f"python benchmarks/planted_labels.py {config.recipe}{flags}",
            note=f"{found[0].count} ranked, {100 * found[0].share:.2f} % planted; above {ALARM:g} nats precision "
            f"{np.mean([d.precision for d in found]):.2f}, recall {np.mean([d.recall for d in found]):.2f}",
            extra={"detections": [vars(d) for d in found]},
        )
        add_record(Path(chosen.results) / "labels.json", record)
        print(f"{record.name}: {record.mean:.3f}; {record.note}")


if __name__ == "__main__":
    main()
