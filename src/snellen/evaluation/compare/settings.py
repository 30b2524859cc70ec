"""In which settings two runs differ, whatever words they were given in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snellen.config import RunConfig, to_dict
from snellen.models import model_choices

__all__ = ["differing_settings"]


def differing_settings(one: RunConfig, other: RunConfig) -> list[str]:
    """Dotted names of the settings in which two runs differ, their names, folders and recipes' names aside."""
    values = []
    for config in (one, other):
        flat = _leaves(to_dict(config))
        for key in ("recipe", "out", "name"):
            flat.pop(key)
        for key in [k for k in flat if k.startswith("model.choices")]:
            flat.pop(key)
        # Resolved, since a command line writes some choices in other words, and presets name what others leave out.
        resolved = model_choices(config.model.name, **config.model.choices)
        flat |= {f"model.choices.{key}": _plain(value) for key, value in resolved.items()}
        if flat.get("data.annotations") == "annotations.csv":
            flat["data.annotations"] = ""  # which stands for it; earlier versions wrote it out
        root = flat.get("data.root")
        flat["data.root"] = str(Path(root).resolve()) if root else root
        values.append(flat)
    keys = dict.fromkeys([*values[0], *values[1]])
    return [key for key in keys if values[0].get(key) != values[1].get(key)]


def _leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= _leaves(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _plain(value: Any) -> Any:
    """Lists for tuples, as files give them back."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
