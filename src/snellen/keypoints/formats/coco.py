"""COCO keypoints JSON: any number of points, visibility, several objects an image.

Documentation: https://cocodataset.org/#format-data ::

    {"images": [{"id": 1, "file_name": "a.jpg", "width": 640, "height": 480}],
     "categories": [{"id": 1, "name": "person", "keypoints": ["nose", ...], "skeleton": [[1, 2], ...]}],
     "annotations": [{"id": 7, "image_id": 1, "category_id": 1, "keypoints": [x, y, v, ...], "bbox": [x, y, w, h]}]}

Origin: keypoints count pixels from 0, so `origin=0` takes (0, 0) for the centre of the top-left pixel; boxes are measured
from the image's corner, as the library's. y points downwards. v: 0 unlabelled (x = y = 0), 1 occluded, 2 visible. The
skeleton counts points from 1; one with a 0 in it is taken to count from 0, with a note. Swap pairs and normalisers have no
place.

Layout: COCO's own archives hold `annotations/person_keypoints_train2017.json` and the pictures in `train2017/`; other tools
put them into `images/`. Such folders are looked into where the pictures do not lie in the expected one.
"""

import json
from pathlib import Path
from typing import Any

from snellen.geometry import Box, box_of_points
from snellen.keypoints.formats.annotations import AnnotationError
from snellen.keypoints.formats.labels import PointLabels
from snellen.keypoints.formats.reading import Collector, Named, box_of, finite, point, read_json, reader_of, well_formed
from snellen.keypoints.schema import Schema

__all__ = ["read_coco", "write_coco"]

_SHAPE = 'COCO keypoints: {"images": [...], "annotations": [...], "categories": [...]}'


@reader_of("COCO keypoints")
def read_coco(
    path: str | Path, *, schema: Schema | None = None, origin: float = 0.0, root: str | Path | None = None
) -> PointLabels:
    """Read a COCO keypoints file.

    Objects without keypoints (boxes of other categories), crowds (`iscrowd`) and objects without a labelled point are left out
    and counted in the notes: COCO marks people too small to point at so. Their images stay, with no object if need be. Pairs
    of x and y without v are taken as visible.

    Args:
        path: the file.
        schema: the points; by default the category's.
        origin: the coordinate that the file gives the centre of the top-left pixel.
        root: folder of the images, or of COCO's layout; by default the file's.

    Raises:
        AnnotationError: one sentence with file and annotation.
    """
    path = Path(path)
    data = read_json(path, "a COCO keypoints JSON")
    if not isinstance(data, dict) or not all(isinstance(data.get(k), list) for k in ("images", "annotations")):
        raise AnnotationError(f"{path} is not {_SHAPE}; export it again as COCO keypoints")
    category = _category(path, data, schema)
    collector = Collector(path, schema, None if root is None else Path(root))
    files: dict[Any, str] = {}
    for number, image in enumerate(data["images"], start=1):
        place = f"{path}, image {number}"
        with well_formed(place, "COCO"):
            if not isinstance(image, dict) or not isinstance(image.get("file_name"), str):
                raise AnnotationError(f"{place}: this names no file (file_name); export the file again")
            size = [int(finite(place, image[side])) for side in ("height", "width") if image.get(side)]
            file = collector.image(image["file_name"], size=(size[0], size[1]) if len(size) == 2 else None)
            if files.setdefault(image["id"], file) != file:
                raise AnnotationError(
                    f"{place}: the id {image['id']!r} is that of {files[image['id']]} too; correct it"
                )
    collector.root = _pictures(path, collector.root, list(files.values()))
    own = _own_schema(path, category, collector.notes)
    if schema is None and own is not None:
        collector.name(own.points)
    without = crowds = blank = outlines = 0
    for row, entry in enumerate(data["annotations"], start=1):
        place = f"{path}, annotation {row}"
        if not isinstance(entry, dict):
            raise AnnotationError(f"{place}: {entry!r} is no object; export the file again")
        with well_formed(place, "COCO"):
            if not entry.get("keypoints") or (category and entry.get("category_id") != category.get("id")):
                without += 1
                continue
            if entry.get("iscrowd"):
                crowds += 1
                continue
            if not isinstance(entry.get("image_id"), int | float | str) or entry["image_id"] not in files:
                raise AnnotationError(f"{place}: no image has the id {entry.get('image_id')!r}; correct image_id")
            points = _points(collector, entry["keypoints"], origin, place)
            if not any(code for _, _, code in points.values()):
                blank += 1
                continue
            outlines += bool(entry.get("segmentation"))
            collector.add(
                files[entry["image_id"]], points, place, box=_box(entry, place), id=str(entry.get("id", "")), row=row
            )
    if without:
        collector.notes.append(f"{without} annotations hold no keypoints of the category and are left out")
    if crowds:
        collector.notes.append(f"{crowds} annotations are crowds (iscrowd), many objects in one, and are left out")
    if blank:
        collector.notes.append(f"{blank} objects have no labelled point, as COCO's small ones, and are left out")
    if outlines:
        collector.notes.append(f"{outlines} outlines of objects (segmentation) are left out")
    return collector.finish(own)


