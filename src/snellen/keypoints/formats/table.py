"""Plain CSV, one row an object: `file, x1, y1, x2, y2, ...`.

With a header whose columns end in `_x` and `_y` the points carry those names (`nose_x, nose_y`; `Nose.X`, `nose-x` and
`nose x` likewise); with `x1, y1, ...`, or without a header, they are called p1, p2, ... or what the given schema calls them.
Empty cells and NaN mean unlabelled.

A header may name further columns, anywhere after the first: `nose_v` (visibility of a point: 0, 1 or 2), `id` (several
objects an image then have different ones), `box_left`, `box_top`, `box_right`, `box_bottom`, `mm_per_pixel`, `split`
(train, val or test) and `group` (what stays on one side of a split), in small letters or capitals. The names are ours; CSV
has no standard of them. Any other column is refused by its name (`header.py`); one without a name and a value is ignored.

Separators are `,`, `;` and tab; with the latter two, as Excel writes them in much of Europe, a comma in a number is decimal.

A table of `snellen predict` is read too: `nose_score` is left out with a note, `left`, `top`, `right`, `bottom` are the box
(edges: 0 is the picture's border, whatever the origin), and `a.png#2` is the second object of `a.png`.

Origin: `origin=0` (the default) takes (0, 0) for the centre of the top-left pixel, as array indices do; `origin=1` counts
from 1; `origin=0.5` takes (0, 0) for the image's corner, as this library does inside. y points downwards. Boxes are
measured like the points.
"""

import csv
import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from snellen.geometry import Box
from snellen.keypoints.formats.annotations import Annotation, AnnotationError
from snellen.keypoints.formats.header import BOX_COLUMNS, EDGES, Header, read_header
from snellen.keypoints.formats.labels import SPLIT_NAMES, LabelledImage, LabelledObject, PointLabels
from snellen.keypoints.formats.reading import FARTHEST, OnError, half_points, reader_of, row_left_out, shortest
from snellen.keypoints.formats.rows import MISSING, Rows, rows_of
from snellen.keypoints.keypoints import OCCLUDED, VISIBLE, Keypoints
from snellen.keypoints.schema import Schema

__all__ = ["read_csv", "read_table", "write_csv"]


def read_csv(path: str | Path, *, schema: Schema | None = None, origin: float = 0.0) -> list[Annotation]:
    """Read a plain CSV of keypoints (separator `,`, `;` or tab) as flat annotations; see `read_table`."""
    return read_table(path, schema=schema, origin=origin).annotations()


@reader_of("a CSV of points")
def read_table(
    path: str | Path,
    *,
    schema: Schema | None = None,
    origin: float = 0.0,
    root: str | Path | None = None,
    on_error: OnError = "raise",
) -> PointLabels:
    """Read a plain CSV of keypoints (separator `,`, `;` or tab).

    Args:
        path: the file.
        schema: names of the points; by default taken from the header, else p1, p2, ...
        origin: the coordinate that the file gives the centre of the top-left pixel.
        root: folder of the images; by default the file's.
        on_error: what a malformed row does, see `OnError`.

    Raises:
        AnnotationError: one sentence with file, row and what to do.
    """
    path = Path(path)
    filled = rows_of(path, "a CSV file with rows of file, x1, y1, ...")
    if not filled:
        raise AnnotationError(f"{path} is empty; a row is a file, x1, y1, x2, y2, ...")
    header, named = _columns(path, filled)
    body, columns = filled[1:] if named else filled, len(filled[0][1])
    pairs, special, scores = header.pairs, header.special, header.scores
    schema = _schema(path, schema, header.names, len(pairs))
    images: dict[str, list[LabelledObject]] = {}
    sides: dict[str, tuple[str, str]] = {}
    seen: dict[tuple[str, str], int] = {}
    files: set[str] = set()  # also of malformed rows
    half: list[str] = []
    broken: dict[str, str] | None = {} if on_error == "skip" else None
    for row, cells in body:
        place = f"{path}, row {row}"
        with row_left_out(broken, place):
            if len(cells) != columns:
                raise AnnotationError(f"{place}: {len(cells)} columns where the first row has {columns}; correct it")
            file, extra = cells[0], {name: cells[i] for i, name in special.items()}
            if scores and (match := re.fullmatch(r"(.+)#(\d+)", file)) and match[1] in files:
                file, extra["id"] = match[1], match[2]
            if not file:
                raise AnnotationError(f"{place}: the file name is empty; give the image of this row")
            files.add(file)
            key = file, extra.get("id", "")
            if key in seen:
                other = (
                    "give the objects of an image different ids in a column id"
                    if "id" in extra
                    else "keep one of the two"
                )
                raise AnnotationError(f"{place}: {file} is already in row {seen[key]}; {other}")
            numbers = [[_number(path, row, cells[i]) for i in pair] for pair in pairs]
            xy = np.array(numbers, dtype=np.float64) - origin + 0.5
            visibility = np.full(len(schema), VISIBLE)
            for i, k in header.visibility.items():
                visibility[k] = _visibility(place, cells[i])
            item = LabelledObject(
                Keypoints(xy, visibility, schema),
                box=_box(path, row, extra, origin),
                scale=_scale(path, row, extra),
                id=extra.get("id", ""),
                row=row,
            )
            side = _split(place, extra.get("split", "")), extra.get("group", "")
            if sides.setdefault(file, side) != side:
                raise AnnotationError(f"{place}: {file} has another split or group than in a row above; give it one")
            images.setdefault(file, []).append(item)
            seen[key] = row
            half += [f"{schema.points[k]} in row {row}" for k in np.flatnonzero(np.isnan(xy).sum(axis=1) == 1)]
    if not images:
        nothing = f"{path} holds a header and no rows; add one row an image"
        raise AnnotationError(next(iter((broken or {}).values()), nothing))
    listed = tuple(LabelledImage(f, tuple(o), split=sides[f][0], group=sides[f][1]) for f, o in images.items())
    notes = (*half_points(half), *([f"the scores of {scores} points are left out"] if scores else []))
    return PointLabels(schema, listed, path.parent if root is None else Path(root), path, notes, broken or {})


