"""What a run achieved on every single image of a split: what paired comparisons are made of, whatever the task.

A score is a ratio of two sums over images, class by class where there are classes, and the mean over these. A mean error
has one class, the error above and a one below; the mean IoU has the pixels shared above and those of either below.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from snellen.config import ConfigError
from snellen.training.runs import packed, write_atomically

__all__ = ["ImageOutcomes", "outcomes_file"]

_FORMAT = "snellen-images/1"


def outcomes_file(run: str | Path, split: str) -> Path:
    """Where a run folder keeps them: images-SPLIT.npz."""
    return Path(run) / f"images-{split}.npz"


@dataclass(frozen=True, eq=False)
class ImageOutcomes:
    """The outcome of each image of a split.

    Attributes:
        metric: what is measured, in words, e.g. "mean error".
        unit: of shown values, e.g. "% of inter-pupil".
        factor: from stored to shown values, e.g. 100 for fractions shown as per cent.
        better: which way the score is better.
        curve: the column of metrics.csv that validations follow it by.
        names: n names of images; a name may come several times, for several objects in one picture.
        numerator: (n, c) float64.
        denominator: (n, c) float64; 0 where an image says nothing of a class.
        how: what the scoring was asked, e.g. {"flip": False}.
        things: what the n are, where they are not images: "people" of whom there are several pictures each.

    Raises:
        ValueError: for shapes that do not belong together.
    """

    metric: str
    unit: str
    factor: float
    better: Literal["min", "max"]
    curve: str
    names: tuple[str, ...]
    numerator: Float64[np.ndarray, "n c"]
    denominator: Float64[np.ndarray, "n c"]
    how: dict[str, Any] = field(default_factory=dict)
    things: str = "images"

    def __post_init__(self) -> None:
        shape = self.numerator.shape
        if len(shape) != 2 or shape != self.denominator.shape or shape[0] != len(self.names):
            raise ValueError(
                f"outcomes of {len(self.names)} images need two arrays (images, classes), not {shape} and "
                f"{self.denominator.shape}"
            )

    @classmethod
    def of_means(cls, values: ArrayLike, names: Sequence[str], **about: Any) -> Self:
        """Outcomes whose score is the mean over images.

        Args:
            values: (n,) one an image; what is not finite does not count.
            names: n names.
            about: the other attributes.

        >>> ImageOutcomes.of_means([0.1, 0.3], ["a", "b"], metric="error", unit="%", factor=100, better="min", curve="").score()
        20.0
        """
        column = np.asarray(values, dtype=np.float64).reshape(-1, 1)
        known = np.isfinite(column)
        return cls(
            names=tuple(map(str, names)), numerator=np.where(known, column, 0.0), denominator=known.astype(np.float64),
            **about,
        )  # fmt: skip

    def score(self) -> float:
        """The split's score as it is shown; NaN where nothing counts."""
        above, below = self.numerator.sum(axis=0), self.denominator.sum(axis=0)
        counted = below > 0
        return self.factor * float((above[counted] / below[counted]).mean()) if counted.any() else float("nan")

    def save(self, run: str | Path, split: str) -> Path:
        """Write images-SPLIT.npz into a run folder; returns its path."""
        about = {
            "format": _FORMAT, "metric": self.metric, "unit": self.unit, "factor": self.factor, "better": self.better,
            "curve": self.curve, "how": self.how, "things": self.things, "names": list(self.names),
        }  # fmt: skip
        text = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
        file = outcomes_file(run, split)
        write_atomically(file, packed({"about": text, "numerator": self.numerator, "denominator": self.denominator}))
        return file

    @classmethod
    def load(cls, run: str | Path, split: str) -> Self:
        """Read what `save` wrote.

        Raises:
            ConfigError: where there is no such file, or it is damaged or of another format.
        """
        file = outcomes_file(run, split)
        again = f"score the run again: snellen evaluate {run} --split {split}"
        if not file.is_file():
            raise ConfigError(f"{run} keeps no outcome of single images of its {split} split; {again}")
        try:
            with np.load(file, allow_pickle=False) as archive:
                about = json.loads(archive["about"].tobytes())
                arrays = {name: archive[name] for name in ("numerator", "denominator")}
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise ConfigError(f"{file} cannot be read ({str(error).splitlines()[0]}); {again}") from None
        if about.pop("format", None) != _FORMAT:
            raise ConfigError(f"{file} is not of format {_FORMAT}; {again}")
        return cls(**{**about, "names": tuple(about["names"]), **arrays})
