"""What every keypoint data set gives: `Sample`s, by index."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import UInt8
from torch import Tensor

from snellen.geometry import Box
from snellen.keypoints import Keypoints, Schema

__all__ = ["KeypointDataset", "Sample"]


@dataclass(frozen=True)
class Sample:
    """One annotated object.

    Attributes:
        image: (c, h, w) uint8, c = 1 (grey) or 3 (RGB).
        keypoints: the truth, in pixels of `image`.
        box: the region to look at, pixels of `image`; may reach outside.
        name: the file, or what names the image in messages and tables.
    """

    image: UInt8[Tensor, "c h w"]
    keypoints: Keypoints
    box: Box
    name: str


@runtime_checkable
class KeypointDataset(Protocol):
    """A sized, indexable collection of `Sample`s of one schema."""

    schema: Schema

    @property
    def names(self) -> Sequence[str]:
        """Names of the images, without decoding any."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...
