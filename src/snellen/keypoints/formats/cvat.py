"""CVAT XML, "CVAT for images 1.1".

Documentation: https://docs.cvat.ai/docs/manual/advanced/xml_format/ ::

    <annotations>
      <version>1.1</version>
      <image id="0" name="a.jpg" width="640" height="480">
        <skeleton label="wing" group_id="0">
          <points label="1" occluded="0" outside="0" points="83.20,41.50"/>
        </skeleton>
        <points label="nose" occluded="1" points="12.5,30.0" group_id="2"/>
        <box label="face" occluded="0" xtl="1.0" ytl="2.0" xbr="30.0" ybr="40.0" group_id="2"/>
      </image>
    </annotations>

A skeleton is one object, its elements the points, those marked `outside` unlabelled. Points outside of skeletons are named by
their label; those of one `group_id` (0 means none in CVAT) are one object; one `points` element with several pairs is an
object whose points are p1, p2, ... A box with an object's group id is its box. Other shapes are counted in the notes.
CVAT writes two decimals of a pixel.

Origin: positions count from the image's corner: `origin=0.5`, as the library. y points downwards. A file with a document type
declaration is refused: entities have no place in annotations.
"""

import xml.etree.ElementTree as ET
from pathlib import Path
from xml.parsers import expat

from snellen.geometry import Box
from snellen.keypoints.formats.annotations import AnnotationError
from snellen.keypoints.formats.labels import PointLabels
from snellen.keypoints.formats.reading import Collector, Named, finite, point, reader_of, shortest, well_formed
from snellen.keypoints.keypoints import OCCLUDED, UNLABELLED, VISIBLE
from snellen.keypoints.schema import Schema

__all__ = ["read_cvat", "write_cvat"]


@reader_of("CVAT for images")
def read_cvat(
    path: str | Path, *, schema: Schema | None = None, origin: float = 0.5, root: str | Path | None = None
) -> PointLabels:
    """Read a "CVAT for images" XML.

    Args:
        path: the file; of a folder, its `annotations.xml`.
        schema: the points; by default the labels, in order of appearance.
        origin: the coordinate that the file gives the centre of the top-left pixel.
        root: folder of the images; by default `images` beside the file where it exists, else the file's folder.

    Raises:
        AnnotationError: one sentence with file and image.
    """
    path = Path(path)
    file = path / "annotations.xml" if path.is_dir() else path
    images = file.parent / "images"
    collector = Collector(file, schema, Path(root) if root is not None else images if images.is_dir() else None)
    tree = _parse(file)
    if tree.tag != "annotations":
        raise AnnotationError(f"{file} is no CVAT file (its root is <{tree.tag}>); export it as CVAT for images 1.1")
    if tree.find("track") is not None:
        raise AnnotationError(f"{file} holds tracks of a video; export it as CVAT for images 1.1")
    others = 0
    for image in tree.iter("image"):
        name = image.get("name")
        if not name:
            raise AnnotationError(f"{file}: an image has no name; export the file again")
        place = f"{file}, image {name}"
        height, width = image.get("height"), image.get("width")
        size = (int(finite(place, height)), int(finite(place, width))) if height and width else None
        name = collector.image(name, size=size, split=_subset(image.get("subset")))
        with well_formed(place, "CVAT"):
            others += _objects(image, name, place, collector, origin)
    if others:
        collector.notes.append(f"{others} shapes are no points, nor boxes of a group of points, and are left out")
    for tag, what in (("tag", "tags of pictures"), ("attribute", "attributes of shapes and tags")):
        # Of the images alone: the meta data name every attribute that there could be.
        count = sum(1 for image in tree.iter("image") for _ in image.iter(tag))
        if count:
            collector.notes.append(f"{count} {what} are left out")
    return collector.finish()


def _parse(file: Path) -> ET.Element:
    if not file.is_file():
        raise AnnotationError(f"{file} does not exist; give the path of a CVAT XML")
    data = file.read_bytes()

    def refuse(*_: object) -> None:
        # Entities can make a small file fill the memory, or read other files.
        raise AnnotationError(f"{file} declares a document type, which annotations have no use for; export it again")

    guard = expat.ParserCreate()
    guard.StartDoctypeDeclHandler = refuse
    try:
        guard.Parse(data, True)
        return ET.fromstring(data)
    except (expat.ExpatError, ET.ParseError) as error:
        raise AnnotationError(f"{file} is no XML ({error}); export it again") from None


