"""The rows of a run's metrics.csv."""

import csv
from typing import Any

from snellen.training.runs import RunFolder

__all__ = ["read_history"]


def read_history(folder: RunFolder) -> list[dict[str, Any]]:
    """Rows with their numbers; empty cells are left out."""
    file = folder / "metrics.csv"
    if not file.exists():
        return []
    with file.open(newline="") as opened:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(opened)]
