"""The images that models are asked about, in whatever form they come."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from snellen.data.views import to_channels
from snellen.geometry import Box
from snellen.images import PictureReader, to_bytes, upright

__all__ = ["Picture", "as_box", "as_list", "image_tensor"]

#: A path, a file's bytes, a PIL image, an array (h, w) or (h, w, 3), or a tensor (c, h, w); arrays and tensors are uint8.
Picture = str | Path | bytes | Image.Image | NDArray[Any] | Tensor

_KINDS = "an image is a path, a file's bytes, a PIL image, a NumPy array or a tensor"


def as_list(images: Picture | Sequence[Picture]) -> list[Picture]:
    """One image or many, as a list.

    Raises:
        ValueError: for what is neither an image nor several.
    """
    if isinstance(images, str | Path | bytes | Image.Image | np.ndarray | Tensor):
        return [images]
    if hasattr(images, "read"):
        raise ValueError(f"{_KINDS}, or a list of these, not an open file; give its path, or what its read() gives")
    try:
        return list(images)
    except TypeError:
        raise ValueError(f"{_KINDS}, or a list of these, not {type(images).__name__}") from None


def image_tensor(
    picture: Picture,
    channels: int,
    reader: PictureReader = PictureReader(),  # noqa: B008  # frozen
) -> UInt8[Tensor, "c h w"]:
    """An image as a tensor, turned upright where its EXIF data say how.

    Args:
        picture: the image.
        channels: 1 or 3; grey is repeated, colour becomes grey by the ITU-R 601 luma.
        reader: how files are read, and 16-bit grey of PIL images is scaled.

    Raises:
        ValueError: for other shapes and types; ImageError for files that cannot be read.
    """
    if isinstance(picture, (str, Path, bytes)):
        return reader.image(picture, channels=channels)
    if isinstance(picture, Image.Image):
        # Upright, as the same file is by its path.
        return torch.from_numpy(to_bytes(upright(picture, "a PIL image"), channels, reader.grey_range))
    if isinstance(picture, np.ndarray):
        # Arrays of PIL images cannot be written to, which torch warns of.
        picture = torch.from_numpy(np.ascontiguousarray(picture) if picture.flags.writeable else picture.copy())
        if picture.ndim in (2, 3):
            picture = picture[None] if picture.ndim == 2 else picture.permute(2, 0, 1)
    if not isinstance(picture, Tensor):
        raise ValueError(f"{_KINDS}, not {type(picture).__name__}")
    if picture.ndim != 3 or picture.shape[0] not in (1, 3):
        raise ValueError(
            f"an image is (c, h, w) with 1 or 3 channels (arrays: (h, w) or (h, w, 3)), not {tuple(picture.shape)}"
        )
    if picture.dtype != torch.uint8:
        raise ValueError(
            f"an image holds whole numbers from 0 to 255 (uint8), not {str(picture.dtype).removeprefix('torch.')}; "
            "scale it to that range and convert it"
        )
    if not picture.numel():
        raise ValueError(f"an image of {picture.shape[-1]}x{picture.shape[-2]} has no pixels; leave it out")
    return to_channels(picture, channels)


def as_box(values: Sequence[float] | None, number: int) -> Box | None:
    """Four numbers as a box: also a plain tuple, or the row of an array; None, the whole image, stays.

    Args:
        values: left, top, right, bottom.
        number: of the image, for messages.

    Raises:
        ValueError: for what is no box.

    >>> as_box((1, 2, 3, 4), 0)
    Box(left=1.0, top=2.0, right=3.0, bottom=4.0)
    """
    if values is None:
        return None
    try:
        left, top, right, bottom = (float(v) for v in values)
    except (TypeError, ValueError):
        raise ValueError(
            f"box {number} is {values!r}; a box is four numbers: left, top, right, bottom, in pixels of the image"
        ) from None
    if not (math.isfinite(left + top + right + bottom) and left < right and top < bottom):
        raise ValueError(f"box {number}, {values!r}, is empty; right must exceed left and bottom must exceed top")
    return Box(left, top, right, bottom)
