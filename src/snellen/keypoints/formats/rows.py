"""The rows of a CSV file as people's programs write it: separators, decimal commas, empty columns."""

import csv
import re
from collections.abc import Iterable
from pathlib import Path

from snellen.keypoints.formats.annotations import AnnotationError

__all__ = ["MISSING", "Rows", "rows_of", "separator_line"]

#: What a cell without a value holds, in small letters.
MISSING = frozenset({"", "nan", "na", "none", "null"})

_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:e[+-]?\d+)?|[+-]?\d+,", re.IGNORECASE)
_DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d*(?:e[+-]?\d+)?", re.IGNORECASE)
# Excel's first line that names the separator, with the separators that a second programme put behind it.
_SEPARATOR_LINE = re.compile(r'\s*"?sep=(.)"?[,;\t]*\s*', re.IGNORECASE)


class Rows(list[tuple[int, list[str]]]):
    """The filled rows of a CSV file with their numbers, from 1, cells stripped.

    Attributes:
        separator: what stands between cells.
    """

    separator = ","

    def decimal_points(self, columns: Iterable[int]) -> None:
        """Write the decimal commas of these columns as points, where the separator is no comma.

        Where a cell has a point, commas may be those of thousands and are left: the cell is then refused as no number.

        >>> rows = Rows([(1, ["file", "nose_x"]), (2, ["a.png", "30,5"])])
        >>> rows.separator = ";"
        >>> rows.decimal_points([1])
        >>> rows[1]
        (2, ['a.png', '30.5'])
        """
        wanted = set(columns)
        found = (cells[i] for _, cells in self for i in wanted if i < len(cells))
        if self.separator == "," or any(_DECIMAL_POINT.fullmatch(cell) for cell in found):
            return
        for _, cells in self:
            for i in wanted:
                if i < len(cells) and _DECIMAL_COMMA.fullmatch(cells[i]):
                    cells[i] = cells[i].replace(",", ".")

    def drop_empty_columns(self, place: str) -> None:
        """Take out columns without a name in the first row and without a value, as spreadsheets leave them.

        Raises:
            AnnotationError: where a column without a name holds a value.
        """
        header = self[0][1]
        unnamed = [i for i, cell in enumerate(header) if i and not cell]
        for i in unnamed:
            for row, cells in self[1:]:
                if i < len(cells) and cells[i]:
                    raise AnnotationError(
                        f"{place}: column {i + 1} has no name but holds values (the first, {cells[i]!r}, in row {row}); "
                        "name it or remove it"
                    )
        for _, cells in self:
            cells[:] = [cell for i, cell in enumerate(cells) if i not in unnamed]


def rows_of(path: Path, what: str) -> Rows:
    """The filled rows of a CSV file; `what` it should be, for messages.

    Separators are `,`, `;` and tab; a first line `sep=;` names one, as Excel writes it.

    Raises:
        AnnotationError: one sentence with file and row.
    """
    if not path.is_file():
        raise AnnotationError(f"{path} does not exist; give the path of {what}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise AnnotationError(f"{path} is not UTF-8 text; save it as UTF-8 CSV") from None
    except OSError as error:
        raise AnnotationError(f"{path} cannot be read ({error.strerror}); check its permissions") from None
    if "\0" in text:
        row = text[: text.index("\0")].count("\n") + 1
        raise AnnotationError(f"{path}, row {row}: there is a null byte, so this is no text; save it as UTF-8 CSV")
    lines = text.splitlines()
    separator = separator_line(lines)
    if separator:
        lines[0] = ""  # not taken out, so that rows keep their numbers
    found = Rows()
    found.separator = separator or _separator(lines)
    reader = csv.reader(lines, delimiter=found.separator)
    try:
        for number, cells in enumerate(reader, start=1):
            if reader.line_num != number:
                # It would swallow the rows after it, up to the file's end.
                raise AnnotationError(
                    f"{path}, row {number}: a cell goes on in the next row; look for a quotation mark without its partner"
                )
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                found.append((number, stripped))
    except csv.Error as error:
        raise AnnotationError(
            f"{path} is not a CSV file ({error}); look for a quotation mark without its partner"
        ) from None
    return found


def separator_line(lines: list[str]) -> str:
    """The separator that Excel's first line `sep=;` names; empty where there is no such line.

    >>> separator_line(["sep=;", "file;x;y"]), separator_line(["file;x;y"])
    (';', '')
    """
    match = _SEPARATOR_LINE.fullmatch(lines[0]) if lines else None
    return match[1] if match and match[1] in ",;\t" else ""


def _separator(lines: list[str]) -> str:
    first = next((line for line in lines if line.strip()), "")
    # Of `a.png;30,5;20,5` the commas are decimal ones.
    decimal = len(re.findall(r"(?<=\d),(?=\d)", first)) == first.count(",")
    return max(";\t" if decimal and re.search("[;\t]", first) else ",;\t", key=first.count)
