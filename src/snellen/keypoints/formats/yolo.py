"""YOLO-pose: a YAML and a text file a picture.

Documentation: https://docs.ultralytics.com/datasets/pose/ ::

    path: .                    # data.yaml
    train: images/train
    val: images/val
    kpt_shape: [2, 3]          # points, and 3 numbers each (x, y, visibility) or 2
    flip_idx: [1, 0]
    names: {0: face}
    kpt_names: {0: [left_eye, right_eye]}

    0 0.5 0.5 0.2 0.4 0.45 0.4 2 0.55 0.4 1        # labels/train/a.txt: class, box (centre and size), points

All positions are shares of the image's width and height, so its size is needed: it is read from the picture. A point with
visibility 0, or at (0, 0) in files of two numbers a point, is unlabelled. `path` may name a folder of the machine that made
the file; where it does not exist the YAML's own is taken. Of a split `../train/images` that does not exist, as Roboflow writes
it, `train/images` is taken, as Ultralytics does. A picture without a text file is one without objects. All classes
share the points; the class of an object is kept in its `extra` ("class", "class name") and written again.

Origin: a share is measured from the image's corner: `origin=0.5`. Ultralytics' own converter divides COCO's coordinates, which
count from the middle of the first pixel: read what it made with `origin=0`.
"""

import os
from pathlib import Path, PurePosixPath
from typing import Any

from snellen.geometry import Box, box_of_points
from snellen.keypoints.formats.annotations import AnnotationError
from snellen.keypoints.formats.labels import LabelledObject, PointLabels, file_size
from snellen.keypoints.formats.reading import Collector, finite, numbered, read_text, reader_of, well_formed
from snellen.keypoints.keypoints import UNLABELLED, VISIBLE
from snellen.keypoints.schema import Schema

__all__ = ["read_yolo", "write_yolo"]

_IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@reader_of("YOLO-pose")
def read_yolo(
    path: str | Path, *, schema: Schema | None = None, origin: float = 0.5, root: str | Path | None = None
) -> PointLabels:
    """Read a YOLO-pose data set.

    Args:
        path: its YAML file, or a folder that holds one YAML with `kpt_shape`.
        schema: the points; by default `kpt_names`, else p1, p2, ...; swaps are those of `flip_idx`.
        origin: 0.5 where shares were measured from the image's corner, 0 where from the centre of the top-left pixel.
        root: folder of the data set; by default the YAML's `path`.

    Returns:
        The labels; a text file that cannot be read is in `broken`.

    Raises:
        AnnotationError: one sentence with file and row.
    """
    file = _yaml_file(Path(path))
    settings = _settings(file)
    place = Path(root) if root is not None else _root(file, settings)
    own = _own_schema(file, settings)
    if schema is not None and len(schema) != len(own):
        raise AnnotationError(f"{file}: kpt_shape has {len(own)} points, but schema {schema.name!r} has {len(schema)}")
    numbers = int(settings["kpt_shape"][1])
    collector = Collector(file, schema, place)
    collector.name((schema or own).points)
    pictures = [
        (p, split) for split in ("train", "val", "test") for p in _pictures(file, place, settings.get(split), split)
    ]
    if not pictures:
        raise AnnotationError(f"{file}: its train, val and test hold no pictures below {place}; check its path")
    for picture, split in pictures:
        name = Path(os.path.relpath(picture, place)).as_posix()
        collector.image(name, split=split)
        labels = _labels_of(picture)
        if not labels.is_file():
            continue
        try:
            height, width = file_size(place, name, str(labels))
            collector.image(name, size=(height, width))
            with well_formed(labels, "YOLO-pose"):
                _read_rows(labels, name, (height, width), numbers, collector, origin, _classes(settings))
        except AnnotationError as error:
            collector.broken[name] = str(error)
    if collector.broken and collector.empty:
        raise AnnotationError(next(iter(collector.broken.values())))
    return collector.finish(own)


def _yaml_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = [
        f for f in sorted((*path.glob("*.yaml"), *path.glob("*.yml"))) if "kpt_shape" in f.read_text("utf-8", "replace")
    ]
    if len(found) != 1:
        raise AnnotationError(f"{path} holds {len(found)} YAML files with kpt_shape; give the path of the one to read")
    return found[0]


