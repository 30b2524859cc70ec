"""Reading pictures: one door for every file, with EXIF rotation, colour modes, 16 bit and a size limit."""

import io
import struct
import sys
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps
from torch import Tensor

from snellen.dicom import DicomError, grey_levels, is_dicom, open_dicom, spacing
from snellen.dicom import size as dicom_size

__all__ = [
    "MAX_PIXELS",
    "GreyRange",
    "ImageError",
    "PictureReader",
    "deep_range",
    "image_size",
    "labels_size",
    "open_picture",
    "pixel_spacing",
    "read_image",
    "read_labels",
    "to_bytes",
    "upright",
]

#: Larger pictures are refused before any pixel is decoded; pass `max_pixels` to raise it.
MAX_PIXELS = 120_000_000

#: The grey values that become black (0) and white (255); None is 0 and 65,535, and for DICOM the file's own window.
GreyRange = tuple[float, float] | None

# EXIF orientations whose picture lies on its side: width and height exchange.
_ON_ITS_SIDE = {5, 6, 7, 8}
_ORIENTATION_TAG = 0x0112

#: Pillow's modes whose pixels are numbers of labels: one bit, 8-bit grey, palette.
_LABEL_MODES = ("1", "L", "P")

# What Pillow's decoders and its EXIF reader raise on damaged bytes.
_DAMAGED = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, struct.error)


# Pillow's own limit is a global of its module: it is lifted by one thread at a time, while a header is read.
_PILLOW_LIMIT = threading.Lock()


class ImageError(ValueError):
    """A picture that cannot be read; the message is one sentence that names the file."""


@dataclass(frozen=True)
class PictureReader:
    """How pictures are read, the same in training, evaluation and prediction.

    Attributes:
        max_pixels: larger pictures (width x height) are refused.
        grey_range: the values of grey with more than 8 bits that become black and white; None is the full range of 16 bits.

    Raises:
        ValueError: at construction, for a limit or a range that is not possible.

    >>> PictureReader(grey_range=(0, 4095)).max_pixels
    120000000
    """

    max_pixels: int = MAX_PIXELS
    grey_range: GreyRange = None

    def __post_init__(self) -> None:
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels is a number of pixels, at least 1, not {self.max_pixels}")
        if self.grey_range is not None and not self.grey_range[0] < self.grey_range[1]:
            raise ValueError(f"grey_range is a lower and a higher grey value, not {list(self.grey_range)}")

    def image(self, source: str | Path | bytes, *, channels: int = 3) -> UInt8[Tensor, "c h w"]:
        """`read_image` by this limit and range."""
        return read_image(source, channels=channels, max_pixels=self.max_pixels, grey_range=self.grey_range)

    def size(self, source: str | Path | bytes) -> tuple[int, int]:
        """`image_size` by this limit."""
        return image_size(source, max_pixels=self.max_pixels)


def open_picture(source: str | Path | bytes | IO[bytes], formats: tuple[str, ...] | None = None) -> Image.Image:
    """Pillow's picture with its header read, of any size: callers compare `size` with their own limit.

    Args:
        source: a path, a file's bytes, or an open file.
        formats: Pillow's names of those to try; by default all.

    Raises:
        OSError and what else Pillow raises on damaged bytes.
    """
    with warnings.catch_warnings():
        # Pillow warns about large pictures and refuses larger ones; limits here say what to do.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats)
        except Image.DecompressionBombError:
            with _PILLOW_LIMIT:
                limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
                try:
                    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats)
                finally:
                    Image.MAX_IMAGE_PIXELS = limit


