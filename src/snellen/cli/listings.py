"""The command line's verbs that list what there is: models and recipes."""

import argparse
import fnmatch
from collections.abc import Iterable
from typing import Any

from snellen.config import ConfigError, nearest

__all__ = ["OVERVIEW", "add_verbs"]

OVERVIEW = """\
  models [PATTERN] [--pretrained]                                    list models, or trained weights
  recipes [PATTERN]                                                  list recipes"""


def add_verbs(verbs: Any) -> None:
    """Declare the verbs on argparse's subparsers."""
    for verb, what, act in (("models", "registered models", _models), ("recipes", "built-in recipes", _recipes)):
        listing = verbs.add_parser(verb, description=f"List the {what}.")
        listing.add_argument("pattern", nargs="?", default="*", help="shell pattern, e.g. 'rcn*'")
        if verb == "models":
            listing.add_argument(
                "--pretrained", action="store_true", help="list trained weights that can be loaded by name"
            )
        listing.set_defaults(act=act)


def _models(chosen: argparse.Namespace) -> int:
    if chosen.pretrained:
        lines = _weights()
        matching = [line for line in lines if fnmatch.fnmatch(line.split()[0], chosen.pattern)]
        return _print_or_refuse(matching, chosen.pattern, [line.split()[0] for line in lines])
    from snellen import api
    from snellen.models import model_task

    names = api.models(chosen.pattern)
    width = max(map(len, names), default=0)
    lines = [f"{name:<{width}}  {model_task(name)}" for name in names]
    return _print_or_refuse(lines, chosen.pattern, api.models())


def _recipes(chosen: argparse.Namespace) -> int:
    from snellen import api

    found = api.recipes(chosen.pattern)
    width = max(map(len, found), default=0)
    lines = [f"{name:<{width}}  {line}" for name, line in found.items()]
    return _print_or_refuse(lines, chosen.pattern, api.recipes())


def _weights() -> list[str]:
    """A line on each of the shipped weights."""
    from snellen.models.shipped import shipped, shipped_names

    found = [shipped(name) for name in shipped_names()]
    width = max((len(w.name) for w in found), default=0)
    return [
        f"{w.name:<{width}}  {w.points} points ({w.schema}), {w.model}, "
        f"canvas {w.canvas[0]}x{w.canvas[1]}, {w.terms or w.licence}"
        for w in found
    ]


def _print_or_refuse(lines: list[str], pattern: str, known: Iterable[str]) -> int:
    if not lines:
        raise ConfigError(
            f"nothing is called {pattern!r}{nearest(pattern, known)}; patterns may hold * and ?, and * lists all"
        )
    print("\n".join(lines))
    return 0
