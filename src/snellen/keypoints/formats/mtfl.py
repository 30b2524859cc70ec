"""MTFL / TCDCN annotation lists: `file x1..x5 y1..y5 gender smile glasses pose`, one face a row.

Points: left eye, right eye, nose, left and right mouth corner, left meaning the left of the image.

Origin: MTFL does not document its pixel origin. `origin=0` (our choice) takes (0, 0) for the centre of the top-left
pixel; `origin=1` takes (1, 1) for it, as Matlab counts. y points downwards.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from snellen.keypoints.built_in import get_schema
from snellen.keypoints.formats.annotations import Annotation, AnnotationError
from snellen.keypoints.formats.labels import PointLabels, from_annotations
from snellen.keypoints.formats.reading import OnError, reader_of, row_left_out, shortest, well_formed
from snellen.keypoints.keypoints import Keypoints
from snellen.keypoints.schema import Schema

__all__ = ["read_mtfl", "read_mtfl_list", "write_mtfl"]

_POINTS = 5


@reader_of("an MTFL list")
def read_mtfl(path: str | Path, *, origin: float = 0.0, broken: dict[str, str] | None = None) -> list[Annotation]:
    """Read one MTFL list (`training.txt` or `testing.txt`).

    Args:
        path: the list.
        origin: the coordinate that the file gives the centre of the top-left pixel.
        broken: where it is given, a malformed row is left out and noted there, with a sentence.

    Returns:
        One annotation a row, in file order; empty rows are skipped. Windows path separators become `/`.

    Raises:
        AnnotationError: where the file is missing or a row is not as the format says.
    """
    return _read(Path(path), origin, broken)[0]


def _read(path: Path, origin: float, broken: dict[str, str] | None) -> tuple[list[Annotation], int]:
    """One annotation a row, and how many rows have attributes, which are not read."""
    if not path.is_file():
        raise AnnotationError(f"{path} does not exist; the root of an MTFL data set holds training.txt and testing.txt")
    schema = get_schema("mtfl-5")
    annotations, attributes = [], 0
    for row, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        with row_left_out(broken, f"{path}, row {row}"):
            # The attributes after the points are optional: users' own lists in this layout often lack them.
            if len(fields) < 1 + 2 * _POINTS:
                raise AnnotationError(
                    f"{path}, row {row}: {len(fields)} columns; a row is a file, five x, five y and optional attributes"
                )
            try:
                numbers = np.array(fields[1 : 1 + 2 * _POINTS], dtype=np.float64)
            except ValueError:
                raise AnnotationError(
                    f"{path}, row {row}: {' '.join(fields[1 : 1 + 2 * _POINTS])!r} are not ten numbers; correct the row"
                ) from None
            if np.isinf(numbers).any():
                raise AnnotationError(
                    f"{path}, row {row}: a coordinate is infinite; correct it, or write nan where it is not known"
                )
            xy = np.stack((numbers[:_POINTS], numbers[_POINTS:]), axis=1) - origin + 0.5
            annotations.append(Annotation(fields[0].replace("\\", "/"), Keypoints.visible(xy, schema), row))
            attributes += len(fields) > 1 + 2 * _POINTS
    if not annotations:
        nothing = f"{path} holds no rows; a row is a file, five x and five y"
        raise AnnotationError(next(iter((broken or {}).values()), nothing))
    return annotations, attributes


@reader_of("an MTFL list")
def read_mtfl_list(
    path: str | Path,
    *,
    schema: Schema | None = None,
    origin: float = 0.0,
    root: str | Path | None = None,
    on_error: OnError = "raise",
) -> PointLabels:
    """Read an MTFL list; of a folder, `training.txt` and, where it is there, `testing.txt`.

    Args:
        path: the list, or the folder of the data set.
        schema: other names for the five points, in MTFL's order.
        origin: the coordinate that the file gives the centre of the top-left pixel.
        root: folder of the images; by default the list's.
        on_error: what a malformed row does, see `OnError`.

    Raises:
        AnnotationError: as `read_mtfl`, and for a schema of another size.
    """
    path = Path(path)
    files = {"": path} if not path.is_dir() else {"train": path / "training.txt", "test": path / "testing.txt"}
    if path.is_dir() and not files["test"].is_file():
        del files["test"]
    found, broken, attributes = list[Annotation](), dict[str, str](), 0
    for split, file in files.items():
        rows: dict[str, str] | None = {} if on_error == "skip" else None
        with well_formed(file, "an MTFL list"):
            listed, more = _read(file, origin, rows)
        found += [replace(a, split=split) for a in listed]
        attributes += more
        broken |= rows or {}
    if schema is not None:
        if len(schema) != _POINTS:
            raise AnnotationError(f"{path}: MTFL has five points, but schema {schema.name!r} has {len(schema)}")
        found = [replace(a, keypoints=replace(a.keypoints, schema=schema)) for a in found]
    place = Path(root) if root is not None else path if path.is_dir() else path.parent
    notes = (f"the attributes of {attributes} faces (gender, smile, glasses, pose) are left out",) if attributes else ()
    return from_annotations(found, root=place, source=path, broken=broken, notes=notes)


def write_mtfl(labels: PointLabels, name: str, *, origin: float = 0.0) -> dict[str, bytes]:
    """The content of an MTFL list, by its name, without the attributes; unlabelled points are NaN.

    Raises:
        AnnotationError: for another number of points than five, and for a file name with a blank, which would end it.
    """
    if len(labels.schema) != _POINTS:
        raise AnnotationError(
            f"MTFL lists hold five points, but schema {labels.schema.name!r} has {len(labels.schema)}"
        )
    rows = []
    for image, item in labels.objects:
        if len(image.file.split()) != 1:
            raise AnnotationError(f"{image.file!r} holds a blank, which ends a name in MTFL lists; rename the file")
        xs, ys = (item.keypoints.xy - 0.5 + origin).T
        rows.append(" ".join([image.file, *map(shortest, (*xs, *ys))]))
    return {name: "".join(row + "\n" for row in rows).encode()}
