"""The header of a wide CSV: which columns are the x and y of a point, and what the others are.

Every column is understood or refused by its name: a column that is neither would be read as a coordinate of something else.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from snellen.keypoints.formats.annotations import AnnotationError

__all__ = ["BOX_COLUMNS", "EDGES", "Header", "read_header"]

#: Columns of an object's box, in the order of `Box`.
BOX_COLUMNS = ("box_left", "box_top", "box_right", "box_bottom")
#: Columns of a table of predictions: a box's edges.
EDGES = ("left", "top", "right", "bottom")
_SPECIAL = ("id", *BOX_COLUMNS, "mm_per_pixel", "split", "group")

_NAMED = re.compile(r"(.+?)[_ .-](x|y|v|score)", re.IGNORECASE)
_JOINED = re.compile(r"(.+)([xy])", re.IGNORECASE)  # noseX, noseY
_NUMBERED = re.compile(r"([xyv])(?:[_ .-]?(\d+))?", re.IGNORECASE)
_ROW_OR_COLUMN = re.compile(r"(?:.*[_ .-])?(?:row|col|column)(?:[_ .-]?\d+)?", re.IGNORECASE)
_FILE = ("file", "filename", "file_name", "image", "path", "picture")


@dataclass
class Header:
    """What the columns of a wide table are.

    Attributes:
        pairs: columns of x and of y of each point.
        names: of the points; none where they are numbered.
        special: other columns by what they hold, e.g. {5: "split"}.
        visibility: columns of visibilities, and the number of the point of each, from 0.
        scores: how many columns hold the score of a point, which is not read.
    """

    pairs: list[tuple[int, int]]
    names: list[str] = field(default_factory=list)
    special: dict[int, str] = field(default_factory=dict)
    visibility: dict[int, int] = field(default_factory=dict)
    scores: int = 0


def read_header(place: str, cells: Sequence[str]) -> Header:
    """What the columns of a header are; the first is the file.

    Points are `NAME_x, NAME_y` in any case and with `_`, `.`, `-` or a blank, or numbered: `x1, y1, x2, y2`. All xs may stand
    before all ys: they are paired by their names.

    Args:
        place: file and row, for messages.
        cells: the header, the file's column first.

    Raises:
        AnnotationError: for a column that is none of these, by its name.

    >>> read_header("d.csv, row 1", ["file", "Nose_X", "Nose_Y", "Split"])
    Header(pairs=[(1, 2)], names=['Nose'], special={3: 'split'}, visibility={}, scores=0)
    """
    lower = [cell.lower() for cell in cells]
    edges = EDGES if set(EDGES) <= set(lower) else ()
    special = {i: cell for i, cell in enumerate(lower) if i and cell in (*_SPECIAL, *edges)}
    for i, name in special.items():
        if name in list(special.values())[: list(special).index(i)]:
            raise AnnotationError(f"{place}: there are two columns {name}; remove one")
    parts = {i: _part(cell) for i, cell in enumerate(cells) if i and i not in special}
    parts |= {i: part for i, part in _joined(cells, parts).items() if i not in special}
    columns: dict[str, dict[str, list[int]]] = {axis: {} for axis in ("x", "y", "v", "score")}
    for i, part in parts.items():
        if part is not None:
            columns[part[1]].setdefault(part[0], []).append(i)
    points = [
        (x, y, key) for key, xs in columns["x"].items() for x, y in zip(xs, columns["y"].get(key, []), strict=False)
    ]
    points.sort()
    paired = {i for x, y, _ in points for i in (x, y)}
    place_of = {key: k for k, (_, _, key) in enumerate(points)}
    seen = {i: place_of[key] for key, found in columns["v"].items() for i in found[:1] if key in place_of}
    scores = {i for key, found in columns["score"].items() for i in found if key in place_of}
    wrong = [i for i in parts if i not in paired and i not in seen and i not in scores]
    if wrong:
        raise AnnotationError(f"{place}: {_refusal([cells[i] for i in wrong])}")
    ys = sorted(y for _, y, _ in points)
    for (x, y, _), in_order in zip(points, ys, strict=True):
        if y < x or y != in_order:
            where = f"{cells[y]} stands before {cells[x]}" if y < x else f"{cells[in_order]} stands before {cells[y]}"
            raise AnnotationError(
                f"{place}: x and y are no x and y of a point, side by side ({where}); put the columns into one order"
            )
    return Header([(x, y) for x, y, _ in points], _names(place, cells, points), special, seen, len(scores))


def _part(cell: str) -> tuple[str, str] | None:
    """A point's key and what of it the column holds; the key of a numbered one begins with a null byte, as no name does."""
    if match := _NUMBERED.fullmatch(cell):
        return f"\0{match[2] or ''}", match[1].lower()
    if match := _NAMED.fullmatch(cell):
        return match[1], match[2].lower()
    return None


def _joined(cells: Sequence[str], parts: dict[int, tuple[str, str] | None]) -> dict[int, tuple[str, str] | None]:
    """Columns like noseX, noseY, side by side: alone, many a word ends in x or y."""
    found: dict[int, tuple[str, str] | None] = {}
    for i, part in parts.items():
        if part is None and i + 1 in parts and parts[i + 1] is None:
            x, y = _JOINED.fullmatch(cells[i]), _JOINED.fullmatch(cells[i + 1])
            if x and y and x[1] == y[1] and (x[2] + y[2]).lower() == "xy":
                found |= {i: (x[1], "x"), i + 1: (x[1], "y")}
    return found


def _refusal(wrong: list[str]) -> str:
    listed = f"{', '.join(wrong)} {'are' if len(wrong) > 1 else 'is'} no x and y of a point, side by side"
    axes = [name for name in wrong if _ROW_OR_COLUMN.fullmatch(name)]
    if axes:
        return f"{listed}: x is the column and y the row; rename them to NAME_x and NAME_y, x first"
    files = [name for name in wrong if name.lower() in _FILE]
    if files:
        return f"{listed}: the file is the first column; move {files[0]} there, and remove what stood before it"
    return (
        f"{listed}; rename such columns to NAME_x and NAME_y, or remove them (besides points a header may name "
        f"{', '.join(_SPECIAL)} and NAME_v)"
    )


def _names(place: str, cells: Sequence[str], points: list[tuple[int, int, str]]) -> list[str]:
    keys = [key for _, _, key in points]
    numbered = [key[1:] for key in keys if key.startswith("\0")]
    if not numbered:
        return keys
    x, y, _ = next(point for point in points if point[2].startswith("\0"))
    if len(numbered) < len(keys):
        raise AnnotationError(
            f"{place}: {cells[x]}, {cells[y]} have no name where other points have one; rename them to NAME_x and NAME_y"
        )
    numbers = [int(number or 0) for number in numbered]
    # Points are called p1, p2, ... in the order of their columns, so another order would give them each other's names.
    if any(numbered) and any(b <= a for a, b in itertools.pairwise(numbers)):
        raise AnnotationError(
            f"{place}: the numbers of the points are {', '.join(n or 'none' for n in numbered)}; sort the columns by them, "
            "with each number once"
        )
    return []
