"""Schemas: what the points of a data set are called, which swap in a mirror, how they connect, what errors are divided by."""

import difflib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["GENERIC_NORMALISERS", "IBUG_68", "MTFL_5", "WINGS_12", "Normaliser", "Schema", "get_schema", "list_schemas"]

#: Normalisers every schema has: geometric mean of the points' box sides, diagonal of that box, and 1 (plain pixels).
GENERIC_NORMALISERS = ("box", "diagonal", "pixels")


@dataclass(frozen=True)
class Normaliser:
    """A distance that errors are divided by: from the mean of some points to the mean of others.

    Attributes:
        name: what the reported error is called by, e.g. "inter-ocular".
        start: names of the points averaged at one end.
        end: names of the points averaged at the other end.
    """

    name: str
    start: tuple[str, ...]
    end: tuple[str, ...]


@dataclass(frozen=True)
class Schema:
    """The points of one kind of object.

    Attributes:
        name: short name, e.g. "mtfl-5".
        points: K unique point names, in annotation order.
        swaps: pairs of names that exchange places in a mirrored image (left and right).
        skeleton: pairs of names to join by a line when drawing.
        normalisers: distances defined by this schema's points, the default one first; `GENERIC_NORMALISERS` exist too.
        description: one sentence on what is annotated.

    Raises:
        ValueError: at construction, for repeated or unknown names.

    >>> Schema("eyes", ("left", "right"), swaps=(("left", "right"),)).flip_order
    (1, 0)
    """

    name: str
    points: tuple[str, ...]
    swaps: tuple[tuple[str, str], ...] = ()
    skeleton: tuple[tuple[str, str], ...] = ()
    normalisers: tuple[Normaliser, ...] = ()
    description: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        # Lists come back from JSON and YAML; tuples keep the schema hashable and equal to the one that was saved.
        object.__setattr__(self, "points", tuple(self.points))
        object.__setattr__(self, "swaps", tuple((a, b) for a, b in self.swaps))
        object.__setattr__(self, "skeleton", tuple((a, b) for a, b in self.skeleton))
        object.__setattr__(self, "normalisers", tuple(self.normalisers))
        if not self.points:
            raise ValueError(f"schema {self.name!r} names no points; give at least one")
        repeated = sorted({p for p in self.points if self.points.count(p) > 1})
        if repeated:
            raise ValueError(f"schema {self.name!r} names {repeated} more than once; point names must be unique")
        swapped = [p for pair in self.swaps for p in pair]
        for p in swapped:
            if swapped.count(p) > 1:
                raise ValueError(
                    f"schema {self.name!r}: point {p!r} is in two swap pairs; it can have one mirror image"
                )
        used = [p for pair in (*self.swaps, *self.skeleton) for p in pair]
        used += [p for n in self.normalisers for p in (*n.start, *n.end)]
        for p in used:
            self.index(p)

    def __len__(self) -> int:
        return len(self.points)

    def index(self, point: str) -> int:
        """Position of a point's name; a ValueError names the nearest where there is none."""
        if point not in self.points:
            near = difflib.get_close_matches(point, self.points, 3, 0.4)
            hint = f"; nearest: {', '.join(near)}" if near else ""
            raise ValueError(f"schema {self.name!r} has no point {point!r}{hint}")
        return self.points.index(point)

    @property
    def flip_order(self) -> tuple[int, ...]:
        """Index of the mirror image of each point: mirrored[k] = original[flip_order[k]]."""
        order = list(range(len(self)))
        for a, b in self.swaps:
            i, j = self.index(a), self.index(b)
            order[i], order[j] = j, i
        return tuple(order)

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """The skeleton as index pairs."""
        return tuple((self.index(a), self.index(b)) for a, b in self.skeleton)

    @property
    def default_normaliser(self) -> str:
        """The first of the schema's own normalisers, else "box"."""
        return self.normalisers[0].name if self.normalisers else "box"

    @property
    def normaliser_names(self) -> tuple[str, ...]:
        """Every normaliser this schema can report errors by."""
        return (*(n.name for n in self.normalisers), *GENERIC_NORMALISERS)

    def normalising_distance(self, name: str, xy: ArrayLike) -> NDArray[np.float64]:
        """The distance that errors are divided by, for each object.

        Args:
            name: one of `normaliser_names`.
            xy: true points (..., K, 2); NaN marks an unlabelled point.

        Returns:
            (...) pixels; NaN where a needed point is unlabelled.
        """
        points = np.asarray(xy, dtype=np.float64)
        for n in self.normalisers:
            if n.name == name:
                start = points[..., [self.index(p) for p in n.start], :].mean(axis=-2)
                end = points[..., [self.index(p) for p in n.end], :].mean(axis=-2)
                return np.linalg.norm(end - start, axis=-1)
        if name == "pixels":
            return np.ones(points.shape[:-2])
        if name not in GENERIC_NORMALISERS:
            raise ValueError(
                f"schema {self.name!r} has no normaliser {name!r}; it has {', '.join(self.normaliser_names)}"
            )
        missing = np.isnan(points)
        low = np.where(missing, np.inf, points).min(axis=-2)
        high = np.where(missing, -np.inf, points).max(axis=-2)
        sides = np.where(high >= low, high - low, np.nan)
        return np.sqrt(sides.prod(axis=-1)) if name == "box" else np.linalg.norm(sides, axis=-1)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and strings, for JSON and YAML."""
        return {
            "name": self.name,
            "points": list(self.points),
            "swaps": [list(p) for p in self.swaps],
            "skeleton": [list(p) for p in self.skeleton],
            "normalisers": [{"name": n.name, "start": list(n.start), "end": list(n.end)} for n in self.normalisers],
            "description": self.description,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Schema":
        """The inverse of `to_dict`."""
        return cls(
            name=values["name"],
            points=tuple(values["points"]),
            swaps=tuple((a, b) for a, b in values.get("swaps", ())),
            skeleton=tuple((a, b) for a, b in values.get("skeleton", ())),
            normalisers=tuple(
                Normaliser(n["name"], tuple(n["start"]), tuple(n["end"])) for n in values.get("normalisers", ())
            ),
            description=values.get("description", ""),
        )


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

_BUILT_IN = {s.name: s for s in (WINGS_12, MTFL_5, IBUG_68)}


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
