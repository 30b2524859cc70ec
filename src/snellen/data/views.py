"""Data sets made from other data sets: kept in memory, cut to fewer images, or with moved boxes."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from snellen.data.augment import keyed_generator
from snellen.data.base import KeypointDataset, Sample

__all__ = ["InMemory", "Perturbed", "Spread", "View", "spread", "to_channels"]


def to_channels(image: UInt8[Tensor, "c h w"], channels: int) -> UInt8[Tensor, "d h w"]:
    """RGB to grey (ITU-R 601 luma, as Pillow does it) or grey to RGB."""
    if image.shape[0] == channels:
        return image
    if channels == 3:
        return image.expand(3, -1, -1).contiguous()
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    return (image * weights).sum(dim=0, keepdim=True).round().to(torch.uint8)


def spread(size: int, count: int) -> list[int]:
    """At most `count` positions, spread evenly over `size`: files are often sorted by kind.

    >>> spread(10, 4)
    [0, 2, 5, 7]
    """
    kept = min(count, size)
    return [i * size // kept for i in range(kept)]


class View:
    """Another data set as it is; what inherits changes its samples.

    Args:
        samples: the data set.
    """

    def __init__(self, samples: KeypointDataset) -> None:
        self.samples, self.schema = samples, samples.schema

    @property
    def names(self) -> Sequence[str]:
        """Names of the images."""
        return self.samples.names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


class InMemory(View):
    """Another data set's samples, made once each and kept with the wanted number of channels.

    Args:
        samples: the data set.
        channels: 1 or 3.
        cache_mb: memory for images, in megabytes; what does not fit is made again each time.
    """

    def __init__(self, samples: KeypointDataset, *, channels: int = 3, cache_mb: int = 2048) -> None:
        super().__init__(samples)
        self.channels = channels
        self._room = cache_mb * 1_000_000
        self._cache: dict[int, Sample] = {}

    def __getitem__(self, index: int) -> Sample:
        if index in self._cache:
            return self._cache[index]
        made = self.samples[index]
        sample = Sample(to_channels(made.image, self.channels), made.keypoints, made.box, made.name)
        if sample.image.nbytes <= self._room:
            self._room -= sample.image.nbytes
            self._cache[index] = sample
        return sample


class Spread(View):
    """At most `count` samples of a data set, spread evenly over it.

    Args:
        samples: the data set.
        count: the most to keep.
    """

    def __init__(self, samples: KeypointDataset, count: int) -> None:
        super().__init__(samples)
        self.indices = spread(len(samples), count)

    @property
    def names(self) -> Sequence[str]:
        """Names of the images that are kept."""
        return [self.samples.names[i] for i in self.indices]

    def __getitem__(self, index: int) -> Sample:
        return self.samples[self.indices[index]]


class Perturbed(View):
    """A data set whose boxes are moved or resized, to see how much a model depends on its box.

    Args:
        samples: the data set.
        shift: distance to move each box by, as a share of its side, in a direction drawn once an image.
        scale: factor on each box's side.
    """

    def __init__(self, samples: KeypointDataset, *, shift: float = 0.0, scale: float = 1.0) -> None:
        super().__init__(samples)
        self.shift, self.scale = shift, scale

    def __getitem__(self, index: int) -> Sample:
        sample = self.samples[index]
        angle = keyed_generator(7, index).uniform(0, 2 * np.pi)
        box = sample.box.scaled(self.scale)
        dx, dy = self.shift * box.width * np.cos(angle), self.shift * box.height * np.sin(angle)
        return Sample(sample.image, sample.keypoints, box.shifted(float(dx), float(dy)), sample.name)
