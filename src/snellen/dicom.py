"""DICOM pictures, where pydicom is installed (`pip install 'snellen[dicom]'`)."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DicomError", "grey_levels", "is_dicom", "open_dicom", "size", "spacing"]


class DicomError(ValueError):
    """A DICOM file that cannot be used; the message is the end of a sentence."""


def is_dicom(source: str | Path | bytes) -> bool:
    """Whether a file, or a file's bytes, begin as DICOM does: 128 bytes of anything, then DICM."""
    if isinstance(source, bytes):
        return source[128:132] == b"DICM"
    try:
        with open(source, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except (OSError, ValueError):  # also what is no name of a file
        return False


def open_dicom(source: Any, *, pixels: bool = True) -> Any:
    """pydicom's data set of a path or an open file; without `pixels` the header alone.

    Raises:
        DicomError: where pydicom is missing, or the file is damaged.
    """
    try:
        import pydicom
    except ImportError:
        raise DicomError(
            "is a DICOM file, and pydicom is not installed; install it with: pip install 'snellen[dicom]'"
        ) from None
    try:
        return pydicom.dcmread(source, stop_before_pixels=not pixels)
    except Exception as error:  # pydicom raises many kinds on damaged bytes
        raise DicomError(f"is a DICOM file that cannot be read ({error}); export it again") from None


def grey_levels(data: Any, grey_range: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """(h, w) grey levels of a data set's first frame, as a viewer shows them.

    The rescale slope and intercept are applied. Then `grey_range` becomes 0..255; without it the first window (centre and
    width, DICOM PS3.3 C.11.2.1.2, linear exact) where the file has one, else the range of its values. MONOCHROME1, which is
    white at zero, is inverted.

    Raises:
        DicomError: for colour, for pixels that cannot be decoded, and for a rescale or a window that is no number.
    """
    kind = str(getattr(data, "PhotometricInterpretation", "MONOCHROME2"))
    if not kind.startswith("MONOCHROME"):
        raise DicomError(f"is a DICOM file in {kind}, not grey; export it as PNG")
    try:
        values = np.asarray(data.pixel_array, dtype=np.float64)
    except Exception as error:  # compressed pixels need further packages, which pydicom names
        raise DicomError(
            f"holds pixels that pydicom cannot decode ({str(error).splitlines()[0]}); export it as PNG"
        ) from None
    values = values[0] if values.ndim == 3 else values
    values = values * _numbers(data, "RescaleSlope", [1.0])[0] + _numbers(data, "RescaleIntercept", [0.0])[0]
    # Of several windows the first; an empty one is none.
    centre, width = (_numbers(data, name, [None], empty=True)[0] for name in ("WindowCenter", "WindowWidth"))
    low, high = float(values.min()), float(values.max())
    if grey_range is not None:
        low, high = grey_range
    elif centre is not None and width is not None and width > 0:
        low, high = centre - width / 2, centre + width / 2
    shown = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    shown = 1 - shown if kind == "MONOCHROME1" else shown
    return np.rint(255 * shown).astype(np.uint8)


def spacing(data: Any) -> float | None:
    """Millimetres a pixel: PixelSpacing, else ImagerPixelSpacing; the mean of rows and columns, None where neither is there.

    Raises:
        DicomError: where pixels are not square to a hundredth, so that one number would be wrong; for what is no number.
    """
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        pair = _numbers(data, name, [], empty=True)
        if len(pair) == 2 and min(pair) > 0:
            rows, columns = pair
            if abs(rows - columns) > 0.01 * columns:
                raise DicomError(f"has pixels of {rows:g} x {columns:g} mm, which are not square; resample it first")
            return (rows + columns) / 2
    return None


def size(data: Any) -> tuple[int, int]:
    """(height, width) in pixels.

    Raises:
        DicomError: where there is no picture.
    """
    height, width = (int(_numbers(data, name, [0.0])[0]) for name in ("Rows", "Columns"))
    if height == width == 0:
        raise DicomError("is a DICOM file without a picture; leave it out")
    if min(height, width) < 1:
        raise DicomError(f"is a DICOM file of {width} x {height} pixels; export it again or leave it out")
    return height, width


def _numbers(data: Any, name: str, absent: list[Any], *, empty: bool = False) -> list[Any]:
    """The numbers of an element, one or several; `absent` where the file has none, and where `empty` allows an empty one."""
    try:
        value: Any = getattr(data, name, absent)
        listed = [value] if isinstance(value, str) or not hasattr(value, "__len__") else list(value)
        if value is absent or (empty and value in (None, "", [])):
            return absent
        numbers = [float(v) for v in listed]
        if numbers and all(map(math.isfinite, numbers)):
            return numbers
        raise ValueError("empty" if not numbers else "not finite")
    except Exception:  # pydicom reads an element when it is asked for, and raises many kinds
        raise DicomError(
            f"is a DICOM file whose {name} is empty or no number; export it again or leave it out"
        ) from None
