"""From samples to batches: canvases for the network, in an order that depends on the seed and the step alone."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from numpy.random import Generator
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from snellen.config import AugmentConfig
from snellen.data.augment import keyed_generator, render
from snellen.data.base import KeypointDataset
from snellen.geometry import Box, Matrix, box_of_points, transform_points

__all__ = [
    "Batch",
    "CanvasDataset",
    "Canvases",
    "StepBatches",
    "Tensors",
    "evaluation_loader",
    "moved_box",
    "training_loader",
]

#: Stands for the epoch in keys of validation draws: made once an image, the same in every validation.
FIXED_DRAW = 2**31 - 1


class Tensors:
    """Base of batches: dataclasses of tensors that move together."""

    def to(self, device: torch.device, non_blocking: bool = False) -> Self:
        """The batch on another device (Lightning calls this)."""
        moved = {
            # MPS has no float64; the maps are only used on the CPU anyway.
            name: value if name == "matrix" else value.to(device, non_blocking=non_blocking)
            for name, value in vars(self).items()
        }
        return type(self)(**moved)

    def pin_memory(self) -> Self:
        """Page-locked copies, for faster transfer to a GPU."""
        return type(self)(**{name: value.pin_memory() for name, value in vars(self).items()})


@dataclass
class Batch(Tensors):
    """Canvases and their points.

    Attributes:
        image: (b, c, h, w) float32 in 0..255.
        xy: (b, k, 2) float32, canvas pixels; 0 where not `labelled`.
        mask: (b, k) True for points that are labelled and on the canvas: the ones a loss may use.
        labelled: (b, k) True for labelled points: the ones a metric uses.
        matrix: (b, 3, 3) float64, image to canvas.
        index: (b,) position in the data set.
    """

    image: Float[Tensor, "b c h w"]
    xy: Float[Tensor, "b k 2"]
    mask: Bool[Tensor, "b k"]
    labelled: Bool[Tensor, "b k"]
    matrix: Float64[Tensor, "b 3 3"]
    index: Int[Tensor, " b"]


class Canvases(Dataset[dict[str, Any]]):
    """Base of the data sets that batches are made of; indexed by (epoch, index) pairs, or by an index for draws made once.

    Args:
        size: how many images.
        seed: first part of every draw's key.

    Attributes:
        batch: makes a batch of the tensors that `draw` names, stacked.
    """

    batch: ClassVar[Callable[..., Any]]

    def __init__(self, size: int, *, seed: int = 0) -> None:
        self.size, self.seed = size, seed

    def draw(self, index: int, rng: Generator) -> dict[str, Any]:
        """The tensors of image `index`, its random changes drawn from `rng`."""
        raise NotImplementedError

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        epoch, index = (FIXED_DRAW, key) if isinstance(key, int) else key
        with _single_thread():
            return self.draw(index, keyed_generator(self.seed, epoch, index))


class CanvasDataset(Canvases):
    """Samples of keypoints drawn on canvases, see `Canvases`.

    Args:
        samples: the data set.
        canvas: (height, width) of the canvas.
        augment: ranges of the random changes.
        seed: first part of every draw's key.
    """

    batch = Batch

    def __init__(
        self, samples: KeypointDataset, canvas: tuple[int, int], augment: AugmentConfig, *, seed: int = 0
    ) -> None:
        super().__init__(len(samples), seed=seed)
        self.samples, self.canvas, self.augment = samples, canvas, augment

    def draw(self, index: int, rng: Generator) -> dict[str, Any]:
        """See `Batch`."""
        image, xy, matrix, _ = render(self.samples[index], self.canvas, self.augment, rng)
        height, width = self.canvas
        labelled = torch.isfinite(xy).all(dim=-1)
        size = torch.tensor([width, height], dtype=torch.float32)
        mask = labelled & (xy >= 0).all(dim=-1) & (xy <= size).all(dim=-1)
        return {
            "image": image,
            "xy": torch.nan_to_num(xy),
            "mask": mask,
            "labelled": labelled,
            "matrix": torch.from_numpy(matrix),
            "index": torch.tensor(index),
        }


def moved_box(box: Box | None, matrix: Matrix) -> Float[Tensor, "4"]:
    """The tight box (left, top, right, bottom) of a box's moved corners, canvas pixels; NaN for none.

    >>> from snellen.geometry import scaling
    >>> moved_box(Box(1, 2, 3, 4), scaling(2.0))
    tensor([2., 4., 6., 8.])
    """
    if box is None:
        return torch.full((4,), torch.nan)
    corners = [[x, y] for x in (box.left, box.right) for y in (box.top, box.bottom)]
    return torch.tensor(box_of_points(transform_points(matrix, corners)), dtype=torch.float32)


class StepBatches:
    """A batch sampler over steps: step t takes positions t * batch_size onwards of an endless series of shuffled epochs.

    Its `start` is the number of steps already done, so a resumed run goes on with the very batch it would have seen; under
    several processes each takes its share of every batch.
    """

    def __init__(
        self, images: int, batch_size: int, steps: int, *, seed: int = 0, start: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        if batch_size % world:
            raise ValueError(f"train.batch_size {batch_size} cannot be shared by {world} devices; choose a multiple")
        self.images, self.batch_size, self.steps, self.seed = images, batch_size, steps, seed
        self.start, self.rank, self.world = start, rank, world

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, order = -1, np.empty(0, dtype=np.int64)
        for step in range(self.start, self.steps):
            batch = []
            for position in range(step * self.batch_size, (step + 1) * self.batch_size):
                if position // self.images != epoch:
                    epoch = position // self.images
                    order = keyed_generator(self.seed, epoch).permutation(self.images)
                batch.append((epoch, int(order[position % self.images])))
            yield batch[self.rank :: self.world]


def _collate(items: list[dict[str, Any]], batch: Callable[..., Any]) -> Any:
    return batch(**{name: torch.stack([item[name] for item in items]) for name in items[0]})


@contextlib.contextmanager
def _single_thread() -> Iterator[None]:
    """One thread for the small operations of one image: handing them to several costs more than it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _one_thread(_: int) -> None:
    # A worker a core: more threads would fight the training process for the cores.
    torch.set_num_threads(1)


def training_loader(data: Canvases, batches: StepBatches, *, workers: int = 0) -> DataLoader[Any]:
    """Batches for training, in the order of `batches`."""
    return DataLoader(
        data,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=partial(_collate, batch=data.batch),
        worker_init_fn=_one_thread,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def evaluation_loader(data: Canvases, batch_size: int, *, workers: int = 0) -> DataLoader[Any]:
    """Every image once, in order."""
    return DataLoader(
        data,
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=partial(_collate, batch=data.batch),
        worker_init_fn=_one_thread,
        pin_memory=torch.cuda.is_available(),
    )
