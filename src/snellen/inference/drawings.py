"""Pictures that are written beside a table, one for each picture that is read, and never over one of these."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from snellen.config import ConfigError
from snellen.config.writing import identity, whole_file
from snellen.inference.sources import Source

__all__ = ["Drawings"]


class Drawings:
    """The files that a call writes for its pictures, known before it begins.

    Frames of videos are not counted beforehand: their names come after those of the pictures, `VIDEO-FRAME.jpg`.

    Args:
        folder: where they go; made with the first.
        sources: what is read, in order.
        ending: of the files; by default .jpg for JPEG files and frames of videos, .png for others.
        option: what sends them to this folder on the command line.

    >>> drawings = Drawings(Path("drawn"), [Source(n, Path(n)) for n in ("a/wing.tif", "b/wing.tif")])
    >>> drawings.path("a/wing.tif").name, drawings.path("b/wing.tif").name
    ('wing.png', 'wing-2.png')
    """

    def __init__(self, folder: Path, sources: Sequence[Source], ending: str = "", option: str = "--draw") -> None:
        self.folder, self._ending, self._option = folder, ending, option
        self._taken: set[str] = set()
        self._names = {s.name: self._still(s.path) for s in sources if not s.video}
        self._videos = [s for s in sources if s.video]
        self._read = {found for s in sources if (found := identity(s.path))}

    def path(self, name: str) -> Path:
        """The file for a picture, or for a frame `VIDEO#FRAME`; frames are asked for once each."""
        if name in self._names:
            return self.folder / self._names[name]
        video, _, frame = name.rpartition("#")
        return self.folder / _free(f"{Path(video).stem}-{frame}", self._ending or ".jpg", self._taken)

    def refuse_sources(self) -> None:
        """A ConfigError where one of them would replace a picture that is read."""
        for file in self._existing():
            self._refuse_source(file)

    def refuse_existing(self) -> None:
        """A ConfigError where one of them would replace any file."""
        for file in self._existing():
            raise ConfigError(f"{file} exists; pass --overwrite to replace it, or choose another {self._option}")

    def save(self, image: Image.Image, file: Path) -> None:
        """Write one of them.

        Raises:
            ConfigError: where it would replace a picture that is read.
            OSError: where it cannot be written; it names `file`.
        """
        self._refuse_source(file)  # links and frames of videos show themselves only here
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as temporary:
            image.save(temporary)

    def _still(self, path: Path) -> str:
        same = ".jpg" if path.suffix.lower() in (".jpg", ".jpeg") else ".png"
        return _free(path.stem, self._ending or same, self._taken)

    def _existing(self) -> Iterable[Path]:
        """Files of the folder that have the name of one of them."""
        present = {entry.name for entry in os.scandir(self.folder)} if self.folder.is_dir() else set()
        ending = re.escape(self._ending or ".jpg")
        frames = [re.compile(rf"{re.escape(s.path.stem)}-\d+(-\d+)?{ending}") for s in self._videos]
        for name in self._names.values():
            if name in present or (present and (self.folder / name).exists()):  # a file system may not tell a from A
                yield self.folder / name
        for name in sorted(present):
            if any(pattern.fullmatch(name) for pattern in frames):
                yield self.folder / name

    def _refuse_source(self, file: Path) -> None:
        if identity(file) in self._read:
            raise ConfigError(
                f"{file} is one of the pictures that are read, and {self._option} would write over it; choose another folder"
            )


def _free(stem: str, ending: str, taken: set[str]) -> str:
    """A name like no other of `taken`, to which it is added."""
    found, count = f"{stem}{ending}", 1
    while found in taken:
        count += 1
        found = f"{stem}-{count}{ending}"
    taken.add(found)
    return found
