"""What every annotation reader returns, and the error every reader raises."""

from dataclasses import dataclass

from snellen.keypoints.keypoints import Keypoints

__all__ = ["Annotation", "AnnotationError"]


class AnnotationError(ValueError):
    """An annotation file that cannot be read; the message is one sentence with file and row."""


@dataclass(frozen=True)
class Annotation:
    """The points of one object in one image file.

    Attributes:
        file: path of the image as the annotation file writes it, relative to the data's root.
        keypoints: the points, already in the library's pixel convention.
        row: line of the annotation file, from 1, for messages.
        source: the annotation file, where a data set has one a picture; else empty.
        groups: names of the subsets it is also scored in, e.g. 300-W's "common" or WFLW's "occlusion".
    """

    file: str
    keypoints: Keypoints
    row: int
    source: str = ""
    groups: tuple[str, ...] = ()
