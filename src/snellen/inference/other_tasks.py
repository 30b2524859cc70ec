"""`snellen predict` for classes, label maps, gaze and enlarged pictures."""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from snellen.config.writing import writing
from snellen.inference.annotate import drawing_name
from snellen.inference.classifier import Classifier
from snellen.inference.enlarger import Enlarger
from snellen.inference.gazer import Gazer
from snellen.inference.loading import Loaded
from snellen.inference.segmenter import Segmenter

__all__ = ["answer_files"]

#: Classes that are named for a picture.
_TOP = 5


def answer_files(
    model: Loaded,
    pictures: Iterable[tuple[str, Any]],
    out: Path,
    *,
    done: Collection[str] = (),
    on_error: Literal["raise", "skip"] = "skip",
) -> Iterator[dict[str, Any]]:
    """Answer pictures one by one: a row of the table each, and pictures beside it in a folder of the table's name.

    Classes: the five likeliest and their probabilities. Label maps: a PNG of label numbers with the picture's own name, and
    each class's share of the pixels. Gaze: degrees, or centimetres on the screen.
    Super-resolution: a PNG of twice the size.

    Args:
        model: a classifier, segmenter, gazer or enlarger.
        pictures: names and what `model.predict` takes, or an error in its place.
        out: the table; pictures go into `out` without its ending.
        done: names that are left out, since they are answered.
        on_error: "skip" answers what cannot be read with a sentence.

    Raises:
        ImageError: for a picture that cannot be read, where `on_error` is "raise".
    """
    folder, taken = out.with_suffix(""), set[str]()
    for name, picture in pictures:
        target = folder / drawing_name(name, taken, ".png")
        if name in done:
            continue
        try:
            if isinstance(picture, Exception):
                raise picture
            row = _row(model, picture, target)
        except ValueError as error:
            if on_error == "raise":
                raise
            yield {"file": name, "error": " ".join(str(error).split())}
        else:
            yield {"file": name, "row": {"file": name, **row}}


def _row(model: Loaded, picture: Any, target: Path) -> dict[str, Any]:
    if isinstance(model, Classifier):
        found = model.predict(picture)[0]
        best = np.argsort(-found.probabilities, kind="stable")[:_TOP]
        row: dict[str, Any] = {}
        for place, label in enumerate(best, start=1):
            row |= {f"class{place}": model.classes[label], f"probability{place}": f"{found.probabilities[label]:.4f}"}
        return row
    if isinstance(model, Gazer):
        told = model.predict(picture)[0]
        if told.point is not None:
            return {"x_cm": f"{told.point[0]:.3f}", "y_cm": f"{told.point[1]:.3f}"}
        return {"pitch": f"{told.pitch:.2f}", "yaw": f"{told.yaw:.2f}"}
    if isinstance(model, Segmenter):
        labels = model.predict(picture)[0].labels.numpy()
        _save(Image.fromarray(labels.astype(np.uint8)), target)
        shares = np.bincount(labels.ravel(), minlength=len(model.classes)) / labels.size
        return {"labels": str(target), **{n: f"{s:.4f}" for n, s in zip(model.classes, shares, strict=True)}}
    assert isinstance(model, Enlarger)
    pixels = model.predict(picture)[0].permute(1, 2, 0).numpy()
    _save(Image.fromarray(pixels[..., 0] if model.channels == 1 else pixels), target)
    return {"picture": str(target)}


def _save(image: Image.Image, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with writing(target):
        image.save(target)
