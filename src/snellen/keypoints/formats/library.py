"""Every annotation format by its name: recognising, reading and writing, and what a format cannot hold."""

import difflib
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from snellen.config.writing import writing
from snellen.keypoints.formats.annotations import AnnotationError
from snellen.keypoints.formats.coco import read_coco, write_coco
from snellen.keypoints.formats.cvat import read_cvat, write_cvat
from snellen.keypoints.formats.deeplabcut import dlc_files, read_deeplabcut, refuse_h5, write_deeplabcut
from snellen.keypoints.formats.label_studio import read_label_studio, write_label_studio
from snellen.keypoints.formats.labelme import read_labelme, write_labelme
from snellen.keypoints.formats.labels import PointLabels, with_sizes
from snellen.keypoints.formats.long_table import looks_long, read_long_csv, write_long_csv
from snellen.keypoints.formats.losses import what_is_lost
from snellen.keypoints.formats.mtfl import read_mtfl_list, write_mtfl
from snellen.keypoints.formats.pts import read_pts_tree, write_pts
from snellen.keypoints.formats.reading import OnError
from snellen.keypoints.formats.rows import rows_of, separator_line
from snellen.keypoints.formats.table import read_table, write_csv
from snellen.keypoints.formats.tps import read_tps, write_tps
from snellen.keypoints.formats.yolo import read_yolo, write_yolo
from snellen.keypoints.schema import Schema

__all__ = ["FORMATS", "Format", "find_format", "place_of_format", "read_points", "recognise", "write_points"]


@dataclass(frozen=True)
class Format:
    """An annotation format.

    Attributes:
        name: what `--to` and `data.format` call it.
        read: `read(path, *, schema, origin, root)` gives `PointLabels`.
        write: `write(labels, name, *, origin)` gives the content of each file by its path.
        holds: what it can hold besides the points (`losses.FEATURES`).
        origin: coordinate of the centre of the top-left pixel (of "tps", the bottom-left one) that it has by default.
        folder: whether it is written as a folder of files.
        ending: of a single file.
        own_root: whether its files name their images from a folder of their own; such a folder can be read as it is.
        by_row: whether `read` takes `on_error`, since people write its rows by hand; formats with a file a picture always go
            on without a broken one.
    """

    name: str
    read: Callable[..., PointLabels]
    write: Callable[..., dict[str, bytes]]
    holds: frozenset[str]
    origin: float
    ending: str
    folder: bool = False
    own_root: bool = False
    by_row: bool = False

    @property
    def sized(self) -> bool:
        """Whether writing needs the size of every image: it is part of the file, or y counts from below."""
        return "sizes" in self.holds or self.name == "tps"


def _format(name: str, read: Callable[..., PointLabels], write: Callable[..., dict[str, bytes]], origin: float,
            holds: str, ending: str, folder: bool = False, own_root: bool = False, by_row: bool = False) -> Format:  # fmt: skip
    return Format(name, read, write, frozenset(holds.split()), origin, ending, folder, own_root, by_row)


#: The formats by name.
FORMATS: Mapping[str, Format] = {
    f.name: f
    for f in (
        _format("coco", read_coco, write_coco, 0.0,
                "names order skeleton occluded unlabelled several empty boxes ids words sizes", ".json"),
        _format("csv", read_table, write_csv, 0.0,
                "names order occluded unlabelled blank several boxes ids words scales splits groups", ".csv", by_row=True),
        _format("csv-long", read_long_csv, write_long_csv, 0.0,
                "names order occluded unlabelled blank several ids words scales splits groups", ".csv", by_row=True),
        _format("dlc", read_deeplabcut, write_deeplabcut, 0.0, "names order unlabelled several empty ids words", ".csv",
                own_root=True, by_row=True),
        _format("tps", read_tps, write_tps, 0.5, "unlabelled blank several ids words scales extras classes", ".tps",
                by_row=True),
        _format("pts", read_pts_tree, write_pts, 1.0, "", "", folder=True, own_root=True),
        _format("mtfl", read_mtfl_list, write_mtfl, 0.0, "unlabelled blank several", ".txt", own_root=True,
                by_row=True),
        _format("labelme", read_labelme, write_labelme, 0.5,
                "names occluded unlabelled several empty boxes ids sizes", "", folder=True, own_root=True),
        _format("cvat", read_cvat, write_cvat, 0.5,
                "names order occluded unlabelled blank several empty boxes ids sizes splits", ".xml", own_root=True),
        _format("yolo", read_yolo, write_yolo, 0.5,
                "names order swaps occluded unlabelled blank several empty boxes sizes splits classes", "",
                folder=True, own_root=True),
        _format("label-studio", read_label_studio, write_label_studio, 0.5,
                "names unlabelled several empty boxes ids words sizes", ".json"),
    )
}  # fmt: skip


