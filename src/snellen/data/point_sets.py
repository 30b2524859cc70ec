"""Annotations without images: the points of each object and the region they are looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

from snellen.config import KeypointDataConfig
from snellen.data.build import Split, build_dataset
from snellen.data.files import AnnotatedImages
from snellen.data.views import InMemory
from snellen.data.wings import Wings
from snellen.geometry import Box
from snellen.keypoints import Keypoints, Schema

__all__ = ["PointSet", "build_points"]


@dataclass(frozen=True)
class PointSet:
    """The annotations of a split.

    Attributes:
        keypoints: the points of each object, in pixels of its image.
        boxes: the region each object is looked at, likewise.
        sizes: (height, width) of each object's image, pixels.
        names: of the objects.
        schema: of all of them.

    Raises:
        ValueError: at construction, where there is nothing, numbers differ or an object is of another schema.
    """

    keypoints: Sequence[Keypoints]
    boxes: Sequence[Box]
    sizes: Sequence[tuple[int, int]]
    names: Sequence[str]
    schema: Schema

    def __post_init__(self) -> None:
        counts = {len(self.keypoints), len(self.boxes), len(self.sizes), len(self.names)}
        if len(counts) != 1 or counts == {0}:
            raise ValueError(f"keypoints, boxes, sizes and names must be equally many and some, not {sorted(counts)}")
        for name, points in zip(self.names, self.keypoints, strict=True):
            if points.schema != self.schema:
                raise ValueError(f"{name} is annotated as {points.schema.name!r}, not {self.schema.name!r}")

    def __len__(self) -> int:
        return len(self.keypoints)


def build_points(config: KeypointDataConfig, split: Split) -> PointSet:
    """The annotations of one split: those of `build_dataset`, of which no image is drawn or decoded.

    Raises:
        DataError, AnnotationError, ConfigError: as `build_dataset`; files whose header is broken count as broken.

    >>> len(build_points(KeypointDataConfig(val_images=3), "val"))
    3
    """
    data = build_dataset(config, split, decode=False)
    if isinstance(data, InMemory) and isinstance(data.samples, Wings):
        wings = data.samples
        height, width = wings.size
        count = len(wings)
        return PointSet(
            [wings.keypoints(i) for i in range(count)],
            [Box(0.0, 0.0, float(width), float(height))] * count,
            [wings.size] * count,
            wings.names,
            wings.schema,
        )
    if isinstance(data, AnnotatedImages):
        every = range(len(data))
        return PointSet(
            [a.keypoints for a in data.annotations],
            [data.box_of(i) for i in every],
            [data.size_of(i) for i in every],
            data.names,
            data.schema,
        )
    raise TypeError(f"no annotations are known of {type(data).__name__}")
