"""Looking at annotations before training, and converting them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from snellen.config import ConfigError
from snellen.config.writing import is_one_of

if TYPE_CHECKING:
    from snellen.evaluation.check import CheckReport
    from snellen.keypoints.formats import PointLabels


def check(
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
    max_pixels: int = 120_000_000,
    grey_range: tuple[float, float] | None = None,
) -> "CheckReport":
    """Look at annotations and their images before training.

    Args:
        path: the annotation file, or the folder that holds it.
        format: its format (docs/data.md); by default recognised.
        schema: name of a built-in schema; by default the file names the points.
        origin: coordinate that the file gives the centre of the top-left pixel; by default the format's own.
        root: folder of the images; by default where the format has them.
        test: annotations of a separate test, to look for leaks.
        sheet: PNG to draw a contact sheet into.
        write: YAML file to propose a recipe in; it must not exist.
        workers: processes; 0 takes one a core.
        scale_unit: for TPS, millimetres in the unit of SCALE.
        denoiser: run folder of a denoiser of the same points, which names those that lie where they hardly can.
        suspects: folder for pictures of what the denoiser names.
        max_pixels: pictures with more (width x height) are not read, which is an error.
        grey_range: values of 16-bit grey that become black and white; by default 0 and 65535.

    Returns:
        What was found; `must_fix` says whether training should wait.

    Raises:
        ConfigError, AnnotationError: one sentence on what to change.
    """
    from snellen.evaluation.check import CheckProgress, DenoiserRanking, check_data, contact_sheet, propose_recipe
    from snellen.images import PictureReader
    from snellen.inference import load_denoiser
    from snellen.training.runs import write_atomically

    path = Path(path)
    if write is not None and Path(write).exists():
        raise ConfigError(f"{write} exists; give the name of a new recipe")
    if sheet and Path(sheet).suffix.lower() != ".png":
        raise ConfigError(
            f"--sheet {sheet} would be a PNG picture by another ending; call it {Path(sheet).with_suffix('.png')}"
        )
    if workers < 0:
        raise ConfigError(f"--workers {workers} is not possible; give at least 1, or 0 for one a core")
    try:
        reader = PictureReader(max_pixels, grey_range)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    # Malformed rows are findings like the others, so that all of them are seen at once.
    labels, format = _read(path, format, schema, origin, root, scale_unit, on_error="skip")
    other = _read(test, format, schema, origin, root, scale_unit, on_error="skip")[0] if test else None
    read = [labels, *([other] if other else [])]
    if sheet and is_one_of(Path(sheet), (part.root / image.file for part in read for image in part.images)):
        raise ConfigError(f"--sheet {sheet} is one of the pictures, and would be replaced; choose another")
    rank = None
    if denoiser is not None:
        rank = DenoiserRanking(load_denoiser(denoiser), labels.root, Path(suspects) if suspects else None, reader)
    progress = CheckProgress(len(labels.images) + (len(other.images) if other else 0))
    report = check_data(labels, format, test=other, workers=workers, progress=progress, rank=rank, reader=reader)
    if sheet:
        write_atomically(Path(sheet), contact_sheet(labels, report, reader=reader))
    if write:
        recipe = propose_recipe(
            labels, report, path, schema=schema, origin=origin, root=root, scale_unit=scale_unit, reader=reader
        )
        write_atomically(Path(write), recipe)
    return report


def convert(
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
    """Convert annotations from one format to another.

    Args:
        source: the annotation file, or the folder that holds it.
        target: the file, or for formats with a file a picture the folder, to write; it must not exist.
        to: the format to write.
        format: the format to read; by default recognised.
        schema: name of a built-in schema; by default the file names the points.
        origin: coordinate that the source gives the centre of the top-left pixel; by default its format's own.
        target_origin: likewise for the target.
        root: folder of the images; by default where the format has them.
        scale_unit: for TPS, millimetres in the unit of SCALE.
        on_error: what a broken picture does whose size the target needs: "skip" leaves it out, "raise" stops.

    Returns:
        images and objects (numbers read), root (what the images' names are relative to), lost (sentences on what was left out).

    Raises:
        AnnotationError: one sentence on what to change; nothing has been written then.
    """
    from snellen.keypoints.formats import find_format, write_points

    find_format(to)
    _refuse_origin("to-origin", target_origin)
    labels, format = _read(source, format, schema, origin, root, scale_unit)
    lost = write_points(labels, target, to, origin=target_origin, on_error=on_error)
    return {
        "source": str(source),
        "format": format,
        "target": str(target),
        "to": to,
        "images": len(labels.images),
        "objects": len(labels.objects),
        "root": str(labels.root),
        "lost": [*labels.notes, *labels.broken.values(), *lost],
    }


def _refuse_origin(name: str, origin: float | None) -> None:
    if origin not in (None, 0, 0.5, 1):
        raise ConfigError(
            f"--{name} {origin:g} is not possible; the centre of the top-left pixel is 0 or 1, or 0.5 where its corner is 0"
        )


def _read(
    path: str | Path,
    format: str,
    schema: str | None,
    origin: float | None,
    root: str | None,
    unit: float,
    *,
    on_error: Literal["raise", "skip"] = "raise",
) -> "tuple[PointLabels, str]":
    """Annotations under a built-in schema where one is named, and the name of their format."""
    from snellen.data.own import with_schema
    from snellen.keypoints import get_schema
    from snellen.keypoints.formats import place_of_format, read_points

    _refuse_origin("origin", origin)
    format, place = place_of_format(path, format)
    known = get_schema(schema) if schema else None
    labels = read_points(place, format, schema=known, origin=origin, root=root, scale_unit=unit, on_error=on_error)
    return (labels if known is None else with_schema(labels, known)), format