def _settings(file: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(read_text(file, "the YAML of a YOLO-pose data set"))
    except (yaml.YAMLError, RecursionError) as error:
        raise AnnotationError(f"{file} is no YAML ({str(error).splitlines()[0]}); correct it") from None
    shape = values.get("kpt_shape") if isinstance(values, dict) else None
    if not isinstance(shape, list) or len(shape) != 2 or shape[1] not in (2, 3) or not isinstance(shape[0], int):
        raise AnnotationError(f"{file} has no kpt_shape: [points, 2 or 3]; only YOLO's pose data hold keypoints")
    return dict(values)


def _root(file: Path, settings: dict[str, Any]) -> Path:
    """The folder that `path` names, where it exists: it is often that of another machine."""
    given = file.parent / str(settings.get("path") or ".")
    return given if given.is_dir() else file.parent


def _own_schema(file: Path, settings: dict[str, Any]) -> Schema:
    count = settings["kpt_shape"][0]
    listed = settings.get("kpt_names")
    names = next(iter(listed.values()), None) if isinstance(listed, dict) else listed
    classes = settings.get("names") or {0: file.stem}
    if not isinstance(names or [], list) or not isinstance(classes, list | dict):
        wrong = f"kpt_names is {names!r}" if not isinstance(names or [], list) else f"names is {classes!r}"
        raise AnnotationError(f"{file}: {wrong}, which is no list of names; correct it")
    points = tuple(map(str, names)) if names else numbered(file, count).points
    order = settings.get("flip_idx") or list(range(len(points)))
    if not isinstance(order, list) or not all(isinstance(i, int) for i in order):
        raise AnnotationError(f"{file}: flip_idx is {order!r}, which is no list of whole numbers; correct it")
    name = str(next(iter(classes.values() if isinstance(classes, dict) else classes)))
    whole = len(points) == count and sorted(order) == list(range(len(points)))
    if not whole or any(order[order[i]] != i for i in range(count)):
        raise AnnotationError(
            f"{file}: kpt_names and flip_idx must be {count} names and numbers from 0, each pair both ways; correct them"
        )
    swaps = tuple((points[i], points[k]) for i, k in enumerate(order) if i < k)
    try:
        return Schema(name, points, swaps=swaps)
    except ValueError as error:
        raise AnnotationError(f"{file}: {error}") from None


def _pictures(file: Path, root: Path, value: Any, split: str) -> list[Path]:
    """The pictures of a split: a folder, a list of folders, or a text file with a picture a line."""
    found: list[Path] = []
    for part in value if isinstance(value, list) else [value] if value else []:
        where = root / str(part)
        if not where.exists() and str(part).startswith("../"):
            where = root / str(part)[3:]
        if where.is_dir():
            found += sorted(f for f in where.rglob("*") if f.suffix.lower() in _IMAGES)
        elif where.suffix == ".txt" and where.is_file():
            found += [
                root / line.strip() for line in read_text(where, "a list of pictures").splitlines() if line.strip()
            ]
        else:
            raise AnnotationError(f"{file}: {split}: {where} is neither a folder nor a list of pictures; correct it")
    return found


def _labels_of(picture: Path) -> Path:
    """The last folder `images` of the path becomes `labels`, as YOLO does it."""
    parts = list(picture.parts)
    last = max((i for i, part in enumerate(parts[:-1]) if part == "images"), default=None)
    if last is not None:
        parts[last] = "labels"
    return Path(*parts).with_suffix(".txt")


def _classes(settings: dict[str, Any]) -> dict[str, str]:
    """Names of classes by their numbers, as rows write them."""
    count = settings.get("nc")
    names = settings.get("names") or [f"class {i}" for i in range(count if isinstance(count, int) else 1)]
    pairs = names.items() if isinstance(names, dict) else enumerate(names)
    return {str(number): str(name) for number, name in pairs}


def _read_rows(
    file: Path,
    name: str,
    size: tuple[int, int],
    numbers: int,
    collector: Collector,
    origin: float,
    classes: dict[str, str],
) -> None:
    height, width = size
    count = len(collector.names)
    objects = []
    for row, line in enumerate(read_text(file, "a YOLO label file").splitlines(), start=1):
        cells, place = line.split(), f"{file}, row {row}"
        if not cells:
            continue
        if len(cells) != 5 + numbers * count:
            raise AnnotationError(
                f"{place}: {len(cells)} numbers; class, box and {count} points of {numbers} make {5 + numbers * count}"
            )
        values = [finite(place, cell) for cell in cells]
        cx, cy, w, h = (v * s for v, s in zip(values[1:5], (width, height, width, height), strict=True))
        xy, codes = [], []
        for k in range(count):
            x, y, *code = values[5 + numbers * k : 5 + numbers * (k + 1)]
            labelled = int(code[0]) if code else (VISIBLE if x or y else UNLABELLED)
            if labelled not in (0, 1, 2):
                raise AnnotationError(f"{place}: the visibility {code[0]:g} is not 0, 1 or 2; correct it")
            xy.append((x * width - origin + 0.5, y * height - origin + 0.5))
            codes.append(labelled)
        if max(abs(v) for v in values[1:5]) > 2:
            raise AnnotationError(
                f"{place}: the box reaches {max(values[1:5]):g} times the image; give shares, not pixels"
            )
        box = Box(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2) if w > 0 and h > 0 else None
        if cells[0] not in classes:
            raise AnnotationError(
                f"{place}: the class {cells[0]!r} is none of the {len(classes)} of the YAML; correct it"
            )
        extra = {} if cells[0] == "0" else {"class": cells[0], "class name": classes[cells[0]]}
        objects.append((collector.numbered(xy, codes, place), place, box, extra, row))
    for points, place, box, extra, row in objects:
        collector.add(name, points, place, box=box, extra=extra, row=row, source=str(file))


def _class_names(labels: PointLabels) -> dict[int, str]:
    """Class 0 is called as the schema, the others as they were; YOLO wants all numbers up to the largest."""
    known = {
        int(item.extra["class"]): item.extra.get("class name", "")
        for _, item in labels.objects
        if item.extra.get("class", "").isdecimal()
    }
    return {0: labels.schema.name} | {n: known.get(n) or f"class {n}" for n in range(1, max(known, default=0) + 1)}


def _class_of(item: LabelledObject) -> str:
    """Other formats call other things a class: what is no number is class 0."""
    found = item.extra.get("class", "0")
    return found if found.isdecimal() else "0"


def write_yolo(labels: PointLabels, name: str, *, origin: float = 0.5) -> dict[str, bytes]:
    """The files of a YOLO-pose data set by their path inside its folder: `data.yaml` and `labels/...`.

    The pictures belong into `images/SPLIT/` under their names; pictures of no split go to train. An object without a box gets
    the tight one about its points, as every row begins with one.

    Raises:
        AnnotationError: where an image's size is known to neither the labels nor its file.
    """
    import yaml

    schema = labels.schema
    splits = list(dict.fromkeys(image.split or "train" for image in labels.images))
    data: dict[str, Any] = {
        "path": ".",
        **{split: f"images/{split}" for split in ("train", "val", "test") if split in splits},
        "kpt_shape": [len(schema), 3],
        "flip_idx": list(schema.flip_order),
        "names": _class_names(labels),
        "kpt_names": {0: list(schema.points)},
    }
    files = {"data.yaml": yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode()}
    for image in labels.images:
        height, width = labels.size_of(image)
        target = f"labels/{image.split or 'train'}/{PurePosixPath(image.file).with_suffix('.txt').as_posix()}"
        if target in files:
            raise AnnotationError(
                f"{image.file}: another picture has the file {target} already; rename one, as YOLO goes by names"
            )
        rows = []
        for item in image.objects:
            k = item.keypoints
            box = item.box or (box_of_points(k.xy) if k.labelled.any() else Box(0, 0, 0, 0))
            numbers = [box.centre[0] / width, box.centre[1] / height, box.width / width, box.height / height]
            for (x, y), code in zip(k.xy, k.visibility, strict=True):
                numbers += [(x - 0.5 + origin) / width, (y - 0.5 + origin) / height, code] if code else [0, 0, 0]
            # Nine decimals of a share are a millionth of a pixel in pictures of a thousand.
            rows.append(" ".join([_class_of(item), *(f"{v:.9f}".rstrip("0").rstrip(".") for v in numbers)]))
        files[target] = "".join(row + "\n" for row in rows).encode()
    return files