def find_format(name: str) -> Format:
    """The format of a name; an AnnotationError names the nearest where there is none."""
    if name not in FORMATS:
        near = ", ".join(difflib.get_close_matches(name, FORMATS, 3, 0.4))
        hint = f"; nearest: {near}" if near else ""
        raise AnnotationError(f"there is no annotation format {name!r}{hint}; there are {', '.join(FORMATS)}")
    return FORMATS[name]


def recognise(path: str | Path) -> tuple[str, Path]:
    """The name of a file's or folder's format, and the path to read: of a folder with one annotation file, that file.

    Raises:
        AnnotationError: where nothing, or more than one thing, is recognised.
    """
    path = Path(path)
    if path.is_dir():
        return _recognise_folder(path)
    if not path.is_file():
        raise AnnotationError(f"{path} does not exist; give the annotation file, or the folder that holds it")
    name = _recognise_file(path)
    if name is None and not path.read_bytes()[: 1 << 20].strip():
        raise AnnotationError(f"{path} is empty; save the annotations again")
    if name is None:
        raise AnnotationError(
            f"{path} is of no annotation format that is recognised; name it: one of {', '.join(FORMATS)}"
        )
    return name, path


def _recognise_file(path: Path) -> str | None:
    ending = path.suffix.lower()
    if ending in (".tps", ".pts"):
        return ending[1:]
    if ending == ".h5":
        refuse_h5(path)
    if ending not in (".csv", ".tsv", ".txt", ".json", ".xml", ".yaml", ".yml"):
        return None
    with path.open("rb") as file:
        head = file.read(100_000).decode("utf-8-sig", "replace")
    if ending == ".xml":
        return "cvat" if "<annotations" in head else None
    if ending in (".yaml", ".yml"):
        return "yolo" if re.search(r"^kpt_shape\s*:", head, re.MULTILINE) else None
    if ending == ".json":  # LabelMe may put a picture first, Label Studio a long annotation
        return _json_format(head) or _json_format(path.read_text("utf-8-sig", "replace"))
    lines = [line for line in head.splitlines() if line.strip()]
    lines = lines[1:] if separator_line(lines) else lines
    if ending == ".txt":
        cells = lines[0].split() if lines else []
        return "mtfl" if len(cells) >= 11 and re.fullmatch(r"-?[\d.]+", cells[1]) else None
    if lines and lines[0].lower().startswith(("scorer,", "scorer;", "scorer\t")):
        return "dlc"
    rows = rows_of(path, "a CSV file")
    return "csv-long" if rows and looks_long(rows[0][1]) else "csv" if rows and len(rows[0][1]) >= 3 else None


def _json_format(text: str) -> str | None:
    if '"shapes"' in text or '"imagePath"' in text:
        return "labelme"
    if text.lstrip().startswith("["):
        return "label-studio" if '"data"' in text else None
    return "coco" if re.search(r'"(images|annotations|categories)"\s*:', text) else None


def _recognise_folder(folder: Path) -> tuple[str, Path]:
    if dlc_files(folder):
        return "dlc", folder
    if (folder / "training.txt").is_file() and _recognise_file(folder / "training.txt") == "mtfl":
        return "mtfl", folder
    found: dict[Path, str] = {}
    for file in sorted(folder.iterdir()):
        if file.is_file() and not file.name.startswith(".") and file.suffix.lower() not in (".pts", ".h5"):
            name = _recognise_file(file)
            if name is not None:
                found[file] = name
    if found and set(found.values()) == {"labelme"}:
        return "labelme", folder
    others = {file: name for file, name in found.items() if name != "labelme"}
    if len(others) == 1:
        ((file, name),) = others.items()
        return name, file
    if len(others) > 1:
        listed = ", ".join(f"{file.name} ({name})" for file, name in others.items())
        raise AnnotationError(f"{folder} holds several annotation files: {listed}; give the path of one")
    if any(folder.rglob("*.pts")):
        return "pts", folder
    nested = next((file for file in folder.rglob("*.json") if _recognise_file(file) == "labelme"), None)
    if nested is not None:
        return "labelme", folder
    refuse_h5(folder)
    if (folder / "annotations").is_dir():  # COCO's layout
        return recognise(folder / "annotations")
    raise AnnotationError(
        f"{folder} holds no annotations that are recognised; name the file and its format, one of {', '.join(FORMATS)}"
    )


