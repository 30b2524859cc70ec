"""The values of the choice `zoom` and the options of each, without building anything."""

import difflib
from collections.abc import Mapping
from typing import Any

__all__ = ["ZOOMS", "ZOOM_OPTIONS", "resolve_zoom"]

_SAMPLING = ("size", "antialias")
_LOOK = ("backbone", "pretrained", "thumbnail", "blur_steps")
_LEARNED = ("temperature", "alpha", "beta", "mirror", "peak", "looks")
_SALIENT = (*_SAMPLING, "nodes", "sigma", "padding", "strength", "max_zoom", "legacy")

#: Which options each has; `models/zoomers.py` says what they mean, `models/zoomed.py` what `looks` does.
ZOOM_OPTIONS: dict[str, tuple[str, ...]] = {
    "none": (),
    "uniform": _SAMPLING,
    "crop": (*_SAMPLING, "share"),
    "boxes": (*_SALIENT, "separable", "alpha", "beta"),
    "fixed": (*_SALIENT, "separable"),
    "saliency": (*_SALIENT, *_LOOK, *_LEARNED),
    "separable": (*_SALIENT, *_LOOK, *_LEARNED),
    "stn": (*_SAMPLING, *_LOOK),
    "tps": (*_SAMPLING, *_LOOK, "nodes", "points"),
    "direct": (*_SAMPLING, *_LOOK, "nodes"),
    "cam": (*_SAMPLING, "threshold"),
}
ZOOMS = tuple(ZOOM_OPTIONS)
#: Options that are two whole numbers (height, width), or one for both.
_PAIRS = ("size", "nodes", "thumbnail")


def resolve_zoom(kind: str, options: Any, *, task: str) -> dict[str, Any]:
    """The options of a zoom, checked by name and JSON-able; sizes are pairs.

    Args:
        kind: of `ZOOMS`.
        options: some of those of its kind; `size` is needed.
        task: of the model.

    Raises:
        ValueError: for a kind or an option that does not exist, or makes no sense with the task.

    >>> resolve_zoom("uniform", {"size": 96}, task="keypoints")
    {'size': [96, 96]}
    """
    if kind not in ZOOMS:
        near = ", ".join(difflib.get_close_matches(str(kind), ZOOMS, 3, 0.0))
        raise _error(f"zoom={kind!r} is not possible; nearest: {near}; all values are {', '.join(ZOOMS)}")
    if not isinstance(options, Mapping):
        raise _error(f"zoom_options={options!r} is not possible; give a group of options, e.g. {{size: [96, 96]}}")
    known, resolved = ZOOM_OPTIONS[kind], dict(options)
    for key in resolved:
        if key not in known:
            listed = f"they are {', '.join(known)}" if known else "there are none; choose a zoom"
            raise _error(f"zoom={kind!r} has no option {key!r}; {listed}")
    if kind == "none":
        return {}
    if "size" not in resolved:
        raise _error(
            f"zoom={kind!r} needs zoom_options.size, the height and width of what the network sees, e.g. [96, 96]"
        )
    for key in _PAIRS:
        if resolved.get(key) is not None:
            resolved[key] = _pair(key, resolved[key])
    if kind == "cam" and task != "classification":
        raise _error(f"zoom='cam' makes no sense for {task}: class activations need classes; take another zoom")
    if kind == "boxes" and task != "keypoints":
        raise _error(f"zoom='boxes' makes no sense for {task}: its data have no boxes; take another zoom")
    looks = resolved.get("looks", 1)
    if type(looks) is not int or looks < 1:
        raise _error(
            f"zoom_options.looks={looks!r} is not possible; give how often the picture is looked at, 1 or more"
        )
    if looks > 1 and task != "keypoints":
        raise _error(
            f"zoom_options.looks={looks} makes no sense for {task}: only points say where to look again; leave looks out"
        )
    if resolved.get("legacy") and task != "classification":
        raise _error(
            f"zoom_options.legacy={resolved['legacy']!r} makes no sense for {task}: its picture is shifted against its grid, "
            "so answers cannot be brought back; leave legacy out"
        )
    return resolved


def _pair(key: str, value: Any) -> list[int]:
    listed = [value, value] if isinstance(value, int) else list(value) if isinstance(value, list | tuple) else []
    if len(listed) != 2 or not all(isinstance(v, int) and not isinstance(v, bool) and v > 1 for v in listed):
        raise _error(f"zoom_options.{key}={value!r} is not possible; give two whole numbers (height, width) above 1")
    return listed


def _error(sentence: str) -> ValueError:
    # choices.py imports this module.
    from snellen.models.choices import UnknownChoiceError

    return UnknownChoiceError(sentence)
