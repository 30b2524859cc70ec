"""What every annotation reader returns, and the error every reader raises."""

from dataclasses import dataclass

from snellen.geometry import Box
from snellen.keypoints.keypoints import Keypoints

__all__ = ["Annotation", "AnnotationError"]


class AnnotationError(ValueError):
    """An annotation file that cannot be read or written; the message is one sentence with file and row.

    It stays on one line whatever words of the file it quotes.

    >>> str(AnnotationError("a.json: the name 'nose\\n' is no word"))
    "a.json: the name 'nose ' is no word"
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(" ".join(sentence.splitlines()))


@dataclass(frozen=True)
class Annotation:
    """The points of one object in one image file.

    Attributes:
        file: path of the image as the annotation file writes it, relative to the data's root.
        keypoints: the points, already in the library's pixel convention.
        row: line of the annotation file, from 1, for messages.
        source: the annotation file, where a data set has one a picture; else empty.
        groups: names of the subsets it is also scored in, e.g. 300-W's "common" or WFLW's "occlusion".
        box: the object's box in the library's convention, where the file has one.
        scale: millimetres a pixel, where the file says.
        split: "train", "val" or "test", where the file says; else empty.
        key: what must stay on one side of a split, e.g. the animal; empty where every file stands alone.
    """

    file: str
    keypoints: Keypoints
    row: int
    source: str = ""
    groups: tuple[str, ...] = ()
    box: Box | None = None
    scale: float | None = None
    split: str = ""
    key: str = ""
