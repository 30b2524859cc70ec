"""What the readers of annotation formats share: files, names of points, and the collecting of objects by image."""

import difflib
import functools
import inspect
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import numpy as np

from snellen.geometry import Box
from snellen.keypoints.formats.annotations import AnnotationError
from snellen.keypoints.formats.labels import LabelledImage, LabelledObject, PointLabels
from snellen.keypoints.keypoints import UNLABELLED, VISIBLE, Keypoints
from snellen.keypoints.schema import Schema

__all__ = [
    "FARTHEST", "Collector", "Named", "OnError", "finite", "half_points", "numbered", "read_json", "read_text", "reader_of",
    "row_left_out", "shortest", "well_formed",
]  # fmt: skip

#: The points of an object by name: x and y in the library's convention, and COCO's visibility.
Named = Mapping[str, tuple[float, float, int]]

#: Points of an object that a file may announce before any is read: a wrong number must not fill the memory.
_MOST_POINTS = 100_000

#: Pixels beyond which no picture reaches: a coordinate that is larger is a mistake, and a box about it would fill the memory.
FARTHEST = 1e6

P = ParamSpec("P")
R = TypeVar("R")

#: What a malformed row does: "raise" refuses the file, "skip" leaves the row's object out and says so in `PointLabels.broken`.
OnError = Literal["raise", "skip"]


@contextmanager
def row_left_out(broken: dict[str, str] | None, place: str) -> Iterator[None]:
    """Around the reading of a row: its mistake is noted in `broken` under `place`, and the next can be read; None raises."""
    try:
        yield
    except AnnotationError as error:
        if broken is None:
            raise
        broken[place] = str(error)


@contextmanager
def well_formed(place: object, name: str) -> Iterator[None]:
    """Around the reading of an entry or a file: content that is of another type than the format has it is an AnnotationError.

    Readers say likely mistakes in sentences of their own; this one is for all the others.

    Args:
        place: file and place, for the message.
        name: of the format.

    >>> with well_formed("a.json, annotation 3", "COCO"):
    ...     [][1]
    Traceback (most recent call last):
    ...
    snellen.keypoints.formats.annotations.AnnotationError: a.json, annotation 3: this is not as COCO has it (IndexError: list
    index out of range); correct it, or export the file again
    """
    try:
        yield
    except AnnotationError:
        raise
    except (TypeError, AttributeError, LookupError, ArithmeticError, ValueError, RecursionError, OSError) as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise AnnotationError(
            f"{place}: this is not as {name} has it ({words}); correct it, or export the file again"
        ) from error


