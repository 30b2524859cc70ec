"""Colours of label maps, told apart with any kind of colour vision."""

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

__all__ = ["COLOURS", "NO_CLASS", "colour", "coloured"]

#: Chosen one after the other, each as far as can be from all before it and from `NO_CLASS` and white, where the distance of
#: two colours is the smallest in OKLab over the three kinds of dichromacy (Machado et al. 2009) and normal vision, which
#: most eyes have and which counts 0.7. So the first are told apart best; beyond a dozen the shapes have to help.
COLOURS = (
    "#56b4e9", "#b02418", "#000000", "#0000bb", "#eecc11", "#bb22ff", "#660066", "#ff6622", "#007788", "#44eeaa", "#8877cc",
    "#33aa55", "#664499", "#bbff77", "#770000", "#aaccff", "#116633", "#3333dd", "#bbbb66", "#cc66ff", "#aa6611",
)  # fmt: skip

#: Pixels without a class.
NO_CLASS = "#9aa0a6"


def colour(label: int) -> str:
    """The colour of a class, #rrggbb; from the 22nd class on they repeat."""
    return COLOURS[label % len(COLOURS)]


def coloured(labels: UInt8[np.ndarray, "h w"], classes: int) -> NDArray[np.uint8]:
    """A label map as a picture (h, w, 3) uint8; labels that are no class are grey."""
    table = [list(bytes.fromhex((colour(i) if i < classes else NO_CLASS)[1:])) for i in range(256)]
    return np.array(table, dtype=np.uint8)[labels]
