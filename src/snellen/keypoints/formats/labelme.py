"""LabelMe JSON, one file a picture, beside it.

Documentation: https://github.com/wkentaro/labelme (README and examples) ::

    {"version": "5.4.1", "flags": {}, "imagePath": "a.jpg", "imageData": null, "imageHeight": 480, "imageWidth": 640,
     "shapes": [{"label": "nose", "points": [[83.2, 41.5]], "group_id": 1, "shape_type": "point", "flags": {}}]}

Each shape of type point is a keypoint named by its label; those of one `group_id` are one object, and a rectangle of that
`group_id` is its box. Without group ids a picture holds one object. A flag `occluded` of a shape marks an occluded point (our
choice: LabelMe's flags are the user's own). Other shapes are counted in the notes. `imagePath` is relative to the JSON file and
may have the separators of Windows; `imageData` is not looked at.

Origin: positions on LabelMe's canvas count from the image's corner: `origin=0.5`, as the library. y points downwards.
"""

import json
import os
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from snellen.geometry import Box
from snellen.keypoints.formats.annotations import AnnotationError
from snellen.keypoints.formats.labels import LabelledImage, PointLabels
from snellen.keypoints.formats.reading import Collector, finite, point, read_json, reader_of, well_formed
from snellen.keypoints.keypoints import OCCLUDED, VISIBLE
from snellen.keypoints.schema import Schema

__all__ = ["read_labelme", "write_labelme"]


@reader_of("LabelMe")
def read_labelme(
    path: str | Path, *, schema: Schema | None = None, origin: float = 0.5, root: str | Path | None = None
) -> PointLabels:
    """Read the LabelMe files of a folder and its subfolders, or one file.

    Args:
        path: the folder or file.
        schema: the points; by default the labels, in order of appearance.
        origin: the coordinate that the files give the centre of the top-left pixel.
        root: folder that the images' names will be relative to; by default `path`, or the file's folder.

    Returns:
        The labels; a file that cannot be read is in `broken`.

    Raises:
        AnnotationError: where no file can be read.
    """
    path = Path(path)
    files = sorted(f for f in path.rglob("*.json") if not f.name.startswith(".")) if path.is_dir() else [path]
    if not files:
        raise AnnotationError(f"{path} holds no .json files; give the folder that LabelMe saved to")
    collector = Collector(path, schema, None if root is None else Path(root))
    others = 0
    words: Counter[str] = Counter()
    for file in files:
        try:
            with well_formed(file, "LabelMe"):
                others += _read_file(file, collector, origin, words)
        except AnnotationError as error:
            if len(files) == 1:
                raise
            collector.broken[file.relative_to(path).as_posix()] = str(error)
    if others:
        collector.notes.append(f"{others} shapes are no points, nor boxes of a group of points, and are left out")
    collector.notes += [f"{count} {what} are left out" for what, count in words.items()]
    return collector.finish()


