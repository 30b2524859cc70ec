"""The verbs `check` and `convert`: from paths to reports and files."""

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from snellen.config import ConfigError
from snellen.data.own import with_schema
from snellen.evaluation.check import CheckReport, DenoiserRanking, check_data, contact_sheet, propose_recipe
from snellen.images import MAX_PIXELS, PictureReader
from snellen.inference import load_denoiser
from snellen.keypoints import get_schema
from snellen.keypoints.formats import PointLabels, find_format, read_points, recognise, write_points
from snellen.training.runs import write_atomically

__all__ = ["check_path", "convert_path"]

log = logging.getLogger("snellen")


@dataclass(frozen=True)
class _Source:
    labels: PointLabels
    format: str


def _read(path: Path, format: str, schema: str | None, origin: float | None, root: str | None, unit: float) -> _Source:
    found = path
    if format == "auto":
        format, found = recognise(path)
    elif path.is_dir() and not find_format(format).folder and format not in ("dlc", "mtfl", "cvat", "yolo"):
        format, found = _one_of(path, format)
    known = get_schema(schema) if schema else None
    labels = read_points(found, format, schema=known, origin=origin, root=root, scale_unit=unit)
    return _Source(labels if known is None else with_schema(labels, known), format)


def _one_of(path: Path, format: str) -> tuple[str, Path]:
    name, found = recognise(path)
    if name != format:
        raise ConfigError(f"{found} is of the format {name}, not {format}; name the file to read as {format}")
    return name, found


def check_path(
    path: str | Path,
    *,
    format: str = "auto",
    schema: str | None = None,
    origin: float | None = None,
    root: str | None = None,
    test: str | None = None,
    sheet: str | None = None,
    write: str | None = None,
    workers: int = 0,
    scale_unit: float = 1.0,
    denoiser: str | Path | None = None,
    suspects: str | None = None,
    max_pixels: int = MAX_PIXELS,
    grey_range: tuple[float, float] | None = None,
) -> CheckReport:
    """See `snellen.api.check`."""
    path = Path(path)
    if write is not None and Path(write).exists():
        raise ConfigError(f"{write} exists; give the name of a new recipe")
    reader = _reader(max_pixels, grey_range)
    source = _read(path, format, schema, origin, root, scale_unit)
    other = _read(Path(test), format, schema, origin, root, scale_unit).labels if test else None
    rank = None
    if denoiser is not None:
        rank = DenoiserRanking(
            load_denoiser(denoiser), source.labels.root, Path(suspects) if suspects else None, reader
        )
    total = len(source.labels.images) + (len(other.images) if other else 0)
    report = check_data(
        source.labels, source.format, test=other, workers=workers, progress=_progress(total), rank=rank, reader=reader
    )
    if sheet:
        write_atomically(Path(sheet), contact_sheet(source.labels, report, reader=reader))
    if write:
        recipe = propose_recipe(
            source.labels,
            report,
            path,
            schema=schema,
            origin=origin,
            root=root,
            scale_unit=scale_unit,
            reader=reader,
        )
        write_atomically(Path(write), recipe)
    return report


def _reader(max_pixels: int, grey_range: tuple[float, float] | None) -> PictureReader:
    try:
        return PictureReader(max_pixels, grey_range)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _progress(total: int) -> Callable[[int], None]:
    """A line on a terminal that is written anew; one line every thousand pictures elsewhere."""
    terminal = sys.stderr.isatty()

    def show(done: int) -> None:
        if terminal and (done % 20 == 0 or done == total):
            sys.stderr.write(f"\rlooked at {done:,} of {total:,} pictures" + ("\n" if done == total else ""))
            sys.stderr.flush()
        elif not terminal and done % 1000 == 0:
            log.info("looked at %s of %s pictures", f"{done:,}", f"{total:,}")

    return show


def convert_path(
    source: str | Path,
    target: str | Path,
    to: str,
    *,
    format: str = "auto",
    schema: str | None = None,
    origin: float | None = None,
    target_origin: float | None = None,
    root: str | None = None,
    scale_unit: float = 1.0,
    on_error: Literal["raise", "skip"] = "skip",
) -> dict[str, Any]:
    """See `snellen.api.convert`."""
    find_format(to)
    found = _read(Path(source), format, schema, origin, root, scale_unit)
    lost = write_points(found.labels, target, to, origin=target_origin, on_error=on_error)
    left_out = [*found.labels.notes, *found.labels.broken.values()]
    return {
        "source": str(source),
        "format": found.format,
        "target": str(target),
        "to": to,
        "images": len(found.labels.images),
        "objects": len(found.labels.objects),
        "root": str(found.labels.root),
        "lost": [*left_out, *lost],
    }
