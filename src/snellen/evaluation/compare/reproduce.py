"""`snellen reproduce`: the experiment of a claim, and the records of its outcome."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snellen.claims import Claim
from snellen.config import ConfigError, nearest
from snellen.evaluation.compare.comparison import Comparison
from snellen.evaluation.compare.plan import Plan, Row, row_of, scoring_name
from snellen.evaluation.compare.verb import compare_plan
from snellen.evaluation.compare.worker import complete
from snellen.evaluation.results.recording import records_of, run_circumstances
from snellen.evaluation.results.records import add_record

__all__ = ["claim_plan", "record_claim", "reproduce_claim"]


def claim_plan(
    claim: Claim,
    *,
    data: str | None,
    quick: bool = False,
    only: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    runs: str | Path = "runs",
    out: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Plan:
    """What a claim trains.

    Args:
        claim: the claim.
        data: folder of its data.
        quick: a smoke run: two rows, one seed, a few steps, scored on validation images and kept apart.
        only: names of rows, at least two; by default all.
        seeds: other ones than the claim's.
        runs: folder of the run folders, which are named by their records.
        out: folder of the outcome; by default claim-NAME in `runs`.
        settings: of all rows, by dotted names.
    """
    shared = {**claim.settings, **(claim.quick if quick else {}), **(settings or {})}
    if data is not None:
        shared["data.root"] = data
    for name in only or ():
        if name not in claim.rows:
            raise ConfigError(
                f"{claim.name} has no row {name!r}{nearest(name, claim.rows)}; it has {', '.join(claim.rows)}"
            )
    rows = [
        row_of(
            name,
            about.settings,
            runs=about.runs or about.record.replace("/", "-"),
            scoring=about.scoring,
            needs=() if quick else about.metrics,
        )
        for name, about in claim.rows.items()
        if not only or name in only
    ]
    name = f"claim-{claim.name}" + ("-quick" if quick else "")
    return Plan(
        recipe=claim.recipe,
        rows=tuple(rows[:2] if quick else rows),
        seeds=tuple(seeds) if seeds else (claim.seeds[:1] if quick else claim.seeds),
        out=Path(out) if out else Path(runs) / name,
        settings=shared,
        runs=None if quick else Path(runs),
        split="val" if quick else claim.split,
        robustness=claim.robustness and not quick,
        needs=() if quick else claim.metrics,
        judge_settings={
            key: value
            for key, value in shared.items()
            if key in ("data.root", "train.threads") or (quick and key in claim.quick and not key.startswith("model."))
        },
    )


def reproduce_claim(claim: Claim, plan: Plan, *, quick: bool, command: str = "", devices: int = 1) -> Comparison:
    """Train what is missing of a claim's plan and compare its rows."""
    notes = [
        f"Claim of {claim.paper}: {claim.claim}",
        f"What the paper reports: {claim.figure}",
        f"About what it costs: {claim.cost}.",
        *(f"Different from the paper: {difference}" for difference in claim.differences),
    ]
    if quick:
        notes.insert(0, "A smoke run of a few steps: it shows that everything works, and its numbers mean nothing.")
    return compare_plan(plan, title=claim.name, command=command, devices=devices, notes=notes)


def record_claim(claim: Claim, plan: Plan, results: str | Path) -> list[str]:
    """Write the records of the rows whose runs are all finished into results/; returns their names."""
    written = []
    for row in plan.rows:
        about, folders = claim.rows[row.name], [plan.folder(row, seed) for seed in plan.seeds]
        if not all(complete(plan, row, seed) for seed in plan.seeds):
            continue
        outcomes = []
        for folder in folders:
            text = (folder / f"evaluation-{plan.split}{scoring_name(row.scoring)}.json").read_text(encoding="utf-8")
            outcomes.append((json.loads(text)["scores"], run_circumstances(folder)))
        made = records_of(
            about.record,
            outcomes,
            seeds=plan.seeds,
            command=_command(plan, row),
            metrics=about.metrics or claim.metrics,
            note=about.note,
        )
        for record in made:
            add_record(Path(results) / f"{about.record.split('/')[0]}.json", record)
        written.append(about.record)
    return written


def _command(plan: Plan, row: Row) -> str:
    """What a reader types to repeat a seed `N`; the path of the data is the reader's own."""
    flags = "" if plan.robustness else " --no-robustness"
    for key, value in row.scoring.items():
        if key in ("flip", "occlude"):
            flags += f" --{key}" if value else f" --no-{key}"
        else:
            flags += f" --{key.replace('_', '-')} {value}"
    trained = plan.command(row, "N", data="DATA")
    judge = plan.judge_of(row)
    if judge is not None:
        trained += f" && {plan.command(judge, 'N', data='DATA')}"
        flags = flags.replace(f" --denoiser {judge.recipe}", f" --denoiser runs/{judge.folder}-seedN")
    return f"{trained} && snellen evaluate runs/{row.folder}-seedN --split {plan.split}{flags}"
