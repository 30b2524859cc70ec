"""Reading pictures: one door for every file, with EXIF rotation, colour modes, 16 bit and a size limit."""

import io
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

from snellen.dicom import DicomError, grey_levels, is_dicom, open_dicom, spacing

__all__ = ["MAX_PIXELS", "ImageError", "image_size", "labels_size", "pixel_spacing", "read_image", "read_labels"]

#: Larger pictures are refused before any pixel is decoded; pass `max_pixels` to raise it.
MAX_PIXELS = 120_000_000

# EXIF orientations whose picture lies on its side: width and height exchange.
_ON_ITS_SIDE = {5, 6, 7, 8}
_ORIENTATION_TAG = 0x0112

#: Pillow's modes whose pixels are numbers of labels: one bit, 8-bit grey, palette.
_LABEL_MODES = ("1", "L", "P")

# What Pillow's decoders and its EXIF reader raise on damaged bytes.
_DAMAGED = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, struct.error)


class ImageError(ValueError):
    """A picture that cannot be read; the message is one sentence that names the file."""


def _open(source: str | Path | bytes, name: str, max_pixels: int) -> Image.Image:
    if isinstance(source, bytes):
        size = len(source)
    else:
        path = Path(source)
        if path.is_dir():
            raise ImageError(f"{name} is a folder, not an image; give the path of a picture")
        if not path.exists():
            raise ImageError(f"{name} does not exist; check the path")
        size = path.stat().st_size
    if size == 0:
        raise ImageError(f"{name} is empty (0 bytes); copy the file again or leave it out")
    try:
        with warnings.catch_warnings():
            # Pillow warns about large pictures; the limit below is ours and says what to do.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} is too large to open ({error}); shrink it first") from None
    except _DAMAGED as error:
        # Pillow names a buffer by its address, which says nothing.
        reason = "unknown format" if isinstance(source, bytes) else error
        raise ImageError(
            f"{name} is not a picture that Pillow can read ({reason}); convert it to PNG or JPEG"
        ) from None
    width, height = image.size
    if width * height > max_pixels:
        image.close()
        raise ImageError(
            f"{name} has {width} x {height} pixels, over the limit of {max_pixels:,}; shrink it, or raise max_pixels"
        )
    return image


def _name(source: str | Path | bytes, name: str) -> str:
    return name or ("an image in memory" if isinstance(source, bytes) else str(Path(source)))


