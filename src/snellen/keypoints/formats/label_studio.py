"""Label Studio's JSON export: a list of tasks.

Documentation: https://labelstud.io/guide/task_format and https://labelstud.io/tags/keypointlabels ::

    [{"id": 1, "data": {"img": "/data/upload/1/1a2b3c4d-wing.jpg"}, "annotations": [{"was_cancelled": false, "result": [
        {"id": "x1", "type": "keypointlabels", "original_width": 640, "original_height": 480, "image_rotation": 0,
         "parentID": "b1", "value": {"x": 13.0, "y": 8.6, "width": 0.3, "keypointlabels": ["nose"]}},
        {"id": "b1", "type": "rectanglelabels", "original_width": 640, "original_height": 480,
         "value": {"x": 10.0, "y": 5.0, "width": 30.0, "height": 40.0, "rotation": 0, "rectanglelabels": ["face"]}}]}]}]

x and y are percent of the image's width and height. Points with the same `parentID` are one object, and the rectangle of that
id is its box; points without one make an object. Of several annotations of a task the first that was not cancelled is read, and
the notes say so. The server puts eight hex digits and a dash before the name of an uploaded file: they are cut off where
the picture is found without them only. A label that an object has twice is refused.

Origin: percentages count from the image's corner: `origin=0.5`, as the library. y points downwards.
"""

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from snellen.geometry import Box
from snellen.keypoints.formats.annotations import AnnotationError
from snellen.keypoints.formats.labels import PointLabels
from snellen.keypoints.formats.reading import Collector, finite, point, read_json, reader_of, well_formed
from snellen.keypoints.schema import Schema

__all__ = ["read_label_studio", "write_label_studio"]

_PICTURE = re.compile(r"\.(bmp|jpe?g|png|tiff?|webp|dcm)(?=$|[?&])", re.IGNORECASE)


@reader_of("Label Studio")
def read_label_studio(
    path: str | Path, *, schema: Schema | None = None, origin: float = 0.5, root: str | Path | None = None
) -> PointLabels:
    """Read a JSON export of Label Studio (the full one, not JSON-MIN).

    Args:
        path: the file.
        schema: the points; by default the labels, in order of appearance.
        origin: the coordinate that the file gives the centre of the top-left pixel.
        root: folder of the images; by default the file's.

    Raises:
        AnnotationError: one sentence with file and task.
    """
    path = Path(path)
    tasks = read_json(path, "a JSON export of Label Studio")
    if not isinstance(tasks, list) or not all(isinstance(t, dict) and isinstance(t.get("data"), dict) for t in tasks):
        raise AnnotationError(
            f"{path} is not a list of tasks with data; export it from Label Studio as JSON (not JSON-MIN)"
        )
    collector = Collector(path, schema, None if root is None else Path(root))
    several = others = 0
    for number, task in enumerate(tasks, start=1):
        place = f"{path}, task {task.get('id', number)}"
        with well_formed(place, "Label Studio"):
            name = collector.image(_file(task["data"], collector.root, place))
            annotations = _objects(task, "annotations", place)
            done = [a for a in annotations if not a.get("was_cancelled")]
            several += len(done) > 1
            if done:
                others += _read_result(_objects(done[0], "result", place), name, place, collector, origin)
    if several:
        collector.notes.append(f"{several} tasks have several annotations; the first of each is read")
    if others:
        collector.notes.append(f"{others} regions are no keypoints, nor rectangles around some, and are left out")
    return collector.finish()


def _objects(parent: dict[str, Any], key: str, place: str) -> list[dict[str, Any]]:
    """The entries of a list of the file, none where it is null."""
    found = parent.get(key) or []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise AnnotationError(f"{place}: {key} is no list of objects; export the file again")
    return found


def _file(data: dict[str, Any], root: Path, place: str) -> str:
    """The picture of a task, by the address that the server gave it."""
    address = next((v for v in data.values() if isinstance(v, str) and _PICTURE.search(v)), None)
    if address is None:
        raise AnnotationError(f"{place}: data names no picture; export the task again")
    parts = urlsplit(address.replace("\\", "/"))
    local = parse_qs(parts.query).get("d")  # /data/local-files/?d=folder/a.jpg
    inside = (local[0] if local else unquote(parts.path)).lstrip("/")
    names = [inside, re.sub(r"^data/upload/\d+/", "", inside), PurePosixPath(inside).name]
    names += [re.sub(r"^[0-9a-f]{8}-", "", names[-1])]
    found = next((name for name in names if (root / name).is_file()), None)
    # Where no picture is at hand, the address says enough: the file below the server's folders.
    return found or names[1]


