"""Schemas: what the points of a data set are called, which swap in a mirror, how they connect, what errors are divided by."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["GENERIC_NORMALISERS", "Normaliser", "Schema"]

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
