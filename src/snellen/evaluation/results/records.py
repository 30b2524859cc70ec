"""Results are data: records in results/*.json, of one schema. Pages are made of them in page.py."""

import argparse
import json
import math
import shlex
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from snellen.training.runs import environment, write_atomically

__all__ = ["Record", "add_record", "flags_given", "mean_interval", "read_records"]

# Two-sided 97.5 % points of Student's t for 1 to 9 degrees of freedom: seeds are few.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


@dataclass(frozen=True)
class Record:
    """One measured number, with everything needed to measure it again.

    Attributes:
        name: e.g. "faces5/rcn"; a name ending in "/cpu" marks the reduced protocol that fits a CPU.
        metric: what was measured, e.g. "nme".
        unit: "%", "px", "ms", ...
        normaliser: what errors were divided by; empty for other metrics.
        values: one a seed, in `unit`.
        interval: 95 % interval of the mean over seeds, or over images where there is one seed.
        train_seconds: mean wall-clock seconds of training.
        steps: updates.
        command: what repeats it, `N` standing for the seed.
        hardware: cores and processor.
        device: "cpu" or the GPU's name.
        threads: CPU threads.
        versions: packages.
        commit: source tree.
        date: ISO date.
        pretrained: whether pretrained weights were used.
        note: one sentence of context.
        seeds: the seeds of `values`.
        extra: further numbers of the same runs (median, failure rate, learning curve, ...).
    """

    name: str
    metric: str
    unit: str
    normaliser: str
    values: list[float]
    interval: list[float]
    train_seconds: float
    steps: int
    command: str
    hardware: str
    device: str
    threads: int
    versions: dict[str, str]
    commit: str
    date: str
    pretrained: bool
    note: str
    seeds: list[int] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.values or not all(math.isfinite(v) for v in self.values):
            raise ValueError(f"record {self.name!r} has no finite values; a result that is missing has no record")
        if len(self.interval) != 2 or not self.interval[0] <= self.mean <= self.interval[1]:
            raise ValueError(f"record {self.name!r}: interval {self.interval} does not hold the mean {self.mean:.4g}")
        if self.seeds and len(self.seeds) != len(self.values):
            raise ValueError(f"record {self.name!r} has {len(self.values)} values for {len(self.seeds)} seeds")
        if "/" not in self.name or not self.metric or not self.command:
            raise ValueError(f"record {self.name!r} needs a name of the form data/what, a metric and a command")

    @classmethod
    def here(cls, **measured: Any) -> "Record":
        """A record of something measured on this machine now: hardware, versions, threads, commit and date are filled in.

        Args:
            measured: the other fields; `device` is the CPU, `normaliser` empty and `pretrained` false unless given.
        """
        now = environment()
        filled = {key: now[key] for key in ("hardware", "threads", "versions", "commit", "date")}
        return cls(**{"device": "cpu", "normaliser": "", "pretrained": False, **filled, **measured})

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return sum(self.values) / len(self.values)

    @property
    def spread(self) -> float:
        """Sample standard deviation over seeds; 0 for one seed."""
        n = len(self.values)
        return math.sqrt(sum((v - self.mean) ** 2 for v in self.values) / (n - 1)) if n > 1 else 0.0


def mean_interval(values: list[float]) -> list[float]:
    """95 % interval of the mean over seeds by Student's t.

    >>> mean_interval([1.0, 1.0, 1.0])
    [1.0, 1.0]
    """
    n = len(values)
    mean = sum(values) / n
    if n < 2:
        return [mean, mean]
    half = _T[min(n - 2, len(_T) - 1)] * math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n)
    return [mean - half, mean + half]


def flags_given(
    parser: argparse.ArgumentParser, chosen: argparse.Namespace, leave: tuple[str, ...] = ("results",)
) -> str:
    """The options of a script that are not its defaults, as they are typed, each after a space: for a record's command.

    Args:
        parser: of the script; its options are named by their flags.
        chosen: what it found.
        leave: options that do not change what is measured.

    >>> parser = argparse.ArgumentParser()
    >>> for flag, default in (("--rounds", 20), ("--clock", "wall"), ("--kernel-size", 5)):
    ...     _ = parser.add_argument(flag, default=default, type=type(default))
    >>> flags_given(parser, parser.parse_args(["--kernel-size", "7", "--rounds", "20"]))
    ' --kernel-size 7'
    """
    flags = ""
    for name, value in vars(chosen).items():
        if name in leave or value == parser.get_default(name):
            continue
        flag = f" --{name.replace('_', '-')}"
        if value is True:
            flags += flag
        elif isinstance(value, list):
            # An option that can be given several times has a list of what stood behind it each time.
            lists = value if value and isinstance(value[0], list) else [value]
            flags += "".join(f"{flag} {shlex.join(map(str, each))}" for each in lists)
        else:
            flags += f"{flag} {shlex.quote(str(value))}"
    return flags


def read_records(folder: str | Path) -> list[Record]:
    """All records of results/*.json, by file and order.

    Raises:
        ValueError: where a record has unknown or missing fields.
    """
    known = {f.name for f in fields(Record)}
    required = known - {"seeds", "extra"}
    records = []
    for file in sorted(Path(folder).glob("*.json")):
        for values in json.loads(file.read_text(encoding="utf-8")):
            if set(values) - known:
                raise ValueError(
                    f"{file}: record {values.get('name')!r} has unknown fields {sorted(set(values) - known)}"
                )
            missing = required - set(values)
            if missing:
                raise ValueError(f"{file}: record {values.get('name')!r} lacks {sorted(missing)}")
            records.append(Record(**values))
    return records


def add_record(file: str | Path, record: Record) -> None:
    """Add a record to a file, in place of one of the same name and metric."""
    file = Path(file)
    stored = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    kept = [r for r in stored if (r["name"], r["metric"]) != (record.name, record.metric)]
    write_atomically(file, json.dumps([*kept, asdict(record)], indent=1) + "\n")
