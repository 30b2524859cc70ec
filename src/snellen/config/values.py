"""Values of settings brought to the type that the setting declares, or refused in one sentence.

YAML reads 1e-3 as a word, JSON knows no tuples, and Python callers pass what they have: the three meet here, so that a
setting means the same wherever it was written.
"""

import dataclasses
import math
import os
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from snellen.config.checks import ConfigError, nearest

__all__ = ["coerce", "coerce_fields", "setting_types"]


def setting_types(kind: type) -> dict[str, Any]:
    """The declared type of each field of a section."""
    return typing.get_type_hints(kind)


def coerce_fields(section: Any, name: str) -> None:
    """Bring every field of a frozen dataclass to its declared type; called from `__post_init__`."""
    hints = setting_types(type(section))
    for field in dataclasses.fields(section):
        value = coerce(f"{name}.{field.name}" if name else field.name, getattr(section, field.name), hints[field.name])
        object.__setattr__(section, field.name, value)


def coerce(name: str, value: Any, hint: Any) -> Any:
    """`value` as the type `hint`.

    Raises:
        ConfigError: naming the setting, what it takes and what it was given.

    >>> coerce("train.lr", "1e-3", float), coerce("data.canvas", [80, 96.0], tuple[int, int])
    (0.001, (80, 96))
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return coerce(name, value, next(a for a in arguments if a is not type(None)))
    if origin is Literal:
        return _one_of(name, value, arguments)
    if origin is tuple:
        return _tuple(name, value, arguments)
    if hint is bool:
        if isinstance(value, bool):
            return value
        raise ConfigError(f"{name} is true or false, not {value!r}")
    if hint in (int, float):
        return _number(name, value, hint)
    if hint is str:
        if isinstance(value, str | os.PathLike):
            return os.fspath(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)  # a name such as 2026 that YAML took for a number
        raise ConfigError(f"{name} is a word or a path, not {value!r}")
    if origin is dict and not isinstance(value, Mapping):
        raise ConfigError(f"{name} is a group of settings, not {value!r}")
    return value


def _one_of(name: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    for a in allowed:
        # bool is an int in Python: True must not pass for 1. A number may come as a word.
        if (value == a and type(value) is type(a)) or (isinstance(a, int) and str(value) == str(a)):
            return a
    near = nearest(value, [a for a in allowed if isinstance(a, str)]) if isinstance(value, str) else ""
    raise ConfigError(f"{name} is {_or(allowed)}, not {value!r}{near}")


def _or(values: tuple[Any, ...]) -> str:
    words = [str(v) for v in values]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _number(name: str, value: Any, kind: type) -> int | float:
    number = value
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            number = None
    usable = isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
    if not usable or (kind is int and number != int(number)):
        raise ConfigError(f"{name} is a {'whole ' if kind is int else ''}number, not {value!r}")
    return kind(number)


def _tuple(name: str, value: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        example = "[1, 2]" if arguments[0] in (int, float) else "[a, b]"
        raise ConfigError(f"{name} is a list such as {example}, not {value!r}")
    if arguments[-1] is Ellipsis:
        return tuple(coerce(name, v, arguments[0]) for v in value)
    if len(value) != len(arguments):
        raise ConfigError(f"{name} is a list of {len(arguments)}, not {list(value)}")
    return tuple(coerce(name, v, a) for v, a in zip(value, arguments, strict=True))
