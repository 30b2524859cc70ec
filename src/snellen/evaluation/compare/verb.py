"""`snellen compare`: train what is missing, put all beside each other, write the outcome."""

import dataclasses
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from snellen.config import ConfigError, RunConfig
from snellen.evaluation.compare.comparison import Comparison, Group, compare_groups
from snellen.evaluation.compare.plan import Plan, scoring_name
from snellen.evaluation.compare.runs import run_plan
from snellen.evaluation.compare.settings import differing_settings
from snellen.evaluation.compare.worker import complete, scored
from snellen.evaluation.evaluate import evaluate_run
from snellen.evaluation.reports.compare import write_compare_report
from snellen.training.runs import RunFolder

__all__ = ["compare_finished", "compare_plan"]

log = logging.getLogger("snellen")


def compare_plan(
    plan: Plan, *, title: str = "", command: str = "", devices: int = 1, notes: Sequence[str] = ()
) -> Comparison:
    """Train and score the runs of a plan and compare its rows; writes comparison.json and comparison.html.

    Args:
        plan: what to train; finished runs are taken as they are, interrupted ones go on.
        title: of the report; by default the recipe's name.
        command: what was typed.
        devices: runs at a time.
        notes: what a reader should know, a sentence each.

    Raises:
        ConfigError: one sentence, where nothing can be compared.
    """
    failures = run_plan(plan, devices=devices)
    groups = [
        Group(
            row.name,
            {s: plan.folder(row, s) for s in plan.seeds if complete(plan, row, s)},
            {**row.settings, **row.scoring},
            plan.command(row, "N"),
            scoring_name(row.scoring),
        )
        for row in plan.rows
    ]
    found = compare_groups(
        groups, split=plan.split, title=title or plan.recipe, command=command, failures=[f"{f}." for f in failures]
    )
    return _written(dataclasses.replace(found, notes=[*notes, *found.notes]), plan.out)


def compare_finished(
    runs: Sequence[str | Path], *, split: str = "val", out: str | Path | None = None, command: str = ""
) -> Comparison:
    """Compare finished runs image by image; those that differ in the seed alone make one row.

    Args:
        runs: run folders; the first belongs to the row that the others are compared with.
        split: runs that were not scored on it yet are scored now.
        out: folder of comparison.json and comparison.html; by default compare-NAME beside the first run.
        command: what was typed.

    Raises:
        ConfigError: where a run is not finished, or there are fewer than two rows.
    """
    folders = [RunFolder(run) for run in runs]
    found: list[tuple[RunConfig, dict[int, RunFolder]]] = []
    for folder in folders:
        config = folder.config()
        if not folder.finished:
            raise ConfigError(f"{folder.path} is not finished; go on with: snellen train --resume {folder.path}")
        for other, members in found:
            if config.seed not in members and set(differing_settings(other, config)) <= {"seed"}:
                members[config.seed] = folder
                break
        else:
            found.append((config, {config.seed: folder}))
    if len(found) < 2:
        raise ConfigError("the runs differ in nothing but the seed, so there is nothing to compare; give another run")
    for folder in folders:
        if not scored(folder, split):
            log.info("scoring %s on its %s split", folder.path, split)
            evaluate_run(folder.path, split=split, robustness=False)
    names = [re.sub(r"-seed\d+$", "", next(iter(members.values())).path.name) for _, members in found]
    if len(set(names)) < len(names):
        names = [str(next(iter(members.values())).path) for _, members in found]
    groups = []
    for name, (config, members) in zip(names, found, strict=True):
        changed = [key for key in differing_settings(found[0][0], config) if key != "seed"]
        settings = {key: _value(config, key) for key in changed}
        groups.append(Group(name, members, settings, str(next(iter(members.values())).info().get("command", ""))))
    place = Path(out) if out else folders[0].path.parent / f"compare-{folders[0].path.name}"
    return _written(compare_groups(groups, split=split, title=" and ".join(names), command=command), place)


def _value(config: RunConfig, dotted: str) -> object:
    """A setting by its dotted name; None where a model has no such choice."""
    found: object = config
    for key in dotted.split("."):
        found = found.get(key) if isinstance(found, dict) else getattr(found, key, None)
    return found


def _written(comparison: Comparison, folder: Path) -> Comparison:
    comparison.save(folder)
    write_compare_report(comparison, folder)
    return comparison
