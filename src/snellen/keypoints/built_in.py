"""The built-in schemas, by name."""

import difflib
import itertools
from collections.abc import Sequence

from snellen.keypoints.schema import Normaliser, Schema

__all__ = ["IBUG_68", "MTFL_5", "WFLW_98", "WINGS_12", "get_schema", "list_schemas"]


def _chain(names: Sequence[str], closed: bool = False) -> tuple[tuple[str, str], ...]:
    pairs = tuple(itertools.pairwise(names))
    return (*pairs, (names[-1], names[0])) if closed else pairs


MTFL_5 = Schema(
    name="mtfl-5",
    points=("left_eye", "right_eye", "nose", "left_mouth", "right_mouth"),
    swaps=(("left_eye", "right_eye"), ("left_mouth", "right_mouth")),
    skeleton=(
        ("left_eye", "right_eye"),
        ("left_eye", "nose"),
        ("right_eye", "nose"),
        ("nose", "left_mouth"),
        ("nose", "right_mouth"),
        ("left_mouth", "right_mouth"),
    ),
    normalisers=(Normaliser("inter-pupil", ("left_eye",), ("right_eye",)),),
    description="Five face points of MTFL: eye centres, nose tip, mouth corners; left is the left of the image.",
)

_IBUG = (
    *(f"jaw_{i:02d}" for i in range(1, 18)),
    *(f"left_brow_{i}" for i in range(1, 6)),
    *(f"right_brow_{i}" for i in range(1, 6)),
    *(f"nose_bridge_{i}" for i in range(1, 5)),
    *(f"nose_base_{i}" for i in range(1, 6)),
    *(f"left_eye_{i}" for i in range(1, 7)),
    *(f"right_eye_{i}" for i in range(1, 7)),
    *(f"outer_lip_{i:02d}" for i in range(1, 13)),
    *(f"inner_lip_{i}" for i in range(1, 9)),
)
# Mirror pairs of the iBUG order, counted from 1 as in its drawing.
_IBUG_SWAPS = (
    *((i, 18 - i) for i in range(1, 9)),
    *((17 + i, 28 - i) for i in range(1, 6)),
    *((31 + i, 37 - i) for i in range(1, 3)),
    (37, 46), (38, 45), (39, 44), (40, 43), (41, 48), (42, 47),
    (49, 55), (50, 54), (51, 53), (56, 60), (57, 59), (61, 65), (62, 64), (66, 68),
)  # fmt: skip
IBUG_68 = Schema(
    name="ibug-68",
    points=_IBUG,
    swaps=tuple((_IBUG[a - 1], _IBUG[b - 1]) for a, b in _IBUG_SWAPS),
    skeleton=(
        *_chain(_IBUG[0:17]),
        *_chain(_IBUG[17:22]),
        *_chain(_IBUG[22:27]),
        *_chain(_IBUG[27:31]),
        *_chain(_IBUG[31:36]),
        *_chain(_IBUG[36:42], closed=True),
        *_chain(_IBUG[42:48], closed=True),
        *_chain(_IBUG[48:60], closed=True),
        *_chain(_IBUG[60:68], closed=True),
    ),
    normalisers=(
        Normaliser("inter-ocular", (_IBUG[36],), (_IBUG[45],)),
        # rcn.md 3.6: the eye centres are midpoints of the corner pairs (37, 40) and (43, 46), counted from 1.
        Normaliser("inter-pupil", (_IBUG[36], _IBUG[39]), (_IBUG[42], _IBUG[45])),
    ),
    description="The 68 face points of iBUG / 300-W; left is the left of the image.",
)

