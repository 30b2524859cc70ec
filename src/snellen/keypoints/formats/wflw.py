"""WFLW lists: 98 pairs of x and y, the detector's box, six attributes and the image, one face a row::

    x0 y0 ... x97 y97 x_min y_min x_max y_max pose expression illumination make-up occlusion blur image

An attribute is 0 or 1; the faces with a 1 are the subset of that name. The box is not used: ours is made from the points.
A picture can hold several faces.

Origin: WFLW does not document its pixel origin. `origin=0` (our choice) takes (0, 0) for the centre of the top-left pixel.
y points downwards.
"""

from pathlib import Path

import numpy as np

from snellen.keypoints.built_in import WFLW_98
from snellen.keypoints.formats.annotations import Annotation, AnnotationError
from snellen.keypoints.formats.reading import FARTHEST, reader_of, row_left_out
from snellen.keypoints.keypoints import Keypoints

__all__ = ["ATTRIBUTES", "read_wflw"]

ATTRIBUTES = ("pose", "expression", "illumination", "make-up", "occlusion", "blur")

_XY = 2 * len(WFLW_98)
_BOX = 4
_COLUMNS = _XY + _BOX + len(ATTRIBUTES) + 1


@reader_of("a list of WFLW")
def read_wflw(path: str | Path, *, origin: float = 0.0, broken: dict[str, str] | None = None) -> list[Annotation]:
    """Read one WFLW list (`list_98pt_rect_attr_train.txt` or `list_98pt_rect_attr_test.txt`).

    Args:
        path: the list.
        origin: the coordinate that the file gives the centre of the top-left pixel.
        broken: where it is given, a malformed row is left out and noted there, with a sentence.

    Returns:
        One annotation a row, in file order, its `file` in the folder WFLW_images and its `groups` the attributes that are
        1; empty rows are skipped.

    Raises:
        AnnotationError: where the file is missing or a row is not as the format says.
    """
    path = Path(path)
    if not path.is_file():
        raise AnnotationError(
            f"{path} does not exist; the root of WFLW holds WFLW_images and WFLW_annotations as its two archives unpack"
        )
    annotations = []
    for row, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        fields = line.split(maxsplit=_COLUMNS - 1)  # the rest is the file, whatever it holds
        if not fields:
            continue
        with row_left_out(broken, f"{path}, row {row}"):
            if len(fields) != _COLUMNS:
                raise AnnotationError(
                    f"{path}, row {row}: {len(fields)} columns instead of {_COLUMNS}; a row is 98 x and y, a box of four, six "
                    "attributes and a file"
                )
            try:
                xy = np.array(fields[:_XY], dtype=np.float64).reshape(-1, 2) - origin + 0.5
            except ValueError:
                raise AnnotationError(
                    f"{path}, row {row}: the first {_XY} columns are not numbers; correct the row"
                ) from None
            if not (np.abs(xy) <= FARTHEST).all():
                raise AnnotationError(
                    f"{path}, row {row}: a point is not a finite number, or in no picture; correct the row"
                )
            marks = fields[_XY + _BOX : -1]
            if set(marks) - {"0", "1"}:
                raise AnnotationError(
                    f"{path}, row {row}: the attributes {' '.join(marks)!r} are not six of 0 and 1; correct the row"
                )
            groups = tuple(name for name, mark in zip(ATTRIBUTES, marks, strict=True) if mark == "1")
            file = f"WFLW_images/{fields[-1].strip()}"
            annotations.append(Annotation(file, Keypoints.visible(xy, WFLW_98), row, groups=groups))
    if not annotations:
        nothing = f"{path} holds no rows; a row is 98 x and y, a box of four, six attributes and a file"
        raise AnnotationError(next(iter((broken or {}).values()), nothing))
    return annotations