def reader_of(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates a reader, whose first argument is the path: what `well_formed` is for an entry, for all of the file.

    A call with wrong arguments stays the TypeError that it is.
    """

    def decorate(read: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(read)

        @functools.wraps(read)
        def checked(*args: P.args, **options: P.kwargs) -> R:
            given = signature.bind(*args, **options)
            with well_formed(next(iter(given.arguments.values())), name):
                return read(*args, **options)

        return checked

    return decorate


def read_text(path: Path, what: str) -> str:
    """A text file's content; an AnnotationError where it is missing or no UTF-8, with what was expected."""
    if not path.is_file():
        raise AnnotationError(f"{path} does not exist; give the path of {what}")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if "\0" in text:
            row = text[: text.index("\0")].count("\n") + 1
            raise AnnotationError(f"{path}, row {row}: there is a null byte, so this is no text; export the file again")
        return text
    except UnicodeDecodeError:
        raise AnnotationError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise AnnotationError(f"{path} cannot be read ({error.strerror}); check its permissions") from None


def read_json(path: Path, what: str) -> Any:
    """A JSON file's content; an AnnotationError where it is missing or broken."""
    try:
        return json.loads(read_text(path, what))
    except json.JSONDecodeError as error:
        raise AnnotationError(
            f"{path}, row {error.lineno}: this is no JSON ({error.msg}); export the file again"
        ) from None
    except RecursionError:
        raise AnnotationError(f"{path} is nested too deeply to be {what}; export the file again") from None
    except ValueError as error:  # a whole number of thousands of digits
        raise AnnotationError(f"{path} holds what is no number ({error}); export the file again") from None


def numbered(path: Path, count: int) -> Schema:
    """A schema for points without names: p1, p2, ...; an AnnotationError for more than anybody marks, or none."""
    if not 0 < count <= _MOST_POINTS:
        raise AnnotationError(f"{path}: {count} points an object cannot be; give 1 to {_MOST_POINTS:,}")
    return Schema(path.stem or "points", tuple(f"p{i}" for i in range(1, count + 1)))


def finite(place: str, value: Any, farthest: float = FARTHEST) -> float:
    """A number of a file; an AnnotationError that begins with `place` where it is none, not finite, or beyond `farthest`."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise AnnotationError(f"{place}: {value!r} is not a finite number; correct it")
    if abs(number) > farthest:
        raise AnnotationError(f"{place}: {value!r} lies in no picture; correct it")
    return number


def half_points(found: Sequence[str]) -> tuple[str, ...]:
    """The note on points of which one coordinate is empty; `found` names each, e.g. "nose in row 3"."""
    if not found:
        return ()
    count = "1 point has" if len(found) == 1 else f"{len(found)} points have"
    return (f"{count} an x or a y alone and count as unlabelled (the first: {found[0]}); fill in the other",)


def shortest(value: float) -> str:
    """A coordinate as text, to a millionth of a pixel.

    >>> shortest(12.0), shortest(0.1 + 0.2)
    ('12', '0.3')
    """
    return repr(round(float(value), 6) + 0.0).removesuffix(".0")


class Collector:
    """Gathers objects by image and makes `PointLabels` of them.

    Args:
        path: the annotation file or folder.
        schema: the points, where the caller named them; an unknown name is then refused.
        root: folder of the images; by default that of the annotation file.
    """

    def __init__(self, path: Path, schema: Schema | None, root: Path | None) -> None:
        self.path, self.schema = path, schema
        self.root = root or (path if path.is_dir() else path.parent)
        self.notes: list[str] = []
        self.broken: dict[str, str] = {}
        #: Points of which one coordinate is empty, see `half_points`.
        self.half: list[str] = []
        self._images: dict[str, LabelledImage] = {}
        self._objects: dict[str, list[tuple[Named, dict[str, Any]]]] = {}
        self._names: dict[str, None] = {}  # a set that keeps its order

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the points that are known by now."""
        return self.schema.points if self.schema else tuple(self._names)

    @property
    def empty(self) -> bool:
        """Whether no object has been added."""
        return not any(self._objects.values())

    def image(self, file: str, **known: Any) -> str:
        """Note an image (`size`, `split`, `group` as in `LabelledImage`); returns its name with `/` between folders."""
        file = file.replace("\\", "/")
        self._images[file] = replace(self._images.get(file, LabelledImage(file)), **known)
        self._objects.setdefault(file, [])
        return file

    def name(self, names: Iterable[str]) -> None:
        """Names of points in their order, known before any object is."""
        self._names |= dict.fromkeys(names)

    def add(self, file: str, points: Named, place: str, **known: Any) -> None:
        """An object of a noted image; `known` as in `LabelledObject`, `place` goes before messages."""
        for name in points:
            if self.schema is not None and name not in self.schema.points:
                near = difflib.get_close_matches(name, self.schema.points, 3, 0.4)
                hint = f"; nearest: {', '.join(near)}" if near else ""
                raise AnnotationError(
                    f"{place}: schema {self.schema.name!r} has no point {name!r}{hint}; correct the name or the schema"
                )
        self._objects[file].append((points, known))

    def numbered(self, xy: Sequence[tuple[float, float]], visibility: Sequence[int], place: str) -> Named:
        """Points without names, by those of the schema or p1, p2, ...; a wrong number of them is refused."""
        if self.schema is not None:
            names: Sequence[str] = self.schema.points
        else:
            if not self._names:
                self.name(numbered(self.path, len(xy)).points)
            names = tuple(self._names)
        if len(names) != len(xy):
            called = f"schema {self.schema.name!r} has" if self.schema else "the objects before have"
            raise AnnotationError(
                f"{place}: {len(xy)} points, but {called} {len(names)}; correct it or name the schema that fits"
            )
        return {n: (*p, v) for n, p, v in zip(names, xy, visibility, strict=True)}

    def finish(self, schema: Schema | None = None) -> PointLabels:
        """The labels. `schema` is what the file says of its points; one that the caller named goes before it."""
        if self.empty:
            first = next(iter(self.broken.values()), "")
            raise AnnotationError(
                f"{self.path} holds no annotated object{f', the first reason: {first}' if first else ''}; "
                "check that it is the right file"
            )
        if self.schema is None and schema is None:
            # The object with most points has them in their order; the first one may lack some.
            objects = [points for items in self._objects.values() for points, _ in items]
            for points in (max(objects, key=len), *objects):
                self.name(points)
            try:
                schema = Schema(self.path.stem or "points", tuple(self._names))
            except ValueError as error:
                raise AnnotationError(f"{self.path}: {error}") from None
        found: Schema = self.schema or schema  # type: ignore[assignment]  # one of the two is there now
        images = [
            replace(image, objects=tuple(self._object(found, *item) for item in self._objects[file]))
            for file, image in self._images.items()
        ]
        return PointLabels(
            found, tuple(images), self.root, self.path, (*self.notes, *half_points(self.half)), self.broken
        )

    def _object(self, schema: Schema, points: Named, known: dict[str, Any]) -> LabelledObject:
        absent = (np.nan, np.nan, UNLABELLED)
        rows = np.array([points.get(name, absent) for name in schema.points], dtype=np.float64)
        return LabelledObject(Keypoints(rows[:, :2], rows[:, 2].astype(int), schema), **known)


def point(x: float, y: float, origin: float, visibility: int = VISIBLE) -> tuple[float, float, int]:
    """A point of a file with y downwards, whose top-left pixel has its centre at (origin, origin)."""
    return x - origin + 0.5, y - origin + 0.5, visibility


def box_of(left: float, top: float, width: float, height: float) -> Box:
    """A box by its top-left corner and size."""
    return Box(left, top, left + width, top + height)
