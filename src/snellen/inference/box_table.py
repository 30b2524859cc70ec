"""Boxes for prediction from a CSV: `file, left, top, right, bottom`, a row an object.

The four numbers are edges in pixels, 0 and the picture's width being its borders, as detectors write them. A first row that
holds no number is a header, which may name further columns; `box_left, box_top, box_right, box_bottom` are the same, as in the
boxes of training. The separator is a comma, a semicolon or a tab. The second row of a file is its second object, `FILE#2`.
Files are matched by the path as given, by the path relative to the CSV's folder, and by the name alone where that is unique.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from snellen.config import ConfigError
from snellen.geometry import Box
from snellen.keypoints.formats import AnnotationError
from snellen.keypoints.formats.reading import FARTHEST
from snellen.keypoints.formats.table import BOX_COLUMNS, rows_of

__all__ = ["BoxTable"]

_COLUMNS = ("file", "left", "top", "right", "bottom")
_ALSO = ("file", *BOX_COLUMNS)


class BoxTable:
    """The boxes of a CSV file.

    Args:
        path: the file.

    Raises:
        ConfigError: one sentence with file and row.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise ConfigError(f"{self.path} does not exist; give a CSV with rows of {', '.join(_COLUMNS)}")
        try:
            rows = rows_of(self.path, f"a CSV with rows of {', '.join(_COLUMNS)}")
        except AnnotationError as error:
            raise ConfigError(str(error)) from None
        if not rows:
            raise ConfigError(f"{self.path} is empty; a row is {', '.join(_COLUMNS)}")
        places = self._places([cell.lower() for cell in rows[0][1]])
        rows.decimal_points((places or list(range(5)))[1:])
        self._boxes: dict[str, list[Box]] = {}
        for number, row in rows if places is None else rows[1:]:
            name, box = self._row(number, row, places or list(range(5)))
            self._boxes.setdefault(name, []).append(box)
        names = [Path(name).name for name in self._boxes]
        self._by_name = {Path(n).name: b for n, b in self._boxes.items() if names.count(Path(n).name) == 1}
        self._by_path = {str((self.path.parent / n).resolve()): b for n, b in self._boxes.items()}

    def of(self, path: Path) -> Sequence[Box]:
        """The boxes of a picture, none where the table does not name it."""
        given = self._boxes.get(str(path)) or self._by_path.get(str(path.resolve()))
        return given or self._by_name.get(path.name, [])

    def _places(self, first: list[str]) -> list[int] | None:
        """Which columns are file, left, top, right and bottom; None where the first row is no header."""
        if any(_number(cell) is not None for cell in first[1:]):
            return None
        if set(_ALSO) <= set(first):
            return [first.index(name) for name in _ALSO]
        missing = [name for name in _COLUMNS if name not in first]
        if missing:
            raise ConfigError(f"{self.path}: the header has no column {missing[0]!r}; it needs {', '.join(_COLUMNS)}")
        return [first.index(name) for name in _COLUMNS]

    def _row(self, number: int, row: list[str], places: list[int]) -> tuple[str, Box]:
        if len(row) <= max(places):
            raise ConfigError(f"{self.path}, row {number}: {len(row)} columns; a row is {', '.join(_COLUMNS)}")
        cells = [row[place] for place in places]
        values = [_number(cell) for cell in cells[1:]]
        numbers = [value for value in values if value is not None]
        if len(numbers) < 4:
            wrong = cells[1 + values.index(None)]
            raise ConfigError(f"{self.path}, row {number}: {wrong!r} is not a number; correct it")
        if max(map(abs, numbers)) > FARTHEST:
            raise ConfigError(f"{self.path}, row {number}: the box {numbers} lies in no picture; correct it")
        box = Box(*numbers)
        if not (box.width > 0 and box.height > 0):
            raise ConfigError(
                f"{self.path}, row {number}: the box {numbers} is empty; right must exceed left and bottom exceed top (these "
                "are edges, not width and height)"
            )
        return cells[0], box


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
