"""Results are data: records in results/*.json, one schema, and the page that is generated from them.

python -m snellen.evaluation.results results docs/results.md README.md
"""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from snellen.training.runs import write_atomically

__all__ = [
    "Record",
    "add_record",
    "headline_table",
    "main",
    "mean_interval",
    "read_records",
    "results_page",
    "with_headlines",
]

#: What the README shows.
HEADLINES = ("wings/rcn", "faces5/rcn-10min")

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


def results_page(records: list[Record], not_run: str = "") -> str:
    """The Markdown page of all records, a table a data set, comparisons beneath, and what was not run."""
    from snellen.evaluation.comparisons import CURVES, curves_table, has_table, masking_table, paired_table

    lines = [
        "# Results",
        "",
        "Generated from `results/*.json` by `make results-doc`; do not edit. Values are means over seeds with their sample",
        "standard deviation, and the 95 % interval of the mean by Student's t over seeds; of a single run the interval is over",
        "its images or repetitions, where there is one. Normalisers are always named.",
        "",
    ]
    for group in dict.fromkeys(r.name.split("/")[0] for r in records):
        lines += [f"## {group}", "", "| record | metric | mean ± sd | 95 % interval | seeds | steps | train | note |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        everything = [r for r in records if r.name.split("/")[0] == group]
        members = [r for r in everything if not has_table(r)]
        for r in members:
            metric = r.metric + (f" / {r.normaliser}" if r.normaliser else "")
            lines.append(
                f"| {r.name} | {metric} | {_value(r)} | {_interval(r)} "
                f"| {len(r.values)} | {r.steps:,} | {_time(r.train_seconds)} | {r.note} |"
            )
        lines += ["", "Commands (`N` is the seed):", ""]
        commands = [
            f"- {r.name}: `{r.command}` ({r.hardware}, {r.device}, {r.threads} threads, {r.date})" for r in members
        ]
        lines += dict.fromkeys(commands)
        lines.append("")
        for key, names in CURVES.items():
            table = curves_table(everything, names)
            if table:
                alone = ", ".join(f"`{n}`" for n in names)
                lines += [
                    f"### Learning curves of {alone}",
                    "",
                    f"![Validation error by steps]({key}.svg)",
                    "",
                    *table,
                    "",
                ]
        for table in (masking_table(everything), paired_table(everything)):
            lines += [*table, ""] if table else []
    if not_run:
        lines += ["## Not run", "", not_run.strip(), ""]
    return "\n".join(lines)


def headline_table(records: list[Record], names: Sequence[str]) -> str:
    """A short Markdown table of some records, each number with the command that made it."""
    lines = ["| record | mean ± sd over seeds | command (`N` is the seed) |", "|---|---|---|"]
    for name in names:
        found = [r for r in records if r.name == name]
        for command in dict.fromkeys(r.command for r in found):
            values = "; ".join(
                f"{r.metric}{f' over {r.normaliser}' if r.normaliser else ''} {_value(r)}"
                for r in found
                if r.command == command
            )
            lines.append(f"| {name}, {len(found[0].values)} seeds | {values} | `{command}` |")
    return "\n".join(lines)


def with_headlines(readme: str, table: str) -> str:
    """A README's text with the table between its two `results` marks."""
    start, end = "<!-- results: generated by make results-doc -->", "<!-- /results -->"
    if start not in readme or end not in readme:
        raise ValueError(f"the README lacks the marks {start} and {end}")
    before, rest = readme.split(start, 1)
    return before + start + "\n" + table + "\n" + end + rest.split(end, 1)[1]


def main(folder: str, page: str, readme: str) -> None:
    """Write the results page with its figures, and the README's table."""
    from snellen.evaluation.comparisons import CURVES, curves_svg

    records = read_records(folder)
    for key, names in CURVES.items():
        drawn = curves_svg(records, names, key)
        if drawn:
            write_atomically(Path(page).with_name(f"{key}.svg"), drawn)
    missing = Path(folder) / "not-run.md"
    write_atomically(Path(page), results_page(records, missing.read_text(encoding="utf-8") if missing.exists() else ""))
    text = Path(readme).read_text(encoding="utf-8")
    write_atomically(Path(readme), with_headlines(text, headline_table(records, HEADLINES)))


def _value(record: Record) -> str:
    spread = f" ± {record.spread:.2f}" if len(record.values) > 1 else ""
    return f"{record.mean:.2f}{spread} {record.unit}"


def _interval(record: Record) -> str:
    low, high = record.interval
    return f"{low:.2f} to {high:.2f}" if high > low or len(record.values) > 1 else "-"


def _time(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.0f} s"


if __name__ == "__main__":
    main(*sys.argv[1:4])
