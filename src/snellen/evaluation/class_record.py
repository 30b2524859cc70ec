"""`ClassRecord`: everything the report of a classification run needs."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from snellen.evaluation.run_record import RunRecord
from snellen.training.calibration import Reliability

__all__ = ["ClassRecord", "ClassSample"]


@dataclass(frozen=True, eq=False)
class ClassSample:
    """One picture of the gallery.

    Attributes:
        kind: the row it stands in.
        picture: (h, w, c) uint8.
        true: name of its class.
        answer: name of the class that was answered.
        score: the answer's probability.
        name: of the image.
    """

    kind: str
    picture: NDArray[np.uint8]
    true: str
    answer: str
    score: float
    name: str


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassRecord(RunRecord):
    """The numbers of a classification run on a split, some of its images, and the circumstances.

    Attributes:
        scores: of `ClassScores.to_dict`.
        classes: names.
        calibration: of the highest probability.
        confused: pairs of classes, most often confused first.
        robustness: of `class_robustness`; empty where it was not measured.
    """

    format: ClassVar[str] = "snellen-classes/1"
    sample: ClassVar[type] = ClassSample

    classes: list[str]
    calibration: Reliability
    confused: list[dict[str, Any]]
    robustness: dict[str, Any]

    @classmethod
    def restored(cls, text: dict[str, Any]) -> dict[str, Any]:
        """With the bins of the calibration as arrays."""
        bins = text["calibration"]
        edges, confidence, accuracy = (
            np.array([np.nan if v is None else v for v in bins[k]]) for k in ("edges", "confidence", "accuracy")
        )
        made = Reliability(bins["binning"], edges, confidence, accuracy, np.array(bins["counts"]), bins["ece"])
        return {**text, "calibration": made}