def image_size(source: str | Path | bytes, *, name: str = "", max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(height, width) in pixels after EXIF rotation, from the header alone. Arguments as for `read_image`.

    Raises:
        ImageError: where the file is missing, empty, no picture, or over the limit.
    """
    name = _name(source, name)
    if is_dicom(source):
        data = _dicom(source, name, max_pixels, pixels=False)
        return int(data.Rows), int(data.Columns)
    with _open(source, name, max_pixels) as image:
        return _size(image, name)


def pixel_spacing(path: str | Path) -> float | None:
    """Millimetres a pixel of a DICOM file (its PixelSpacing, else ImagerPixelSpacing); None for every other picture.

    Raises:
        ImageError: where the DICOM file cannot be read, or its pixels are not square.
    """
    if not is_dicom(path):
        return None
    try:
        return spacing(_dicom(path, str(path), MAX_PIXELS, pixels=False))
    except DicomError as error:
        raise ImageError(f"{path} {error}") from None


def _dicom(source: str | Path | bytes, name: str, max_pixels: int, *, pixels: bool) -> Any:
    """pydicom's data set, of a size within the limit."""
    try:
        data = open_dicom(io.BytesIO(source) if isinstance(source, bytes) else source, pixels=pixels)
        height, width = int(data.Rows), int(data.Columns)
    except DicomError as error:
        raise ImageError(f"{name} {error}") from None
    except AttributeError:
        raise ImageError(f"{name} is a DICOM file without a picture; leave it out") from None
    if height * width > max_pixels:
        raise ImageError(
            f"{name} has {width} x {height} pixels, over the limit of {max_pixels:,}; shrink it, or raise max_pixels"
        )
    return data


def _size(image: Image.Image, name: str) -> tuple[int, int]:
    width, height = image.size
    try:
        # The base class's method: PNG's own decodes the whole picture to look for a tag behind the pixels.
        turned = Image.Image.getexif(image).get(_ORIENTATION_TAG) in _ON_ITS_SIDE
    except _DAMAGED as error:
        raise ImageError(f"{name} has a broken header ({error}); copy the file again or leave it out") from None
    return (width, height) if turned else (height, width)


def labels_size(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(height, width) of a label map, from the header alone; see `read_labels`.

    Raises:
        ImageError: as `image_size`, and for colour.
    """
    with _open(path, str(path), max_pixels) as image:
        _refuse_colour(image, path)
        return _size(image, str(path))


def read_labels(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> UInt8[Tensor, "h w"]:
    """Decode a label map: a picture whose pixel values are numbers of labels.

    A palette's colours are for people and are not looked at: the index counts (VOC's layout). EXIF rotation is applied.

    Args:
        path: the file, grey of 8 bits, of one bit, or with a palette.
        max_pixels: refusal limit on width x height.

    Returns:
        (h, w) uint8.

    Raises:
        ImageError: one sentence with the path; colour and 16-bit pictures are refused, since no rule says which number
            a colour stands for.
    """
    with _open(path, str(path), max_pixels) as image:
        _refuse_colour(image, path)
        try:
            image.load()
            turned = ImageOps.exif_transpose(image)
        except _DAMAGED as error:
            raise ImageError(f"{path} cannot be decoded ({error}); copy the file again or leave it out") from None
        return torch.from_numpy(np.array(turned).astype(np.uint8))


def _refuse_colour(image: Image.Image, path: str | Path) -> None:
    if image.mode not in _LABEL_MODES:
        raise ImageError(
            f"{path} is a picture of mode {image.mode}, not a map of label numbers; "
            "save it as 8-bit grey or palette PNG whose values are the labels 0, 1, 2, ..."
        )


def read_image(
    source: str | Path | bytes, *, channels: int = 3, name: str = "", max_pixels: int = MAX_PIXELS
) -> UInt8[Tensor, "c h w"]:
    """Decode a picture.

    EXIF rotation is applied; palettes and CMYK become RGB; transparency is laid over white; 16-bit grey is divided by 257
    (65,535 becomes 255); of several frames the first is read. DICOM is read where pydicom is installed, as a viewer shows it
    (`snellen.dicom.grey_levels`).

    Args:
        source: the path of a file, or a file's bytes.
        channels: 1 for grey (ITU-R 601 luma), 3 for RGB.
        name: what messages call it; by default the path.
        max_pixels: refusal limit on width x height.

    Returns:
        (channels, h, w) uint8.

    Raises:
        ImageError: one sentence with the name: what is wrong and what to do.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (RGB), not {channels!r}")
    name = _name(source, name)
    if is_dicom(source):
        try:
            grey = torch.from_numpy(grey_levels(_dicom(source, name, max_pixels, pixels=True)))[None]
        except DicomError as error:
            raise ImageError(f"{name} {error}") from None
        return grey if channels == 1 else grey.expand(3, -1, -1).contiguous()
    with _open(source, name, max_pixels) as image:
        try:
            image.load()
            picture = ImageOps.exif_transpose(image)
        except _DAMAGED as error:
            raise ImageError(f"{name} cannot be decoded ({error}); copy the file again or leave it out") from None
        if picture.mode.startswith("I;16") or picture.mode == "I":
            wide = np.asarray(picture, dtype=np.float64)
            picture = Image.fromarray(np.clip(np.rint(wide / 257.0), 0, 255).astype(np.uint8))
        elif picture.mode == "F":
            raise ImageError(f"{name} holds floating-point pixels of unknown range; save it as 8 or 16-bit grey")
        if picture.has_transparency_data:
            layer = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        picture = picture.convert("L" if channels == 1 else "RGB")
        pixels = np.array(picture)
    return torch.from_numpy(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1).copy())
