"""`PointLabels`: the common form that every annotation format is read into and written from.

All positions are in the library's convention (`snellen.geometry`): continuous pixels, x to the right, y downwards, the
top-left corner of the image at (0, 0). A format's own origin and axes end at its reader and begin at its writer.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from snellen.geometry import Box
from snellen.images import ImageError, image_size
from snellen.keypoints.formats.annotations import Annotation, AnnotationError
from snellen.keypoints.keypoints import Keypoints
from snellen.keypoints.schema import Schema

__all__ = ["LabelledImage", "LabelledObject", "PointLabels"]

SPLIT_NAMES = ("", "train", "val", "test")


@dataclass(frozen=True, eq=False)
class LabelledObject:
    """One object in an image.

    Attributes:
        keypoints: its points.
        box: its box, where the file has one.
        scale: millimetres a pixel, where the file says.
        id: what the file calls it; empty where it does not.
        extra: words and numbers of the file that are no position, by name.
        row: place in the annotation file (line, or count of objects), from 1, for messages.
        source: the annotation file, where there is one a picture; else empty.

    Raises:
        ValueError: at construction, for a scale that is not positive.
    """

    keypoints: Keypoints
    box: Box | None = None
    scale: float | None = None
    id: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    row: int = 0
    source: str = ""

    def __post_init__(self) -> None:
        if self.scale is not None and not self.scale > 0:
            raise ValueError(f"a scale is a positive number of millimetres a pixel, not {self.scale}")


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One image and its objects.

    Attributes:
        file: its path as the annotations write it, relative to the set's root, with `/` between folders.
        objects: none for an image that was looked at and holds no object.
        size: (height, width) in pixels as the annotations say; None where they do not.
        split: "train", "val", "test" or, where the file does not say, empty.
        group: what must stay on one side of a split, e.g. the animal or the patient.

    Raises:
        ValueError: at construction, for another split.
    """

    file: str
    objects: tuple[LabelledObject, ...] = ()
    size: tuple[int, int] | None = None
    split: str = ""
    group: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "objects", tuple(self.objects))
        if self.split not in SPLIT_NAMES:
            raise ValueError(f"the split of {self.file} is train, val or test, not {self.split!r}")


@dataclass(frozen=True, eq=False)
class PointLabels:
    """All images of an annotation file or folder.

    Attributes:
        schema: the points of every object.
        images: in the file's order, each file once.
        root: folder that the images' names are relative to.
        source: the annotation file or folder.
        notes: sentences on what the reader left out or assumed.
        broken: of files with one a picture, those that cannot be read, and malformed rows that were left out (`OnError`),
            with a sentence each.

    Raises:
        ValueError: at construction, for a file named twice.
    """

    schema: Schema
    images: tuple[LabelledImage, ...]
    root: Path
    source: Path
    notes: tuple[str, ...] = ()
    broken: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", tuple(self.images))
        seen: set[str] = set()
        for image in self.images:
            if image.file in seen:
                raise ValueError(f"{self.source} lists {image.file} twice; put its objects into one image")
            seen.add(image.file)

    @property
    def objects(self) -> list[tuple[LabelledImage, LabelledObject]]:
        """Every object with its image, in order."""
        return [(image, item) for image in self.images for item in image.objects]

    def annotations(self) -> list[Annotation]:
        """One annotation an object, as data sets take them."""
        return [
            Annotation(
                image.file,
                item.keypoints,
                item.row,
                item.source,
                box=item.box,
                scale=item.scale,
                split=image.split,
                key=image.group,
            )
            for image, item in self.objects
        ]

    def size_of(self, image: LabelledImage) -> tuple[int, int]:
        """(height, width) of an image: as the annotations say, else from the file's header.

        Raises:
            AnnotationError: where neither knows.
        """
        if image.size:
            return image.size
        first = image.objects[0] if image.objects else None
        place = str((first.source if first else "") or self.source)
        return file_size(self.root, image.file, f"{place}, row {first.row}" if first and first.row else place)


def file_size(root: Path, file: str, place: str) -> tuple[int, int]:
    """(height, width) of an image from its header; an AnnotationError that begins with `place` where it cannot be read."""
    try:
        return image_size(root / file, max_pixels=sys.maxsize)  # a header costs nothing; pixels are read elsewhere
    except ImageError as error:
        raise AnnotationError(
            f"{place}: the size of the image is needed to place its points, and {error}; name its folder with --root"
        ) from None


def with_sizes(labels: PointLabels) -> tuple[PointLabels, list[str]]:
    """The labels of all images whose size is known or can be read, sizes filled in, and a sentence on each other one.

    Raises:
        AnnotationError: where no image is left.
    """
    kept, sentences = [], []
    for image in labels.images:
        try:
            kept.append(replace(image, size=labels.size_of(image)))
        except AnnotationError as error:
            sentences.append(f"{image.file} is left out: {error}")
            first = error
    if not kept:
        raise first
    return replace(labels, images=tuple(kept)), sentences


def from_annotations(
    annotations: Iterable[Annotation],
    *,
    root: Path,
    source: Path,
    broken: Mapping[str, str] | None = None,
    notes: tuple[str, ...] = (),
) -> PointLabels:
    """What a reader of flat rows found, as `PointLabels`; the objects of a file are brought together."""
    listed = list(annotations)
    objects: dict[str, list[LabelledObject]] = {}
    for a in listed:
        item = LabelledObject(a.keypoints, a.box, a.scale, row=a.row, source=a.source)
        objects.setdefault(a.file, []).append(item)
    if not listed:
        raise AnnotationError(f"{source} holds no annotated object; check that it is the right file")
    splits, keys = ({a.file: getattr(a, name) for a in listed} for name in ("split", "key"))
    images = tuple(
        LabelledImage(file, tuple(items), split=splits[file], group=keys[file]) for file, items in objects.items()
    )
    return PointLabels(listed[0].keypoints.schema, images, root, source, notes, broken or {})
