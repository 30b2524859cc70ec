"""Labelled pictures: what every classification data set gives, and what its readers share."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from jaxtyping import UInt8
from torch import Tensor

from snellen.data.files import DataError
from snellen.geometry import Box
from snellen.images import ImageError

__all__ = ["ClassEntry", "ClassImages", "ClassificationDataset", "LabelledImage", "OnError"]

log = logging.getLogger("snellen")

OnError = Literal["raise", "skip"]


@dataclass(frozen=True)
class LabelledImage:
    """One picture and its class.

    Attributes:
        image: (c, h, w) uint8, c = 1 (grey) or 3 (RGB).
        label: position in the data set's `classes`.
        name: the file, or what names the image in messages and tables.
        box: where in the image the object is, where that is known; a learned zoom may be told in training.
    """

    image: UInt8[Tensor, "c h w"]
    label: int
    name: str
    box: Box | None = None


@runtime_checkable
class ClassificationDataset(Protocol):
    """A sized, indexable collection of `LabelledImage`s; `classes` names the labels 0, 1, ... in order."""

    classes: tuple[str, ...]

    @property
    def names(self) -> Sequence[str]:
        """Names of the images, all different, without decoding any."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> LabelledImage: ...


class ClassEntry(NamedTuple):
    """An image that is not read yet: its name, its label and where its reader finds it."""

    name: str
    label: int
    place: Any


class ClassImages:
    """Base of the readers: broken images, the cache, and names.

    Every image's header is read at construction, so that a missing or unreadable one is found before training starts.
    Decoded images are kept in memory up to `cache_mb`. A reader says how by `size_of` and `read`.

    Args:
        entries: the images.
        classes: names of the labels.
        source: folder or file, for messages.
        channels: 1 or 3.
        on_error: "raise" stops at the first broken image; "skip" leaves broken ones out, counted in one warning.
        cache_mb: memory for decoded images, in megabytes.

    Attributes:
        labels: of the images, in order.
        skipped: a sentence for each image left out.
        fits: whether all decoded images stay in memory.

    Raises:
        DataError: where an image is broken and `on_error` is "raise", a label has no class, or nothing is left.
    """

    def __init__(
        self,
        entries: Iterable[ClassEntry],
        classes: Sequence[str],
        *,
        source: str,
        channels: int = 3,
        on_error: OnError = "raise",
        cache_mb: int = 2048,
    ) -> None:
        if channels not in (1, 3):
            raise ValueError(f"channels={channels!r} is not possible; give 1 (grey) or 3 (RGB)")
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error={on_error!r} is not known; give 'raise' or 'skip'")
        if cache_mb < 0:
            raise ValueError(f"cache_mb={cache_mb} is not possible; give 0 or more megabytes")
        self.classes, self.source, self.channels = tuple(classes), source, channels
        self.on_error: OnError = on_error
        self.skipped: list[str] = []
        self._cache: dict[str, Tensor] = {}
        self._room = cache_mb * 1_000_000
        pixels = 0

        def usable(entry: ClassEntry) -> None:
            nonlocal pixels
            if not 0 <= entry.label < len(self.classes):
                raise ImageError(
                    f"{self.describe(entry)} has label {entry.label}, but labels are 0 to {len(self.classes) - 1}; "
                    "correct the label or the class names"
                )
            height, width = self.size_of(entry)
            pixels += height * width

        self._keep(entries, usable)
        self.fits = pixels * channels <= self._room

    def _keep(self, entries: Iterable[ClassEntry], check: Callable[[ClassEntry], object]) -> None:
        kept = []
        for entry in entries:
            try:
                check(entry)
            except ImageError as error:
                if self.on_error == "raise":
                    raise DataError(f"{error}; or pass --on-error skip to go on without such files") from None
                self.skipped.append(str(error))
            else:
                kept.append(entry)
        if self.skipped:
            log.warning("skipped %d files that cannot be read, the first: %s", len(self.skipped), self.skipped[0])
        if not kept:
            raise DataError(f"{self.source}: no usable image is left; check the folder and its split")
        self._entries = kept
        self.labels: tuple[int, ...] = tuple(entry.label for entry in kept)
        self._names: tuple[str, ...] = tuple(entry.name for entry in kept)

    def size_of(self, entry: ClassEntry) -> tuple[int, int]:
        """(height, width) of an image, from its header."""
        raise NotImplementedError

    def read(self, entry: ClassEntry) -> UInt8[Tensor, "c h w"]:
        """The decoded image."""
        raise NotImplementedError

    def box_of(self, entry: ClassEntry) -> Box | None:
        """Where in an image its object is; None where that is not known."""
        return None

    def describe(self, entry: ClassEntry) -> str:
        """What messages call an image."""
        return f"{self.source}, {entry.name}"

    def decode_all(self) -> None:
        """Decode every image once, filling the cache; broken ones raise or are left out, as `on_error` says."""
        self._keep(self._entries, self._image)

    def _image(self, entry: ClassEntry) -> Tensor:
        if entry.name in self._cache:
            return self._cache[entry.name]
        image = self.read(entry)
        if image.nbytes <= self._room:
            self._room -= image.nbytes
            self._cache[entry.name] = image
        return image

    @property
    def names(self) -> Sequence[str]:
        """Names of the images, all different."""
        return self._names

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> LabelledImage:
        entry = self._entries[index]
        try:
            return LabelledImage(self._image(entry), entry.label, entry.name, self.box_of(entry))
        except ImageError as error:
            raise DataError(str(error)) from None
