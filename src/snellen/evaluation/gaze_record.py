"""`GazeRecord`: everything the report of a gaze run needs."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from snellen.evaluation.run_record import RunRecord

__all__ = ["GazeExample", "GazeRecord"]


@dataclass(frozen=True, eq=False)
class GazeExample:
    """One picture of the gallery, as the model saw it.

    Attributes:
        kind: the row it stands in.
        picture: (h, w, c) uint8.
        true: pitch and yaw in degrees on the canvas, or x and y in centimetres.
        answer: likewise.
        error: degrees or centimetres.
        name: of the picture.
    """

    kind: str
    picture: NDArray[np.uint8]
    true: list[float]
    answer: list[float]
    error: float
    name: str


@dataclass(frozen=True, eq=False, kw_only=True)
class GazeRecord(RunRecord):
    """The numbers of a gaze run on a split, all answers, some of its pictures, and the circumstances.

    Attributes:
        scores: of `GazeScores.to_dict`.
        answer: "angles" or "point".
        pred: (n, 2) answers, degrees or centimetres.
        true: (n, 2).
    """

    format: ClassVar[str] = "snellen-gaze/1"
    sample: ClassVar[type] = GazeExample

    answer: str
    pred: list[list[float]]
    true: list[list[float]]
