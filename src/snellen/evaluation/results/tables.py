"""Records side by side: the paper's branch-masking table, one choice changed at a time, poolings, learning curves."""

import io
import re
from collections.abc import Sequence

import matplotlib
import numpy as np

from snellen.evaluation.figures.drawing import BLUE, GREEN, RED, label, new_figure, tidy
from snellen.evaluation.results.records import Record, mean_interval
from snellen.training.classification import corruption_error

__all__ = [
    "CURVES",
    "box_table",
    "corruption_table",
    "curves_svg",
    "curves_table",
    "has_table",
    "masking_table",
    "paired_table",
]

#: Runs of the same data and steps whose learning curves are drawn together: figure name -> record names.
CURVES = {"faces5-curves": ("faces5/rcn", "faces5/sumnet")}

_MASKING = re.compile(r"^(?P<data>\w+)/masking/(?P<net>[a-z]+)-(?P<mask>[01]+)(?:/cpu)?$")
_PAIRED = re.compile(r"^(?P<data>\w+)/paired/(?P<row>[^/]+)(?:/cpu)?$")
_POOLS = re.compile(r"^(?P<data>\w+)/pool-(?P<row>[a-z-]+)(?:/cpu)?$")
#: The order of the paper's table: which branches are on, the coarsest first.
_MASKS = ("1000", "0100", "0010", "0001", "1100", "0011", "0111", "1001", "1111")
_NETS = {"sumnet": "SumNet", "rcn": "RCN"}


def has_table(record: Record) -> bool:
    """Whether a record stands in a table of its own: DATA/masking/NET-MASK and DATA/paired/ROW, with /cpu or without."""
    return _MASKING.match(record.name) is not None or _PAIRED.match(record.name) is not None


def masking_table(records: Sequence[Record]) -> list[str]:
    """The branch-masking table (Honari et al. 2016, rcn.md 4) as Markdown lines; empty where there are no such records."""
    cells: dict[str, dict[str, Record]] = {}
    for r in records:
        found = _MASKING.match(r.name)
        if found and r.metric == "nme":
            cells.setdefault(found["mask"], {})[found["net"]] = r
    if not cells:
        return []
    order = [m for m in _MASKS if m in cells] + sorted(m for m in cells if m not in _MASKS)
    some = next(iter(next(iter(cells.values())).values()))
    lines = [
        "### Branches taken away",
        "",
        f"Test error in {some.unit} of {some.normaliser}; a 1 is a branch in use, the coarsest first. A branch that is off",
        "gives zeros, in training and in the test, as published (the authors' code sums its untrained output).",
        "Without fine branches SumNet answers in the coarse map's repeated cells; an RCN's fine branches still convolve what",
        "comes up to them.",
        "",
        "| branches | " + " | ".join(_NETS.values()) + " |",
        "|---|" + "---|" * len(_NETS),
    ]
    for mask in order:
        row = [_cell(cells[mask].get(net)) for net in _NETS]
        lines.append(f"| {mask} | " + " | ".join(row) + " |")
    lines += ["", f"{some.steps:,} steps, {_seeds(some)}; {some.note}. Commands:", ""]
    lines += [f"- {r.name}: `{r.command}`" for mask in order for r in cells[mask].values()]
    return lines


def _seeds(record: Record) -> str:
    return f"seed{'s' if len(record.seeds) > 1 else ''} {', '.join(map(str, record.seeds))}"


def _cell(record: Record | None) -> str:
    if record is None:
        return "-"
    spread = f" ± {record.spread:.2f}" if len(record.values) > 1 else ""
    return f"{record.mean:.2f}{spread}"


def paired_table(records: Sequence[Record]) -> list[str]:
    """Rows that differ from "base" in one choice, as Markdown lines; empty where there is no base.

    Differences are taken seed by seed, so what the seeds share cancels; the interval is that of their mean.
    """
    rows = {found["row"]: r for r in records if (found := _PAIRED.match(r.name)) and r.metric == "nme"}
    base = rows.get("base")
    if base is None:
        return []
    others = sorted((n for n in rows if n != "base"), key=lambda n: rows[n].mean)
    lines = [
        "### One choice at a time",
        "",
        f"Validation error in {base.unit} of {base.normaliser}. The base has {base.mean:.2f} ± {base.spread:.2f} over",
        f"{_seeds(base)}; a row changes one choice, the rest is the same. Below 0 is better.",
        "",
        "| changed | error | change, paired | 95 % interval |",
        "|---|---|---|---|",
    ]
    for name in others:
        r = rows[name]
        pairs = [
            (b, v)
            for s, v in zip(r.seeds, r.values, strict=True)
            for t, b in zip(base.seeds, base.values, strict=True)
            if s == t
        ]
        if not pairs:
            continue
        gaps = [v - b for b, v in pairs]
        interval = mean_interval(gaps)
        words = f"{interval[0]:+.2f} to {interval[1]:+.2f}" if len(gaps) > 1 else "one seed"
        lines.append(f"| {name} | {r.mean:.2f} | {sum(gaps) / len(gaps):+.2f} | {words} |")
    lines += ["", "Commands:", "", *(f"- {rows[n].name}: `{rows[n].command}`" for n in ("base", *others))]
    return lines


