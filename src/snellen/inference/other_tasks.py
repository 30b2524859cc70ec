"""`snellen predict` for classes, label maps, gaze and enlarged pictures."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any, Literal

import numpy as np
from PIL import Image

from snellen.inference.classifier import Classifier
from snellen.inference.drawings import Drawings
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
    drawings: Drawings | None,
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
        drawings: where label maps and enlarged pictures go; for models of these.
        done: names that are left out, since they are answered.
        on_error: "skip" answers what cannot be read with a sentence.

    Raises:
        ImageError: for a picture that cannot be read, where `on_error` is "raise".
    """
    for name, picture in pictures:
        target = drawings.path(name) if drawings else None
        if name in done:
            continue
        try:
            if isinstance(picture, Exception):
                raise picture
            row, drawn = _row(model, picture)
        except ValueError as error:
            if on_error == "raise":
                raise
            yield {"file": name, "error": " ".join(str(error).split())}
        else:
            if drawings and target and drawn:
                drawings.save(drawn, target)
                row = {"labels" if isinstance(model, Segmenter) else "picture": str(target), **row}
            yield {"file": name, "row": {"file": name, **row}}


def _row(model: Loaded, picture: Any) -> tuple[dict[str, Any], Image.Image | None]:
    """The columns of a picture's row, and the picture that goes beside the table."""
    if isinstance(model, Classifier):
        found = model.predict(picture)[0]
        best = np.argsort(-found.probabilities, kind="stable")[:_TOP]
        row: dict[str, Any] = {}
        for place, label in enumerate(best, start=1):
            row |= {f"class{place}": model.classes[label], f"probability{place}": f"{found.probabilities[label]:.4f}"}
        return row, None
    if isinstance(model, Gazer):
        told = model.predict(picture)[0]
        if told.point is not None:
            return {"x_cm": f"{told.point[0]:.3f}", "y_cm": f"{told.point[1]:.3f}"}, None
        return {"pitch": f"{told.pitch:.2f}", "yaw": f"{told.yaw:.2f}"}, None
    if isinstance(model, Segmenter):
        labels = model.predict(picture)[0].labels.numpy()
        shares = np.bincount(labels.ravel(), minlength=len(model.classes)) / labels.size
        row = {n: f"{s:.4f}" for n, s in zip(model.classes, shares, strict=True)}
        return row, Image.fromarray(labels.astype(np.uint8))
    assert isinstance(model, Enlarger)
    pixels = model.predict(picture)[0].permute(1, 2, 0).numpy()
    return {}, Image.fromarray(pixels[..., 0] if model.channels == 1 else pixels)
