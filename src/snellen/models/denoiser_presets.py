"""Denoisers by name.

>>> create_denoiser("denoiser", keypoints=12, size=(72, 96)).choices["features"]
96
"""

import fnmatch
from typing import Any

from snellen.models.attention_denoiser import AttentionDenoiser
from snellen.models.choices import UnknownChoiceError, nearest
from snellen.models.denoisers import ConvDenoiser, Denoiser

__all__ = ["create_denoiser", "denoiser_choices", "list_denoisers"]

_SHARED: dict[str, Any] = {"keypoints": 68, "size": [80, 80]}
#: Every choice of each preset and its default.
_PRESETS: dict[str, tuple[type[Denoiser], dict[str, Any]]] = {
    "denoiser": (AttentionDenoiser, {"features": 96, "heads": 4, "blocks": 4, "components": 4}),
    # rcn.md 2.7; 25,406,212 parameters for 68 points.
    "denoiser-exact": (ConvDenoiser, {"kernel": 45, "features": 64, "layers": 3, "fast": True}),
}


def list_denoisers(pattern: str = "*") -> list[str]:
    """Names of the denoisers that match a wildcard pattern, sorted.

    >>> list_denoisers()
    ['denoiser', 'denoiser-exact']
    """
    return sorted(fnmatch.filter(_PRESETS, pattern))


def denoiser_choices(name: str, **choices: Any) -> dict[str, Any]:
    """All choices of a denoiser, with those given; UnknownChoiceError for one that does not exist."""
    known = _SHARED | _PRESETS[name][1]
    for key, value in choices.items():
        if key not in known:
            raise UnknownChoiceError(
                f"model {name!r} has no choice {key!r}; {nearest(key, known)}; all are {', '.join(known)}"
            )
        flag = key == "fast"
        if key != "size" and not (isinstance(value, int) and isinstance(value, bool) == flag):
            wanted = "true or false" if flag else "a whole number"
            raise UnknownChoiceError(f"{key}={value!r} is not possible; give {wanted}")
        if key == "size" and not (isinstance(value, list | tuple) and all(isinstance(v, int) for v in value)):
            raise UnknownChoiceError(f"size={value!r} is not possible; give [height, width] in cells")
    resolved = known | choices
    return resolved | {"size": list(resolved["size"])}


def create_denoiser(name: str, **choices: Any) -> Denoiser:
    """Build a denoiser with fresh weights.

    Args:
        name: "denoiser" (attention over the points) or "denoiser-exact" (the paper's convolutions).
        choices: arguments of `AttentionDenoiser` or `ConvDenoiser`.

    Raises:
        UnknownChoiceError: for an unknown choice or value.
    """
    resolved = denoiser_choices(name, **choices)
    try:
        network = _PRESETS[name][0](**{**resolved, "size": tuple(resolved["size"])})
    except ValueError as error:
        raise UnknownChoiceError(f"model {name!r}: {error}") from None
    network.name, network.choices = name, resolved
    return network