def _pictures(path: Path, root: Path, files: list[str]) -> Path:
    """The folder that holds pictures: `root`, or one of COCO's layout; `root` where none does."""
    split = path.stem.rpartition("_")[2]  # person_keypoints_train2017
    tops = [root, root.parent] if root == path.parent else [root]
    places = [root, *(top / name for top in tops for name in ("images", split, f"images/{split}"))]
    return next((place for place in places if any((place / file).is_file() for file in files[:20])), root)


def _category(path: Path, data: dict[str, Any], schema: Schema | None) -> dict[str, Any] | None:
    """The category that has keypoints; None where none names them."""
    listed = [c for c in data.get("categories") or [] if isinstance(c, dict)]
    named = [c for c in listed if c.get("keypoints")]
    if schema is not None and len(named) > 1:
        named = [c for c in named if tuple(map(str, c["keypoints"])) == schema.points] or named
    if len(named) > 1:
        names = ", ".join(str(c.get("name")) for c in named)
        raise AnnotationError(
            f"{path} has {len(named)} categories with keypoints ({names}); keep one, or name the schema of one"
        )
    return named[0] if named else None


def _own_schema(path: Path, category: dict[str, Any] | None, notes: list[str]) -> Schema | None:
    if category is None:
        return None
    if not isinstance(category["keypoints"], list):
        raise AnnotationError(
            f"{path}: the keypoints of the category {category.get('name')!r} are no list of names; export the file again"
        )
    points = tuple(map(str, category["keypoints"]))
    place = f"{path}, category {category.get('name')!r}"
    with well_formed(place, "COCO"):
        lines = [(int(a), int(b)) for a, b in category.get("skeleton") or ()]
    # Some tools count from 0, where COCO counts from 1; only a 0 gives them away.
    start = 0 if any(0 in line for line in lines) else 1
    wrong = [line for line in lines if not all(start <= number < len(points) + start for number in line)]
    if wrong:
        raise AnnotationError(
            f"{place}: the skeleton has {list(wrong[0])}, but its points count from {start} to {len(points) + start - 1}; "
            "correct it"
        )
    if not start:
        notes.append("the skeleton counts points from 0, where COCO counts from 1, and is read so")
    try:
        edges = tuple((points[a - start], points[b - start]) for a, b in lines)
        return Schema(str(category.get("name") or path.stem), points, skeleton=edges)
    except ValueError as error:
        raise AnnotationError(f"{place}: {error}; correct it") from None


def _points(collector: Collector, values: Any, origin: float, place: str) -> Named:
    names = collector.names
    count = len(names)
    if not isinstance(values, list) or (len(values) % 3 and not (count and len(values) == 2 * count)):
        shown = f"{len(values)} numbers" if isinstance(values, list) else repr(values)
        raise AnnotationError(f"{place}: keypoints are x, y, v for each of {count or 'the'} points, not {shown}")
    step = 2 if count and len(values) == 2 * count else 3
    xy, codes = [], []
    for i in range(0, len(values), step):
        code = 2 if step == 2 else int(finite(place, values[i + 2]))
        if code not in (0, 1, 2):
            raise AnnotationError(f"{place}: the visibility {code} is not 0, 1 or 2; correct it")
        # Of an unlabelled point the file may hold anything, null included.
        x, y = (finite(place, v) for v in values[i : i + 2]) if code else (0.0, 0.0)
        xy.append(point(x, y, origin)[:2])
        codes.append(code)
    return collector.numbered(xy, codes, place)


def _box(entry: dict[str, Any], place: str) -> Box | None:
    values = entry.get("bbox")
    if not values:
        return None
    if not isinstance(values, list) or len(values) != 4:
        raise AnnotationError(f"{place}: bbox is x, y, width, height, not {values!r}; correct it")
    return box_of(*(finite(place, v) for v in values))


def write_coco(labels: PointLabels, name: str, *, origin: float = 0.0) -> dict[str, bytes]:
    """The content of a COCO keypoints file, by its name.

    An object without a box gets the tight one about its points, as COCO's tools need one. An object without a labelled point
    is left out, as reading leaves it out.

    Raises:
        AnnotationError: where an image's size is known to neither the labels nor its file.
    """
    schema = labels.schema
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i, image in enumerate(labels.images, start=1):
        height, width = labels.size_of(image)
        images.append({"id": i, "file_name": image.file, "width": width, "height": height})
        for item in image.objects:
            k = item.keypoints
            if not k.labelled.any():
                continue
            values: list[float] = []
            for (x, y), code in zip(k.xy, k.visibility, strict=True):
                values += [round(x - 0.5 + origin, 6), round(y - 0.5 + origin, 6), int(code)] if code else [0, 0, 0]
            box = item.box or box_of_points(k.xy)
            annotations.append(
                {
                    "id": int(item.id) if item.id.isdecimal() else item.id or len(annotations) + 1,
                    "image_id": i,
                    "category_id": 1,
                    "keypoints": values,
                    "num_keypoints": int(k.labelled.sum()),
                    "bbox": [round(float(v), 6) for v in (box.left, box.top, box.width, box.height)],
                    "area": round(float(box.width * box.height), 6),
                    "iscrowd": 0,
                }
            )
    category = {
        "id": 1,
        "name": schema.name,
        "keypoints": list(schema.points),
        "skeleton": [[a + 1, b + 1] for a, b in schema.edges],
    }
    data = {"images": images, "annotations": annotations, "categories": [category]}
    return {name: (json.dumps(data, ensure_ascii=False) + "\n").encode()}
