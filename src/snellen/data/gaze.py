"""Pictures of a gaze: what every gaze data set gives, and what its readers share."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from jaxtyping import UInt8
from torch import Tensor

from snellen.data.files import DataError
from snellen.data.gaze_angles import Answer
from snellen.geometry import Box
from snellen.images import ImageError, image_size, read_image

__all__ = ["Eye", "GazeDataset", "GazeEntry", "GazeImages", "GazeParts", "GazeSample", "people_held_out"]

log = logging.getLogger("snellen")

#: Which eye a picture shows, as seen in the picture: the left one has its inner corner at its right.
Eye = Literal["left", "right", "both"]


@dataclass(frozen=True)
class GazeParts:
    """Where eyes and face are in a frame, in its pixels; left and right as the data name them.

    Attributes:
        face: its box.
        left: box of the left eye.
        right: box of the right eye.
    """

    face: Box
    left: Box
    right: Box


@dataclass(frozen=True)
class GazeEntry:
    """A picture that is not read yet.

    Attributes:
        file: path below the data's root.
        target: (pitch, yaw) in degrees, or (x, y) in centimetres.
        person: who it is; people, not pictures, are split and resampled.
        eye: which eye it shows.
        head_yaw: degrees, positive to the picture's right; for reports alone, never an input. None where it is not known.
        parts: boxes of face and eyes, where the data have them.
        place: what messages call it: file and row.
    """

    file: str
    target: tuple[float, float]
    person: str
    eye: Eye = "both"
    head_yaw: float | None = None
    parts: GazeParts | None = None
    place: str = ""


@dataclass(frozen=True)
class GazeSample:
    """One picture and its gaze.

    Attributes:
        image: (c, h, w) uint8, c = 1 (grey) or 3 (RGB).
        entry: the gaze and what else is known of it.
        box: where in the picture the eyes or the face are; the whole picture where nothing else is known.
        name: the file, or what names the picture in messages and tables.
    """

    image: UInt8[Tensor, "c h w"]
    entry: GazeEntry
    box: Box
    name: str


@runtime_checkable
class GazeDataset(Protocol):
    """A sized, indexable collection of `GazeSample`s that are all answered in the same way."""

    answer: Answer
    entries: Sequence[GazeEntry]

    @property
    def names(self) -> Sequence[str]:
        """Names of the pictures, all different, without decoding any."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> GazeSample: ...


def people_held_out(people: Iterable[str], share: float, seed: int = 0) -> set[str]:
    """The people for validation: `share` of them, rounded, at least one; who it is depends on the seed and each one's name.

    Raises:
        DataError: where there are fewer than two people, since one cannot be on both sides.

    >>> sorted(people_held_out(["1", "2", "3", "4", "5"], 0.4, seed=1))
    ['1', '3']
    """
    known = sorted(set(people))
    if len(known) < 2:
        raise DataError(f"the training data hold {len(known)} people; splitting by person needs at least two")
    count = min(max(1, round(share * len(known))), len(known) - 1)
    return set(sorted(known, key=lambda p: hashlib.sha256(f"{seed}/{p}".encode()).digest())[:count])


class GazeImages:
    """Image files with a gaze.

    Every file's header is read at construction, so that a missing or unreadable one is found before training starts.
    Decoded images are kept in memory up to `cache_mb`.

    Args:
        entries: the pictures.
        root: folder that the entries' files are relative to.
        answer: what `target` of the entries is.
        channels: 1 or 3.
        on_error: "raise" stops at the first broken file; "skip" leaves broken ones out, counted in one warning.
        cache_mb: memory for decoded images, in megabytes.
        skipped: sentences on files that the reader left out already.

    Attributes:
        skipped: a sentence for each picture left out.
        fits: whether all decoded images stay in memory.

    Raises:
        DataError: where a file is broken and `on_error` is "raise", or nothing is left.
    """

    def __init__(
        self,
        entries: Iterable[GazeEntry],
        root: str | Path,
        *,
        answer: Answer = "angles",
        channels: int = 1,
        on_error: Literal["raise", "skip"] = "raise",
        cache_mb: int = 2048,
        skipped: Sequence[str] = (),
    ) -> None:
        if channels not in (1, 3):
            raise ValueError(f"channels={channels!r} is not possible; give 1 (grey) or 3 (RGB)")
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error={on_error!r} is not known; give 'raise' or 'skip'")
        self.root, self.answer, self.channels, self.on_error = Path(root), answer, channels, on_error
        self.skipped = list(skipped)
        self._cache: dict[str, Tensor] = {}
        self._room = cache_mb * 1_000_000
        pixels = 0

        def look(entry: GazeEntry) -> None:
            nonlocal pixels
            height, width = image_size(self.root / entry.file)
            pixels += height * width

        self.entries: Sequence[GazeEntry] = []
        self._keep(entries, look)
        self.fits = pixels * channels <= self._room

    def _keep(self, entries: Iterable[GazeEntry], check: Callable[[GazeEntry], object]) -> None:
        kept = []
        for entry in entries:
            try:
                check(entry)
            except ImageError as error:
                sentence = f"{entry.place}: {error}" if entry.place else str(error)
                if self.on_error == "raise":
                    raise DataError(f"{sentence}; or pass --on-error skip to go on without such files") from None
                self.skipped.append(sentence)
            else:
                kept.append(entry)
        if self.skipped:
            log.warning(
                "skipped %d files or rows that cannot be read, the first: %s", len(self.skipped), self.skipped[0]
            )
        if not kept:
            raise DataError(f"{self.root}: no usable picture is left; check the folder and its split")
        self.entries = kept

    def decode_all(self) -> None:
        """Decode every image once, filling the cache; broken ones raise or are left out, as `on_error` says."""
        self._keep(self.entries, lambda entry: self._image(entry.file))

    def _image(self, file: str) -> Tensor:
        if file in self._cache:
            return self._cache[file]
        image = read_image(self.root / file, channels=self.channels)
        if image.nbytes <= self._room:
            self._room -= image.nbytes
            self._cache[file] = image
        return image

    @property
    def names(self) -> Sequence[str]:
        """Files, as the data write them."""
        return [entry.file for entry in self.entries]

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> GazeSample:
        entry = self.entries[index]
        try:
            image = self._image(entry.file)
        except ImageError as error:
            raise DataError(f"{entry.place}: {error}") from None
        height, width = image.shape[-2:]
        box = entry.parts.face if entry.parts else Box(0.0, 0.0, float(width), float(height))
        return GazeSample(image, entry, box, entry.file)
