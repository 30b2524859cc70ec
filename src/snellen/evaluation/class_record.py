"""`ClassRecord`: everything the report of a classification run needs, so that it can be drawn again without the data."""

import base64
import io
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from snellen.training.calibration import Reliability
from snellen.training.runs import write_atomically

__all__ = ["ClassRecord", "ClassSample", "png"]

FORMAT = "snellen-classes/1"


def png(picture: NDArray[np.uint8]) -> bytes:
    """A picture (h, w), (h, w, 1) or (h, w, 3) as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture).save(buffer, "PNG")
    return buffer.getvalue()


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


@dataclass(frozen=True, eq=False)
class ClassRecord:
    """The numbers of a classification run on a split, some of its images, and the circumstances.

    Attributes:
        run: name of the run.
        dataset: name of the data.
        split: "train", "val" or "test".
        classes: names.
        scores: of `ClassScores.to_dict`.
        calibration: of the highest probability.
        confused: pairs of classes, most often confused first.
        robustness: of `class_robustness`; empty where it was not measured.
        samples: pictures for the gallery.
        canvas: (height, width) of what the model sees.
        config: the resolved configuration.
        command: what was typed.
        versions: package to version, and whatever else names the circumstances.
        train_seconds: time of training.
        steps: updates.
        parameters: trained numbers of the model.
        history: rows of metrics.csv.
    """

    run: str
    dataset: str
    split: str
    classes: list[str]
    scores: dict[str, Any]
    calibration: Reliability
    confused: list[dict[str, Any]]
    robustness: dict[str, Any]
    samples: list[ClassSample]
    canvas: tuple[int, int]
    config: dict[str, Any]
    command: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    train_seconds: float | None = None
    steps: int | None = None
    parameters: int | None = None
    history: list[dict[str, Any]] = field(default_factory=list)

    def save(self, path: str | Path) -> Path:
        """Write `path`.json; returns its path."""
        text = {f.name: getattr(self, f.name) for f in fields(self)}
        text["format"] = FORMAT
        text["calibration"] = {k: _plain(v) for k, v in asdict(self.calibration).items()}
        text["samples"] = [
            {**{k: v for k, v in vars(s).items() if k != "picture"}, "png": base64.b64encode(png(s.picture)).decode()}
            for s in self.samples
        ]
        file = Path(f"{path}.json")
        write_atomically(file, json.dumps(text, indent=1) + "\n")
        return file

    @classmethod
    def load(cls, file: str | Path) -> "ClassRecord":
        """Read what `save` wrote.

        Raises:
            ValueError: where the file is of another format.
        """
        text = json.loads(Path(file).read_text(encoding="utf-8"))
        if text.pop("format", None) != FORMAT:
            raise ValueError(f"{file} is not a record of format {FORMAT}; evaluate the run again")
        bins = text["calibration"]
        edges, confidence, accuracy = (
            np.array([np.nan if v is None else v for v in bins[k]]) for k in ("edges", "confidence", "accuracy")
        )
        counts = np.array(bins["counts"])
        text["calibration"] = Reliability(bins["binning"], edges, confidence, accuracy, counts, bins["ece"])
        text["samples"] = [
            ClassSample(picture=np.array(Image.open(io.BytesIO(base64.b64decode(s.pop("png"))))), **s)
            for s in text["samples"]
        ]
        text["canvas"] = tuple(text["canvas"])
        return cls(**text)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [None if np.isnan(v) else v for v in value.tolist()]
    return value
