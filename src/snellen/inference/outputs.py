"""Answers as files: CSV, JSON lines, and the annotation formats.

In a CSV of points, cells of points that are not found are empty, and coordinates count as the CSV reader's (`origin` 0: the
centre of the top-left pixel is 0), so that what is written can be read. Boxes are edges: 0 is the picture's border.
"""

import csv
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from snellen.config import ConfigError, nearest
from snellen.geometry import Box
from snellen.inference.stream import Found
from snellen.keypoints import Keypoints, Schema

__all__ = ["TABLES", "entry", "format_names", "write_labels", "write_points_table", "write_rows"]

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
    from snellen.keypoints import formats

    return [*TABLES, *(name for name in getattr(formats, "FORMATS", ()) if name not in TABLES)]


def write_labels(
    out: Path, answers: Iterable[dict[str, Any]], schema: Schema, *, kind: str, minimum: float
) -> list[str]:
    """Write answers in an annotation format, with its own origin and axes; returns sentences on what it cannot hold.

    The objects of a picture (`FILE#2` is its second) are brought together; scores are not part of annotations.

    Raises:
        ConfigError: for an unknown format.
    """
    from snellen.keypoints import formats

    write: Callable[..., list[str]] | None = getattr(formats, "write_points", None)
    if kind not in format_names() or write is None:
        known = format_names()
        raise ConfigError(f"there is no format {kind!r}{nearest(kind, known)}; --to is one of {', '.join(known)}")
    module: Any = formats
    pictures: dict[str, list[Any]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for answer in answers:
        if "error" in answer:
            continue
        file = answer.get("picture", answer["file"])
        visible = np.full(len(schema), 2)
        points = Keypoints(np.array(answer["xy"]), visible, schema, np.array(answer["score"])).confident(minimum)
        pictures.setdefault(file, []).append(module.LabelledObject(points, Box(*answer["box"])))
        sizes[file] = (answer["size"][0], answer["size"][1])
    images = [module.LabelledImage(Path(f).as_posix(), tuple(o), sizes[f]) for f, o in pictures.items()]
    return write(module.PointLabels(schema, tuple(images), Path(), out), out, kind)


def _chain(header: list[str], rows: Iterable[list[Any]]) -> Iterator[list[Any]]:
    yield header
    yield from rows


def _row(cells: Iterable[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _write(out: Path, lines: Iterable[str]) -> None:
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            for line in lines:
                file.write(line)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
