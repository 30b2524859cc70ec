"""Outcomes of several runs brought to the same images in the same order."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from snellen.config import ConfigError
from snellen.evaluation.compare.statistics import Side
from snellen.evaluation.outcomes import ImageOutcomes

__all__ = ["paired_outcomes"]


def paired_outcomes(
    outcomes: Mapping[tuple[str, int], ImageOutcomes],
) -> tuple[ImageOutcomes, dict[tuple[str, int], Side], list[str]]:
    """Outcomes of several runs brought to the images that all of them answered, in one order.

    Images are told by their names, and several of one name by their order. What is not finite, or has no truth, in any of the
    runs is left out of all.

    Returns:
        The first of the outcomes (for what is measured), a `Side` of one training for each, and notes on what was left out.

    Raises:
        ConfigError: for different measures, or no image in common.
    """
    (key, first), *_ = outcomes.items()
    for other, found in outcomes.items():
        for what in ("metric", "unit", "better", "things"):
            if getattr(found, what) != getattr(first, what):
                raise ConfigError(
                    f"{_run(other)} is scored by its {found.metric} in {found.unit}, {_run(key)} by its {first.metric} in "
                    f"{first.unit}; compare runs of one measure"
                )
        if found.numerator.shape[1] != first.numerator.shape[1]:
            raise ConfigError(
                f"{_run(other)} and {_run(key)} have different numbers of classes; compare runs of the same"
            )
    places = {key: _places(found.names) for key, found in outcomes.items()}
    common = [name for name in places[key] if all(name in other for other in places.values())]
    if not common:
        raise ConfigError("the runs have no image in common; score them on the same split of the same data")
    notes = []
    most = max(len(found) for found in places.values())
    if len(common) < most:
        notes.append(f"{len(common):,} images are in all runs, of up to {most:,}; only these count.")
    parts = {}
    usable = np.ones(len(common), dtype=bool)
    for key, found in outcomes.items():
        order = [places[key][name] for name in common]
        above, below = found.numerator[order], found.denominator[order]
        parts[key] = (above, below)
        usable &= np.isfinite(above).all(axis=1) & np.isfinite(below).all(axis=1) & (below.sum(axis=1) > 0)
    if not usable.any():
        raise ConfigError("no image has an outcome in every run; score the runs again")
    if not usable.all():
        notes.append(
            f"{int((~usable).sum()):,} images have no truth or no finite outcome in some run, and do not count."
        )
    hows = {json.dumps(found.how, sort_keys=True) for found in outcomes.values()}
    if len(hows) > 1:
        notes.append(f"The runs were scored in different ways: {' and '.join(sorted(hows))}.")
    sides = {key: Side(above[usable][None], below[usable][None]) for key, (above, below) in parts.items()}
    return first, sides, notes


def _run(key: tuple[str, int]) -> str:
    return f"{key[0]}, seed {key[1]},"


def _places(names: Sequence[str]) -> dict[tuple[str, int], int]:
    """(name, which of that name) -> position."""
    seen: Counter[str] = Counter()
    found = {}
    for i, name in enumerate(names):
        found[name, seen[name]] = i
        seen[name] += 1
    return found
