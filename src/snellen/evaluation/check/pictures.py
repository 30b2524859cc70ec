"""What is looked at in each picture: size, EXIF, a hash of its pixels, and how lively it is around the points."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from snellen.images import ImageError, PictureReader, deep_range, open_picture

__all__ = ["Picture", "look", "look_at_all"]

#: Fewer pictures than this are not worth starting processes for.
_FEW = 64

_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Picture:
    """What was found in a picture.

    Attributes:
        error: why it cannot be read; empty where it can.
        size: (height, width) after EXIF rotation.
        turned: whether EXIF says that it lies otherwise than it is stored.
        digest: hash of its pixels, equal for copies in whatever file format that loses nothing.
        lively: mean local contrast at the points, a number of grey levels; NaN without points inside.
        mirrored: the same at the points reflected at the middle row, as if y counted upwards.
        background: the same over the whole picture.
        thumbnail: 16 x 16 cells of red, green and blue, a byte each; nearly equal for the same picture saved in another way.
        deep: smallest and largest value of grey with 16 bits, as stored; None for 8 bits and DICOM.
    """

    error: str = ""
    size: tuple[int, int] = (0, 0)
    turned: bool = False
    digest: str = ""
    lively: float = float("nan")
    mirrored: float = float("nan")
    background: float = float("nan")
    thumbnail: bytes = b""
    deep: tuple[float, float] | None = None


def look(
    path: Path,
    xy: NDArray[np.float64],
    reader: PictureReader = PictureReader(),  # noqa: B008  # frozen
) -> Picture:
    """Decode a picture and look at it.

    Args:
        path: the file.
        xy: (n, 2) labelled points in it, pixels.
        reader: how it is read.
    """
    try:
        height, width = reader.size(path)
        grey = reader.image(path)  # three channels: pictures that differ in colour alone are no copies
    except ImageError as error:
        return Picture(error=str(error))
    pixels = grey.numpy()
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    contrast = _contrast(pixels.mean(axis=0))
    upside = xy * [1, -1] + [0, height]
    return Picture(
        "",
        (height, width),
        _turned(path),
        digest,
        _at(contrast, xy),
        _at(contrast, upside),
        float(contrast.mean()),
        _thumbnail(pixels),
        deep_range(path),
    )


def _thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    return Image.fromarray(pixels.transpose(1, 2, 0)).resize((16, 16), Image.Resampling.BOX).tobytes()


def _turned(path: Path) -> bool:
    try:
        with open_picture(path) as image:
            return bool(Image.Image.getexif(image).get(_ORIENTATION, 1) != 1)
    except (OSError, ValueError, SyntaxError):  # DICOM, which Pillow does not open
        return False


def _contrast(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of the grey levels in a square around each pixel, a twentieth of the shorter side each way."""
    radius = max(3, min(grey.shape) // 20)
    mean, square = _box_mean(grey, radius), _box_mean(grey * grey, radius)
    return np.sqrt(np.clip(square - mean * mean, 0, None))


def _box_mean(values: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    side = 2 * radius + 1
    total = np.pad(values, ((radius + 1, radius), (radius + 1, radius)), mode="edge").cumsum(0).cumsum(1)
    return (total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]) / side**2


def _at(contrast: NDArray[np.float64], xy: NDArray[np.float64]) -> float:
    height, width = contrast.shape
    column, row = np.floor(xy).astype(int).T if len(xy) else (np.array([], int), np.array([], int))
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return float(contrast[row[inside], column[inside]].mean()) if inside.any() else float("nan")


def look_at_all(
    jobs: Sequence[tuple[Path, NDArray[np.float64]]],
    *,
    workers: int = 0,
    progress: Callable[[int], None] | None = None,
    reader: PictureReader = PictureReader(),  # noqa: B008  # frozen
) -> Iterator[Picture]:
    """`look` at many pictures, in order.

    Args:
        jobs: files and their points.
        workers: processes; 0 takes one a core, and none for few pictures.
        progress: called with the number of pictures done.
        reader: how they are read.
    """
    workers = workers or (1 if len(jobs) < _FEW else os.cpu_count() or 1)
    if workers == 1:
        for done, (path, xy) in enumerate(jobs, start=1):
            yield look(path, xy, reader)
            if progress:
                progress(done)
        return
    with ProcessPoolExecutor(workers) as pool:
        paths, points = zip(*jobs, strict=True)
        for done, found in enumerate(pool.map(look, paths, points, [reader] * len(jobs), chunksize=8), start=1):
            yield found
            if progress:
                progress(done)
