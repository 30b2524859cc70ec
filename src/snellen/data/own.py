"""A user's own files: annotations of any format, their boxes, and which of them are trained, validated and tested on."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from snellen.config import ConfigError, KeypointDataConfig
from snellen.data.files import AnnotatedImages, DataError
from snellen.data.splits import place_of
from snellen.geometry import Box
from snellen.keypoints import Keypoints, Normaliser, Schema, get_schema
from snellen.keypoints.formats import (
    Annotation,
    AnnotationError,
    PointLabels,
    find_format,
    place_of_format,
    read_points,
)
from snellen.keypoints.formats.header import BOX_COLUMNS
from snellen.keypoints.formats.rows import rows_of

__all__ = ["read_boxes", "read_own", "refuse_wrong_unit", "with_schema"]


def read_own(config: KeypointDataConfig, split: str) -> tuple[PointLabels, list[Annotation]]:
    """The labels of an annotation file, and the objects of one split.

    An image is of the test where `test_list` names it, its file marks it, or `test_share` of the names falls on it; with
    `test_annotations` the test is all of that file. Of the others, validation images are those that `val_list` names; else,
    with `folds`, those of the part `fold`; else those that the file marks; else `val_share` of the names. Shares and parts go
    by a hash of the image's group, where the file gives one, else of its name: what has one group is on one side.

    Raises:
        AnnotationError, DataError: one sentence with file and row.
        ConfigError: where the data has no such split.
    """
    root = Path(config.root or "")
    apart = split == "test" and config.test_annotations is not None
    labels = _labels(config, root, config.test_annotations if apart else config.annotations)
    annotations = [a if a.scale else replace(a, scale=config.mm_per_pixel) for a in labels.annotations()]
    if config.boxes is not None:
        boxes = read_boxes(root / config.boxes)
        annotations = [replace(a, box=_best(boxes.get(a.file, []), a.keypoints)) for a in annotations]
    if apart:
        return labels, annotations
    files = {image.file for image in labels.images}
    sides = _sides(config, root, annotations, files, lenient=bool(labels.broken) and config.on_error == "skip")
    chosen = [a for a in annotations if sides[a.file] == split]
    if not chosen and split == "test":
        raise ConfigError(
            f"{labels.source} has no test split; name its file with data.test_annotations, a list with data.test_list or a "
            "share with data.test_share, or use --split val"
        )
    if not chosen:
        raise DataError(f"{labels.source}: the {split} split is empty; change data.val_share or add images")
    return labels, chosen


def _labels(config: KeypointDataConfig, root: Path, name: str | None) -> PointLabels:
    name = name or ("annotations.csv" if config.format == "csv" else "")
    path = root / name if name else root
    kind, path = place_of_format(path, config.format)
    schema = get_schema(config.schema) if config.schema else None
    inside = path.resolve().is_relative_to(root.resolve())
    images = None if find_format(kind).own_root and inside else root
    labels = read_points(path, kind, schema=schema, origin=config.origin, root=images, scale_unit=config.scale_unit,
                         on_error=config.on_error)  # fmt: skip
    try:
        own = _with_structure(labels.schema, config)
    except ValueError as error:
        raise ConfigError(f"data.swaps or data.normaliser do not fit {labels.source}: {error}") from None
    return labels if own == labels.schema else with_schema(labels, own)


def with_schema(labels: PointLabels, schema: Schema) -> PointLabels:
    """The same labels under a schema with the same points."""
    images = [
        replace(i, objects=tuple(replace(o, keypoints=replace(o.keypoints, schema=schema)) for o in i.objects))
        for i in labels.images
    ]
    return replace(labels, schema=schema, images=tuple(images))


def _with_structure(schema: Schema, config: KeypointDataConfig) -> Schema:
    """The schema with the swap pairs and the normaliser that the configuration gives it."""
    if config.swaps:
        schema = replace(schema, swaps=config.swaps)
    if config.normaliser:
        start, end = config.normaliser
        schema = replace(schema, normalisers=(Normaliser(f"{start} to {end}", (start,), (end,)),))
    return schema


def _sides(
    config: KeypointDataConfig, root: Path, annotations: list[Annotation], files: set[str], *, lenient: bool
) -> dict[str, str]:
    """The split of each file with an object; lists may name any of `files`, and, where `lenient`, those left out."""
    keys = {a.file: a.key or a.file for a in annotations}
    marks = {a.file: a.split for a in annotations}
    val, test = (_listed(root, name, files, lenient=lenient) for name in (config.val_list, config.test_list))
    both = sorted(val & test)
    if both:
        raise ConfigError(f"{both[0]} is in data.val_list and in data.test_list; take it out of one of them")
    marked = "val" in marks.values() and not val and not config.folds

    def is_tested(file: str) -> bool:
        if test:
            return file in test
        return marks[file] == "test" or (not marks[file] and place_of(keys[file]) >= 1 - config.test_share)

    tested = {file for file in keys if is_tested(file)}
    taught = {a.file for a in annotations if a.keypoints.labelled.any()} - tested  # what has no point is left out later
    parts = _dealt({keys[file] for file in taught}, config.folds)
    sides = {}
    for file, key in keys.items():
        place, mark = place_of(key), marks[file]
        if file in tested:
            sides[file] = "test"
        elif config.val_list is not None:
            sides[file] = "val" if file in val else "train"
        elif config.folds:
            sides[file] = "val" if parts.get(key) == config.fold else "train"
        elif marked and mark:
            sides[file] = "val" if mark == "val" else "train"
        else:
            sides[file] = "val" if place < config.val_share else "train"
    return sides


def _dealt(keys: set[str], folds: int) -> dict[str, int]:
    """The part of each image or group, all parts of one size but for one: with tens of images, chance would leave some empty.

    Raises:
        ConfigError: where there are fewer than parts.
    """
    if folds and len(keys) < folds:
        raise ConfigError(
            f"--folds {folds} needs as many images, or groups of them where there is a group column, and there are "
            f"{len(keys)}; give a smaller number, or add images"
        )
    return {key: rank % folds for rank, key in enumerate(sorted(keys, key=place_of))} if folds else {}


def _listed(root: Path, name: str | None, known: set[str], *, lenient: bool) -> set[str]:
    if name is None:
        return set()
    path = root / name
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}); give a text file with the name of an image a line"
        ) from None
    listed = {line.strip().replace("\\", "/") for line in lines if line.strip()}
    unknown = sorted(listed - known)
    if unknown and not lenient:
        raise DataError(
            f"{path} lists {unknown[0]}, which is not annotated; correct the name as the annotations write it"
        )
    return listed & known


def read_boxes(path: Path) -> dict[str, list[tuple[Box, float]]]:
    """A detector's boxes and scores by image, the best first.

    Columns by their header: file, box_left, box_top, box_right, box_bottom in pixels from the image's corner, and score.

    Raises:
        AnnotationError: one sentence with file and row.
    """
    rows = rows_of(path, f"a CSV of boxes: file, {', '.join(BOX_COLUMNS)}")
    header = rows[0][1] if rows else []
    missing = [name for name in ("file", *BOX_COLUMNS) if name not in header]
    if missing:
        raise AnnotationError(f"{path}: the header lacks {', '.join(missing)}; a row is file, {', '.join(BOX_COLUMNS)}")
    rows.decimal_points(i for i, name in enumerate(header) if name in (*BOX_COLUMNS, "score"))
    boxes: dict[str, list[tuple[Box, float]]] = {}
    for row, cells in rows[1:]:
        values = dict(zip(header, cells, strict=False))
        try:
            box = Box(*(float(values[name]) for name in BOX_COLUMNS))
            score = float(values.get("score") or 0)
        except (ValueError, KeyError):
            raise AnnotationError(f"{path}, row {row}: a box is four numbers; correct the row") from None
        if not (box.width > 0 and box.height > 0 and np.isfinite(box).all()):
            raise AnnotationError(f"{path}, row {row}: {', '.join(map(str, box))} is no box; left and top come first")
        boxes.setdefault(values["file"], []).append((box, score))
    return {file: sorted(found, key=lambda item: -item[1]) for file, found in boxes.items()}


def _best(boxes: list[tuple[Box, float]], keypoints: Keypoints) -> Box | None:
    """The box that holds most of an object's points; of equal ones the tightest."""

    def fit(item: tuple[Box, float]) -> tuple[int, float]:
        box, (x, y) = item[0], keypoints.xy[keypoints.labelled].T
        held = (x >= box.left) & (x <= box.right) & (y >= box.top) & (y <= box.bottom)
        return int(held.sum()), -box.width * box.height

    best = max(boxes, key=fit, default=None)
    return best[0] if best is not None and fit(best)[0] else None


def refuse_wrong_unit(images: AnnotatedImages) -> None:
    """Refuse points that cannot be pixels of their images.

    Raises:
        DataError: where there is no position, all are shares of the image, or most points lie outside of their image.
    """
    outside = total = 0
    largest = 0.0
    for annotation in images.annotations:
        height, width = images.sizes[annotation.file]
        xy = annotation.keypoints.xy[annotation.keypoints.labelled]
        # A pixel of slack: origins differ, and points on the edge are legitimate.
        outside += int(((xy < -1) | (xy > (width + 1, height + 1))).any(axis=1).sum())
        total += len(xy)
        largest = max(largest, float(np.abs(xy).max(initial=0)))
    if not total:
        raise DataError(
            f"{images.source}: none of {len(images):,} objects has a labelled point; fill in the coordinates"
        )
    if largest <= 2 and min(min(size) for size in images.sizes.values()) > 4:
        raise DataError(
            f"{images.source}: no coordinate is above {largest:g}; these are shares of the image's size, give pixels"
        )
    if 2 * outside > total:
        raise DataError(
            f"{images.source}: {outside:,} of {total:,} points lie outside of their images; they are in another unit, or of "
            "pictures of another size (see: snellen check)"
        )
