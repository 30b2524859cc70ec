"""Answers as files: CSV, JSON lines, and the annotation formats.

In a CSV of points, cells of points that are not found are empty, and coordinates count as the CSV reader's (`origin` 0: the
centre of the top-left pixel is 0), so that what is written can be read. Boxes are edges: 0 is the picture's border.
"""

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snellen.config import ConfigError, nearest
from snellen.config.writing import whole_file, writing
from snellen.geometry import Box
from snellen.inference.stream import Found
from snellen.keypoints import Keypoints, Schema
from snellen.keypoints.formats import FORMATS, LabelledImage, LabelledObject, PointLabels, write_points

__all__ = ["TABLES", "entry", "format_names", "refuse_unwritable", "write_labels", "write_points_table", "write_rows"]

#: What is written here; all other formats are those of `snellen.keypoints.formats`.
TABLES = ("csv", "jsonl")


def entry(found: Found) -> dict[str, Any]:
    """An answer as it stands in the journal, JSON-able, in the library's own convention."""
    if found.keypoints is None:
        return {"file": found.name, "error": found.error}
    points, score = found.keypoints, found.keypoints.score
    assert score is not None
    return {
        "file": found.name,
        "size": list(found.size),
        "box": [round(float(v), 3) for v in found.box],
        "xy": [[round(float(x), 3), round(float(y), 3)] for x, y in points.xy],
        "score": [round(float(s), 4) for s in score],
    }


def write_points_table(
    out: Path, answers: Iterable[dict[str, Any]], schema: Schema, *, kind: str, minimum: float, origin: float
) -> None:
    """Write answers as CSV or JSON lines, whole or not at all; those that hold an error are left out.

    Args:
        out: the file.
        answers: of `entry`, in order.
        schema: the points.
        kind: "csv" or "jsonl".
        minimum: confidence below which a point is not found.
        origin: the coordinate that the centre of the top-left pixel gets.
    """

    def cells(answer: dict[str, Any]) -> list[tuple[float, float] | None]:
        return [
            (round(x - 0.5 + origin, 3), round(y - 0.5 + origin, 3)) if s >= minimum and math.isfinite(x + y) else None
            for (x, y), s in zip(answer["xy"], answer["score"], strict=True)
        ]

    def lines() -> Iterator[str]:
        if kind == "csv":
            yield _row(["file", *Box._fields, *(f"{p}_{part}" for p in schema.points for part in ("x", "y", "score"))])
        for answer in answers:
            if "error" in answer:
                continue
            found = cells(answer)
            if kind == "jsonl":
                points = {
                    name: {"x": xy[0], "y": xy[1], "score": s} if xy else {"x": None, "y": None, "score": s}
                    for name, xy, s in zip(schema.points, found, answer["score"], strict=True)
                }
                line = {"file": answer["file"], "size": answer["size"], "box": answer["box"], "points": points}
                yield json.dumps(line, ensure_ascii=False) + "\n"
            else:
                triples = [[*(xy or ("", "")), s] for xy, s in zip(found, answer["score"], strict=True)]
                yield _row([answer["file"], *answer["box"], *(v for triple in triples for v in triple)])

    _write(out, lines())


def write_rows(out: Path, header: list[str], rows: Iterable[list[Any]]) -> None:
    """Write a CSV, whole or not at all."""
    _write(out, (_row(row) for row in _chain(header, rows)))


def format_names() -> list[str]:
    """What `--to` may be."""
    return [*TABLES, *(name for name in FORMATS if name not in TABLES)]


def write_labels(
    out: Path, answers: Iterable[dict[str, Any]], schema: Schema, *, kind: str, minimum: float
) -> list[str]:
    """Write answers in an annotation format, with its own origin and axes; returns sentences on what it cannot hold.

    The objects of a picture (`FILE#2` is its second) are brought together; scores are not part of annotations. A file `out`
    is replaced. Names of pictures are those of the answers, or relative to the pictures' folder where the format wants it so.

    Raises:
        AnnotationError: where the answers cannot be written in that format.
    """
    pictures: dict[str, list[LabelledObject]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for answer in answers:
        if "error" in answer:
            continue
        file = answer.get("picture", answer["file"])
        visible = np.full(len(schema), 2)
        points = Keypoints(np.array(answer["xy"]), visible, schema, np.array(answer["score"])).confident(minimum)
        pictures.setdefault(file, []).append(LabelledObject(points, Box(*answer["box"])))
        sizes[file] = (answer["size"][0], answer["size"][1])
    names, notes = _names(list(pictures), kind)
    images = tuple(LabelledImage(n, tuple(pictures[f]), sizes[f]) for f, n in zip(pictures, names, strict=True))
    target = out.with_name(f".{out.name}.{os.getpid()}.new") if out.exists() else out
    with writing(out):
        lost = write_points(PointLabels(schema, images, Path(), out), target, kind)
        if target != out:
            os.replace(target, out)
    return [*notes, *lost]


def refuse_unwritable(kind: str, schema: Schema, files: Sequence[str]) -> None:
    """Find out before the work whether answers can be written: a format may want five points, or names without blanks.

    Args:
        kind: the format; those of `TABLES` hold everything.
        schema: the points that will be found.
        files: names of the pictures; of a video one frame's.

    Raises:
        ConfigError: for an unknown format.
        AnnotationError: where the answers could not be written.
    """
    known = format_names()
    if kind not in known:
        raise ConfigError(f"there is no format {kind!r}{nearest(kind, known)}; --to is one of {', '.join(known)}")
    if kind in TABLES:
        return
    points = Keypoints.visible(np.full((len(schema), 2), 0.5), schema)
    images = tuple(LabelledImage(name, (LabelledObject(points),), (1, 1)) for name in _names(files, kind)[0])
    FORMATS[kind].write(PointLabels(schema, images, Path(), Path(kind)), kind)


def _names(files: Sequence[str], kind: str) -> tuple[list[str], list[str]]:
    """What a format calls the pictures, and sentences on that.

    Formats with a file a picture, DeepLabCut and Label Studio name pictures from the folder that holds them all. A frame of a
    video is no file yet: its name gets an ending, so that the frames of a video are told apart.
    """
    names = [Path(file).as_posix() for file in files]
    if kind not in ("dlc", "label-studio") and not FORMATS[kind].folder:
        return names, []
    notes = []
    if any(Path(name).is_absolute() or ".." in Path(name).parts for name in names):
        paths = [os.path.abspath(name) for name in names]
        folder = os.path.commonpath([os.path.dirname(path) for path in paths])
        names = [Path(os.path.relpath(path, folder)).as_posix() for path in paths]
        notes.append(f"{kind}: names of pictures are relative to {folder}")
    if any("#" in Path(name).suffix for name in names):
        names = [f"{name}.png" if "#" in Path(name).suffix else name for name in names]
        notes.append(f"{kind}: frames of videos are called VIDEO#FRAME.png; save them under these names")
    return names, notes


def _chain(header: list[str], rows: Iterable[list[Any]]) -> Iterator[list[Any]]:
    yield header
    yield from rows


def _row(cells: Iterable[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _write(out: Path, lines: Iterable[str]) -> None:
    with whole_file(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for line in lines:
            file.write(line)
        file.flush()
        os.fsync(file.fileno())
