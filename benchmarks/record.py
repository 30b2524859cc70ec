"""Train a recipe with several seeds, score a split, and store the outcome as one record of results/.

    python benchmarks/record.py faces5/rcn faces5-rcn --seeds 0 1 2 --set data.root=../shared/data/faces5

Runs that are finished are not repeated, so the command can be interrupted and given again.
"""

import argparse
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from snellen import api
from snellen.config import RunConfig
from snellen.evaluation.compare.settings import differing_settings
from snellen.evaluation.results.recording import METRICS, records_of, run_circumstances
from snellen.evaluation.results.records import add_record
from snellen.training.runs import RunFolder


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
    records = records_of(
        chosen.record,
        outcomes,
        seeds=chosen.seeds,
        command=_command(chosen),
        metrics=chosen.metrics or (),
        note=chosen.note,
    )
    for record in records:
        add_record(Path(chosen.results) / f"{chosen.record.split('/')[0]}.json", record)
        print(f"{record.name} {record.metric}: {record.mean:.3f} ± {record.spread:.3f} {record.unit} {record.values}")


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


def _refuse_other_settings(folder: RunFolder, wanted: RunConfig) -> None:
    """A finished run of the name may be of an older recipe: its numbers would be stored under a false command."""
    different = [key for key in differing_settings(folder.config(), wanted) if key != "data.root"]
    if different:
        raise SystemExit(f"{folder.path} was trained with other settings ({', '.join(different)}); move it away first")


def train_once(folder: RunFolder, recipe: str, overrides: dict[str, Any], seed: int) -> None:
    """Train into a folder, go on with a run that stopped, or leave a finished one of equal settings as it is."""
    if folder.finished:
        _refuse_other_settings(folder, api.resolve(recipe, {**overrides, "seed": seed}))
    elif folder.last_checkpoint.exists():
        api.resume(folder.path)
    else:
        api.train(recipe, seed=seed, name=folder.path.name, out=str(folder.path.parent), **overrides)


def one_seed(chosen: argparse.Namespace, overrides: dict[str, Any], seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train (or resume, or take the finished run) and score; returns the scores and the run's circumstances."""
    folder = RunFolder(Path(chosen.runs) / _run(chosen.runs_of or chosen.record, seed))
    if not (folder.finished and chosen.runs_of):
        train_once(folder, chosen.recipe, overrides, seed)
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
    return scores, run_circumstances(folder)


if __name__ == "__main__":
    main()