def _read_file(file: Path, collector: Collector, origin: float, words: Counter[str]) -> int:
    """Add a file's objects; returns how many shapes were left out, and counts other things in `words`."""
    data = read_json(file, "a LabelMe JSON")
    if not isinstance(data, dict) or not isinstance(data.get("shapes"), list) or not data.get("imagePath"):
        raise AnnotationError(f"{file} is no LabelMe file (it lacks shapes or imagePath); export it again")
    picture = os.path.normpath(file.parent / str(data["imagePath"]).replace("\\", "/"))
    name = Path(os.path.relpath(picture, collector.root)).as_posix()
    height, width = data.get("imageHeight"), data.get("imageWidth")
    size = None
    if height and width:
        size = int(finite(f"{file}, imageHeight", height)), int(finite(f"{file}, imageWidth", width))
    objects: dict[Any, dict[str, tuple[float, float, int]]] = {}
    boxes: dict[Any, Box] = {}
    others = 0
    if isinstance(data.get("flags"), dict):
        words.update(["flags of pictures"] * sum(map(bool, data["flags"].values())))
    for number, shape in enumerate(data["shapes"], start=1):
        place = f"{file}, shape {number}"
        if not isinstance(shape, dict) or not isinstance(shape.get("points"), list):
            raise AnnotationError(f"{place}: a shape has a label and points; export the file again")
        kind, group = shape.get("shape_type", "polygon"), shape.get("group_id")
        if not isinstance(group, int | float | str | None):
            raise AnnotationError(f"{place}: the group_id {group!r} is no number; correct it")
        flags = shape.get("flags") or {}
        if not isinstance(flags, dict):
            raise AnnotationError(f"{place}: flags are {flags!r}, which is no object of names; correct them")
        words.update(["flags of shapes"] * sum(bool(on) for flag, on in flags.items() if flag != "occluded"))
        words.update(["descriptions of shapes"] * bool(shape.get("description")))
        if kind == "rectangle" and len(shape["points"]) == 2 and group is not None:
            (x0, y0), (x1, y1) = (_xy(place, p) for p in shape["points"])
            shift = 0.5 - origin
            boxes[group] = Box(min(x0, x1) + shift, min(y0, y1) + shift, max(x0, x1) + shift, max(y0, y1) + shift)
        elif kind == "point":
            if not isinstance(shape.get("label"), int | str):
                raise AnnotationError(f"{place}: the label {shape.get('label')!r} is no word; name the point")
            label, points = str(shape["label"]), objects.setdefault(group, {})
            if label in points:
                raise AnnotationError(
                    f"{place}: {label!r} is there twice; give the points of each object a group_id of their own in LabelMe"
                )
            if len(shape["points"]) != 1:
                raise AnnotationError(f"{place}: a shape of type point has one x and y; correct it")
            hidden = bool(flags.get("occluded"))
            points[label] = point(*_xy(place, shape["points"][0]), origin, OCCLUDED if hidden else VISIBLE)
        else:
            others += 1
    collector.image(name, size=size)
    for row, (group, points) in enumerate(objects.items(), start=1):
        known = {"id": "" if group is None else str(group), "box": boxes.pop(group, None), "row": row}
        collector.add(name, points, str(file), source=str(file), **known)
    return others + len(boxes)


def _xy(place: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise AnnotationError(f"{place}: {value!r} is not an x and a y; correct it")
    return finite(place, value[0]), finite(place, value[1])


def write_labelme(labels: PointLabels, name: str, *, origin: float = 0.5) -> dict[str, bytes]:
    """LabelMe files by their path inside a folder: `images/a.jpg` has `images/a.json`, to be copied beside the picture.

    Raises:
        AnnotationError: where two pictures differ in their ending alone, or an image's size is not known.
    """
    files: dict[str, bytes] = {}
    for image in labels.images:
        path = PurePosixPath(image.file)
        target = path.with_suffix(".json").as_posix()
        if target in files:
            raise AnnotationError(
                f"{image.file}: another picture has the file {target} already; rename one, as LabelMe goes by names"
            )
        height, width = labels.size_of(image)
        shapes: list[dict[str, Any]] = []
        numbers = _groups(image)
        for group, item in zip(numbers, image.objects, strict=True):
            common = {"group_id": group, "description": ""}
            if item.box:
                b = [round(float(v) - 0.5 + origin, 6) for v in item.box]
                shapes.append(
                    {
                        "label": labels.schema.name,
                        "points": [b[:2], b[2:]],
                        "shape_type": "rectangle",
                        "flags": {},
                        **common,
                    }
                )
            k = item.keypoints
            for label, (x, y), code in zip(labels.schema.points, k.xy, k.visibility, strict=True):
                if code:
                    xy = [round(float(v) - 0.5 + origin, 6) for v in (x, y)]
                    flags = {"occluded": True} if code == OCCLUDED else {}
                    shapes.append({"label": label, "points": [xy], "shape_type": "point", "flags": flags, **common})
        data: dict[str, Any] = {
            "version": "5.4.1",
            "flags": {},
            "shapes": shapes,
            "imagePath": path.name,
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        files[target] = (json.dumps(data, ensure_ascii=False, indent=1) + "\n").encode()
    return files


def _groups(image: LabelledImage) -> list[int | None]:
    """LabelMe's group ids are numbers: the objects' own where they are, else 1, 2, ...; none for one object on its own."""
    ids = [item.id for item in image.objects]
    if len(ids) == 1 and not ids[0] and image.objects[0].box is None:
        return [None]
    own: list[int | None] = [int(i) for i in ids if i.isdecimal()]
    return own if len(own) == len(ids) and len(set(own)) == len(own) else list(range(1, len(ids) + 1))
