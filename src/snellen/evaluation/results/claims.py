"""The part of docs/results.md on the papers' claims: what is claimed, what was measured, what is different."""

from collections.abc import Sequence

from snellen.claims import Claim, list_claims, read_claim
from snellen.evaluation.results.recording import METRICS
from snellen.evaluation.results.records import Record

__all__ = ["claims_section"]


def claims_section(records: Sequence[Record]) -> list[str]:
    """Markdown lines: a heading a claim, its sentence, the paper's figure, our records of its main number, the differences."""
    lines = [
        "## Claims of the papers",
        "",
        "`snellen reproduce NAME --data DATA` runs one; its report compares the rows image by image. ± is over seeds.",
        "",
    ]
    for name in list_claims():
        lines += _claim(read_claim(name), records)
    return lines


def _claim(claim: Claim, records: Sequence[Record]) -> list[str]:
    metric = METRICS[claim.metrics[0]][0]
    found = {r.name: r for r in records if r.metric == metric}
    rows = []
    for row, about in claim.rows.items():
        record = found.get(about.record)
        value = "not run"
        if record is not None:
            spread = f" ± {record.spread:.2f}" if len(record.values) > 1 else ""
            value = f"{record.mean:.2f}{spread} {record.unit}"
        rows.append(f"| {row} | {about.record} | {value} |")
    return [
        f"### {claim.name}",
        "",
        f"{claim.claim} ({claim.paper})",
        "",
        f"What the paper reports: {claim.figure}",
        "",
        f"About what it costs: {claim.cost}.",
        "",
        f"| row | record | {metric} |",
        "|---|---|---|",
        *rows,
        "",
        "Different from the paper:",
        "",
        *(f"- {difference}" for difference in claim.differences),
        "",
    ]
