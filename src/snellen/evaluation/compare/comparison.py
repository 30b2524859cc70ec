"""Runs beside each other: what each achieves and costs, what is better than the first one, and how sure that is."""

import json
import logging
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from snellen.config import ConfigError, RunConfig, to_dict
from snellen.evaluation.compare.pairs import paired_outcomes
from snellen.evaluation.compare.sentences import comparison_in_words, gain_sentence
from snellen.evaluation.compare.statistics import LEAST_SEEDS, Side, holm, paired_difference
from snellen.evaluation.costs import macs, milliseconds
from snellen.evaluation.outcomes import ImageOutcomes
from snellen.evaluation.reports.history import read_history
from snellen.inference import load
from snellen.training.jobs import prepare
from snellen.training.pace import steps_in_turn
from snellen.training.runs import RunFolder, write_atomically

__all__ = ["Comparison", "Gain", "Group", "RowResult", "compare_groups"]

_FORMAT = "snellen-comparison/1"
#: Rounds of the measurement of times.
ROUNDS = 10
#: Training steps of each row that are timed.
STEPS = 5


@dataclass(frozen=True)
class Group:
    """Trainings of one thing, by seed.

    Attributes:
        name: of the row.
        runs: seed -> run folder, finished and scored.
        settings: what sets it apart, by dotted names.
        command: what trains it, `N` standing for the seed.
        scoring: what stands after the split in the names of its scores' files, where it is scored in another way than usual.
    """

    name: str
    runs: Mapping[int, RunFolder]
    settings: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    scoring: str = ""


