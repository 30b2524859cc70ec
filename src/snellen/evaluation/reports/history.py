"""What a run folder says of its training: the rows of metrics.csv, and the circumstances."""

import csv
import json
from typing import Any

from snellen.config import RunConfig, to_dict
from snellen.training.runs import RunFolder

__all__ = ["read_history", "run_facts"]


def read_history(folder: RunFolder) -> list[dict[str, Any]]:
    """Rows with their numbers; empty cells are left out."""
    file = folder / "metrics.csv"
    if not file.exists():
        return []
    with file.open(newline="") as opened:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(opened)]


def run_facts(folder: RunFolder, config: RunConfig) -> dict[str, Any]:
    """What a report says of a run beside its scores: run, config, command, versions, train_seconds, steps,
    parameters, history."""
    info = folder.info()
    circumstances = {key: str(info[key]) for key in ("hardware", "device", "threads", "commit", "date") if key in info}
    return {
        "run": folder.path.name,
        "config": to_dict(config),
        "command": str(info.get("command", "")),
        "versions": {**info.get("versions", {}), **circumstances},
        "train_seconds": info.get("train_seconds"),
        "steps": info.get("steps"),
        "parameters": json.loads((folder / "model.json").read_text(encoding="utf-8"))["parameters"],
        "history": read_history(folder),
    }