def _columns(path: Path, rows: Rows) -> tuple[Header, bool]:
    """What the columns of a table are, and whether its first row says so; decimal commas become points."""
    row, first = rows[0]
    place = f"{path}, row {row}"
    cells = [cell for cell in first[1:] if cell.lower() not in MISSING]
    european = rows.separator != ","
    # One number makes it data: a row with a typo must be refused as such, not dropped as a header.
    if cells and not any(_is_number(cell.replace(",", ".") if european else cell) for cell in cells):
        rows.drop_empty_columns(place)
        header, named = read_header(place, first), True
    else:
        header, named = Header([(i, i + 1) for i in range(1, len(first) - 1, 2)]), False
    if not header.pairs or (not named and len(first) % 2 == 0):
        raise AnnotationError(
            f"{place}: {len(first)} columns; a row is a file followed by x, y pairs, so an odd number"
        )
    words = ("id", "split", "group")
    numbers = {i for pair in header.pairs for i in pair} | {i for i, n in header.special.items() if n not in words}
    rows.decimal_points(numbers)
    return header, named


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _schema(path: Path, schema: Schema | None, names: list[str], points: int) -> Schema:
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


def _number(path: Path, row: int, cell: str, farthest: float = FARTHEST) -> float:
    if cell.lower() in MISSING:
        return float("nan")
    try:
        number = float(cell)
    except ValueError:
        raise AnnotationError(f"{path}, row {row}: {cell!r} is not a number; correct it or leave it empty") from None
    if not (math.isfinite(number) and abs(number) <= farthest):
        raise AnnotationError(f"{path}, row {row}: {cell!r} is no place in a picture; correct it or leave it empty")
    return number


def _visibility(place: str, cell: str) -> int:
    """A cell of a visibility column; an empty one leaves it to the coordinates."""
    if cell.lower() in MISSING:
        return VISIBLE
    if cell not in ("0", "1", "2"):
        raise AnnotationError(f"{place}: the visibility {cell!r} is not 0, 1 or 2; correct it")
    return int(cell)


def _split(place: str, cell: str) -> str:
    split = {"valid": "val", "validation": "val", "training": "train"}.get(cell.lower(), cell.lower())
    if split not in SPLIT_NAMES:
        raise AnnotationError(f"{place}: the split {cell!r} is not train, val or test; correct it or leave it empty")
    return split


def _box(path: Path, row: int, extra: dict[str, str], origin: float) -> Box | None:
    names = EDGES if "left" in extra else BOX_COLUMNS
    origin = 0.5 if "left" in extra else origin
    cells = [extra.get(name, "") for name in names]
    if all(cell.lower() in MISSING for cell in cells):
        return None
    box = Box(*(_number(path, row, cell) - origin + 0.5 for cell in cells))
    if not (box.width > 0 and box.height > 0):
        raise AnnotationError(
            f"{path}, row {row}: {', '.join(cells)} is no box; give {', '.join(names)}, or leave all four empty"
        )
    return box


def _scale(path: Path, row: int, extra: dict[str, str]) -> float | None:
    cell = extra.get("mm_per_pixel", "")
    if cell.lower() in MISSING:
        return None
    scale = _number(path, row, cell, math.inf)
    if not 0 < scale < float("inf"):
        raise AnnotationError(f"{path}, row {row}: mm_per_pixel is {cell}; give millimetres a pixel, above 0")
    return scale


def write_csv(labels: PointLabels, name: str, *, origin: float = 0.0) -> dict[str, bytes]:
    """The content of a CSV file, by its name; columns that would be empty are left out."""
    objects = labels.objects
    occluded = any((item.keypoints.visibility == OCCLUDED).any() for _, item in objects)
    several = any(len(image.objects) > 1 for image in labels.images)
    header = ["file"]
    if several or any(item.id for _, item in objects):
        header.append("id")
    for point in labels.schema.points:
        header += [f"{point}_x", f"{point}_y", *([f"{point}_v"] if occluded else [])]
    header += BOX_COLUMNS if any(item.box for _, item in objects) else ()
    header += ["mm_per_pixel"] if any(item.scale for _, item in objects) else []
    header += ["split"] if any(image.split for image in labels.images) else []
    header += ["group"] if any(image.group for image in labels.images) else []
    text = io.StringIO()
    writer = csv.DictWriter(text, header, lineterminator="\n")
    writer.writeheader()
    for image in labels.images:
        for number, item in enumerate(image.objects, start=1):
            row: dict[str, Any] = {
                "file": image.file,
                # Two objects without ids of their own are told apart by their number.
                "id": item.id or (str(number) if len(image.objects) > 1 else ""),
                "mm_per_pixel": f"{item.scale:.9g}" if item.scale else "",
                "split": image.split,
                "group": image.group,
            }
            k = item.keypoints
            for point, (x, y), code in zip(labels.schema.points, k.xy, k.visibility, strict=True):
                shown = [shortest(v - 0.5 + origin) for v in (x, y)] if code else ["", ""]
                row |= {f"{point}_x": shown[0], f"{point}_y": shown[1], f"{point}_v": code}
            if item.box:
                row |= {n: shortest(v - 0.5 + origin) for n, v in zip(BOX_COLUMNS, item.box, strict=True)}
            writer.writerow({column: row.get(column, "") for column in header})
    return {name: text.getvalue().encode()}