def _read_result(result: list[dict[str, Any]], name: str, place: str, collector: Collector, origin: float) -> int:
    """Add the objects of an annotation; returns how many regions were left out."""
    objects: dict[str, dict[str, tuple[float, float, int]]] = {}
    boxes: dict[str, Box] = {}
    others = 0
    for region in result:
        value, kind = region.get("value") or {}, region.get("type")
        if kind not in ("keypointlabels", "rectanglelabels"):
            others += 1
            continue
        width, height = (finite(place, region.get(f"original_{side}")) for side in ("width", "height"))
        collector.image(name, size=(int(height), int(width)))
        if finite(place, region.get("image_rotation") or 0) % 360:
            raise AnnotationError(
                f"{place}: the picture was turned in Label Studio; turn the file instead and label it again"
            )
        x, y = (finite(place, value.get(c)) * side / 100 for c, side in (("x", width), ("y", height)))
        if kind == "rectanglelabels":
            w, h = (finite(place, value.get(c)) * side / 100 for c, side in (("width", width), ("height", height)))
            shift = 0.5 - origin
            boxes[str(region.get("id"))] = Box(x + shift, y + shift, x + w + shift, y + h + shift)
            continue
        labels = value.get("keypointlabels") or []
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise AnnotationError(f"{place}: the labels of a keypoint are {labels!r}, which are no words; correct them")
        if len(labels) != 1:
            raise AnnotationError(f"{place}: a keypoint has {len(labels)} labels; give it one in Label Studio")
        points = objects.setdefault(str(region.get("parentID") or ""), {})
        if labels[0] in points:
            raise AnnotationError(
                f"{place}: {labels[0]!r} is there twice; draw a rectangle around each object and make it the points' parent"
            )
        points[labels[0]] = point(x, y, origin)
    for row, (parent, points) in enumerate(objects.items(), start=1):
        collector.add(name, points, place, id=parent, box=boxes.pop(parent, None), row=row)
    return others + len(boxes)


def write_label_studio(labels: PointLabels, name: str, *, origin: float = 0.5) -> dict[str, bytes]:
    """The content of a file that Label Studio imports, by its name.

    The points of an object with a box or an id, and of each of several objects, name a parent; a box is that parent. Pictures
    are named as local files (`/data/local-files/?d=NAME`).

    Raises:
        AnnotationError: where an image's size is known to neither the labels nor its file.
    """
    tasks = []
    for number, image in enumerate(labels.images, start=1):
        height, width = labels.size_of(image)
        result: list[dict[str, Any]] = []
        for i, item in enumerate(image.objects, start=1):
            common = {"original_width": width, "original_height": height, "image_rotation": 0, "to_name": "image"}
            parent = {}
            if item.id or item.box or len(image.objects) > 1:
                parent = {"parentID": item.id or f"object{i}"}
            if item.box:
                b = Box(*(v - 0.5 + origin for v in item.box))
                value = {
                    "x": 100 * b.left / width, "y": 100 * b.top / height, "rotation": 0,
                    "width": 100 * b.width / width, "height": 100 * b.height / height, "rectanglelabels": [labels.schema.name],
                }  # fmt: skip
                result.append(
                    {"id": parent["parentID"], "type": "rectanglelabels", "from_name": "box", **common, "value": value}
                )
            k = item.keypoints
            for label, (x, y), code in zip(labels.schema.points, k.xy, k.visibility, strict=True):
                if code:
                    value = {
                        "x": 100 * (x - 0.5 + origin) / width, "y": 100 * (y - 0.5 + origin) / height, "width": 0.5,
                        "keypointlabels": [label],
                    }  # fmt: skip
                    region = {"id": f"{i}-{label}", "type": "keypointlabels", "from_name": "points", **common, **parent}
                    result.append({**region, "value": value})
        tasks.append(
            {
                "id": number,
                "data": {"image": f"/data/local-files/?d={quote(image.file)}"},
                "annotations": [{"was_cancelled": False, "result": result}],
            }
        )
    return {name: (json.dumps(tasks, ensure_ascii=False) + "\n").encode()}