def place_of_format(path: str | Path, format: str = "auto") -> tuple[str, Path]:
    """The name of the format to read, and the file or folder to read it from.

    Args:
        path: what a user named: a file, or a folder, in which the one annotation file is looked for where the format's folders
            are not read as they are.
        format: one of `FORMATS`, or "auto" to recognise it.

    Raises:
        AnnotationError: where the folder's file is of another format than the one named.
    """
    path = Path(path)
    if format != "auto" and (not path.is_dir() or find_format(format).own_root):
        return format, path
    found, place = recognise(path)
    if format not in ("auto", found):
        raise AnnotationError(
            f"{place} is of the format {found}, not {format}; say {found}, or name the file that is {format}"
        )
    return found, place


def read_points(
    path: str | Path,
    format: str = "auto",
    *,
    schema: Schema | None = None,
    origin: float | None = None,
    root: str | Path | None = None,
    scale_unit: float = 1.0,
    on_error: OnError = "raise",
) -> PointLabels:
    """Read annotations of any format.

    Args:
        path: the file or folder.
        format: one of `FORMATS`, or "auto" to recognise it.
        schema: the points; by default as the file says.
        origin: coordinate that the file gives the centre of the top-left pixel; by default the format's own.
        root: folder of the images; by default where the format has them.
        scale_unit: for "tps", millimetres in the unit of SCALE.
        on_error: what a malformed row of a list or a table does, see `OnError`.

    Raises:
        AnnotationError: one sentence with file and row.
    """
    format, path = place_of_format(path, format)
    chosen = find_format(format)
    options: dict[str, object] = {} if origin is None else {"origin": origin}
    if chosen.by_row:
        options["on_error"] = on_error
    if chosen.name == "tps":
        options["scale_unit"] = scale_unit
    return chosen.read(path, schema=schema, root=root, **options)


def write_points(
    labels: PointLabels,
    path: str | Path,
    format: str,
    *,
    origin: float | None = None,
    on_error: Literal["raise", "skip"] = "raise",
) -> list[str]:
    """Write annotations in a format: a file, or a folder of files, that does not exist yet.

    It appears whole or not at all: it is written under another name first. Pictures are not copied.

    Args:
        labels: what to write.
        path: the new file or folder.
        format: one of `FORMATS`.
        origin: coordinate that the file shall give the centre of the top-left pixel; by default the format's own.
        on_error: what a picture does whose size the format needs and whose file cannot be read: "raise" stops, "skip" leaves
            it out.

    Returns:
        Sentences on what the format cannot hold, and on pictures left out.

    Raises:
        AnnotationError: where `path` exists, or the labels cannot be written in that format.
        OSError: where the disk is full or the folder cannot be written to; it names `path`.
    """
    chosen, path = find_format(format), Path(path)
    if path.exists():
        raise AnnotationError(f"{path} exists; give the name of a new {'folder' if chosen.folder else 'file'}")
    sized, left_out = with_sizes(labels) if chosen.sized and on_error == "skip" else (labels, [])
    kept = {image.file for image in sized.images}
    labels = replace(labels, images=tuple(image for image in labels.images if image.file in kept))
    files = chosen.write(sized, path.name, **({} if origin is None else {"origin": origin}))
    lost = [*left_out, *what_is_lost(labels, chosen.name, chosen.holds)]
    if not files:
        raise AnnotationError(f"nothing of {labels.source} can be written as {chosen.name}: {'; '.join(lost)}")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if chosen.folder:
                _write_folder(files, temporary, path)
            else:
                temporary.write_bytes(files[path.name])
            os.replace(temporary, path)
        except BaseException:
            if temporary.is_dir():
                shutil.rmtree(temporary, ignore_errors=True)
            temporary.unlink(missing_ok=True)
            raise
    return lost


def _write_folder(files: Mapping[str, bytes], temporary: Path, path: Path) -> None:
    for name, content in files.items():
        target = temporary / name
        if not target.resolve().is_relative_to(temporary.resolve()):
            raise AnnotationError(f"{name} lies outside of {path}; move the picture into the folder of the others")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
