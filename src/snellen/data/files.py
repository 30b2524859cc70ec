"""Annotated image files as a data set: decoding, caching, and what to do with broken ones."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from snellen.data.base import Sample
from snellen.data.boxes import BoxRule, make_box
from snellen.geometry import Box
from snellen.images import ImageError, PictureReader, pixel_spacing
from snellen.keypoints.formats import Annotation

__all__ = ["AnnotatedImages", "DataError"]

log = logging.getLogger("snellen")


class DataError(ValueError):
    """Data that cannot be used; the message is one sentence with file and row."""


class AnnotatedImages:
    """Image files with annotated objects: one sample an object, so a picture with two faces is two samples.

    Every file's header is read and every box made at construction, so that a missing or unreadable file, or an object
    without the points that its box needs, is found before training starts.
    Decoded images are kept in memory up to `cache_mb`.

    Args:
        annotations: the objects, all of one schema.
        root: folder that the annotations' file names are relative to.
        source: the annotation file, for messages; an annotation's own `source` goes before it.
        box: rule for the region to look at (data/boxes.py).
        box_scale: its scale or margin.
        channels: 1 or 3.
        on_error: "raise" stops at the first broken file; "skip" leaves broken files out, counted in one warning.
        cache_mb: memory for decoded images, in megabytes.
        skipped: sentences on files that the annotations' reader left out already, counted with those left out here.
        reader: how pictures are read.

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
        skipped: Sequence[str] = (),
        reader: PictureReader = PictureReader(),  # noqa: B008  # frozen
    ) -> None:
        self.reader = reader
        self.root, self.source, self.channels, self.on_error = Path(root), str(source), channels, on_error
        self.box, self.box_scale = box, box_scale
        #: (height, width) of each file, from its header.
        self.sizes: dict[str, tuple[int, int]] = {}
        self._cache: dict[str, Tensor] = {}
        self._room = cache_mb * 1_000_000
        self.skipped: list[str] = list(skipped)
        self._told = 0  # how many of them a warning counted
        kept, pixels = [], 0
        for annotation in annotations:
            try:
                height, width = self.reader.size(self.root / annotation.file)
                make_box(self.box, annotation.keypoints, self.box_scale, width, height, annotation.box)
            except ImageError as error:
                self._broken(annotation, error)
            except ValueError as error:
                self._broken(annotation, ValueError(f"{annotation.file}: {error}"))
            else:
                kept.append(annotation)
                self.sizes[annotation.file] = height, width
                pixels += height * width
        #: Whether all decoded images stay in memory (an estimate where a file holds several objects).
        self.fits = pixels * channels <= self._room
        self._keep(kept)

    def _place(self, annotation: Annotation) -> str:
        return f"{annotation.source or self.source}, row {annotation.row}"

    def _broken(self, annotation: Annotation, error: Exception) -> None:
        sentence = f"{self._place(annotation)}: {error}"
        if self.on_error == "raise":
            raise DataError(f"{sentence}; or pass --on-error skip to go on without such files") from None
        self.skipped.append(sentence)

    def _keep(self, annotations: list[Annotation]) -> None:
        if len(self.skipped) > self._told:
            self._told = len(self.skipped)
            log.warning(
                "skipped %d files or rows that cannot be read, the first: %s", len(self.skipped), self.skipped[0]
            )
        if not annotations:
            raise DataError(f"{self.source}: no usable image is left; check the root folder {self.root}")
        self.annotations, self.schema = annotations, annotations[0].keypoints.schema
        #: Files, as the annotations write them; the second object of a file is called `file#2`.
        self.names, seen = [], Counter[str]()
        for annotation in annotations:
            seen[annotation.file] += 1
            count = seen[annotation.file]
            self.names.append(annotation.file if count == 1 else f"{annotation.file}#{count}")

    def decode_all(self) -> None:
        """Decode every image once, filling the cache; broken ones raise or are left out, as `on_error` says."""
        kept = []
        for annotation in self.annotations:
            try:
                self._image(annotation.file)
            except ImageError as error:
                self._broken(annotation, error)
            else:
                kept.append(annotation)
        self._keep(kept)

    def _image(self, file: str) -> Tensor:
        if file in self._cache:
            return self._cache[file]
        image = self.reader.image(self.root / file, channels=self.channels)
        if image.nbytes <= self._room:
            self._room -= image.nbytes
            self._cache[file] = image
        return image

    @property
    def groups(self) -> dict[str, list[int]]:
        """Positions of the samples of each named subset, in order of appearance; one that holds everything is left out."""
        positions: dict[str, list[int]] = {}
        for i, annotation in enumerate(self.annotations):
            for name in annotation.groups:
                positions.setdefault(name, []).append(i)
        return {name: found for name, found in positions.items() if len(found) < len(self.annotations)}

    @property
    def scales(self) -> NDArray[np.float64]:
        """(n,) millimetres a pixel of each sample, NaN where not known: the annotations' own, else a DICOM's."""
        known = [a.scale if a.scale is not None else pixel_spacing(self.root / a.file) for a in self.annotations]
        return np.array([np.nan if scale is None else scale for scale in known], dtype=np.float64)

    def box_of(self, index: int) -> Box:
        """The region that sample `index` is looked at, from its points and its file's header: no pixel is decoded."""
        annotation = self.annotations[index]
        height, width = self.sizes[annotation.file]
        return make_box(self.box, annotation.keypoints, self.box_scale, width, height, annotation.box)

    def size_of(self, index: int) -> tuple[int, int]:
        """(height, width) of the image of sample `index`, from its file's header."""
        return self.sizes[self.annotations[index].file]

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, index: int) -> Sample:
        annotation = self.annotations[index]
        try:
            image = self._image(annotation.file)
        except ImageError as error:
            raise DataError(f"{self._place(annotation)}: {error}") from None
        height, width = image.shape[-2:]
        box = make_box(self.box, annotation.keypoints, self.box_scale, width, height, annotation.box)
        return Sample(image, annotation.keypoints, box, self.names[index])
