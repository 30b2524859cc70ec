"""The command line: the verbs of `snellen.api`."""

import argparse
import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from snellen import __version__
from snellen.allocator import keep_freed_memory
from snellen.cli import annotations, experiments, listings, training, using
from snellen.config import nearest

__all__ = ["main"]

_OVERVIEW = f"""\
verbs:
  train RECIPE [--data.root PATH] [--seed N] [--SETTING VALUE ...]   train a model
  train RECIPE --folds 5 | --init RUN|NAME                           cross-validate | begin with trained weights
  train --resume RUN                                                 go on with an interrupted run
{using.OVERVIEW}
{annotations.OVERVIEW}
{experiments.OVERVIEW}
{listings.OVERVIEW}

`snellen train RECIPE --help` lists every setting of the recipe's task; `--print_config` prints the resolved ones."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status (0 done, 1 refused with one sentence, 2 wrong usage, 130 interrupted)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)
    keep_freed_memory()
    try:
        if arguments[:1] == ["train"]:
            return training.train(arguments[1:])
        if arguments[:1] == ["compare"]:
            return experiments.compare(arguments[1:])
        if arguments[:1] == ["reproduce"]:
            return experiments.reproduce(arguments[1:])
        return _parse(arguments)
    except (ValueError, FloatingPointError) as error:
        # All errors of this library that a user can mend are ValueErrors of one sentence.
        print(f"snellen: {_last_sentence(str(error))}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read, such as `head`, has seen enough; Python would complain once more when it closes its output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        print(
            f"snellen: cannot read or write{where}: {error.strerror or error}; mend that and try again", file=sys.stderr
        )
        return 1
    except ImportError as error:
        # Ours say themselves what to install.
        more = "" if "pip install" in str(error) else "; install the tool's packages with: pip install 'snellen[train]'"
        print(f"snellen: {error}{more}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("snellen: interrupted", file=sys.stderr)
        return 130


def _last_sentence(message: str) -> str:
    """Of an error that a data worker passed on with its traceback, the sentence alone."""
    if not message.startswith("Caught "):
        return message
    return message.strip().splitlines()[-1].partition(": ")[2]


class _Parser(argparse.ArgumentParser):
    """argparse that names the nearest verb, or the nearest flag of a verb."""

    given = ""
    flags: Mapping[str, Sequence[str]] = MappingProxyType({})

    def error(self, message: str) -> Any:
        match = re.search(r"argument VERB: invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if match:
            known = re.findall(r"[a-z]+", match[2])
            message = f"there is no verb {match[1]!r}{nearest(match[1], known)}; the verbs are {', '.join(known)}"
        unknown = re.search(r"unrecognized arguments: (--[^ =]+)", message)
        if unknown:
            message += nearest(unknown[1], self.flags.get(self.given, ()))
        print(f"snellen: {message}", file=sys.stderr)
        raise SystemExit(2)


def _parse(arguments: list[str]) -> int:
    parser = _Parser(
        prog="snellen",
        description="Vision models that must know where things are.",
        epilog=_OVERVIEW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="snellen VERB ...",
    )
    parser.add_argument("--version", action="version", version=f"snellen {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", help=argparse.SUPPRESS, prog="snellen")
    for verb in ("train", "compare", "reproduce"):  # which parse their own arguments
        verbs.add_parser(verb, add_help=False)
    for group in (using, annotations, listings):
        group.add_verbs(verbs)
    parser.given = arguments[0] if arguments else ""
    parser.flags = {name: list(verb._option_string_actions) for name, verb in verbs.choices.items()}
    if not arguments:
        parser.print_help(sys.stderr)
        return 2
    chosen = parser.parse_args(arguments)
    status: int = chosen.act(chosen)
    sys.stdout.flush()
    return status
