"""The choices that make a model: what there is, what goes together, and what is said where it does not."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from snellen.models.aggregate import AGGREGATES
from snellen.models.preprocess import CONTRASTS
from snellen.models.recalibration import RECALIBRATIONS, check_recalibration
from snellen.models.trunk import TOPOLOGIES, TRUNK_POOLS
from snellen.models.unpooling import UNPOOLS
from snellen.models.zoom_names import ZOOMS, resolve_zoom

__all__ = ["CHOICES", "UnknownChoiceError", "UnknownModelError", "is_pyramid", "nearest", "resolve_choices"]


class UnknownModelError(ValueError):
    """A model name that is not known."""


class UnknownChoiceError(ValueError):
    """A choice, or a value of one, that does not exist or makes no sense beside the others."""


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _power_of_two(value: Any) -> bool:
    return _whole(value) and value & (value - 1) == 0


def _size(value: Any) -> bool:
    return value is None or (len(value) == 2 and all(map(_whole, value)) if isinstance(value, list | tuple) else False)


def _options(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _or_none(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


Values = tuple[Any, ...] | tuple[Callable[[Any], bool], str]

#: Every choice: its default, and its values, or a check with the words that describe what passes.
CHOICES: dict[str, tuple[Any, Values]] = {
    "backbone": ("rcn5", ("rcn5", "rcn68")),  # and timm:NAME, which timm itself knows
    "aggregate": ("recombine", AGGREGATES),
    "keypoints": (None, (_or_none(_whole), "a whole number of at least 1, or None for the backbone's")),
    "branches": (5, (4, 5, 6, 7)),
    "stride": (1, (_power_of_two, "a power of two: 1, 2, 4, 8, ...")),
    "features": (None, (_or_none(_whole), "a whole number of channels, or None for the backbone's")),
    "pretrained": (False, (lambda v: isinstance(v, bool | str), "false, true, or the path of a .safetensors file")),
    "kernel": (None, (None, "3x3", "5x5")),
    "pool": ("max", ("own", *TRUNK_POOLS)),
    "pool_options": ({}, (_options, "a group of the pooling's options, e.g. {kernel_size: 3}")),
    "unpool": ("nearest", UNPOOLS),
    "recalibrate": ("none", RECALIBRATIONS),
    "recalibrate_options": ({}, (_options, "a group of the block's options, e.g. {grids: [1, 2]}")),
    "zero_nonmax": (False, (False, True)),
    "norm": ("none", ("none", "batch")),
    "channels": (1, (1, 3)),
    "contrast": ("lcn", CONTRASTS),
    "width": (1.0, (_positive, "a number above 0")),
    "extra_fine": (False, (False, True)),
    "mixing": (None, (None, "map", "pixel")),
    "map_size": (None, (_size, "two whole numbers (height, width), or None")),
    "branch_mask": (None, (_or_none(lambda v: isinstance(v, str)), "a string of 0 and 1, or None")),
    "zoom": ("none", ZOOMS),
    "zoom_options": ({}, (_options, "a group of the zoom's options, e.g. {size: [96, 96]}")),
}

#: What is different where the backbone is timm's: defaults ...
TIMM_DEFAULTS = {
    "keypoints": 5, "branches": None, "stride": 4, "features": 64, "norm": "batch", "contrast": "fixed", "pool": "own",
}  # fmt: skip
#: ... and values.
TIMM_VALUES: dict[str, Values] = {
    "branches": (_or_none(_whole), "a whole number of the backbone's maps, finest first, or None for all"),
}
#: Width of the aggregates that the papers' trunks can have beside the papers' own.
PAPER_FEATURES = {"rcn5": 32, "rcn68": 64}

#: Choices of the papers' own networks, and why no other has them.
_PAPERS_ONLY = {
    "kernel": "its branches convolve 3x3; only the papers' networks have a choice",
    "zero_nonmax": "only the papers' Recombinator Networks concatenate what a 2x2 pool passes on",
    "extra_fine": "its finest branch is as the others; take more features",
}


def is_timm(choices: Mapping[str, Any]) -> bool:
    """Whether the backbone is one of timm's."""
    return str(choices["backbone"]).startswith("timm:")


def is_pyramid(choices: Mapping[str, Any]) -> bool:
    """Whether the network is a `PyramidNet`: every one but the papers' own."""
    return is_timm(choices) or choices["aggregate"] in ("unet", "fpn")


