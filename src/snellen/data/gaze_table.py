"""Lists of eye pictures: Columbia's labels.csv and plain CSV, one row a picture.

Columns, found by their names in the header in any order::

    file                                     the picture, relative to the list
    subject | person                         who it is
    gaze_pitch_deg | pitch                   degrees, up is positive             } or x_cm and y_cm,
    gaze_yaw_deg | yaw                       degrees, the picture's right is     } centimetres from the camera
    eye                optional: L, R, left, right or both, as the picture shows it
    head_yaw_deg | head_yaw   optional, degrees, for reports alone
    split              optional: train, val or test

The list of Columbia Gaze (Smith et al. 2013) as cut to eyes has the first name of each column.
"""

import math
from pathlib import Path

from snellen.data.gaze import Eye, GazeEntry
from snellen.data.gaze_angles import Answer
from snellen.keypoints.formats import AnnotationError
from snellen.keypoints.formats.reading import row_left_out
from snellen.keypoints.formats.rows import rows_of

__all__ = ["read_gaze_table"]

_NAMES = {
    "file": ("file",),
    "person": ("subject", "person"),
    "pitch": ("gaze_pitch_deg", "pitch"),
    "yaw": ("gaze_yaw_deg", "yaw"),
    "x": ("x_cm",),
    "y": ("y_cm",),
    "eye": ("eye",),
    "head_yaw": ("head_yaw_deg", "head_yaw"),
    "split": ("split",),
}
_EYES: dict[str, Eye] = {
    "l": "left", "left": "left", "r": "right", "right": "right", "both": "both", "": "both"
}  # fmt: skip
_SPLITS = ("train", "val", "test")


def read_gaze_table(
    path: str | Path, *, broken: dict[str, str] | None = None
) -> tuple[list[tuple[GazeEntry, str]], Answer]:
    """Read a list of pictures (separator `,`, `;` or tab).

    Args:
        path: the list.
        broken: where it is given, a malformed row is left out and noted there, with a sentence.

    Returns:
        Each entry with its split, which is empty where the list has no such column; and how the gaze is told.

    Raises:
        AnnotationError: one sentence with file, row and what to do.
    """
    path = Path(path)
    filled = rows_of(path, "the list of pictures with data.annotations")
    if not filled:
        raise AnnotationError(f"{path} is empty; it needs a header such as file,person,pitch,yaw and a row a picture")
    columns = _columns(path, filled[0][1])
    answer: Answer = "angles" if "pitch" in columns else "point"
    entries, seen = [], dict[str, int]()
    for row, cells in filled[1:]:
        place = f"{path}, row {row}"
        with row_left_out(broken, place):
            entry, split = _entry(path, row, cells, columns, len(filled[0][1]), answer)
            if entry.file in seen:
                raise AnnotationError(
                    f"{place}: {entry.file} is already in row {seen[entry.file]}; keep one of the two"
                )
            seen[entry.file] = row
            entries.append((entry, split))
    if not entries:
        nothing = f"{path} holds a header and no rows; add one row a picture"
        raise AnnotationError(next(iter((broken or {}).values()), nothing))
    return entries, answer


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    """Where each known column stands."""
    lower = [cell.lower() for cell in header]
    columns = {
        what: lower.index(name) for what, names in _NAMES.items() for name in reversed(names) if name in lower
    }  # the first of two names counts
    angles, point = {"pitch", "yaw"} & columns.keys(), {"x", "y"} & columns.keys()
    missing = [name for name in ("file", "person") if name not in columns]
    if missing or (len(angles) != 2 and len(point) != 2):
        raise AnnotationError(
            f"{path}, row 1: the header has {', '.join(header)}; it needs file, person (or subject), and pitch and yaw "
            "(or gaze_pitch_deg and gaze_yaw_deg), or x_cm and y_cm"
        )
    if len(angles) == 2 and point:
        raise AnnotationError(f"{path}, row 1: the header has both angles and points; leave one of them out")
    return columns


def _entry(
    path: Path, row: int, cells: list[str], columns: dict[str, int], width: int, answer: Answer
) -> tuple[GazeEntry, str]:
    where = f"{path}, row {row}"
    if len(cells) != width:
        raise AnnotationError(f"{where}: {len(cells)} columns where the header has {width}; correct it")

    def cell(name: str) -> str:
        return cells[columns[name]] if name in columns else ""

    for name in ("file", "person"):
        if not cell(name):
            raise AnnotationError(f"{where}: the {name} is empty; fill it in")
    eye, split = cell("eye").lower(), cell("split").lower()
    if eye not in _EYES:
        raise AnnotationError(f"{where}: the eye is {cell('eye')!r}; give L, R or both")
    if "split" in columns and split not in _SPLITS:
        raise AnnotationError(f"{where}: the split is {cell('split')!r}; give train, val or test")
    limits = (90.0, 180.0) if answer == "angles" else (math.inf, math.inf)
    numbers = [
        _number(where, name, cell(name), limit)
        for name, limit in zip(("pitch", "yaw") if answer == "angles" else ("x", "y"), limits, strict=True)
    ]
    head = cell("head_yaw")
    entry = GazeEntry(
        file=cell("file"),
        target=(numbers[0], numbers[1]),
        person=cell("person"),
        eye=_EYES[eye],
        head_yaw=_number(where, "head_yaw", head, 180.0) if head else None,
        place=where,
    )
    return entry, split


def _number(where: str, name: str, cell: str, limit: float) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise AnnotationError(f"{where}: the {name} is {cell!r}, which is no number; correct it or leave the row out")
    if abs(value) > limit:
        raise AnnotationError(f"{where}: a {name} of {value:g} degrees lies beyond {limit:g}; give degrees")
    return value