@dataclass(frozen=True)
class RowResult:
    """A line of the table.

    Attributes:
        name: of the row.
        settings: what sets it apart, by dotted names.
        command: what trains it, `N` standing for the seed.
        seeds: of its trainings.
        runs: their folders.
        values: score of each, in the comparison's unit.
        curves: of each, the [step, score] of its validations.
        parameters: of the network.
        macs: multiply-adds of one canvas; None for a network that takes something else, as below.
        canvas: its (height, width).
        milliseconds: of the network on one canvas, measured side by side with the other rows.
        step_milliseconds: of a training step, measured side by side with the other rows; None where the data are not at hand.
        steps: of its training.
        train_seconds: mean over seeds, as it was; None where a run does not say, as below.
        peak_memory_mb: the most of its trainings.
    """

    name: str
    settings: Mapping[str, Any]
    command: str
    seeds: list[int]
    runs: list[str]
    values: list[float]
    curves: list[list[list[float]]]
    parameters: int
    macs: int | None
    canvas: list[int]
    milliseconds: float | None
    step_milliseconds: float | None
    steps: int
    train_seconds: float | None
    peak_memory_mb: float | None

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over seeds; None for one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Gain:
    """How much better a row is than the first one; below 0 it is worse.

    Attributes:
        row: name.
        against: name of the first row.
        gain: in the comparison's unit, averaged over `seeds`.
        interval: its 95 % interval.
        p: that a gain or loss as large comes by chance.
        p_adjusted: the same by Holm's method for the number of rows.
        images: on which both were scored.
        trainings: pairs of trainings.
        seeds: that both were trained from; empty where trainings of different seeds had to be paired.
        over: "images" (or what else was scored), or "images and seeds": the chances that interval and p account for.
        time_ratio: steps by time of a step, over those of the first row; None where a step could not be measured.
        sentence: all that in words.
    """

    row: str
    against: str
    gain: float
    interval: list[float]
    p: float
    p_adjusted: float
    images: int
    trainings: int
    seeds: list[int]
    over: str
    time_ratio: float | None
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The outcome of a comparison.

    Attributes:
        title: of the report.
        dataset: name of the data.
        split: that was scored.
        things: what was scored: "images", or "people".
        metric: what is compared, e.g. "mean error".
        unit: of it.
        better: which way it is better, "min" or "max".
        images: on which all rows were scored.
        rows: lines of the table; the first is what the others are compared with.
        gains: one each further row.
        failures: runs that are missing, a sentence each.
        notes: what a reader should know, a sentence each.
        command: what makes it again.
        config: of the first run.
        versions: packages and hardware.
    """

    title: str
    dataset: str
    split: str
    things: str
    metric: str
    unit: str
    better: str
    images: int
    rows: list[RowResult]
    gains: list[Gain]
    failures: list[str]
    notes: list[str]
    command: str
    config: dict[str, Any]
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with mean and spread of each row, and all in words."""
        values = {"format": _FORMAT, **asdict(self)}
        for row, plain in zip(self.rows, values["rows"], strict=True):
            plain |= {"mean": row.mean, "spread": row.spread}
        return {**values, "words": comparison_in_words(self)}

    def save(self, folder: Path) -> Path:
        """Write comparison.json; returns its path."""
        file = folder / "comparison.json"
        write_atomically(file, json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")
        return file


def compare_groups(
    groups: Sequence[Group], *, split: str, title: str, command: str, failures: Sequence[str] = ()
) -> Comparison:
    """Put trainings of several things beside each other; the first is what the others are compared with.

    Raises:
        ConfigError: for fewer than two groups with a run, runs that were scored by different measures, or no image in common.
    """
    present = [g for g in groups if g.runs]
    if len(present) < 2:
        said = f": {failures[0]}" if failures else ""
        raise ConfigError(f"there are fewer than two rows with a finished run, so there is nothing to compare{said}")
    notes = []
    if present[0] is not groups[0]:
        notes.append(f"{groups[0].name} has no finished run, so rows are compared with {present[0].name}.")
    outcomes = {
        (g.name, seed): ImageOutcomes.load(run.path, split + g.scoring) for g in present for seed, run in g.runs.items()
    }
    first, sides, left_out = paired_outcomes(outcomes)
    notes += left_out
    rows = _rows(present, sides, first)
    base, gains = rows[0], []
    for group, row in zip(present[1:], rows[1:], strict=True):
        shared = [seed for seed in base.seeds if seed in group.runs]
        # Without a seed in common trainings are paired in their order: any pairs of independent trainings will do.
        pairs = list(zip(shared, shared, strict=True)) or list(zip(base.seeds, row.seeds, strict=False))
        gains.append(_gain(base, row, pairs, sides, first))
    adjusted = holm([gain.p for gain in gains])
    gains = [_worded(gain, p, len(gains), first) for gain, p in zip(gains, adjusted, strict=True)]
    notes += _notes(rows, gains, first.things)
    folder = next(iter(present[0].runs.values()))
    config, info = folder.config(), folder.info()
    circumstances: dict[str, str] = {
        key: str(info[key]) for key in ("hardware", "device", "commit", "threads") if key in info
    }
    images = next(iter(sides.values())).numerator.shape[1]
    return Comparison(
        title=title, dataset=str(getattr(config.data, "format", "images")), split=split,
        things=first.things, metric=first.metric, unit=first.unit,
        better=first.better, images=images, rows=rows, gains=gains, failures=list(failures), notes=notes, command=command,
        config=to_dict(config), versions={**info.get("versions", {}), **circumstances},
    )  # fmt: skip


def _rows(groups: Sequence[Group], sides: Mapping[tuple[str, int], Side], first: ImageOutcomes) -> list[RowResult]:
    loaded: list[Any] = [load(next(iter(g.runs.values())).path) for g in groups]
    canvases = [(int(m.card["canvas"][0]), int(m.card["canvas"][1])) for m in loaded]
    work, times = _network_costs(loaded, canvases)
    configs = [next(iter(g.runs.values())).config() for g in groups]
    steps = _step_times(configs)
    rows = []
    for i, group in enumerate(groups):
        infos = [run.info() for run in group.runs.values()]
        seconds = [i["train_seconds"] for i in infos if "train_seconds" in i]
        memory = [i["peak_memory_mb"] for i in infos if "peak_memory_mb" in i]
        curves = []
        for run in group.runs.values():
            history = [row for row in read_history(run) if first.curve in row]
            curves.append([[row["step"], first.factor * row[first.curve]] for row in history])
        rows.append(
            RowResult(
                name=group.name, settings=dict(group.settings), command=group.command, seeds=list(group.runs),
                runs=[str(run.path) for run in group.runs.values()],
                values=[first.factor * float(sides[group.name, seed].scores()[0, 0]) for seed in group.runs],
                curves=curves, parameters=int(loaded[i].card["parameters"]),
                macs=work[i], canvas=list(canvases[i]), milliseconds=times[i],
                step_milliseconds=steps[i], steps=configs[i].train.steps,
                train_seconds=statistics.fmean(seconds) if len(seconds) == len(infos) else None,
                peak_memory_mb=max(memory) if len(memory) == len(infos) else None,
            )
        )  # fmt: skip
    return rows


def _network_costs(
    loaded: Sequence[Any], canvases: Sequence[tuple[int, int]]
) -> tuple[list[int | None], list[float | None]]:
    """Multiply-adds and milliseconds of one canvas through each network, measured in turn."""
    work: list[int | None] = []
    for m, canvas in zip(loaded, canvases, strict=True):
        try:
            work.append(macs(m.model, m.card["channels"], canvas))
        except TypeError:  # it takes other things than one canvas: several parts of a face, or points
            work.append(None)
    times: list[float | None] = [None] * len(loaded)
    timed = [i for i, known in enumerate(work) if known is not None]
    images = [
        torch.rand(1, loaded[i].card["channels"], *canvases[i], device=next(loaded[i].model.parameters()).device)
        .mul(255)
        .contiguous(memory_format=torch.channels_last)
        for i in timed
    ]
    for i, measured in zip(timed, milliseconds([loaded[i].model for i in timed], images, rounds=ROUNDS), strict=True):
        times[i] = statistics.median(measured)
    return work, times


def _step_times(configs: Sequence[RunConfig]) -> list[float | None]:
    """Milliseconds of a training step of each configuration, measured in turn; None where it cannot be prepared any more.

    Rows that are one training scored in several ways are measured once.
    """
    places: dict[str, list[int]] = {}
    for i, config in enumerate(configs):
        places.setdefault(str(Path(config.out) / config.run_name), []).append(i)
    jobs, prepared = [], []
    log = logging.getLogger("snellen")
    level = log.level
    log.setLevel(logging.ERROR)  # what the data have to say was said when the rows were trained
    try:
        for indices in places.values():
            try:
                job = prepare(configs[indices[0]])
            except (ValueError, OSError, ImportError, RuntimeError):
                continue  # finished runs are compared without their data too
            jobs.append((job.task, job.train_set))
            prepared.append(indices)
    finally:
        log.setLevel(level)
    times: list[float | None] = [None] * len(configs)
    for indices, seconds in zip(prepared, steps_in_turn(jobs, STEPS), strict=True):
        for i in indices:
            times[i] = 1000 * seconds
    return times


def _gain(
    base: RowResult,
    row: RowResult,
    pairs: Sequence[tuple[int, int]],
    sides: Mapping[tuple[str, int], Side],
    first: ImageOutcomes,
) -> Gain:
    """The gain of a row, without what depends on the other rows."""
    ours, theirs = (_joined(sides, r.name, [pair[i] for pair in pairs]) for i, r in enumerate((base, row)))
    found = paired_difference(ours, theirs)
    sign = first.factor * (1 if first.better == "max" else -1)
    low, high = sorted(sign * bound for bound in found.interval)
    ratio = None
    if row.step_milliseconds is not None and base.step_milliseconds is not None:
        ratio = row.steps * row.step_milliseconds / (base.steps * base.step_milliseconds)
    return Gain(
        row=row.name, against=base.name, gain=sign * found.difference + 0.0, interval=[low + 0.0, high + 0.0], p=found.p,
        p_adjusted=found.p, images=found.images, seeds=[one for one, other in pairs if one == other],
        trainings=len(pairs),
        over=f"{first.things} and seeds" if found.over_seeds else first.things, time_ratio=ratio, sentence="",
    )  # fmt: skip


def _joined(sides: Mapping[tuple[str, int], Side], name: str, seeds: Sequence[int]) -> Side:
    chosen = [sides[name, seed] for seed in seeds]
    return Side(np.concatenate([s.numerator for s in chosen]), np.concatenate([s.denominator for s in chosen]))


def _worded(gain: Gain, p_adjusted: float, count: int, first: ImageOutcomes) -> Gain:
    words = gain_sentence(
        gain.row,
        gain.against,
        gain.gain,
        gain.interval,
        p_adjusted,
        unit=first.unit,
        count=count,
        time_ratio=gain.time_ratio,
    )
    return Gain(**{**asdict(gain), "p_adjusted": p_adjusted, "sentence": words})


def _notes(rows: Sequence[RowResult], gains: Sequence[Gain], things: str) -> list[str]:
    notes = []
    few = [gain.row for gain in gains if gain.trainings < LEAST_SEEDS]
    if few:
        notes.append(
            f"{', '.join(few)}: fewer than {LEAST_SEEDS} trainings to pair, so intervals and p values tell the chance of the "
            f"{things} alone; another training may turn a small difference round."
        )
    apart = [gain.row for gain in gains if not gain.seeds]
    if apart:
        notes.append(
            f"{', '.join(apart)}: no seed in common with {gains[0].against}; trainings are paired in their order."
        )
    uneven = [row for row in rows if row.canvas != rows[0].canvas]
    if uneven:
        sizes = ", ".join(f"{row.name} {row.canvas[0]} by {row.canvas[1]}" for row in (rows[0], *uneven))
        notes.append(f"Canvases differ (height by width): {sizes}.")
    if not all(math.isfinite(v) for row in rows for v in row.values):
        raise ConfigError("a run's score is not finite; look at its evaluation and leave it out")
    return notes