def resolve_choices(given: Mapping[str, Any]) -> dict[str, Any]:
    """All choices from some: values checked, the rest filled in, JSON-able.

    Raises:
        UnknownChoiceError: for an unknown choice or value, or values that make no sense together.
    """
    given = dict(given)
    backbone = given.get("backbone", CHOICES["backbone"][0])
    timm = isinstance(backbone, str) and backbone.startswith("timm:")
    defaults = {key: default for key, (default, _) in CHOICES.items()} | (TIMM_DEFAULTS if timm else {})
    if given.get("aggregate") == "unet":
        defaults["unpool"] = "learned"  # its up-convolution
    if timm and given.get("pretrained"):
        defaults["contrast"] = "imagenet"
    mask = given.get("branch_mask")
    if isinstance(mask, int) and not isinstance(mask, bool):
        # A command line reads 0011 as the number 11: the digits lost are zeros, and the branches say how many.
        given["branch_mask"] = str(mask).zfill(given.get("branches") or defaults["branches"] or 0)
    for key, value in given.items():
        if key not in CHOICES:
            raise UnknownChoiceError(
                f"models have no choice {key!r}; {nearest(key, CHOICES)}; all are {', '.join(CHOICES)}"
            )
        _check_value(key, value, timm)
    choices = defaults | given
    if is_pyramid(choices):
        _resolve_pyramid(choices)
    else:
        _resolve_papers(choices)
    _resolve_pooling(choices)
    _resolve_recalibration(choices)
    choices["zoom_options"] = resolve_zoom(choices["zoom"], choices["zoom_options"], task="keypoints")
    choices["width"] = float(choices["width"])
    return choices


def _resolve_pooling(choices: dict[str, Any]) -> None:
    """Poolings and unpoolings that cannot be; which widths match is seen when the model is built."""
    timm, pool, unpool = is_timm(choices), choices["pool"], choices["unpool"]
    choices["pool_options"] = dict(choices["pool_options"])
    backbone, aggregate = (f"{key}={choices[key]!r}" for key in ("backbone", "aggregate"))
    if timm and pool == "strided":
        _refuse(choices, "pool", backbone, "its convolutions are strided where it was designed so; take pool='own'")
    if not timm and pool == "own":
        _refuse(choices, "pool", backbone, "it has no other pooling of its own than 'max'; take pool='max'")
    if choices["pool_options"] and pool in ("own", "strided"):
        _refuse(choices, "pool_options", f"pool={pool!r}", "it has none")
    if choices["zero_nonmax"] and pool != "max":
        _refuse(choices, "zero_nonmax", f"pool={pool!r}", "it keeps what a max pooling passes on; take pool='max'")
    if choices["aggregate"] == "sum":
        _refuse_unless_default(choices, "unpool", aggregate, "SumNet concatenates nothing; take aggregate='recombine'")
    elif unpool in ("max", "lift"):
        if choices["aggregate"] == "fpn":
            _refuse(choices, "unpool", aggregate, "its laterals add the trunk's details already; take 'bilinear'")
        if timm:
            _refuse(choices, "unpool", backbone, "its poolings lie inside its blocks; take the backbone rcn5 or rcn68")
        if pool != unpool:
            _refuse(choices, "unpool", f"pool={pool!r}", f"it undoes the trunk's own pooling; take pool={unpool!r}")
    elif unpool == "learned" and (timm or choices["aggregate"] == "fpn") and choices["aggregate"] != "unet":
        beside = aggregate if choices["aggregate"] == "fpn" else backbone
        _refuse(choices, "unpool", beside, "only U-Nets and the papers' Recombinator Networks learn it")


def _resolve_recalibration(choices: dict[str, Any]) -> None:
    choices["recalibrate_options"] = dict(choices["recalibrate_options"])
    try:
        check_recalibration(choices["recalibrate"], choices["recalibrate_options"])
    except ValueError as error:
        raise UnknownChoiceError(str(error)) from None


