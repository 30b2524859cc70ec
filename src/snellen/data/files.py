"""Annotated image files as a data set: decoding, caching, and what to do with broken ones."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from torch import Tensor

from snellen.data.base import Sample
from snellen.data.boxes import BoxRule, make_box
from snellen.images import ImageError, image_size, read_image
from snellen.keypoints.formats import Annotation

__all__ = ["AnnotatedImages", "DataError"]

log = logging.getLogger("snellen")


class DataError(ValueError):
    """Data that cannot be used; the message is one sentence with file and row."""


class AnnotatedImages:
    """Image files with one annotated object each.

    Every file's header is read at construction, so that a missing or unreadable file is found before training starts.
    Decoded images are kept in memory up to `cache_mb`.

    Args:
        annotations: the objects, all of one schema.
        root: folder that the annotations' file names are relative to.
        source: the annotation file, for messages.
        box: rule for the region to look at (data/boxes.py).
        box_scale: its scale or margin.
        channels: 1 or 3.
        on_error: "raise" stops at the first broken file; "skip" leaves broken files out, counted in one warning.
        cache_mb: memory for decoded images, in megabytes.

    Raises:
        DataError: where a file is broken and `on_error` is "raise", or nothing is left.
    """

    def __init__(
        self,
        annotations: Sequence[Annotation],
        root: str | Path,
        *,
        source: str | Path,
        box: BoxRule = "image",
        box_scale: float = 1.0,
        channels: int = 1,
        on_error: Literal["raise", "skip"] = "raise",
        cache_mb: int = 2048,
    ) -> None:
        self.root, self.source, self.channels, self.on_error = Path(root), str(source), channels, on_error
        self.box, self.box_scale = box, box_scale
        self._cache: dict[int, Tensor] = {}
        self._room = cache_mb * 1_000_000
        self.skipped: list[str] = []
        kept = []
        for annotation in annotations:
            try:
                image_size(self.root / annotation.file)
            except ImageError as error:
                self._broken(annotation, error)
            else:
                kept.append(annotation)
        self.annotations = kept
        self._warn()

    def _broken(self, annotation: Annotation, error: Exception) -> None:
        sentence = f"{self.source}, row {annotation.row}: {error}"
        if self.on_error == "raise":
            raise DataError(f"{sentence}; or pass --on-error skip to go on without such files") from None
        self.skipped.append(sentence)

    def _warn(self) -> None:
        if self.skipped:
            log.warning("skipped %d files that cannot be read, the first: %s", len(self.skipped), self.skipped[0])
        if not self.annotations:
            raise DataError(f"{self.source}: no usable image is left; check the root folder {self.root}")
        self.schema = self.annotations[0].keypoints.schema

    def decode_all(self) -> None:
        """Decode every image once, filling the cache; broken ones raise or are left out, as `on_error` says."""
        broken = set()
        for i, annotation in enumerate(self.annotations):
            try:
                self._image(i)
            except ImageError as error:
                self._broken(annotation, error)
                broken.add(i)
        if broken:
            kept = [i for i in range(len(self.annotations)) if i not in broken]
            self.annotations = [self.annotations[i] for i in kept]
            self._cache = {new: self._cache[old] for new, old in enumerate(kept) if old in self._cache}
        self._warn()

    def _image(self, index: int) -> Tensor:
        if index in self._cache:
            return self._cache[index]
        image = read_image(self.root / self.annotations[index].file, channels=self.channels)
        if image.nbytes <= self._room:
            self._room -= image.nbytes
            self._cache[index] = image
        return image

    @property
    def names(self) -> Sequence[str]:
        """Files, as the annotations write them."""
        return [a.file for a in self.annotations]

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, index: int) -> Sample:
        annotation = self.annotations[index]
        try:
            image = self._image(index)
        except ImageError as error:
            raise DataError(f"{self.source}, row {annotation.row}: {error}") from None
        height, width = image.shape[-2:]
        try:
            box = make_box(self.box, annotation.keypoints, self.box_scale, width, height)
        except ValueError as error:
            raise DataError(f"{self.source}, row {annotation.row}: {annotation.file}: {error}") from None
        return Sample(image, annotation.keypoints, box, annotation.file)
