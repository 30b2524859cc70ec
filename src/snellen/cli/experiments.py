"""The command line of `snellen compare` and `snellen reproduce`."""

import argparse
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snellen.config import ConfigError, nearest

__all__ = ["OVERVIEW", "compare", "reproduce"]

OVERVIEW = """\
  compare RECIPE --vary KEY=VALUE,VALUE [--seeds N] [--SETTING VALUE ...]   train it in several ways, compare
  compare RUN RUN ...                                                compare finished runs image by image
  reproduce [NAME --data PATH [--quick]]                             run a paper's claim, or list them"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise ConfigError(f"{message}; see {self.prog} --help")


def compare(arguments: Sequence[str]) -> int:
    """`snellen compare`: a recipe in several ways, or finished runs; returns the exit status, 1 where a run failed."""
    parser = _Parser(
        prog="snellen compare",
        usage="snellen compare RECIPE --vary KEY=VALUE,VALUE ... [--SETTING VALUE ...]\n       snellen compare RUN RUN ...",
        description="Train a recipe in several ways, or take finished runs, and compare them image by image.",
    )
    parser.add_argument("what", nargs="+", help="a recipe, or run folders that train wrote")
    parser.add_argument(
        "--vary", action="append", default=[], metavar="KEY=VALUE,VALUE",
        help="a setting and its values, e.g. pool=max,lift or train.lr=0.001,0.002; a key without a dot is a choice of the "
        "model; given several times, every combination is a row",
    )  # fmt: skip
    parser.add_argument("--rows", help="YAML file of named rows, e.g. `lift: {pool: lift, train.lift_predict: 0.1}`")
    parser.add_argument("--seeds", default="3", help="how many (0, 1, ...), or which, e.g. 0,3,5 (default 3)")
    parser.add_argument("--data", help="folder of the data")
    parser.add_argument("--out", help="folder of the outcome and the runs; by default runs/compare-RECIPE")
    parser.add_argument("--split", default="val", help="train, val (default) or test, which is counted")
    parser.add_argument(
        "--devices", type=int, default=1, help="runs at a time; where there are GPUs each has one (default 1)"
    )
    parser.add_argument("--json", action="store_true", help="print comparison.json")
    own, settings = _apart(arguments, parser)
    chosen = parser.parse_args(own)

    from snellen import api

    command = "snellen compare " + shlex.join(arguments)
    # A folder is a run; a word that is no folder is a recipe's name.
    if len(chosen.what) > 1 or Path(chosen.what[0]).is_dir():
        given = [name for name in ("vary", "rows", "data") if getattr(chosen, name)] + list(settings)
        if given:
            raise ConfigError(f"finished runs are compared as they are; leave out --{given[0]}, or name one recipe")
        found = api.compare_runs(*chosen.what, split=chosen.split, out=chosen.out, command=command)
        folder = Path(chosen.out or Path(chosen.what[0]).parent / f"compare-{Path(chosen.what[0]).name}")
    else:
        if not chosen.vary and not chosen.rows:
            raise ConfigError(f"say what differs, e.g. snellen compare {chosen.what[0]} --vary pool=max,lift")
        folder = Path(chosen.out or Path("runs") / f"compare-{Path(chosen.what[0]).stem}")
        found = api.compare(
            chosen.what[0], vary=_varied(chosen.vary), rows=chosen.rows, seeds=_seeds(chosen.seeds), data=chosen.data,
            out=folder, split=chosen.split, devices=chosen.devices, command=command, **settings,
        )  # fmt: skip
    return _show(found, folder, as_json=chosen.json)


def reproduce(arguments: Sequence[str]) -> int:
    """`snellen reproduce`: list the claims, or run one."""
    parser = _Parser(
        prog="snellen reproduce",
        usage="snellen reproduce [NAME --data PATH [--quick]]",
        description="Run the experiment of a paper's claim; without a name, list the claims.",
    )
    parser.add_argument("name", nargs="?", help="of the claim")
    parser.add_argument("--data", help="folder of the data")
    parser.add_argument("--quick", action="store_true", help="a smoke run of about a minute; its numbers mean nothing")
    parser.add_argument("--rows", help="names of rows, e.g. max,lift; by default all")
    parser.add_argument("--seeds", help="how many, or which; by default the claim's")
    parser.add_argument("--runs", default="runs", help="folder of the run folders (default runs)")
    parser.add_argument("--out", help="folder of the outcome; by default RUNS/claim-NAME")
    parser.add_argument("--results", help="folder that gets the records, e.g. results; by default none are written")
    parser.add_argument("--devices", type=int, default=1, help="as for snellen compare")
    parser.add_argument("--json", action="store_true", help="print comparison.json")
    own, settings = _apart(arguments, parser)
    chosen = parser.parse_args(own)

    from snellen import api

    if chosen.name is None:
        known = api.claims()
        width = max(map(len, known))
        print("\n".join(f"{name:<{width}}  {sentence}" for name, sentence in known.items()))
        return 0
    found = api.reproduce(
        chosen.name, data=chosen.data, quick=chosen.quick, rows=chosen.rows.split(",") if chosen.rows else (),
        seeds=_seeds(chosen.seeds) if chosen.seeds else None,
        runs=chosen.runs, out=chosen.out, results=chosen.results, devices=chosen.devices,
        command="snellen reproduce " + shlex.join(arguments), **settings,
    )  # fmt: skip
    return _show(found, Path(found["folder"]), as_json=chosen.json)


def _show(found: dict[str, Any], folder: Path, *, as_json: bool) -> int:
    print(json.dumps(found, indent=2) if as_json else f"{found['words']}\n{folder / 'comparison.html'}")
    return 1 if found["failures"] else 0


def _apart(arguments: Sequence[str], parser: argparse.ArgumentParser) -> tuple[list[str], dict[str, Any]]:
    """A verb's own arguments, and the settings among them: flags with a dot, their values read as YAML."""
    import yaml

    known = [flag for action in parser._actions for flag in action.option_strings]
    own: list[str] = []
    settings: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        flag, given, value = word.partition("=")
        if not flag.startswith("--") or flag in known:
            own.append(word)
            continue
        if "." not in flag:
            raise ConfigError(
                f"there is no option {flag}{nearest(flag, known)}; settings have a dot, as in --train.steps 500"
            )
        if not given and not rest:
            raise ConfigError(f"{flag} needs a value")
        settings[flag[2:]] = yaml.safe_load(value if given else rest.pop(0))
    return own, settings


def _varied(words: Sequence[str]) -> dict[str, list[Any]]:
    import yaml

    found: dict[str, list[Any]] = {}
    for word in words:
        key, given, values = word.partition("=")
        if not given or not key:
            raise ConfigError(f"--vary takes KEY=VALUE,VALUE, such as pool=max,lift, not {word!r}")
        if key in found:
            raise ConfigError(f"--vary {key} is given twice; give all its values at once")
        try:
            # Commas inside brackets belong to a value.
            found[key] = yaml.safe_load(f"[{values}]")
        except yaml.YAMLError:
            raise ConfigError(f"--vary {word} cannot be read; put values with commas or brackets in quotes") from None
    return found


def _seeds(text: str) -> int | tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdigit() for part in parts):
        raise ConfigError(f"--seeds is a number such as 3, or a list such as 0,3,5, not {text!r}")
    return int(text) if len(parts) == 1 else tuple(map(int, parts))