def _resolve_pyramid(choices: dict[str, Any]) -> None:
    beside = f"backbone={choices['backbone']!r}" if is_timm(choices) else f"aggregate={choices['aggregate']!r}"
    for key, reason in _PAPERS_ONLY.items():
        _refuse_unless_default(choices, key, beside, reason)
    if choices["aggregate"] == "sum":
        choices["mixing"] = choices["mixing"] or "map"
        if choices["mixing"] == "pixel":
            raise UnknownChoiceError(
                f"mixing='pixel' makes no sense with {beside}: its canvases have any size, a matrix of weights one; "
                "take mixing='map'"
            )
    else:
        _refuse_unless_default(choices, "mixing", f"aggregate={choices['aggregate']!r}", "it sums no maps")
    _refuse_unless_default(choices, "map_size", beside, "only mixing='pixel' has weights of a size")
    if is_timm(choices):
        for key in ("keypoints", "features"):
            choices[key] = choices[key] or TIMM_DEFAULTS[key]
        _refuse_unless_default(
            choices, "width", beside, "a timm backbone has its own widths; take features, or another backbone"
        )
        return
    _refuse_on_papers_trunk(choices)
    choices["features"] = choices["features"] or PAPER_FEATURES[choices["backbone"]]
    choices["keypoints"] = choices["keypoints"] or TOPOLOGIES[choices["backbone"].removeprefix("rcn")].keypoints


def _resolve_papers(choices: dict[str, Any]) -> None:
    _refuse_on_papers_trunk(choices)
    _refuse_unless_default(
        choices, "features", f"backbone={choices['backbone']!r}", "its branches are as wide as its trunk; take width"
    )
    aggregate = f"aggregate={choices['aggregate']!r}"
    summing = choices["aggregate"] == "sum"
    topology = TOPOLOGIES[choices["backbone"].removeprefix("rcn")]
    if choices["keypoints"] is None:
        choices["keypoints"] = topology.keypoints
    if choices["kernel"] is None:
        choices["kernel"] = "3x3" if summing else topology.rcn_kernel
    if summing:
        choices["mixing"] = choices["mixing"] or "map"
        reason = "SumNet concatenates nothing; take aggregate='recombine'"
        _refuse_unless_default(choices, "zero_nonmax", aggregate, reason)
        if choices["mixing"] == "pixel":
            choices["map_size"] = list(choices["map_size"] or (80, 80))
        else:
            _refuse_unless_default(choices, "map_size", aggregate, "only mixing='pixel' has weights of a size")
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
            _refuse_unless_default(choices, key, aggregate, "Recombinator Networks sum no maps; take aggregate='sum'")


def _refuse_on_papers_trunk(choices: Mapping[str, Any]) -> None:
    beside = f"backbone={choices['backbone']!r}"
    _refuse_unless_default(
        choices, "stride", beside, "it answers at every pixel of the canvas; give a smaller canvas, or a timm backbone"
    )
    _refuse_unless_default(choices, "pretrained", beside, "it has no pretrained weights; take a timm backbone")


def _check_value(key: str, value: Any, timm: bool) -> None:
    allowed = CHOICES[key][1]
    if timm:
        if key == "backbone":
            return  # timm knows its names; it is asked when the model is built, since importing it takes its time
        allowed = TIMM_VALUES.get(key, allowed)
    if callable(allowed[0]):
        if not allowed[0](value):
            raise UnknownChoiceError(f"{key}={value!r} is not possible; give {allowed[1]}")
    # bool is an int in Python: True must not pass for 1.
    elif not any(value == a and type(value) is type(a) for a in allowed):
        words = [a for a in allowed if isinstance(a, str)]
        near = f"{nearest(value, words)}; " if isinstance(value, str) and words else ""
        more = ", and timm:NAME, e.g. timm:resnet18" if key == "backbone" else ""
        raise UnknownChoiceError(
            f"{key}={value!r} is not possible; {near}all values are {', '.join(map(repr, allowed))}{more}"
        )


def _refuse_unless_default(choices: Mapping[str, Any], key: str, beside: str, reason: str) -> None:
    if choices[key] != CHOICES[key][0]:
        _refuse(choices, key, beside, reason)


def _refuse(choices: Mapping[str, Any], key: str, beside: str, reason: str) -> NoReturn:
    raise UnknownChoiceError(f"{key}={choices[key]!r} makes no sense with {beside}: {reason}, or leave {key} out")


def nearest(word: str, known: Iterable[str]) -> str:
    """'nearest: a, b, c' for a word that is not known."""
    near = difflib.get_close_matches(word, list(known), 3, 0.0)
    return f"nearest: {', '.join(near)}"
