"""What the scripts share that train one recipe in several ways, a row of a table each."""

import argparse
from collections.abc import Sequence

import record

__all__ = ["parser", "record_row"]


def parser(
    description: str | None, rows: Sequence[str], seeds: Sequence[int], *, data: bool = True
) -> argparse.ArgumentParser:
    """The command line of such a script; without `data` it needs none."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if data:
        made.add_argument("--data", required=True, help="folder of the data")
    made.add_argument("--seeds", nargs="+", default=[str(s) for s in seeds])
    made.add_argument("--rows", nargs="+", default=list(rows), choices=rows)
    made.add_argument("--runs", default="runs")
    made.add_argument("--results", default="results")
    made.add_argument("--set", nargs="*", default=[], metavar="SETTING=VALUE", help="further settings by dotted names")
    return made


def record_row(chosen: argparse.Namespace, name: str, recipe: str, settings: Sequence[str], how: Sequence[str]) -> None:
    """Train and score one row with all seeds, as benchmarks/record.py does it.

    Args:
        chosen: what `parser` read.
        name: of the record.
        recipe: its recipe.
        settings: SETTING=VALUE, by dotted names.
        how: further options of record.py.
    """
    data = [f"data.root={chosen.data}"] if "data" in chosen else []
    record.main(
        [
            name, recipe, "--seeds", *chosen.seeds, *how, "--runs", chosen.runs, "--results", chosen.results,
            "--set", *data, *settings, *chosen.set,
        ]
    )  # fmt: skip