def _refuse_large(width: int, height: int, name: str, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError(
            f"{name} has {width} x {height} pixels, over the limit of {max_pixels:,}; shrink it, or raise the limit to "
            f"{width * height} (data.max_pixels of recipes and train, --max-pixels of check and predict, max_pixels in Python)"
        )


def _open(source: str | Path | bytes, name: str, max_pixels: int) -> Image.Image:
    if isinstance(source, bytes):
        size = len(source)
    else:
        path = Path(source)
        try:
            if path.is_dir():
                raise ImageError(f"{name} is a folder, not an image; give the path of a picture")
            if not path.exists():
                raise ImageError(f"{name} does not exist; check the path")
            size = path.stat().st_size
        except ImageError:
            raise
        except (
            OSError,
            ValueError,
        ) as error:  # a folder that may not be entered; no name of a file (too long, null byte)
            reason = getattr(error, "strerror", None) or error
            raise ImageError(f"{name!r} cannot be looked up ({reason}); check the path") from None
    if size == 0:
        raise ImageError(f"{name} is empty (0 bytes); copy the file again or leave it out")
    try:
        image = open_picture(source)
    except _DAMAGED as error:
        # Pillow names a buffer by its address, which says nothing.
        reason = "unknown format" if isinstance(source, bytes) else error
        raise ImageError(
            f"{name} is not a picture that Pillow can read ({reason}); convert it to PNG or JPEG"
        ) from None
    try:
        _refuse_large(*image.size, name, max_pixels)
    except ImageError:
        image.close()
        raise
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
        return dicom_size(_dicom(source, name, max_pixels, pixels=False))
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
        return spacing(_dicom(path, str(path), sys.maxsize, pixels=False))
    except DicomError as error:
        raise ImageError(f"{path} {error}") from None


def _dicom(source: str | Path | bytes, name: str, max_pixels: int, *, pixels: bool) -> Any:
    """pydicom's data set, of a size within the limit."""
    try:
        data = open_dicom(io.BytesIO(source) if isinstance(source, bytes) else source, pixels=pixels)
        height, width = dicom_size(data)
    except DicomError as error:
        raise ImageError(f"{name} {error}") from None
    _refuse_large(width, height, name, max_pixels)
    return data


def _size(image: Image.Image, name: str) -> tuple[int, int]:
    width, height = image.size
    try:
        # The base class's method: PNG's own decodes the whole picture to look for a tag behind the pixels.
        turned = Image.Image.getexif(image).get(_ORIENTATION_TAG) in _ON_ITS_SIDE
    except _DAMAGED as error:
        raise ImageError(f"{name} has a broken header ({error}); copy the file again or leave it out") from None
    return (width, height) if turned else (height, width)


def deep_range(path: str | Path) -> tuple[float, float] | None:
    """Smallest and largest grey value of a picture with 16 bits; None for every other picture, DICOM too, and broken ones.

    Call it after the picture has been read within its limit.
    """
    try:
        with open_picture(path) as image:
            if not (image.mode.startswith("I;16") or image.mode == "I"):
                return None
            low, high = np.asarray(image).min(), np.asarray(image).max()
    except _DAMAGED:
        return None
    return float(low), float(high)


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
        return torch.from_numpy(np.array(upright(image, str(path))).astype(np.uint8))


def _refuse_colour(image: Image.Image, path: str | Path) -> None:
    if image.mode not in _LABEL_MODES:
        raise ImageError(
            f"{path} is a picture of mode {image.mode}, not a map of label numbers; "
            "save it as 8-bit grey or palette PNG whose values are the labels 0, 1, 2, ..."
        )


def read_image(
    source: str | Path | bytes,
    *,
    channels: int = 3,
    name: str = "",
    max_pixels: int = MAX_PIXELS,
    grey_range: GreyRange = None,
) -> UInt8[Tensor, "c h w"]:
    """Decode a picture.

    EXIF rotation is applied; palettes, CMYK and CIELAB become RGB; transparency is laid over white; 16-bit grey is scaled by
    `grey_range`, by default divided by 257 (65,535 becomes 255); of several frames the first is read. DICOM is read where
    pydicom is installed, by `grey_range` too, else as a viewer shows it (`snellen.dicom.grey_levels`).

    Args:
        source: the path of a file, or a file's bytes.
        channels: 1 for grey (ITU-R 601 luma), 3 for RGB.
        name: what messages call it; by default the path.
        max_pixels: refusal limit on width x height.
        grey_range: values of 16-bit grey that become black and white, and of DICOM's after its rescale slope; pictures of 8
            bits are left as they are.

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
            grey = torch.from_numpy(grey_levels(_dicom(source, name, max_pixels, pixels=True), grey_range))[None]
        except DicomError as error:
            raise ImageError(f"{name} {error}") from None
        return grey if channels == 1 else grey.expand(3, -1, -1).contiguous()
    with _open(source, name, max_pixels) as image:
        picture = upright(image, name)
        if picture.mode == "F":
            raise ImageError(f"{name} holds floating-point pixels of unknown range; save it as 8 or 16-bit grey")
        pixels = to_bytes(picture, channels, grey_range, name=name)
    return torch.from_numpy(pixels)


def upright(image: Image.Image, name: str) -> Image.Image:
    """Pillow's picture decoded and turned as its EXIF data say.

    Args:
        image: the picture.
        name: what messages call it.

    Raises:
        ImageError: where its bytes are damaged.

    >>> upright(Image.new("L", (3, 2)), "a picture").size
    (3, 2)
    """
    try:
        image.load()
        return ImageOps.exif_transpose(image)
    except _DAMAGED as error:
        raise ImageError(f"{name} cannot be decoded ({error}); copy the file again or leave it out") from None


def to_bytes(
    picture: Image.Image, channels: int, grey_range: GreyRange = None, *, name: str = "a PIL image"
) -> UInt8[NDArray[np.uint8], "c h w"]:
    """The pixels of Pillow's picture, (channels, h, w): colours, transparency and 16 bits as `read_image` says.

    Raises:
        ImageError: for damaged pictures, and colours that cannot be converted.

    >>> to_bytes(Image.new("LAB", (2, 1), (255, 128, 128)), 1)
    array([[[255, 255]]], dtype=uint8)
    """
    try:
        return _bytes(picture, channels, grey_range)
    except (*_DAMAGED, ImageCms.PyCMSError, ImportError) as error:  # a Pillow without colour management
        raise ImageError(
            f"{name} has mode {picture.mode} and cannot be converted ({error}); save it as RGB or grey PNG"
        ) from None


def _bytes(picture: Image.Image, channels: int, grey_range: GreyRange) -> UInt8[NDArray[np.uint8], "c h w"]:
    if picture.mode.startswith("I;16") or picture.mode == "I":
        low, high = grey_range or (0.0, 65535.0)
        share = (np.asarray(picture, dtype=np.float64) - low) / (high - low)
        picture = Image.fromarray(np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8))
    if picture.mode == "LAB":  # which `convert` does not know
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        picture = ImageCms.profileToProfile(picture, *profiles, outputMode="RGB") or picture
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    pixels = np.array(picture.convert("L" if channels == 1 else "RGB"))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1).copy()
