"""TPS files of geometric morphometrics (tpsDig, tpsUtil, geomorph): specimens one after the other.

Documentation: https://sbmorphometrics.org (help of tpsDig) and, for what its readers accept,
https://rdrr.io/cran/geomorph/src/R/readland.tps.r ::

    LM=12
    103.00000 201.00000
    ...
    IMAGE=wing_01.jpg
    ID=0
    SCALE=0.004132

Axes: y points *upwards* from the bottom of the image, so the height of the picture is needed: it is read from the picture
that IMAGE names. Origin: whether a pixel's centre or its corner has whole coordinates is not documented. `origin=0.5` (our
choice) measures from the bottom-left corner of the image; `origin=0` takes (0, 0) for the centre of the bottom-left pixel.

SCALE is length a pixel in a unit that the file does not name; `scale_unit` says how many millimetres that unit is (1 for
millimetres, 10 for centimetres). Missing points are NA (geomorph) or have both coordinates negative (tpsDig). Several
specimens may share an image; one with LM=0, as tpsUtil writes what is not digitised yet, is an image without objects. An
IMAGE with the folders of another machine is looked for below the root by its name. CURVES and OUTLINES (semi-landmarks) are
left out and counted in the notes; LM3 is refused.
"""

import math
import re
from pathlib import Path

from snellen.keypoints.formats.annotations import AnnotationError
from snellen.keypoints.formats.labels import PointLabels, file_size
from snellen.keypoints.formats.reading import Collector, OnError, finite, read_text, reader_of, row_left_out, shortest
from snellen.keypoints.keypoints import UNLABELLED, VISIBLE
from snellen.keypoints.schema import Schema

__all__ = ["read_tps", "write_tps"]

_KEY = re.compile(r"\s*([A-Za-z]\w*)\s*=\s*(.*?)\s*$")
_TAKEN = ("LM", "IMAGE", "ID", "SCALE")


@reader_of("TPS")
def read_tps(
    path: str | Path,
    *,
    schema: Schema | None = None,
    origin: float = 0.5,
    root: str | Path | None = None,
    scale_unit: float = 1.0,
    on_error: OnError = "raise",
) -> PointLabels:
    """Read a TPS file.

    Args:
        path: the file.
        schema: names of the landmarks; by default p1, p2, ...
        origin: the coordinate that the file gives the centre of the bottom-left pixel.
        root: folder of the images; by default the file's.
        scale_unit: millimetres in the unit of SCALE.
        on_error: what a malformed specimen does, or one whose picture cannot be read, see `OnError`.

    Raises:
        AnnotationError: one sentence with file and row; a picture whose height cannot be read is among its reasons.
    """
    path = Path(path)
    collector = Collector(path, schema, None if root is None else Path(root))
    broken = collector.broken if on_error == "skip" else None
    lines = read_text(path, "a TPS file").splitlines()
    left_out: dict[str, int] = {}
    specimens = _specimens(path, lines, left_out, broken)
    sizes: dict[str, tuple[int, int]] = {}
    pictures = _Pictures(collector.root)
    for row, points, values in specimens:
        place = f"{path}, row {row}"
        with row_left_out(broken, place):
            if not values.get("IMAGE"):
                raise AnnotationError(
                    f"{place}: this specimen has no IMAGE; y counts from the bottom of the picture, so name it"
                )
            file = pictures.existing(values["IMAGE"].replace("\\", "/"))
            if not points:
                collector.image(file)
                continue
            if file not in sizes:
                sizes[file] = file_size(collector.root, file, place)
            height, _ = sizes[file]
            xy, codes = [], []
            for number, line in points:
                x, y, labelled = _landmark(f"{path}, row {number}", line)
                xy.append((x - origin + 0.5, height - (y - origin + 0.5)))
                codes.append(VISIBLE if labelled else UNLABELLED)
            scale = None
            if values.get("SCALE"):
                scale = finite(f"{place}, SCALE", values["SCALE"].replace(",", "."), math.inf) * scale_unit
                if scale <= 0:
                    raise AnnotationError(
                        f"{place}: SCALE={values['SCALE']} is no length a pixel; correct it or leave it out"
                    )
            named = collector.numbered(xy, codes, place)
            extra = {key: value for key, value in values.items() if key not in _TAKEN}
            collector.image(file)
            collector.add(
                file, named, place,
                scale=scale, id=values.get("ID", ""), extra=extra, row=row,
            )  # fmt: skip
    collector.notes += [f"{n} {key} of points are left out, landmarks alone are read" for key, n in left_out.items()]
    return collector.finish()


