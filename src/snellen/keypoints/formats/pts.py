"""`.pts` files of 300-W and its parts (AFW, Helen, LFPW, iBUG), one face a file, beside the picture of the same name::

    version: 1
    n_points: 68
    {
    137.871 173.756
    ...
    }

Points: one row of x and y each, in the order of the schema; every point is given.

Origin: `origin=1` (the default) takes (1, 1) for the centre of the top-left pixel: 300-W's page says that its annotations
are saved "in the matlab convention of 1 being the first index". y points downwards.
"""

import re
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from snellen.keypoints.built_in import IBUG_68
from snellen.keypoints.formats.annotations import Annotation, AnnotationError
from snellen.keypoints.formats.labels import PointLabels, from_annotations
from snellen.keypoints.formats.reading import FARTHEST, numbered, reader_of, shortest
from snellen.keypoints.keypoints import Keypoints
from snellen.keypoints.schema import Schema

__all__ = ["IMAGES", "read_pts", "read_pts_folder", "read_pts_tree", "write_pts"]

#: Endings of pictures, in any case, the preferred one first.
IMAGES = (".jpg", ".jpeg", ".png")


@reader_of("a .pts file")
def read_pts(path: str | Path, *, schema: Schema = IBUG_68, origin: float = 1.0) -> Keypoints:
    """Read one `.pts` file.

    Windows line ends, indentation, tabs, empty rows and a missing `version` or `n_points` are accepted.

    Args:
        path: the file.
        schema: the points that it must hold.
        origin: the coordinate that the file gives the centre of the top-left pixel.

    Raises:
        AnnotationError: one sentence with file and row.
    """
    return _read(Path(path), schema, origin)[0]


def _read(path: Path, schema: Schema, origin: float) -> tuple[Keypoints, int]:
    """The points, and the row of the first."""
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise AnnotationError(f"{path} cannot be read ({error.strerror}); check the path") from None
    points: list[tuple[float, float]] = []
    start = 0  # row of the opening brace
    for row, line in enumerate(lines, start=1):
        text = line.strip()
        if not text:
            continue
        if text == "}" and start:
            break
        if start:
            points.append(_point(path, row, text))
        elif text == "{":
            start = row
        elif text.startswith("n_points") and text.partition(":")[2].strip() != str(len(schema)):
            raise AnnotationError(
                f"{path}, row {row}: {text!r}, but schema {schema.name!r} has {len(schema)} points; leave the file out, or "
                "name the schema that fits"
            )
    else:
        missing = "'}' after the points" if start else "'{' before the points"
        raise AnnotationError(f"{path}, row {max(len(lines), 1)}: the file ends without {missing}; copy it again")
    if len(points) != len(schema):
        raise AnnotationError(
            f"{path}, row {row}: {len(points)} points, but schema {schema.name!r} has {len(schema)}; copy the file again"
        )
    xy: NDArray[np.float64] = np.array(points) - origin + 0.5
    return Keypoints.visible(xy, schema), start + 1


def _point(path: Path, row: int, text: str) -> tuple[float, float]:
    try:
        x, y = map(float, text.split())
    except ValueError:
        raise AnnotationError(f"{path}, row {row}: {text!r} is not an x and a y; correct the row") from None
    if not (abs(x) <= FARTHEST and abs(y) <= FARTHEST):
        raise AnnotationError(f"{path}, row {row}: {text!r} is no place in a picture; correct the row")
    return x, y