def box_table(records: Sequence[Record]) -> list[str]:
    """Error against the box, a column a record that measured it, as Markdown lines; empty where none did."""
    columns = {r.name: r for r in records if r.extra.get("box_jitter")}
    if not columns:
        return []
    errors = {
        name: {(p["kind"], p["amount"]): 100 * p["nme"] for p in r.extra["box_jitter"]} for name, r in columns.items()
    }
    least = {name: min(values.values()) for name, values in errors.items()}
    lines = [
        "### Error against the box",
        "",
        "Error in % where boxes are shifted by a share of their size, in directions drawn at random, or scaled; in brackets",
        "how much more that is than the column's least; first seed, at most 200 images of the split, spread over it.",
        "",
        f"| box | {' | '.join(columns)} |",
        "|---" * (1 + len(columns)) + "|",
    ]
    for kind, amount in dict.fromkeys(key for values in errors.values() for key in values):
        words = "as annotated" if (kind, amount) == ("shift", 0) else f"{kind} {amount:g}"
        if (kind, amount) == ("scale", 1):
            continue  # the same box
        cells = [
            f"{values[kind, amount]:.2f} (+{100 * (values[kind, amount] / least[name] - 1):.0f} %)"
            if (kind, amount) in values
            else "-"
            for name, values in errors.items()
        ]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return lines


def corruption_table(records: Sequence[Record]) -> list[str]:
    """Poolings on corrupted images, each against max pooling, as Markdown lines; empty where there is no pool-max.

    The mCE is that of Hendrycks and Dietterich 2019, seed by seed: a kind's error over its severities divided by that of the
    max-pooled network of the same seed, the mean over kinds. Below 100 % is better than max pooling.
    """
    rows = {found["row"]: r for r in records if (found := _POOLS.match(r.name)) and r.metric == "top-1 accuracy"}
    base = rows.get("max")
    if base is None:
        return []
    errors = {
        row: dict(zip(r.seeds, (s["corruptions"] for s in r.extra["scores"]), strict=True)) for row, r in rows.items()
    }
    kinds = list(next(iter(errors["max"].values())))
    lines = [
        "### Corrupted images, by pooling",
        "",
        "The mean corruption error (mCE) against max pooling, seed by seed, and what each kind gives to it, in per cent: below",
        "100 is better than max pooling. Severities 1 to 5 of each kind.",
        "",
        "| pooling | mCE | " + " | ".join(kind.replace("_", " ") for kind in kinds) + " |",
        "|---|---|" + "---|" * len(kinds),
    ]
    for row, of_seeds in errors.items():
        shared = sorted(set(of_seeds) & set(errors["max"]))
        if not shared:
            continue
        scores = [corruption_error(of_seeds[seed], errors["max"][seed]) for seed in shared]
        values = [100 * score.mce for score in scores]
        spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
        of_kinds = (f"{100 * np.mean([score.relative[kind] for score in scores]):.0f}" for kind in kinds)
        lines.append(f"| {row} | {np.mean(values):.1f}{spread} | " + " | ".join(of_kinds) + " |")
    return lines


def _curves(records: Sequence[Record], names: Sequence[str]) -> dict[str, np.ndarray]:
    """name -> (seeds, validations, 2): step and validation error as a fraction."""
    found = {r.name: r for r in records if r.metric == "nme" and "curves" in r.extra}
    return {n: np.asarray(found[n].extra["curves"], dtype=float) for n in names if n in found}


def curves_table(records: Sequence[Record], names: Sequence[str]) -> list[str]:
    """Validation error by step, means over seeds, as Markdown lines; empty unless all of `names` have curves."""
    curves = _curves(records, names)
    if len(curves) < len(names):
        return []
    steps = [int(s) for s in next(iter(curves.values()))[0, :, 0]]
    lines = ["| steps | " + " | ".join(map(str, steps)) + " |", "|---|" + "---|" * len(steps)]
    for name, values in curves.items():
        means = 100 * values[:, :, 1].mean(axis=0)
        lines.append(f"| {name}, validation error in % | " + " | ".join(f"{v:.2f}" for v in means) + " |")
    return lines


def curves_svg(records: Sequence[Record], names: Sequence[str], key: str) -> str | None:
    """The same as an SVG file's text: a thick line the mean over seeds, thin ones the seeds. None where curves lack."""
    curves = _curves(records, names)
    if len(curves) < len(names):
        return None
    figure = new_figure(3.2, 6.4)
    figure.patch.set(facecolor="white", alpha=1.0)  # a file of its own is shown on pages of any colour
    axes = figure.subplots()
    for (name, values), colour in zip(curves.items(), (BLUE, RED, GREEN), strict=False):
        for seed in values:
            axes.plot(seed[:, 0], 100 * seed[:, 1], color=colour, linewidth=0.7, alpha=0.5)
        mean = values.mean(axis=0)
        axes.plot(mean[:, 0], 100 * mean[:, 1], color=colour, linewidth=2)
        label(axes, mean[-1, 0], 100 * mean[-1, 1], name.split("/")[-1], colour)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    tidy(axes, x="steps", y="validation error, % of the normaliser (log scale)")
    axes.margins(x=0.1)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": key}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"