def _subset(word: str | None) -> str:
    """CVAT's subsets are free words; those that name a split are taken."""
    return {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}.get(
        (word or "").lower(), ""
    )


def _objects(image: ET.Element, name: str, place: str, collector: Collector, origin: float) -> int:
    """Add an image's objects; returns how many shapes were left out."""
    groups: dict[str, dict[str, tuple[float, float, int]]] = {}
    objects: list[tuple[Named, str]] = []
    boxes: dict[str, Box] = {}
    others = 0
    for shape in image:
        group = shape.get("group_id", "0")
        if shape.tag == "skeleton":
            named = {p.get("label", ""): _point(p, place, origin) for p in shape.iter("points")}
            objects.append((named, group))
        elif shape.tag == "points":
            pairs = [pair for pair in shape.get("points", "").split(";") if pair]
            code = OCCLUDED if shape.get("occluded") == "1" else VISIBLE
            xy = [_pair(pair, place, origin) for pair in pairs]
            if len(pairs) == 1:
                points, label = groups.setdefault(group, {}), shape.get("label", "")
                if label in points:
                    raise AnnotationError(f"{place}: {label!r} is there twice; group the points of each object in CVAT")
                points[label] = (*xy[0], code)
            else:
                objects.append((collector.numbered(xy, [code] * len(xy), place), group))
        elif shape.tag == "box" and group != "0":
            sides = [finite(place, shape.get(side)) - origin + 0.5 for side in ("xtl", "ytl", "xbr", "ybr")]
            boxes[group] = Box(*sides)
        elif shape.tag not in ("tag", "attribute"):
            others += 1
    objects += [(points, group) for group, points in groups.items()]
    for row, (found, group) in enumerate(objects, start=1):
        collector.add(name, found, place, id="" if group == "0" else group, box=boxes.pop(group, None), row=row)
    return others + len(boxes)


def _pair(text: str, place: str, origin: float) -> tuple[float, float]:
    cells = text.split(",")
    if len(cells) != 2:
        raise AnnotationError(f"{place}: {text!r} is not x,y; correct it")
    return point(finite(place, cells[0]), finite(place, cells[1]), origin)[:2]


def _point(element: ET.Element, place: str, origin: float) -> tuple[float, float, int]:
    if element.get("outside") == "1":
        return 0.0, 0.0, UNLABELLED
    x, y = _pair(element.get("points", ""), place, origin)
    return x, y, OCCLUDED if element.get("occluded") == "1" else VISIBLE


def write_cvat(labels: PointLabels, name: str, *, origin: float = 0.5) -> dict[str, bytes]:
    """The content of a CVAT XML, by its name: a skeleton an object, with six decimals instead of CVAT's two.

    Raises:
        AnnotationError: where an image's size is known to neither the labels nor its file.
    """
    tree = ET.Element("annotations")
    ET.SubElement(tree, "version").text = "1.1"
    for i, image in enumerate(labels.images):
        height, width = labels.size_of(image)
        entry = ET.SubElement(tree, "image", id=str(i), name=image.file, width=str(width), height=str(height))
        if image.split:
            entry.set("subset", image.split)
        ids = [item.id for item in image.objects]
        own = all(i.isdecimal() and int(i) for i in ids) and len(set(ids)) == len(ids)
        for number, item in enumerate(image.objects, start=1):
            group = item.id if own else str(number) if item.box or item.id else "0"
            common = {"source": "manual", "z_order": "0", **({"group_id": group} if group != "0" else {})}
            skeleton = ET.SubElement(entry, "skeleton", {"label": labels.schema.name, **common})
            k = item.keypoints
            for label, (x, y), code in zip(labels.schema.points, k.xy, k.visibility, strict=True):
                at = f"{shortest(x - 0.5 + origin)},{shortest(y - 0.5 + origin)}" if code else "0,0"
                marks = {"occluded": str(int(code == OCCLUDED)), "outside": str(int(not code)), "source": "manual"}
                ET.SubElement(skeleton, "points", {"label": label, "points": at, **marks})
            if item.box:
                sides = zip(("xtl", "ytl", "xbr", "ybr"), item.box, strict=True)
                at_sides = {side: shortest(v - 0.5 + origin) for side, v in sides}
                ET.SubElement(entry, "box", {"label": labels.schema.name, "occluded": "0", **at_sides, **common})
    ET.indent(tree)
    return {name: ET.tostring(tree, encoding="utf-8", xml_declaration=True) + b"\n"}
