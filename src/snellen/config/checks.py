"""What the sections of a configuration check themselves with."""

import difflib
from typing import Any

__all__ = ["ConfigError", "Range", "check_range", "nearest", "require"]

Range = tuple[float, float]


class ConfigError(ValueError):
    """A configuration that cannot be run; the message is one sentence on what to change."""


def nearest(word: str, known: Any, count: int = 3) -> str:
    """'; nearest: a, b' for a mistyped word, or an empty string where nothing is close."""
    near = difflib.get_close_matches(word, list(known), count, 0.4)
    return f"; nearest: {', '.join(near)}" if near else ""


def require(condition: bool, sentence: str) -> None:
    """A ConfigError with `sentence` unless `condition` holds."""
    if not condition:
        raise ConfigError(sentence)


def check_range(name: str, value: Range, low: float, high: float) -> None:
    """A ConfigError unless `value` is two numbers in order within `low` and `high`."""
    require(
        len(value) == 2 and low <= value[0] <= value[1] <= high,
        f"{name} must be two numbers in order between {low:g} and {high:g}, not {list(value)}",
    )
