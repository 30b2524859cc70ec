"""Models by name: a name is a preset of choices, and every choice can be overridden.

>>> create_model("rcn5", keypoints=12, contrast="image").choices["keypoints"]
12
"""

import difflib
import fnmatch
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from snellen.models.base import KeypointNet
from snellen.models.recombinator import RCN
from snellen.models.sumnet import SumNet
from snellen.models.trunk import TOPOLOGIES

__all__ = ["UnknownChoiceError", "UnknownModelError", "create_model", "list_models", "model_choices", "register_model"]


class UnknownModelError(ValueError):
    """A model name that is not registered."""


class UnknownChoiceError(ValueError):
    """A choice, or a value of one, that does not exist or makes no sense beside the others."""


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _size(value: Any) -> bool:
    return value is None or (len(value) == 2 and all(map(_whole, value)) if isinstance(value, list | tuple) else False)


#: Every choice: its default, and its values, or a check with the words that describe what passes.
CHOICES: dict[str, tuple[Any, tuple[Any, ...] | tuple[Callable[[Any], bool], str]]] = {
    "backbone": ("rcn5", ("rcn5", "rcn68")),
    "aggregate": ("recombine", ("recombine", "recombine-skip", "sum")),
    "keypoints": (None, (lambda v: v is None or _whole(v), "a whole number of at least 1, or None for the backbone's")),
    "branches": (5, (4, 5, 6, 7)),
    "kernel": (None, (None, "3x3", "5x5")),
    "upsample": ("nearest", ("nearest", "learned")),
    "zero_nonmax": (False, (False, True)),
    "norm": ("none", ("none", "batch")),
    "channels": (1, (1, 3)),
    "contrast": ("lcn", ("lcn", "image", "fixed")),
    "width": (1.0, (_positive, "a number above 0")),
    "extra_fine": (False, (False, True)),
    "mixing": (None, (None, "map", "pixel")),
    "map_size": (None, (_size, "two whole numbers (height, width), or None")),
    "branch_mask": (None, (lambda v: v is None or isinstance(v, str), "a string of 0 and 1, or None")),
}

#: Presets differ from the defaults above only in what they name. Parameter counts: rcn.md 6.
_PRESETS: dict[str, dict[str, Any]] = {
    "rcn5": {},  # rcn.md 2.4; 227,141 parameters
    "rcn5-skip": {"aggregate": "recombine-skip"},  # rcn.md 2.6; 293,957
    "rcn5-bn": {"norm": "batch"},  # ours: rcn5 with batch norm
    "sumnet5": {"aggregate": "sum"},  # rcn.md 2.3; 142,850
    "rcn68": {"backbone": "rcn68"},  # rcn.md 2.5; 1,095,492
    "rcn68-skip": {"backbone": "rcn68", "aggregate": "recombine-skip"},  # rcn.md 2.6; 1,709,892
    "rcn68-released": {"backbone": "rcn68", "upsample": "learned", "zero_nonmax": True},  # rcn.md 2.5, 3.1 last row
    "sumnet68": {"backbone": "rcn68", "aggregate": "sum"},  # rcn.md 2.3; 603,368
}


def list_models(pattern: str = "*") -> list[str]:
    """Names of the registered models that match a wildcard pattern, sorted.

    >>> list_models("sumnet*")
    ['sumnet5', 'sumnet68']
    """
    return sorted(fnmatch.filter(_PRESETS, pattern))


def register_model(name: str, **choices: Any) -> None:
    """Give a set of choices a name.

    Args:
        name: a new name.
        choices: what differs from the defaults (those of "rcn5"); see `model_choices`.

    Raises:
        ValueError: where the name is taken.
        UnknownChoiceError: for choices that do not exist, or not together.
    """
    if name in _PRESETS:
        raise ValueError(f"a model is called {name!r} already; give another name")
    _resolve(choices)
    _PRESETS[name] = dict(choices)


def model_choices(name: str, **choices: Any) -> dict[str, Any]:
    """All choices of a model, resolved, without building it. Arguments and errors as for `create_model`.

    >>> model_choices("sumnet68")["mixing"]
    'map'
    """
    if name not in _PRESETS:
        raise UnknownModelError(
            f"no model is called {name!r}; {_nearest(name, _PRESETS)}; snellen.list_models() names all {len(_PRESETS)}"
        )
    return _resolve(_PRESETS[name] | choices)


