"""MTFL / TCDCN annotation lists: `file x1..x5 y1..y5 gender smile glasses pose`, one face a row.

Points: left eye, right eye, nose, left and right mouth corner, left meaning the left of the image.

Origin: MTFL does not document its pixel origin. `origin=0` (our choice) takes (0, 0) for the centre of the top-left
pixel; `origin=1` takes (1, 1) for it, as Matlab counts. y points downwards.
"""

from pathlib import Path

import numpy as np

from snellen.keypoints.built_in import get_schema
from snellen.keypoints.formats.annotations import Annotation, AnnotationError
from snellen.keypoints.keypoints import Keypoints

__all__ = ["read_mtfl"]

_POINTS = 5


def read_mtfl(path: str | Path, *, origin: float = 0.0) -> list[Annotation]:
    """Read one MTFL list (`training.txt` or `testing.txt`).

    Args:
        path: the list.
        origin: the coordinate that the file gives the centre of the top-left pixel.

    Returns:
        One annotation a row, in file order; empty rows are skipped. Windows path separators become `/`.

    Raises:
        AnnotationError: where the file is missing or a row is not as the format says.
    """
    path = Path(path)
    if not path.is_file():
        raise AnnotationError(f"{path} does not exist; the root of an MTFL data set holds training.txt and testing.txt")
    schema = get_schema("mtfl-5")
    annotations = []
    for row, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        # The attributes after the points are optional: users' own lists in this layout often lack them.
        if len(fields) < 1 + 2 * _POINTS:
            raise AnnotationError(
                f"{path}, row {row}: {len(fields)} columns; a row is a file, five x, five y and optional attributes"
            )
        try:
            numbers = np.array(fields[1 : 1 + 2 * _POINTS], dtype=np.float64)
        except ValueError:
            raise AnnotationError(
                f"{path}, row {row}: {' '.join(fields[1 : 1 + 2 * _POINTS])!r} are not ten numbers; correct the row"
            ) from None
        xy = np.stack((numbers[:_POINTS], numbers[_POINTS:]), axis=1) - origin + 0.5
        annotations.append(Annotation(fields[0].replace("\\", "/"), Keypoints.visible(xy, schema), row))
    if not annotations:
        raise AnnotationError(f"{path} holds no rows; a row is a file, five x and five y")
    return annotations