_WFLW = (
    *(f"jaw_{i:02d}" for i in range(1, 34)),
    *(f"left_brow_{i}" for i in range(1, 10)),
    *(f"right_brow_{i}" for i in range(1, 10)),
    *(f"nose_bridge_{i}" for i in range(1, 5)),
    *(f"nose_base_{i}" for i in range(1, 6)),
    *(f"left_eye_{i}" for i in range(1, 9)),
    *(f"right_eye_{i}" for i in range(1, 9)),
    *(f"outer_lip_{i:02d}" for i in range(1, 13)),
    *(f"inner_lip_{i}" for i in range(1, 9)),
    "left_pupil",
    "right_pupil",
)
# Mirror pairs of WFLW, counted from 0 as in its drawing; the same as in mmpose's description of the data set. Brows and eyes
# run round from the left of the image: 33 is the left brow's outer end, 42 the right brow's inner one.
_WFLW_SWAPS = (
    *((i, 32 - i) for i in range(16)),
    *((33 + i, 46 - i) for i in range(5)),
    *((38 + i, 50 - i) for i in range(4)),
    (55, 59), (56, 58),
    *((60 + i, 72 - i) for i in range(5)),
    (65, 75), (66, 74), (67, 73),
    (76, 82), (77, 81), (78, 80), (83, 87), (84, 86), (88, 92), (89, 91), (93, 95),
    (96, 97),
)  # fmt: skip
WFLW_98 = Schema(
    name="wflw-98",
    points=_WFLW,
    swaps=tuple((_WFLW[a], _WFLW[b]) for a, b in _WFLW_SWAPS),
    skeleton=(
        *_chain(_WFLW[0:33]),
        *_chain(_WFLW[33:42], closed=True),
        *_chain(_WFLW[42:51], closed=True),
        *_chain(_WFLW[51:55]),
        *_chain(_WFLW[55:60]),
        *_chain(_WFLW[60:68], closed=True),
        *_chain(_WFLW[68:76], closed=True),
        *_chain(_WFLW[76:88], closed=True),
        *_chain(_WFLW[88:96], closed=True),
    ),
    normalisers=(
        Normaliser("inter-ocular", (_WFLW[60],), (_WFLW[72],)),
        Normaliser("inter-pupil", (_WFLW[96],), (_WFLW[97],)),
    ),
    description="The 98 face points of WFLW; left is the left of the image.",
)

WINGS_12 = Schema(
    name="wings-12",
    points=(
        "costal_break",  # costa at the hinge side
        "l1_end",
        "l2_end",
        "l3_end",
        "l4_end",
        "l5_end",
        "l2_l3_fork",
        "anterior_crossvein_l3",
        "anterior_crossvein_l4",
        "posterior_crossvein_l4",
        "posterior_crossvein_l5",
        "l4_l5_fork",
    ),
    skeleton=(
        ("costal_break", "l1_end"),
        ("l1_end", "l2_end"),
        ("l2_end", "l3_end"),
        ("l3_end", "l4_end"),
        ("l4_end", "l5_end"),
        ("l2_l3_fork", "l2_end"),
        ("l2_l3_fork", "anterior_crossvein_l3"),
        ("anterior_crossvein_l3", "l3_end"),
        ("anterior_crossvein_l3", "anterior_crossvein_l4"),
        ("l4_l5_fork", "anterior_crossvein_l4"),
        ("anterior_crossvein_l4", "posterior_crossvein_l4"),
        ("posterior_crossvein_l4", "l4_end"),
        ("posterior_crossvein_l4", "posterior_crossvein_l5"),
        ("l4_l5_fork", "posterior_crossvein_l5"),
        ("posterior_crossvein_l5", "l5_end"),
    ),
    normalisers=(Normaliser("wing-length", ("l2_l3_fork",), ("l3_end",)),),
    description="Twelve vein ends and junctions of a fruit fly's wing; a mirrored wing keeps its names.",
)

_BUILT_IN = {s.name: s for s in (WINGS_12, MTFL_5, IBUG_68, WFLW_98)}


def list_schemas() -> list[str]:
    """Names of the built-in schemas."""
    return sorted(_BUILT_IN)


def get_schema(name: str) -> Schema:
    """A built-in schema by name; a ValueError names the nearest where there is none."""
    if name not in _BUILT_IN:
        near = difflib.get_close_matches(name, _BUILT_IN, 3, 0.3)
        raise ValueError(
            f"no schema is called {name!r}; built in are {', '.join(list_schemas())}"
            + (f" (nearest: {near[0]})" if near else "")
        )
    return _BUILT_IN[name]