def _specimens(
    path: Path, lines: list[str], left_out: dict[str, int], broken: dict[str, str] | None
) -> list[tuple[int, list[tuple[int, str]], dict[str, str]]]:
    """Row of LM, the numbered rows of points, and the values after them, of each specimen."""
    parts: list[list[tuple[int, str]]] = []
    for row, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = _KEY.match(line)
        key = match[1].upper() if match else ""
        if key == "LM3":
            raise AnnotationError(f"{path}, row {row}: LM3 are points in space; give a file of flat landmarks (LM)")
        if key == "LM":
            parts.append([])
        elif not parts:
            what = f"{key} stands" if match else f"{line.strip()!r} stands"
            raise AnnotationError(f"{path}, row {row}: {what} before the first LM; a specimen begins with LM=number")
        parts[-1].append((row, line))
    if not parts:
        raise AnnotationError(f"{path} is empty; a specimen begins with LM=number")
    found = []
    for part, after in zip(parts, [*parts[1:], None], strict=True):
        with row_left_out(broken, f"{path}, row {part[0][0]}"):
            found.append(_specimen(path, part, after[0][0] if after else None, left_out))
    return found


def _specimen(
    path: Path, lines: list[tuple[int, str]], after: int | None, left_out: dict[str, int]
) -> tuple[int, list[tuple[int, str]], dict[str, str]]:
    """One specimen's part of `_specimens`, from its LM to the next one in row `after`."""
    points: list[tuple[int, str]] = []
    values: dict[str, str] = {}
    wanted, take = 0, True  # rows of points still to come, and whether they are landmarks
    for row, line in lines:
        match = _KEY.match(line)
        if match is None:
            if not wanted:
                raise AnnotationError(
                    f"{path}, row {row}: {line.strip()!r} is neither KEY=VALUE nor an announced point"
                )
            wanted -= 1
            if take:
                points.append((row, line))
            continue
        key, value = match[1].upper(), match[2]
        if wanted:
            raise AnnotationError(
                f"{path}, row {row}: {wanted} points are missing before {key}; correct the number of LM"
            )
        if key in ("LM", "POINTS"):
            if not value.isdecimal():
                raise AnnotationError(f"{path}, row {row}: {key}={value} is not a number of points; correct it")
            wanted, take = int(value), key == "LM"
        elif key in ("CURVES", "OUTLINES"):
            left_out[key] = left_out.get(key, 0) + (int(value) if value.isdecimal() else 1)
        else:
            values[key] = value
    if wanted and after is not None:
        raise AnnotationError(f"{path}, row {after}: {wanted} points are missing before LM; correct the number of LM")
    if wanted:
        raise AnnotationError(f"{path}, row {lines[-1][0]}: the file ends with {wanted} points missing; copy it again")
    return lines[0][0], points, values


def _landmark(place: str, line: str) -> tuple[float, float, bool]:
    cells = line.replace(",", ".").split()  # tpsDig writes the decimal comma of some systems
    if len(cells) != 2:
        raise AnnotationError(f"{place}: {line.strip()!r} is not an x and a y; correct the row")
    if any(cell.upper() in ("NA", "NAN") for cell in cells):
        return 0.0, 0.0, False
    x, y = (finite(place, cell) for cell in cells)
    return x, y, not (x < 0 and y < 0)


class _Pictures:
    """The files as they are on disk.

    tpsDig writes names without folders, or paths of the machine it ran on, and runs on systems that do not tell A from a.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._below: dict[str, list[str]] | None = None  # files below the root by their names in small letters

    def existing(self, file: str) -> str:
        """The file that a specimen names, relative to the root; as it is named where there is none, or more than one."""
        if (self.root / file).exists():
            return file
        name = file.rpartition("/")[2].lower()
        folder = (self.root / file).parent
        matches = [f.name for f in folder.iterdir() if f.name.lower() == name] if folder.is_dir() else []
        if len(matches) == 1:
            return Path(file).with_name(matches[0]).as_posix()
        if "/" not in file:
            return file
        if self._below is None:
            self._below = {}
            for found in self.root.rglob("*"):
                self._below.setdefault(found.name.lower(), []).append(found.relative_to(self.root).as_posix())
        below = self._below.get(name, [])
        beside = [f for f in below if "/" not in f]
        return (beside or below)[0] if len(beside or below) == 1 else file


def write_tps(labels: PointLabels, name: str, *, origin: float = 0.5) -> dict[str, bytes]:
    """The content of a TPS file, by its name; scales in millimetres a pixel.

    Raises:
        AnnotationError: where an image's height is known to neither the labels nor its file.
    """
    lines = []
    for image, item in labels.objects:
        height, _ = labels.size_of(image)
        lines.append(f"LM={len(labels.schema)}")
        for (x, y), labelled in zip(item.keypoints.xy, item.keypoints.labelled, strict=True):
            up = height - y
            lines.append(f"{shortest(x - 0.5 + origin)} {shortest(up - 0.5 + origin)}" if labelled else "NA NA")
        lines.append(f"IMAGE={image.file}")
        lines += [f"ID={item.id}"] if item.id else []
        lines += [f"{key.upper()}={value}" for key, value in item.extra.items()]
        lines += [f"SCALE={item.scale:.9g}"] if item.scale else []
    return {name: ("\n".join(lines) + "\n").encode()}
