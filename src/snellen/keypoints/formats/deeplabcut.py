"""DeepLabCut's labels: a CSV with several header rows, alone or in the folders of a project.

Documentation: https://deeplabcut.github.io/DeepLabCut/docs/standardDeepLabCut_UserGuide.html (label frames) and
https://deeplabcut.github.io/DeepLabCut/docs/maDLC_UserGuide.html (several animals) ::

    scorer,,,Anna,Anna,Anna,Anna
    bodyparts,,,snout,snout,tail base,tail base
    coords,,,x,y,x,y
    labeled-data,mouse1,img0010.png,83.0,41.5,,

A project holds `labeled-data/VIDEO/CollectedData_SCORER.csv` beside the frames. The path of a frame is one cell in older
files and three in newer ones, and its separators are those of the system that labelled it. Empty cells are unlabelled points;
a frame without any label is an image without objects. With several animals a row `individuals` stands after `scorer`. Of an
individual "single" beside others the parts belong to no animal (corners of the cage): where they are other ones than the
animals', they are left out with a note, as no object has both.

Origin: labels are clicks on a picture drawn by matplotlib, whose pixels have whole numbers at their centres: `origin=0`
takes (0, 0) for the centre of the top-left pixel. y points downwards. Files of predictions (with `likelihood`) are read too,
the likelihood left out with a note. The .h5 files beside the CSVs are not read: a video's folder that has nothing else is left
out with a warning. Two CSVs of labels in one folder are refused, as each would make an object of every animal.
"""

import csv
import io
import logging
from pathlib import Path, PurePosixPath

from snellen.keypoints.formats.annotations import AnnotationError
from snellen.keypoints.formats.labels import PointLabels
from snellen.keypoints.formats.reading import (
    Collector,
    OnError,
    finite,
    point,
    reader_of,
    row_left_out,
    shortest,
    well_formed,
)
from snellen.keypoints.formats.rows import MISSING, rows_of
from snellen.keypoints.schema import Schema

__all__ = ["dlc_files", "read_deeplabcut", "refuse_h5", "write_deeplabcut"]

log = logging.getLogger("snellen")

#: What DeepLabCut calls the individual of parts that belong to no animal.
_SINGLE = "single"


def dlc_files(folder: Path) -> list[Path]:
    """The CSVs of labels in a project, its `labeled-data`, or the folder of one video."""
    for pattern in ("labeled-data/*/CollectedData_*.csv", "*/CollectedData_*.csv", "CollectedData_*.csv"):
        found = sorted(folder.glob(pattern))
        if found:
            return found
    return []


def refuse_h5(path: Path) -> None:
    """Refuse a file of DeepLabCut in HDF5, or a folder that holds its labels in nothing else, and say how to get the CSV.

    Raises:
        AnnotationError: one sentence with the command.
    """
    patterns = ("labeled-data/*/*.h5", "*/CollectedData_*.h5", "*.h5")
    found = [path] if path.suffix.lower() == ".h5" else [f for p in patterns for f in sorted(path.glob(p))]
    if found:
        raise AnnotationError(_only_h5(found[0]))


def _only_h5(file: Path) -> str:
    return (
        f"{file} is HDF5, which is not read; where DeepLabCut is installed write the CSV beside it, with: python -c "
        f"\"import pandas; pandas.read_hdf(r'{file}').to_csv(r'{file.with_suffix('.csv')}')\""
    )


def _refuse_two_scorers(files: list[Path]) -> None:
    by_folder: dict[Path, list[Path]] = {}
    for file in files:
        by_folder.setdefault(file.parent, []).append(file)
    for folder, found in by_folder.items():
        if len(found) > 1:
            raise AnnotationError(
                f"{folder} holds the labels of several people, {', '.join(file.name for file in found)}; give the path of one "
                "file, or move the others out of the folder"
            )


