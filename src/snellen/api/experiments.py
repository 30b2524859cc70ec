"""Comparing ways to train, and repeating the papers' claims."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def compare(
    recipe: str,
    *,
    vary: Mapping[str, Sequence[Any]] | None = None,
    rows: str | Path | Mapping[str, Mapping[str, Any]] | None = None,
    seeds: int | Sequence[int] = 3,
    data: str | None = None,
    out: str | Path | None = None,
    split: str = "val",
    devices: int = 1,
    command: str = "",
    **settings: Any,
) -> dict[str, Any]:
    """Train a recipe in several ways and compare the outcomes image by image.

    Every row is trained from the same seeds on the same images in the same order. Finished runs are taken as they are,
    interrupted ones go on, and one that fails is reported while the others go on.

    Args:
        recipe: a built-in name or the path of a YAML file.
        vary: settings and the values of each; every combination is a row. A key without a dot is a choice of the model.
        rows: instead of `vary`, or beside it, named rows of settings, or a YAML file of them.
        seeds: how many, from 0 on, or which.
        data: folder of the data, short for the setting "data.root".
        out: folder of comparison.html, comparison.json and the runs; by default runs/compare-RECIPE.
        split: what is scored; "test" is counted as `evaluate` does it.
        devices: runs at a time; where there are GPUs each run has one.
        command: what was typed, for the report.
        **settings: of all rows, by dotted names or choices of the model.

    Returns:
        What comparison.json holds: rows (values, costs, curves), gains over the first row (interval, p_adjusted, sentence).

    Raises:
        ConfigError: one sentence on what to change.
    """
    from snellen.evaluation.compare.plan import Plan, grid, read_rows, row_of, setting_name
    from snellen.evaluation.compare.verb import compare_plan

    made = grid(vary) if vary else []
    if isinstance(rows, Mapping):
        made += [row_of(name, changed) for name, changed in rows.items()]
    elif rows is not None:
        made += read_rows(rows)
    shared = {setting_name(key): value for key, value in settings.items()}
    plan = Plan(
        recipe=recipe,
        rows=tuple(made),
        seeds=tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds),
        out=Path(out or Path("runs") / f"compare-{Path(recipe).stem}"),
        settings=shared if data is None else {**shared, "data.root": data},
        split=split,
    )
    return compare_plan(plan, devices=devices, command=command).to_dict()


def compare_runs(
    *runs: str | Path, split: str = "val", out: str | Path | None = None, command: str = ""
) -> dict[str, Any]:
    """Compare finished runs image by image; those that differ in the seed alone make one row, the first row is compared with.

    Args:
        *runs: run folders.
        split: what is compared; runs that were not scored on it are scored.
        out: folder of comparison.html and comparison.json; by default compare-NAME beside the first run.
        command: what was typed, for the report.

    Returns:
        As `compare`.
    """
    from snellen.evaluation.compare.verb import compare_finished

    return compare_finished(runs, split=split, out=out, command=command).to_dict()


def reproduce(
    name: str,
    *,
    data: str | None = None,
    quick: bool = False,
    rows: Sequence[str] = (),
    seeds: int | Sequence[int] | None = None,
    runs: str | Path = "runs",
    out: str | Path | None = None,
    results: str | Path | None = None,
    devices: int = 1,
    command: str = "",
    **settings: Any,
) -> dict[str, Any]:
    """Run the experiment of a paper's claim.

    Args:
        name: one of `claims`.
        data: folder of the data.
        quick: a smoke run of about a minute, apart from the others; its numbers mean nothing.
        rows: names of rows, at least two; by default all.
        seeds: how many, or which; by default the claim's.
        runs: folder of the run folders. Finished runs are taken as they are, interrupted ones go on.
        out: folder of comparison.html and comparison.json; by default claim-NAME in `runs`.
        results: folder that gets the records of rows whose runs are all finished, e.g. "results"; by default none are written.
        devices: runs at a time.
        command: what was typed, for the report.
        **settings: of all rows, by dotted names, e.g. ``**{"train.threads": 1}``.

    Returns:
        As `compare`, with the `folder` of the outcome and the names of the `records`.

    Raises:
        ConfigError: one sentence on what to change.
    """
    from snellen.claims import read_claim
    from snellen.config import ConfigError
    from snellen.evaluation.compare.reproduce import claim_plan, record_claim, reproduce_claim

    if quick and results is not None:
        raise ConfigError("a quick run's numbers mean nothing, so they are not recorded; leave out quick or results")
    claim, chosen = read_claim(name), range(seeds) if isinstance(seeds, int) else seeds
    plan = claim_plan(claim, data=data, quick=quick, only=rows, seeds=chosen, runs=runs, out=out, settings=settings)
    found = reproduce_claim(claim, plan, quick=quick, command=command, devices=devices)
    records = [] if results is None else record_claim(claim, plan, results)
    return {**found.to_dict(), "folder": str(plan.out), "records": records}