def read_pts_folder(
    root: str | Path,
    folder: str,
    *,
    schema: Schema = IBUG_68,
    origin: float = 1.0,
    groups: tuple[str, ...] = (),
) -> tuple[list[Annotation], dict[str, str]]:
    """Read the `.pts` files of a folder, each with the picture of its name.

    Args:
        root: folder of the data set.
        folder: the folder inside it, e.g. "helen/trainset".
        schema: the points of every file.
        origin: the coordinate that the files give the centre of the top-left pixel.
        groups: what the annotations' `groups` shall be.

    Returns:
        One annotation a sound file, by name; and for every other file its path inside `root` and one sentence with file and
        row on what is wrong.

    Raises:
        AnnotationError: where the folder is missing or holds no `.pts` files.
    """
    place = Path(root) / folder
    if not place.is_dir():
        raise AnnotationError(f"{place} is not a folder; data.root holds 300-W's folders, e.g. helen/trainset")
    entries = sorted(entry for entry in place.iterdir() if not entry.name.startswith("."))  # macOS leaves ._NAME.pts
    files = [entry for entry in entries if entry.suffix.lower() == ".pts"]
    if not files:
        raise AnnotationError(f"{place} holds no .pts files; give a folder with NAME.pts beside NAME.jpg")
    pictures: dict[str, Path] = {}
    for ending in reversed(IMAGES):
        pictures |= {entry.stem: entry for entry in entries if entry.suffix.lower() == ending}
    inside = PurePosixPath(Path(folder).as_posix())
    annotations, broken = [], {}
    for file in files:
        try:
            keypoints, row = _read(file, schema, origin)
            if file.stem not in pictures:
                raise AnnotationError(
                    f"{file}, row 1: no picture {file.stem} with {', '.join(IMAGES)} is beside it; copy it there"
                )
        except AnnotationError as error:
            broken[str(inside / file.name)] = str(error)
        else:
            picture = str(inside / pictures[file.stem].name)  # no "./" before it
            annotations.append(Annotation(picture, keypoints, row, str(file), groups))
    return annotations, broken


@reader_of("a .pts file")
def read_pts_tree(
    path: str | Path, *, schema: Schema | None = None, origin: float = 1.0, root: str | Path | None = None
) -> PointLabels:
    """Read every `.pts` file below a folder, or one file, each with the picture of its name beside it.

    Args:
        path: the folder or file.
        schema: the points; by default iBUG's where the first file has 68, else p1, p2, ...
        origin: the coordinate that the files give the centre of the top-left pixel.
        root: folder that the images' names will be relative to; by default `path`, or the file's folder.

    Returns:
        The labels; a file that cannot be read, or has no picture, is in `broken`.

    Raises:
        AnnotationError: where no file can be read.
    """
    path = Path(path)
    place = Path(root) if root is not None else path if path.is_dir() else path.parent
    files = [f for f in sorted(path.rglob("*")) if f.suffix.lower() == ".pts" and not f.name.startswith(".")]
    files = files if path.is_dir() else [path]
    if not files:
        raise AnnotationError(f"{path} holds no .pts files; give a folder with NAME.pts beside NAME.jpg")
    if schema is None:
        count = _count(files[0])
        schema = IBUG_68 if count == len(IBUG_68) else numbered(path, count)
    annotations: list[Annotation] = []
    broken: dict[str, str] = {}
    for folder in dict.fromkeys(file.parent for file in files):
        inside = folder.relative_to(place).as_posix() if folder.is_relative_to(place) else str(folder.absolute())
        found, sentences = read_pts_folder(place, inside, schema=schema, origin=origin)
        annotations += [a for a in found if path.is_dir() or Path(a.source).name == path.name]
        broken |= sentences
    if not annotations:
        raise AnnotationError(next(iter(broken.values()), f"{path} holds no points that can be read"))
    return from_annotations(annotations, root=place, source=path, broken=broken)


def _count(path: Path) -> int:
    """How many points a file says that it has, or has."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise AnnotationError(f"{path} cannot be read ({error.strerror}); check the path") from None
    said = re.search(r"n_points:\s*(\d+)", text)
    count = int(said[1]) if said else len(text.partition("{")[2].partition("}")[0].split()) // 2
    if not count:
        raise AnnotationError(f"{path} holds no points; a file has rows of x and y between braces")
    return count


def write_pts(labels: PointLabels, name: str, *, origin: float = 1.0) -> dict[str, bytes]:
    """`.pts` files by their path inside a folder: `afw/a.jpg` has `afw/a.pts`, to be copied beside the picture.

    A file holds one object, and every point of it: of an image with several the first complete one is written, and an image
    without a complete one has no file. `snellen.keypoints.formats.write_points` reports both.
    """
    files: dict[str, bytes] = {}
    for image in labels.images:
        complete = [item for item in image.objects if item.keypoints.labelled.all()]
        if not complete:
            continue
        target = PurePosixPath(image.file).with_suffix(".pts").as_posix()
        if target in files:
            raise AnnotationError(
                f"{image.file}: another picture has the file {target} already; rename one, as .pts files go by names"
            )
        rows = [f"{shortest(x - 0.5 + origin)} {shortest(y - 0.5 + origin)}" for x, y in complete[0].keypoints.xy]
        files[target] = "\n".join(["version: 1", f"n_points: {len(rows)}", "{", *rows, "}", ""]).encode()
    return files