def _without_csv(files: list[Path]) -> list[str]:
    """A sentence on each folder beside those of the files that has labels in HDF5 alone."""
    beside = sorted(f for parent in {file.parent.parent for file in files} for f in parent.glob("*/CollectedData_*.h5"))
    done = {file.parent for file in files}
    alone = {file.parent: file for file in beside if file.parent not in done}
    return [f"the frames of {folder} are left out: {_only_h5(file)}" for folder, file in alone.items()]


@reader_of("DeepLabCut")
def read_deeplabcut(
    path: str | Path,
    *,
    schema: Schema | None = None,
    origin: float = 0.0,
    root: str | Path | None = None,
    on_error: OnError = "raise",
) -> PointLabels:
    """Read a CSV of DeepLabCut or all of a project's.

    Args:
        path: the CSV, or the project's folder.
        schema: the points; by default the body parts in their order.
        origin: the coordinate that the file gives the centre of the top-left pixel.
        root: folder that the frames' paths are relative to; by default the one that holds `labeled-data`.
        on_error: what a malformed row does, and a malformed file among several, see `OnError`.

    Raises:
        AnnotationError: one sentence with file and row.
    """
    path = Path(path)
    files = dlc_files(path) if path.is_dir() else [path]
    if not files or path.suffix.lower() == ".h5":
        refuse_h5(path)
        raise AnnotationError(f"{path} holds no CollectedData_*.csv; give a project's folder or one of its CSV files")
    collector = Collector(path, schema, Path(root) if root is not None else _project(files[0]))
    if path.is_dir():
        _refuse_two_scorers(files)
        for sentence in _without_csv(files) if files[0].parent != path else ():
            log.warning("%s", sentence)
            collector.notes.append(sentence)
    likelihoods, single = 0, dict[str, None]()
    for file in files:
        broken = collector.broken if on_error == "skip" and len(files) > 1 else None
        with row_left_out(broken, str(file)), well_formed(file, "DeepLabCut"):
            likelihoods += _read_file(file, collector, origin, on_error, single)
    if likelihoods:
        collector.notes.append(f"{likelihoods} columns of likelihoods are left out")
    if single:
        collector.notes.append(f"the parts {', '.join(single)} belong to no animal ('single') and are left out")
    return collector.finish()


def _project(file: Path) -> Path:
    """The folder that frames' paths are relative to: above `labeled-data`, else the file's own."""
    for parent in file.absolute().parents:
        if parent.name == "labeled-data":
            # As the caller wrote it, where that is possible.
            steps = len(file.absolute().relative_to(parent.parent).parts)
            return file.parents[steps - 1] if steps <= len(file.parents) else parent.parent
    return file.parent


