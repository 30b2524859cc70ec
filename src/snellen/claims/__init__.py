"""Claims of the papers that can be tested here: one YAML each, run by `snellen reproduce NAME`.

A claim names the paper, the sentence, the paper's figure where one is verified, how our protocol differs, and the rows that are
trained and compared. A row has the settings that differ from the recipe, the name of its record in results/, and a note.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snellen.config import ConfigError, nearest

__all__ = ["Claim", "ClaimRow", "list_claims", "read_claim"]

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class ClaimRow:
    """A row of a claim's table.

    Attributes:
        record: name of its record, e.g. "camvid/unet/cpu".
        settings: what differs from the recipe; keys as for `snellen compare`.
        note: one sentence of context for the record.
        runs: what its runs are called, the seed aside; by default the record's name with dashes. Rows that train the same and
            are scored in different ways name the same runs.
        scoring: how its runs are scored beside the usual (keypoints only): flip, decoder, denoiser (a recipe, trained with each
            seed), denoiser_weight, occlude.
        metrics: that are recorded of this row; empty for the claim's.
    """

    record: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    runs: str = ""
    scoring: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """What a paper says, and the experiment that tests it.

    Attributes:
        name: of the file.
        paper: title, authors, year.
        claim: one sentence.
        figure: what the paper reports, or that no figure was seen: recalled numbers are no targets.
        differences: how our protocol differs, a sentence each.
        cost: about how long all rows and seeds take, and how that is known.
        recipe: of the rows.
        rows: the first is what the others are compared with.
        seeds: of each.
        split: that is scored.
        metrics: that are recorded, see evaluation/results/recording.py.
        robustness: whether the scoring measures corruptions, shifts and the like, which some metrics need.
        quick: settings of a smoke run.
        settings: of all rows, by dotted names.
    """

    name: str
    paper: str
    claim: str
    figure: str
    differences: tuple[str, ...]
    cost: str
    recipe: str
    rows: Mapping[str, ClaimRow]
    seeds: tuple[int, ...]
    split: str
    metrics: tuple[str, ...]
    robustness: bool
    quick: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)


def list_claims() -> dict[str, str]:
    """Name and sentence of every claim."""
    return {name: read_claim(name).claim for name in _names()}


def read_claim(name: str) -> Claim:
    """A claim by its name.

    Raises:
        ConfigError: naming the nearest claims where there is none.

    >>> read_claim("rcn-sumnet-faces5").recipe
    'faces5-sumnet'
    """
    import yaml

    if name not in _names():
        raise ConfigError(f"no claim is called {name!r}{nearest(name, _names())}; list all with: snellen reproduce")
    values = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    values.pop("shared", None)  # what rows repeat, once
    rows = {
        row: ClaimRow(**{**about, "metrics": tuple(about.get("metrics", ()))})
        for row, about in values.pop("rows").items()
    }
    for key in ("differences", "seeds", "metrics"):
        values[key] = tuple(values[key])
    return Claim(name=name, rows=rows, **values)


def _names() -> list[str]:
    return sorted(file.stem for file in _FOLDER.glob("*.yaml"))
