"""Images with a label for every pixel as a data set: decoding, checking, caching, and what to do with broken files."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import UInt8
from torch import Tensor

from snellen.data.files import DataError
from snellen.images import ImageError, image_size, labels_size, read_image, read_labels

__all__ = ["LabelMap", "MaskFile", "MaskImages", "SegmentationDataset"]

log = logging.getLogger("snellen")


@dataclass(frozen=True)
class LabelMap:
    """One image and the label of each of its pixels.

    Attributes:
        image: (c, h, w) uint8, c = 1 (grey) or 3 (RGB).
        labels: (h, w) uint8: the number of a class, or the data set's `ignore`.
        name: the file, or what names the image in messages and tables.
    """

    image: UInt8[Tensor, "c h w"]
    labels: UInt8[Tensor, "h w"]
    name: str


@runtime_checkable
class SegmentationDataset(Protocol):
    """A sized, indexable collection of `LabelMap`s.

    Attributes:
        classes: names; the position is the label.
        ignore: the label of pixels that neither train nor count, or None where all have a class.
    """

    classes: tuple[str, ...]
    ignore: int | None

    @property
    def names(self) -> Sequence[str]:
        """Names of the images, without decoding any."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> LabelMap: ...


@dataclass(frozen=True)
class MaskFile:
    """Where an image and its labels are.

    Attributes:
        name: how the image is called in messages and tables.
        image: its file.
        mask: the file of its labels.
    """

    name: str
    image: Path
    mask: Path


class MaskImages:
    """Image files with files of labels (`snellen.images.read_labels`).

    The headers of all files are read at construction, so that missing files, colour masks and sizes that differ are found
    before training starts; labels outside the classes are found when a mask is decoded.
    Decoded images and masks are kept in memory up to `cache_mb`.

    Args:
        files: the images.
        classes: names of the labels 0, 1, ...; at most 255.
        ignore: label of pixels without a class, no class's number; None where there is none.
        source: the folder or list, for messages.
        channels: 1 or 3.
        on_error: "raise" stops at the first broken file; "skip" leaves broken files out, counted in one warning.
        cache_mb: memory for decoded images and masks, in megabytes.
        skipped: sentences on files that the reader left out already, counted with those left out here.

    Raises:
        DataError: where a file is broken and `on_error` is "raise", or nothing is left.
        ValueError: for classes, an ignored label, or channels that are not possible.
    """

    def __init__(
        self,
        files: Sequence[MaskFile],
        classes: Sequence[str],
        *,
        ignore: int | None,
        source: str | Path,
        channels: int = 3,
        on_error: Literal["raise", "skip"] = "raise",
        cache_mb: int = 2048,
        skipped: Sequence[str] = (),
    ) -> None:
        if not 1 <= len(classes) <= 255 or len(set(classes)) < len(classes):
            raise ValueError(f"{len(classes)} classes are not possible; give 1 to 255 names, each once")
        if ignore is not None and not len(classes) <= ignore <= 255:
            raise ValueError(
                f"ignore={ignore} is not possible beside {len(classes)} classes, which have the labels 0 to "
                f"{len(classes) - 1}; pixels without a class need another number up to 255"
            )
        if channels not in (1, 3):
            raise ValueError(f"channels={channels!r} is not possible; give 1 (grey) or 3 (RGB)")
        self.classes, self.ignore = tuple(classes), ignore
        self.source, self.channels, self.on_error = str(source), channels, on_error
        self._cache: dict[str, LabelMap] = {}
        self._room = cache_mb * 1_000_000
        self.skipped: list[str] = list(skipped)
        kept, pixels = [], 0
        for file in files:
            try:
                height, width = _common_size(file)
            except ImageError as error:
                self._broken(error)
            else:
                kept.append(file)
                pixels += height * width
        #: Whether all decoded images and masks stay in memory.
        self.fits = pixels * (channels + 1) <= self._room
        self._keep(kept)

    def _broken(self, error: Exception) -> None:
        if self.on_error == "raise":
            raise DataError(f"{error}; or pass --on-error skip to go on without such files") from None
        self.skipped.append(str(error))

    def _keep(self, files: list[MaskFile]) -> None:
        if self.skipped:
            log.warning("skipped %d files that cannot be read, the first: %s", len(self.skipped), self.skipped[0])
        if not files:
            raise DataError(f"{self.source}: no usable image is left; check the folder")
        self.files = files
        #: Names of the images.
        self.names = [file.name for file in files]

    def decode_all(self) -> None:
        """Decode everything once, filling the cache; broken files raise or are left out, as `on_error` says."""
        kept = []
        for file in self.files:
            try:
                self._read(file)
            except ImageError as error:
                self._broken(error)
            else:
                kept.append(file)
        self._keep(kept)

    def _read(self, file: MaskFile) -> LabelMap:
        if file.name in self._cache:
            return self._cache[file.name]
        image, labels = read_image(file.image, channels=self.channels), read_labels(file.mask)
        self._check(labels, file)
        sample = LabelMap(image, labels, file.name)
        if (size := image.nbytes + labels.nbytes) <= self._room:
            self._room -= size
            self._cache[file.name] = sample
        return sample

    def _check(self, labels: Tensor, file: MaskFile) -> None:
        found = torch.bincount(labels.flatten().int(), minlength=256)
        allowed = torch.zeros(256, dtype=torch.bool)
        allowed[: len(self.classes)] = True
        if self.ignore is not None:
            allowed[self.ignore] = True
        strange = ((found > 0) & ~allowed).nonzero()[:, 0].tolist()
        if strange:
            ignored = "" if self.ignore is None else f", and {self.ignore} for none"
            raise ImageError(
                f"{file.mask} holds label {strange[0]} at {int(found[strange[0]])} pixels; the {len(self.classes)} "
                f"classes have the labels 0 to {len(self.classes) - 1}{ignored}; correct the mask, the classes or ignore"
            )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> LabelMap:
        try:
            return self._read(self.files[index])
        except ImageError as error:
            raise DataError(str(error)) from None


def _common_size(file: MaskFile) -> tuple[int, int]:
    (height, width), (rows, columns) = image_size(file.image), labels_size(file.mask)
    if (height, width) != (rows, columns):
        raise ImageError(
            f"{file.mask} is {columns} x {rows} pixels but {file.image} is {width} x {height}; "
            "a mask has to be as large as its image"
        )
    return height, width
