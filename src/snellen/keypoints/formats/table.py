"""Plain CSV, one row an image: `file, x1, y1, x2, y2, ...`.

With a header whose columns end in `_x` and `_y` the points carry those names (`nose_x, nose_y`); with `x1, y1, ...`, or
without a header, they are called p1, p2, ... or what the given schema calls them. Empty cells and NaN mean unlabelled.

Origin: `origin=0` (the default) takes (0, 0) for the centre of the top-left pixel, as array indices do; `origin=1` counts
from 1; `origin=0.5` takes (0, 0) for the image's corner, as this library does inside. y points downwards.
"""

import csv
import re
from pathlib import Path

import numpy as np

from snellen.keypoints.formats.annotations import Annotation, AnnotationError
from snellen.keypoints.keypoints import Keypoints
from snellen.keypoints.schema import Schema

__all__ = ["read_csv"]

_MISSING = {"", "nan", "na", "none", "null"}


def read_csv(path: str | Path, *, schema: Schema | None = None, origin: float = 0.0) -> list[Annotation]:
    """Read a plain CSV of keypoints (separator `,`, `;` or tab).

    Args:
        path: the file.
        schema: names of the points; by default taken from the header, else p1, p2, ...
        origin: the coordinate that the file gives the centre of the top-left pixel.

    Raises:
        AnnotationError: one sentence with file, row and what to do.
    """
    path = Path(path)
    if not path.is_file():
        raise AnnotationError(f"{path} does not exist; give the path of a CSV file with rows of file, x1, y1, ...")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise AnnotationError(f"{path} is not UTF-8 text; save it as UTF-8 CSV") from None
    try:
        rows = list(csv.reader(text.splitlines(), delimiter=_separator(text)))
    except csv.Error as error:
        raise AnnotationError(
            f"{path} is not a CSV file ({error}); look for a quotation mark without its partner"
        ) from None
    filled = [(i, [c.strip() for c in row]) for i, row in enumerate(rows, start=1) if any(c.strip() for c in row)]
    if not filled:
        raise AnnotationError(f"{path} is empty; a row is a file, x1, y1, x2, y2, ...")
    names = _header(filled[0][1])
    body = filled[1:] if names is not None else filled
    columns = len(filled[0][1])
    if columns < 3 or columns % 2 == 0:
        raise AnnotationError(
            f"{path}, row {filled[0][0]}: {columns} columns; a row is a file followed by x, y pairs, so an odd number"
        )
    schema = _schema(path, schema, names, (columns - 1) // 2)
    annotations = []
    seen: dict[str, int] = {}
    for row, cells in body:
        if len(cells) != columns:
            raise AnnotationError(
                f"{path}, row {row}: {len(cells)} columns where the first row has {columns}; correct it"
            )
        if not cells[0]:
            raise AnnotationError(f"{path}, row {row}: the file name is empty; give the image of this row")
        if cells[0] in seen:
            raise AnnotationError(
                f"{path}, row {row}: {cells[0]} is already in row {seen[cells[0]]}; keep one of the two"
            )
        seen[cells[0]] = row
        values = [_number(path, row, c) for c in cells[1:]]
        xy = np.array(values, dtype=np.float64).reshape(-1, 2) - origin + 0.5
        annotations.append(Annotation(cells[0], Keypoints.visible(xy, schema), row))
    if not annotations:
        raise AnnotationError(f"{path} holds a header and no rows; add one row an image")
    return annotations


def _separator(text: str) -> str:
    first = next((line for line in text.splitlines() if line.strip()), "")
    return max(",;\t", key=first.count)


def _header(cells: list[str]) -> list[str] | None:
    """Point names where the row is a header, an empty list for a header that only numbers them, None for data."""
    named = [cell for cell in cells[1:] if cell.lower() not in _MISSING]
    # One number makes it data: a row with a typo must be refused as such, not dropped as a header.
    if not named or any(_is_number(cell) for cell in named):
        return None
    pairs = list(zip(cells[1::2], cells[2::2], strict=False))
    names = []
    for x, y in pairs:
        match_x, match_y = re.fullmatch(r"(.+?)[_ .-]?x", x, re.I), re.fullmatch(r"(.+?)[_ .-]?y", y, re.I)
        if not (match_x and match_y and match_x[1] == match_y[1]):
            return []
        names.append(match_x[1])
    return names


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _schema(path: Path, schema: Schema | None, names: list[str] | None, points: int) -> Schema:
    if schema is None:
        try:
            return Schema(path.stem, tuple(names) if names else tuple(f"p{i}" for i in range(1, points + 1)))
        except ValueError as error:  # a header that names a point twice
            raise AnnotationError(f"{path}: {error}") from None
    if points != len(schema):
        raise AnnotationError(
            f"{path}: {points} points a row but schema {schema.name!r} has {len(schema)}; name the schema that fits"
        )
    if names and tuple(names) != schema.points:
        raise AnnotationError(
            f"{path}: the header names {', '.join(names[:3])}, ... but schema {schema.name!r} has "
            f"{', '.join(schema.points[:3])}, ... in that order; rename the columns or leave the schema out"
        )
    return schema


def _number(path: Path, row: int, cell: str) -> float:
    if cell.lower() in _MISSING:
        return float("nan")
    try:
        return float(cell)
    except ValueError:
        raise AnnotationError(f"{path}, row {row}: {cell!r} is not a number; correct it or leave it empty") from None