def create_model(name: str, **choices: Any) -> KeypointNet:
    """Build a model with fresh weights.

    Args:
        name: one of `list_models()`.
        choices: changes to the preset, e.g. ``keypoints=12``. All there are::

            backbone     "rcn5" | "rcn68": the widths
            aggregate    "recombine" | "recombine-skip" | "sum" (SumNet)
            keypoints    how many; by default the backbone's 5 or 68
            branches     resolutions: 4..7, with "sum" 4..6, with rcn68 and "recombine-skip" 5
            kernel       "3x3" | "5x5" (then 1x1); by default 5x5 where rcn68 recombines, else 3x3
            upsample     "nearest" | "learned"; recombine only
            zero_nonmax  concatenate only the maxima of 2x2 windows; recombine only
            norm         "none" | "batch"
            channels     1 | 3: what the network sees, whatever the canvas has
            contrast     "lcn" | "image" | "fixed": how the canvas is normalised
            width        multiplier of all channels
            extra_fine   two more convolutions in the finest branch
            mixing       "map" | "pixel": SumNet's weights; sum only
            map_size     (height, width) of the weights of mixing "pixel"
            branch_mask  e.g. "1001", coarsest first: branches left out

    Returns:
        The model; `model.choices` holds every choice as resolved, ``create_model(name, **model.choices)`` builds it
        again.

    Raises:
        UnknownModelError: for an unknown name.
        UnknownChoiceError: for an unknown choice or value, or values that make no sense together.

    >>> create_model("rcn68", keypoints=19, branches=4).keypoints
    19
    """
    resolved = model_choices(name, **choices)
    shared = "keypoints branches kernel norm channels contrast width extra_fine branch_mask"
    options = {key: resolved[key] for key in shared.split()}
    options["topology"] = resolved["backbone"].removeprefix("rcn")
    model: KeypointNet
    try:
        if resolved["aggregate"] == "sum":
            size = resolved["map_size"]
            model = SumNet(**options, mixing=resolved["mixing"], map_size=tuple(size) if size else None)
        else:
            skip = resolved["aggregate"] == "recombine-skip"
            model = RCN(**options, skip=skip, upsample=resolved["upsample"], zero_nonmax=resolved["zero_nonmax"])
    except ValueError as error:
        raise UnknownChoiceError(f"model {name!r}: {error}") from None
    model.name, model.choices = name, resolved
    return model


def _resolve(given: Mapping[str, Any]) -> dict[str, Any]:
    """All choices from some: values checked, the rest filled in, JSON-able."""
    given = dict(given)
    mask = given.get("branch_mask")
    if isinstance(mask, int) and not isinstance(mask, bool):
        # A command line reads 0011 as the number 11: the digits lost are zeros, and the branches say how many.
        given["branch_mask"] = str(mask).zfill(given.get("branches") or CHOICES["branches"][0])
    for key, value in given.items():
        if key not in CHOICES:
            raise UnknownChoiceError(
                f"models have no choice {key!r}; {_nearest(key, CHOICES)}; all are {', '.join(CHOICES)}"
            )
        _check_value(key, value)
    choices = {key: default for key, (default, _) in CHOICES.items()} | dict(given)
    summing = choices["aggregate"] == "sum"
    topology = TOPOLOGIES[choices["backbone"].removeprefix("rcn")]
    if choices["keypoints"] is None:
        choices["keypoints"] = topology.keypoints
    if choices["kernel"] is None:
        choices["kernel"] = "3x3" if summing else topology.rcn_kernel
    if summing:
        choices["mixing"] = choices["mixing"] or "map"
        for key in ("upsample", "zero_nonmax"):
            _refuse_unless_default(choices, key, "SumNet concatenates nothing; take aggregate='recombine'")
        if choices["mixing"] == "pixel":
            choices["map_size"] = list(choices["map_size"] or (80, 80))
        else:
            _refuse_unless_default(choices, "map_size", "only mixing='pixel' has weights of a size")
        if choices["branches"] == 7:
            raise UnknownChoiceError(
                "branches=7 is not possible with aggregate='sum': SumNet has 4, 5 or 6 (rcn.md 2.2)"
            )
    else:
        if (choices["backbone"], choices["aggregate"]) == ("rcn68", "recombine-skip") and choices["branches"] != 5:
            raise UnknownChoiceError(
                f"branches={choices['branches']} is not possible with backbone='rcn68' and aggregate='recombine-skip': "
                "5 branches only (rcn.md 2.6); give branches=5, backbone='rcn5' or aggregate='recombine'"
            )
        for key in ("mixing", "map_size"):
            _refuse_unless_default(choices, key, "Recombinator Networks sum no maps; take aggregate='sum'")
    choices["width"] = float(choices["width"])
    return choices


def _check_value(key: str, value: Any) -> None:
    allowed = CHOICES[key][1]
    if callable(allowed[0]):
        if not allowed[0](value):
            raise UnknownChoiceError(f"{key}={value!r} is not possible; give {allowed[1]}")
    # bool is an int in Python: True must not pass for 1.
    elif not any(value == a and type(value) is type(a) for a in allowed):
        words = [a for a in allowed if isinstance(a, str)]
        near = f"{_nearest(value, words)}; " if isinstance(value, str) and words else ""
        raise UnknownChoiceError(
            f"{key}={value!r} is not possible; {near}all values are {', '.join(map(repr, allowed))}"
        )


def _refuse_unless_default(choices: Mapping[str, Any], key: str, reason: str) -> None:
    if choices[key] != CHOICES[key][0]:
        raise UnknownChoiceError(
            f"{key}={choices[key]!r} makes no sense with aggregate={choices['aggregate']!r}: {reason}, "
            f"or leave {key} out"
        )


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), 3, 0.0)
    return f"nearest: {', '.join(near)}"
