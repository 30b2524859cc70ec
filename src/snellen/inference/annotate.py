"""Points drawn into their picture."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from snellen.images import PictureReader
from snellen.inference.pictures import image_tensor
from snellen.keypoints import Schema

__all__ = ["annotate"]

# Okabe and Ito's colour-blind-safe hues, as in the report.
_LINE, _SURE, _UNSURE = "#0072b2", "#009e73", "#d55e00"


def annotate(
    picture: Any,
    answers: Sequence[dict[str, Any]],
    schema: Schema,
    minimum: float,
    reader: PictureReader = PictureReader(),  # noqa: B008  # frozen
) -> Image.Image:
    """A picture with what was found in it.

    Green points have a confidence of at least one half, vermilion ones less; points under `minimum` are not drawn.
    Lines are the schema's skeleton, the box is what the network was shown.

    Args:
        picture: a path, array or tensor, as `PointFinder.predict` takes it.
        answers: of `snellen.inference.outputs.entry`, one an object.
        schema: the points.
        minimum: confidence below which a point is not found.
        reader: how the picture is read.
    """
    image: Tensor = image_tensor(picture, 3, reader)
    drawn = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
    draw, unit = ImageDraw.Draw(drawn), max(1.0, max(drawn.size) / 400)
    whole = [0.0, 0.0, float(drawn.width), float(drawn.height)]
    for answer in answers:
        if answer["box"] != whole:
            draw.rectangle(answer["box"], outline=_LINE, width=round(unit))
        found = [xy if s >= minimum else None for xy, s in zip(answer["xy"], answer["score"], strict=True)]
        for a, b in schema.edges:
            start, end = found[a], found[b]
            if start and end:
                draw.line([*start, *end], fill=_LINE, width=round(unit))
        for xy, score in zip(found, answer["score"], strict=True):
            if xy:
                (x, y), r = xy, 1.5 * unit
                # Corner (0, 0) is Pillow's convention for shapes too, but for the last row and column, which it includes.
                draw.ellipse((x - r, y - r, x + r - 1, y + r - 1), fill=_SURE if score >= 0.5 else _UNSURE)
    return drawn
