"""Times of layers side by side, as tables: a row a layer, eager and compiled, forward and a training step."""

import re
from collections.abc import Sequence

from snellen.evaluation.results.records import Record

__all__ = ["is_timing", "timing_tables"]

_NAME = re.compile(r"^speed/(?P<of>lift|ms-sar)/(?P<layer>[\w-]+)$")
_METRIC = re.compile(r"^(?P<what>forward|training step), (?P<mode>eager|compiled), (?P<where>.+)$")
#: What the times of each group are divided by: the layer, and what the page calls it.
_BASES = {"lift": ("max", "max pooling"), "ms-sar": ("se", "SE")}


def is_timing(record: Record) -> bool:
    """Whether a record stands in such a table: speed/lift/LAYER or speed/ms-sar/LAYER, with forward and step."""
    return _NAME.match(record.name) is not None and _METRIC.match(record.metric) is not None


def timing_tables(records: Sequence[Record]) -> list[str]:
    """Markdown lines of a table for each map that layers were timed on; empty where there are no such records."""
    tables: dict[tuple[str, str], dict[str, dict[str, Record]]] = {}
    for record in records:
        name, metric = _NAME.match(record.name), _METRIC.match(record.metric)
        if name and metric:
            rows = tables.setdefault((name["of"], metric["where"]), {})
            rows.setdefault(name["layer"], {})[metric["mode"]] = record
    lines: list[str] = []
    for (of, where), rows in tables.items():
        base, called = _BASES[of]
        reference = _times(rows[base]["eager"]) if "eager" in rows.get(base, {}) else None
        modes = [mode for mode in ("eager", "compiled") if any(mode in row for row in rows.values())]
        heads = [f"{mode} {what}" for mode in modes for what in ("forward", "step")]
        one = next(iter(next(iter(rows.values())).values()))
        kept = ["kept"] if "kept" in one.extra else []
        lines += [
            f"### {of}: {where}",
            "",
            f"Milliseconds, medians of {one.steps} rounds in which all take turns"
            + (f"; in brackets over eager {called}." if reference else ".")
            + (" Kept: what a layer holds for the backward pass, over its input's size." if kept else ""),
            f"`{one.command}` ({one.hardware}, {one.date})",
            "",
            f"| layer | {' | '.join([*heads, *kept])} |",
            "|---|" + "---|" * len([*heads, *kept]),
        ]
        for layer, row in rows.items():
            cells = [cell for mode in modes for cell in _cells(row.get(mode), reference)]
            if kept:
                cells.append(f"{row['eager'].extra['kept']:.1f}" if "eager" in row else "-")
            lines.append(f"| {layer} | {' | '.join(cells)} |")
        lines.append("")
    return lines[:-1]


def _cells(record: Record | None, reference: tuple[float, float] | None) -> list[str]:
    if record is None:
        return ["-", "-"]
    if reference is None:
        return [f"{ms:.2f}" for ms in _times(record)]
    return [f"{ms:.2f} ({ms / against:.2f})" for ms, against in zip(_times(record), reference, strict=True)]


def _times(record: Record) -> tuple[float, float]:
    """Milliseconds of a forward pass and of a training step."""
    if "step_ms" in record.extra:
        return record.mean, float(record.extra["step_ms"])
    return float(record.extra["forward_ms"]), record.mean
