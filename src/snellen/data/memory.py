"""Samples kept in memory, for data sets that are costly to make again every epoch."""

from collections.abc import Sequence

import torch
from jaxtyping import UInt8
from torch import Tensor

from snellen.data.base import KeypointDataset, Sample

__all__ = ["InMemory", "to_channels"]


def to_channels(image: UInt8[Tensor, "c h w"], channels: int) -> UInt8[Tensor, "d h w"]:
    """RGB to grey (ITU-R 601 luma, as Pillow does it) or grey to RGB."""
    if image.shape[0] == channels:
        return image
    if channels == 3:
        return image.expand(3, -1, -1).contiguous()
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    return (image * weights).sum(dim=0, keepdim=True).round().to(torch.uint8)


class InMemory:
    """Another data set's samples, made once each and kept with the wanted number of channels.

    Args:
        samples: the data set.
        channels: 1 or 3.
        cache_mb: memory for images, in megabytes; what does not fit is made again each time.
    """

    def __init__(self, samples: KeypointDataset, *, channels: int = 3, cache_mb: int = 2048) -> None:
        self.samples, self.channels, self.schema = samples, channels, samples.schema
        self._room = cache_mb * 1_000_000
        self._cache: dict[int, Sample] = {}

    @property
    def names(self) -> Sequence[str]:
        """Names of the images."""
        return self.samples.names

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        if index in self._cache:
            return self._cache[index]
        made = self.samples[index]
        sample = Sample(to_channels(made.image, self.channels), made.keypoints, made.box, made.name)
        if sample.image.nbytes <= self._room:
            self._room -= sample.image.nbytes
            self._cache[index] = sample
        return sample
