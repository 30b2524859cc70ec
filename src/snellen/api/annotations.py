"""Looking at annotations before training, and converting them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from snellen.evaluation.check import CheckReport


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
    from snellen.evaluation.check_command import check_path

    return check_path(
        path,
        format=format,
        schema=schema,
        origin=origin,
        root=root,
        test=test,
        sheet=sheet,
        write=write,
        workers=workers,
        scale_unit=scale_unit,
        denoiser=denoiser,
        suspects=suspects,
        max_pixels=max_pixels,
        grey_range=grey_range,
    )


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
    from snellen.evaluation.check_command import convert_path

    return convert_path(
        source,
        target,
        to,
        format=format,
        schema=schema,
        origin=origin,
        target_origin=target_origin,
        root=root,
        scale_unit=scale_unit,
        on_error=on_error,
    )
