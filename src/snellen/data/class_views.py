"""Classification data made from other data: some of the images, perturbation sequences, shifted images."""

from collections.abc import Sequence

from jaxtyping import UInt8
from torch import Tensor

from snellen.data.classes import ClassificationDataset, LabelledImage
from snellen.data.corruptions import perturb, shift_pair

__all__ = ["ClassPart", "Frames", "ShiftOf"]


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


class Frames:
    """The perturbation sequences of all images (data/corruptions.py), one after the other: a frame is an image.

    Args:
        data: the data set.
        kind: of the perturbation.
        frames: length of a sequence; its first frame is the image itself.
    """

    def __init__(self, data: ClassificationDataset, kind: str, frames: int) -> None:
        self.data, self.classes, self.kind, self.frames = data, data.classes, kind, frames
        # The sequence made last: frames are asked for in order, and making one makes all before it.
        self._made: tuple[int, list[UInt8[Tensor, "c h w"]]] = (-1, [])

    @property
    def names(self) -> Sequence[str]:
        """Names of the frames, file#frame."""
        return [f"{name}#{frame}" for name in self.data.names for frame in range(self.frames)]

    def __len__(self) -> int:
        return len(self.data) * self.frames

    def __getitem__(self, index: int) -> LabelledImage:
        position, frame = divmod(index, self.frames)
        clean = self.data[position]
        if self._made[0] != position:
            self._made = position, list(perturb(clean.image, self.kind, self.frames, index=position))
        return LabelledImage(self._made[1][frame], clean.label, f"{clean.name}#{frame}")


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
