"""Long CSV, one row a point: `file, point, x, y`, and where wanted `visibility`, `id`, `split`, `group`, `mm_per_pixel`.

What statistics programs call long or tidy; the header must name the columns. `id` tells several objects of an image apart.
`image` or `filename` for file, and `keypoint`, `landmark` or `bodypart` for point are understood. A point without a row, or
with empty coordinates, is unlabelled. Boxes have no place.

Origin: `origin=0` (the default) takes (0, 0) for the centre of the top-left pixel. y points downwards.
"""

import csv
import io
import math
from pathlib import Path
from typing import Any

from snellen.keypoints.formats.annotations import AnnotationError
from snellen.keypoints.formats.labels import PointLabels
from snellen.keypoints.formats.reading import Collector, OnError, finite, point, reader_of, row_left_out, shortest
from snellen.keypoints.formats.rows import MISSING, rows_of
from snellen.keypoints.formats.table import _split, _visibility
from snellen.keypoints.keypoints import OCCLUDED
from snellen.keypoints.schema import Schema

__all__ = ["looks_long", "read_long_csv", "write_long_csv"]

_OTHER_NAMES = {
    **dict.fromkeys(("image", "filename", "file_name"), "file"),
    **dict.fromkeys(("keypoint", "landmark", "bodypart", "name"), "point"),
    **dict.fromkeys(("v", "visible"), "visibility"),
    "object": "id",
}
_NEEDED = ("file", "point", "x", "y")
_KNOWN = (*_NEEDED, "visibility", "id", "split", "group", "mm_per_pixel")


def _columns(cells: list[str]) -> list[str]:
    return [_OTHER_NAMES.get(cell.lower(), cell.lower()) for cell in cells]


def looks_long(cells: list[str]) -> bool:
    """Whether a CSV's first row is the header of a long table."""
    return set(_NEEDED) <= set(_columns(cells))


@reader_of("a long CSV")
def read_long_csv(
    path: str | Path,
    *,
    schema: Schema | None = None,
    origin: float = 0.0,
    root: str | Path | None = None,
    on_error: OnError = "raise",
) -> PointLabels:
    """Read a long CSV (separator `,`, `;` or tab).

    Args:
        path: the file.
        schema: the points and their order; by default that of their first appearance.
        origin: the coordinate that the file gives the centre of the top-left pixel.
        root: folder of the images; by default the file's.
        on_error: what a malformed row does, see `OnError`; an object is left out with all of its rows.

    Raises:
        AnnotationError: one sentence with file and row.
    """
    path = Path(path)
    rows = rows_of(path, "a CSV file with rows of file, point, x, y")
    if rows:
        rows.drop_empty_columns(f"{path}, row {rows[0][0]}")
    header = _columns(rows[0][1]) if rows else []
    rows.decimal_points(i for i, name in enumerate(header) if name in ("x", "y", "mm_per_pixel"))
    if not set(_NEEDED) <= set(header):
        raise AnnotationError(
            f"{path}: the header {', '.join(header) or '(none)'} lacks {', '.join(n for n in _NEEDED if n not in header)}; "
            "a long CSV has columns file, point, x, y"
        )
    collector = Collector(path, schema, None if root is None else Path(root))
    others = [name for name in header if name not in _KNOWN]
    if others:
        collector.notes.append(f"the columns {', '.join(others)} are left out")
    broken = collector.broken if on_error == "skip" else None
    objects: dict[tuple[str, str], dict[str, tuple[float, float, int]]] = {}
    first: dict[tuple[str, str], tuple[int, dict[str, str]]] = {}
    halves: dict[tuple[str, str], list[str]] = {}
    spoilt: set[tuple[str, str]] = set()
    torn: set[str] = set()
    for row, cells in rows[1:]:
        place = f"{path}, row {row}"
        values = dict(zip(header, cells, strict=False))
        key = values.get("file", ""), values.get("id", "")
        with row_left_out(broken, place):
            if len(cells) != len(header):
                raise AnnotationError(f"{place}: {len(cells)} columns where the header has {len(header)}; correct it")
            if not values["file"] or not values["point"]:
                raise AnnotationError(f"{place}: the {'file' if not values['file'] else 'point'} is empty; fill it in")
            points = objects.setdefault(key, {})
            first.setdefault(key, (row, values))
            if values["point"] in points:
                raise AnnotationError(
                    f"{place}: {values['point']} of {values['file']} is there already; keep one row, or give the objects of "
                    "an image different ids in a column id"
                )
            code = _visibility(place, values.get("visibility", ""))
            absent = [values[c].lower() in MISSING for c in "xy"]
            if any(absent):
                code = 0
            if any(absent) and not all(absent):
                halves.setdefault(key, []).append(f"{values['point']} in row {row}")
            x, y = (finite(place, values[c]) if code else 0.0 for c in "xy")
            points[values["point"]] = point(x, y, origin, code)
            continue
        # A malformed row comes here: its object would lack a point that somebody has marked. Where cells are missing, no cell
        # is certain to be what its column says.
        if len(cells) == len(header):
            spoilt.add(key)
        else:
            torn |= set(cells)
    for key, points in objects.items():
        row, values = first[key]
        place = f"{path}, row {row}"
        if key in spoilt or key[0] in torn:
            continue
        with row_left_out(broken, place):
            known: dict[str, Any] = {"id": key[1], "row": row}
            if values.get("mm_per_pixel", "").lower() not in MISSING:
                known["scale"] = finite(place, values["mm_per_pixel"], math.inf)
                if known["scale"] <= 0:
                    raise AnnotationError(
                        f"{place}: mm_per_pixel is {values['mm_per_pixel']}; give millimetres a pixel, above 0"
                    )
            side = _split(place, values.get("split", ""))
            file = collector.image(key[0], split=side, group=values.get("group", ""))
            collector.add(file, points, place, **known)
            collector.half += halves.get(key, [])
    return collector.finish()


def write_long_csv(labels: PointLabels, name: str, *, origin: float = 0.0) -> dict[str, bytes]:
    """The content of a long CSV file, by its name. Every point has a row: an unlabelled one has empty coordinates."""
    objects = labels.objects
    occluded = any((item.keypoints.visibility == OCCLUDED).any() for _, item in objects)
    named = any(item.id for _, item in objects) or any(len(image.objects) > 1 for image in labels.images)
    columns = ["file", *(["id"] if named else []), "point", "x", "y", *(["visibility"] if occluded else [])]
    columns += ["mm_per_pixel"] if any(item.scale for _, item in objects) else []
    columns += ["split"] if any(image.split for image in labels.images) else []
    columns += ["group"] if any(image.group for image in labels.images) else []
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for image in labels.images:
        for number, item in enumerate(image.objects, start=1):
            k = item.keypoints
            for name_, (x, y), code in zip(labels.schema.points, k.xy, k.visibility, strict=True):
                writer.writerow(
                    {
                        "file": image.file,
                        "id": item.id or (str(number) if len(image.objects) > 1 else ""),
                        "point": name_,
                        "x": shortest(x - 0.5 + origin) if code else "",
                        "y": shortest(y - 0.5 + origin) if code else "",
                        "visibility": code,
                        "mm_per_pixel": f"{item.scale:.9g}" if item.scale else "",
                        "split": image.split,
                        "group": image.group,
                    }
                )
    return {name: text.getvalue().encode()}