def _read_file(file: Path, collector: Collector, origin: float, on_error: OnError, single: dict[str, None]) -> int:
    """Add a file's objects, and to `single` the parts of no animal; returns how many columns of likelihoods there are."""
    rows = rows_of(file, "a CSV of DeepLabCut")
    heads = {
        cells[0].lower(): cells
        for _, cells in rows[:4]
        if cells[0].lower() in ("scorer", "individuals", "bodyparts", "coords")
    }
    if not {"bodyparts", "coords"} <= set(heads):
        raise AnnotationError(
            f"{file}: the first rows are not scorer, bodyparts and coords; export it from DeepLabCut again"
        )
    parts, coords, animals = heads["bodyparts"], heads["coords"], heads.get("individuals")
    if len({len(cells) for cells in heads.values()}) > 1:
        lengths = ", ".join(f"{name} has {len(cells)}" for name, cells in heads.items())
        raise AnnotationError(f"{file}: the first rows differ in columns ({lengths}); export it from DeepLabCut again")
    # Spreadsheets leave empty columns behind the last.
    width = max((i + 1 for i, cell in enumerate(coords) if cell), default=0)
    surplus, coords = len(coords), coords[:width]
    # The path takes the columns before the first coordinate: one in older files, three in newer ones.
    start = next((i for i, cell in enumerate(coords) if i and cell), len(coords))
    rows.decimal_points(range(start, len(coords)))
    places: dict[tuple[str, str], dict[str, int]] = {}
    for i in range(start, len(coords)):
        animal = animals[i] if animals else ""
        places.setdefault((animal, parts[i]), {})[coords[i]] = i
    for (_, part), columns in places.items():
        if not {"x", "y"} <= set(columns):
            raise AnnotationError(f"{file}: the body part {part!r} has no x and y; export it from DeepLabCut again")
    own = {part for animal, part in places if animal == _SINGLE}
    shared = {part for animal, part in places if animal != _SINGLE}
    if own - shared and shared:
        single |= dict.fromkeys(part for animal, part in places if animal == _SINGLE)
        places = {key: columns for key, columns in places.items() if key[0] != _SINGLE}
    names = dict.fromkeys(part for _, part in places)
    collector.name(names)
    broken = collector.broken if on_error == "skip" else None
    for row, cells in rows[len(heads) :]:
        place = f"{file}, row {row}"
        with row_left_out(broken, place):
            if len(cells) <= surplus and not any(cells[width:]):
                cells = cells[:width]
            if len(cells) != len(coords):
                raise AnnotationError(f"{place}: {len(cells)} columns where the header has {len(coords)}; correct it")
            objects: dict[str, dict[str, tuple[float, float, int]]] = {}
            half = []
            for (animal, part), columns in places.items():
                x, y = cells[columns["x"]], cells[columns["y"]]
                if (x.lower() in MISSING) != (y.lower() in MISSING):
                    half.append(f"{part} in row {row}")
                elif x.lower() not in MISSING:
                    objects.setdefault(animal, {})[part] = point(finite(place, x), finite(place, y), origin)
            frame = collector.image(_frame(cells[:start], file, collector.root))
            for animal, points in objects.items():
                collector.add(frame, points, place, id=animal, row=row, source=str(file))
            collector.half += half
    return sum("likelihood" in columns for columns in places.values())


def _frame(cells: list[str], file: Path, root: Path) -> str:
    name = PurePosixPath("/".join(cell.replace("\\", "/").strip("/") for cell in cells if cell))
    # A project that was moved or renamed keeps its frames beside the CSV.
    if not (root / name).exists() and (file.parent / name.name).exists():
        beside = file.parent / name.name
        return beside.relative_to(root).as_posix() if beside.is_relative_to(root) else name.as_posix()
    return name.as_posix()


def write_deeplabcut(labels: PointLabels, name: str, *, origin: float = 0.0) -> dict[str, bytes]:
    """The content of a CSV of DeepLabCut, by its name; several objects an image become individuals."""
    points = labels.schema.points
    most = max(len(image.objects) for image in labels.images)
    ids = list(dict.fromkeys(item.id for _, item in labels.objects if item.id))
    several = most > 1 or bool(ids)
    # Ids name individuals only where every object has one; else they are numbered within the image.
    by_id = several and all(item.id for _, item in labels.objects)
    animals = (ids if by_id else [f"individual{i}" for i in range(1, most + 1)]) if several else [""]
    head = [(a, p, c) for a in animals for p in points for c in "xy"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["scorer", *("snellen" for _ in head)])
    if several:
        writer.writerow(["individuals", *(a for a, _, _ in head)])
    writer.writerow(["bodyparts", *(p for _, p, _ in head)])
    writer.writerow(["coords", *(c for _, _, c in head)])
    for image in labels.images:
        cells: dict[tuple[str, str, str], str] = {}
        for i, item in enumerate(image.objects):
            animal = item.id if by_id else animals[i]
            for p, (x, y), labelled in zip(points, item.keypoints.xy, item.keypoints.labelled, strict=True):
                if labelled:
                    cells |= {
                        (animal, p, "x"): shortest(x - 0.5 + origin),
                        (animal, p, "y"): shortest(y - 0.5 + origin),
                    }
        writer.writerow([image.file, *(cells.get(column, "") for column in head)])
    return {name: text.getvalue().encode()}
