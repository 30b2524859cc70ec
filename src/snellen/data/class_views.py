"""Classification data made from other data: some of the images, frames of perturbation sequences, shifted images."""

from collections.abc import Sequence
from itertools import islice

from snellen.data.classes import ClassificationDataset, LabelledImage
from snellen.data.corruptions import perturb, shift_pair

__all__ = ["ClassPart", "FrameOf", "ShiftOf"]


class ClassPart:
    """Some images of a data set.

    Args:
        data: the data set.
        indices: positions to keep, in order; by default all.
    """

    def __init__(self, data: ClassificationDataset, indices: Sequence[int] | None = None) -> None:
        self.data, self.classes = data, data.classes
        self.indices = range(len(data)) if indices is None else indices

    @property
    def names(self) -> Sequence[str]:
        """Names of the images that are kept."""
        return [self.data.names[i] for i in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> LabelledImage:
        return self.data[self.indices[index]]


class FrameOf(ClassPart):
    """Each image's frame number `frame` of its perturbation sequence (data/corruptions.py).

    Args:
        data: the data set.
        kind: of the perturbation.
        frame: 0 is the image itself.
        frames: length of the sequences.
    """

    def __init__(self, data: ClassificationDataset, kind: str, frame: int, frames: int) -> None:
        super().__init__(data)
        self.kind, self.frame, self.frames = kind, frame, frames

    def __getitem__(self, index: int) -> LabelledImage:
        clean = super().__getitem__(index)
        sequence = perturb(clean.image, self.kind, self.frames, index=index)
        return LabelledImage(next(islice(sequence, self.frame, None)), clean.label, clean.name)


class ShiftOf(ClassPart):
    """One of two random shifts of each image, by up to `largest` of its pixels.

    Args:
        data: the data set.
        largest: pixels.
        which: 0 or 1.
    """

    def __init__(self, data: ClassificationDataset, largest: int, which: int) -> None:
        super().__init__(data)
        self.largest, self.which = largest, which

    def __getitem__(self, index: int) -> LabelledImage:
        clean = super().__getitem__(index)
        return LabelledImage(shift_pair(clean.image, self.largest, index=index)[self.which], clean.label, clean.name)
