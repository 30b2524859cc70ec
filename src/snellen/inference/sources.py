"""The pictures that `snellen predict` is given: files, folders, patterns, lists and videos, in order."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from snellen.config import ConfigError

__all__ = ["PICTURES", "VIDEOS", "Source", "expand", "frames"]

#: Endings that a folder is searched for; a file named outright is read whatever it is called.
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".pgm", ".ppm", ".dcm")
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")


@dataclass(frozen=True)
class Source:
    """A file to predict on.

    Attributes:
        name: what answers call it: the path as it was given or found.
        path: the file.
        video: whether it holds many pictures.
        error: one sentence where no answer could be written for it, else empty.
    """

    name: str
    path: Path
    video: bool = False
    error: str = ""


def expand(files: Sequence[str | Path]) -> list[Source]:
    """Files in a fixed order.

    Args:
        files: pictures and videos; folders, searched with all below them, in the order of names; patterns with * and ?
            (`**` for all folders below); and .txt files with one of these a line, relative to the list's folder.

    Raises:
        ConfigError: where something does not exist or holds no picture.
    """
    found: list[Source] = []
    for given in files:
        found += _expand(str(given), Path())
    # A file named twice is looked at once.
    return list({str(source.path): source for source in found}.values())


def _expand(given: str, base: Path) -> list[Source]:
    path = base / given
    if path.is_dir():
        inside = [_source(p) for p in sorted(path.rglob("*")) if p.suffix.lower() in PICTURES + VIDEOS]
        if not inside:
            raise ConfigError(f"{path} holds no pictures ({', '.join(PICTURES)}) and no videos; give another folder")
        return inside
    if path.suffix.lower() == ".txt" and path.is_file():
        return _listed(path)
    if not path.exists() and glob.has_magic(given):
        matches = [Path(p) for p in sorted(glob.glob(str(path), recursive=True)) if Path(p).is_file()]
        if not matches:
            raise ConfigError(f"no file matches {given}; check the pattern")
        return [_source(p) for p in matches]
    # What does not exist is reported with the others that cannot be read, beside the answers for the rest.
    return [_source(path)]


def _listed(path: Path) -> list[Source]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text; a list has one file a line") from None
    named = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not named:
        raise ConfigError(f"{path} names no file; a list has one file a line")
    nested = next((name for name in named if name.lower().endswith(".txt")), None)
    if nested:
        raise ConfigError(f"{path} names the list {nested}; a list holds pictures, folders and patterns alone")
    return [source for name in named for source in _expand(name, path.parent)]


def _source(path: Path) -> Source:
    name, video = str(path), path.suffix.lower() in VIDEOS
    try:
        name.encode()
    except UnicodeEncodeError:  # Linux allows any bytes in names, tables and annotations hold UTF-8
        shown = os.fsencode(name).decode("utf-8", "backslashreplace")
        return Source(
            shown, path, video, f"{shown} has a name that is not UTF-8, which no table can hold; rename the file"
        )
    if "\n" in name or "\r" in name:
        shown = name.replace("\r", "\\r").replace("\n", "\\n")
        return Source(
            shown, path, video, f"{shown} has a line break in its name, which tables are not read with; rename the file"
        )
    if path.exists() and not path.is_file():  # a pipe would be waited for
        return Source(name, path, video, f"{name} is no regular file; leave it out")
    return Source(name, path, video)


def frames(source: Source, every: int = 1) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """The pictures of a video, each (h, w, 3) and upright, called `FILE#FRAME`; frames count from 0.

    Args:
        source: the video.
        every: take one frame in so many.

    Raises:
        ImportError: where PyAV is not installed.
        ConfigError: where the file cannot be read as a video.
    """
    try:
        import av
    except ImportError:
        raise ImportError("reading videos needs PyAV; install it with: pip install 'snellen[video]'") from None
    try:
        with av.open(str(source.path)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number % every == 0:
                    yield f"{source.name}#{number}", _upright(frame)
    except (av.FFmpegError, OSError, IndexError) as error:
        raise ConfigError(
            f"{source.name} cannot be read as a video ({error}); convert it to MP4 or leave it out"
        ) from None


def _upright(frame: Any) -> NDArray[np.uint8]:
    """Phones write pictures lying on their side and say so; degrees are counter-clockwise."""
    pixels: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    turned = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}
    how = turned.get(int(getattr(frame, "rotation", 0)) % 360)
    return pixels if how is None else np.array(Image.fromarray(pixels).transpose(how))
