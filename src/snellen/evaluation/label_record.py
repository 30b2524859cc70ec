"""`LabelRecord`: everything the report of a segmentation run needs, so that it can be drawn again without the data."""

import base64
import io
import json
import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from snellen.evaluation.class_record import png
from snellen.training.runs import write_atomically

__all__ = ["LabelRecord", "LabelSample", "thumbnail"]

FORMAT = "snellen-labels/1"
#: Longer side of the pictures that are kept, pixels.
SIDE = 320


@dataclass(frozen=True, eq=False)
class LabelSample:
    """One image of the gallery, made smaller.

    Attributes:
        kind: the row it stands in.
        picture: (h, w, c) uint8.
        truth: (h, w) uint8 labels.
        answer: (h, w) uint8 labels.
        score: mean IoU of the image on its own, a fraction.
        name: of the image.
    """

    kind: str
    picture: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    answer: NDArray[np.uint8]
    score: float
    name: str


def thumbnail(
    image: UInt8[Tensor, "c h w"], truth: Int[Tensor, "h w"], answer: Int[Tensor, "h w"], side: int = SIDE
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """An image and two label maps with a longer side of at most `side` pixels: the image averaged, labels picked.

    Returns:
        (h', w', c), (h', w') and (h', w').
    """
    h, w = image.shape[-2:]
    factor = min(1.0, side / max(h, w))
    size = (max(1, round(w * factor)), max(1, round(h * factor)))
    pixels = image.permute(1, 2, 0).cpu().numpy()
    photo = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).resize(size, Image.Resampling.BOX)
    picture = np.asarray(photo).reshape(size[1], size[0], -1)
    small = (
        np.asarray(Image.fromarray(np.asarray(m.cpu(), np.uint8)).resize(size, Image.Resampling.NEAREST))
        for m in (truth, answer)
    )
    return picture, *small  # type: ignore[return-value]  # two of them


@dataclass(frozen=True, eq=False)
class LabelRecord:
    """The numbers of a segmentation run on a split, some of its images, and the circumstances.

    Attributes:
        run: name of the run.
        dataset: name of the data.
        split: "train", "val" or "test".
        classes: names; the position is the label.
        scores: of `evaluate_labels`; None where a number is not known.
        image_iou: mean IoU of each image on its own, fractions; None for one without a labelled pixel.
        samples: pictures for the gallery.
        canvas: (height, width) of what the model was trained on.
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
    image_iou: list[float | None]
    samples: list[LabelSample]
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
        text["scores"], text["image_iou"] = _known(self.scores), _known(self.image_iou)
        text["samples"] = [
            {
                name: base64.b64encode(png(value)).decode() if isinstance(value, np.ndarray) else value
                for name, value in vars(sample).items()
            }
            for sample in self.samples
        ]
        file = Path(f"{path}.json")
        write_atomically(file, json.dumps(text, indent=1, allow_nan=False) + "\n")
        return file

    @classmethod
    def load(cls, file: str | Path) -> "LabelRecord":
        """Read what `save` wrote.

        Raises:
            ValueError: where the file is of another format.
        """
        text = json.loads(Path(file).read_text(encoding="utf-8"))
        if text.pop("format", None) != FORMAT:
            raise ValueError(f"{file} is not a record of format {FORMAT}; evaluate the run again")
        samples = []
        for sample in text["samples"]:
            maps: dict[str, Any] = {name: _pixels(sample.pop(name)) for name in ("picture", "truth", "answer")}
            maps["picture"] = maps["picture"].reshape(*maps["picture"].shape[:2], -1)
            samples.append(LabelSample(**maps, **sample))
        text["samples"], text["canvas"] = samples, tuple(text["canvas"])
        return cls(**text)


def _pixels(text: str) -> NDArray[np.uint8]:
    return np.array(Image.open(io.BytesIO(base64.b64decode(text))))


def _known(value: Any) -> Any:
    """JSON knows no NaN: what is not known becomes None."""
    if isinstance(value, dict):
        return {k: _known(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_known(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value
