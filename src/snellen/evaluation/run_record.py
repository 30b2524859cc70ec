"""What the records of the tasks beside keypoints share: the circumstances of a run, pictures, and the way to a file and back.

A record holds everything that a report shows, so that it can be drawn again without the data.
"""

import base64
import io
import json
import math
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from snellen.evaluation.reports.page import Page
from snellen.training.runs import write_atomically

__all__ = ["RunRecord", "image_tag", "png"]


def png(picture: NDArray[np.uint8]) -> bytes:
    """A picture (h, w), (h, w, 1) or (h, w, 3) as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture).save(buffer, "PNG")
    return buffer.getvalue()


def image_tag(picture: NDArray[np.uint8], alt: str = "", kind: str = "") -> Markup:
    """A picture as an HTML element that holds all of it."""
    tag = Markup('<img class="{}" alt="{}" src="data:image/png;base64,{}">')
    return tag.format(kind, alt, base64.b64encode(png(picture)).decode())


@dataclass(frozen=True, eq=False, kw_only=True)
class RunRecord:
    """The circumstances of a run and of its scores on a split; subclasses add the scores and the pictures.

    Arrays of bytes (h, w) or (h, w, c) in dataclasses of `samples` are kept as PNG files.

    Attributes:
        run: name of the run.
        dataset: name of the data.
        split: "train", "val" or "test".
        scores: numbers by name, nested; NaN becomes None on the way to a file.
        samples: pictures for the gallery.
        canvas: (height, width) of what the model sees or answers.
        config: the resolved configuration.
        command: what was typed.
        versions: package to version, and whatever else names the circumstances.
        train_seconds: time of training.
        steps: updates.
        parameters: trained numbers of the model.
        history: rows of metrics.csv.
    """

    #: Says in the file what it holds.
    format: ClassVar[str]
    #: Class of the samples.
    sample: ClassVar[type]

    run: str
    dataset: str
    split: str
    scores: dict[str, Any]
    samples: list[Any]
    canvas: tuple[int, int]
    config: dict[str, Any]
    command: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    train_seconds: float | None = None
    steps: int | None = None
    parameters: int | None = None
    history: list[dict[str, Any]] = field(default_factory=list)

    def page(self) -> Page:
        """What the report says of the run."""
        names = [f.name for f in fields(Page)]
        return Page(**{name: getattr(self, name) for name in names})

    def save(self, path: str | Path) -> Path:
        """Write `path`.json; returns its path."""
        text = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        file = Path(f"{path}.json")
        write_atomically(file, json.dumps({"format": self.format, **text}, indent=1, allow_nan=False) + "\n")
        return file

    @classmethod
    def load(cls, file: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ValueError: where the file is of another format.
        """
        text = json.loads(Path(file).read_text(encoding="utf-8"))
        if text.pop("format", None) != cls.format:
            raise ValueError(f"{file} is not a record of format {cls.format}; evaluate the run again")
        text["samples"] = [cls.sample(**{k: _picture(v) for k, v in s.items()}) for s in text["samples"]]
        text["canvas"] = tuple(text["canvas"])
        return cls(**cls.restored(text))

    @classmethod
    def restored(cls, text: dict[str, Any]) -> dict[str, Any]:
        """Fields as read from a file, with those that a subclass keeps in other types made again."""
        return text


def _plain(value: Any) -> Any:
    """What JSON can hold: pictures as PNG files with their shape, other arrays as lists, None for what is not known."""
    if isinstance(value, np.ndarray):
        if value.dtype == np.uint8 and value.ndim in (2, 3):
            return {"png": base64.b64encode(png(value)).decode(), "shape": list(value.shape)}
        return _plain(value.tolist())
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _picture(value: Any) -> Any:
    if isinstance(value, dict) and "png" in value:
        return np.array(Image.open(io.BytesIO(base64.b64decode(value["png"])))).reshape(value["shape"])
    return value
