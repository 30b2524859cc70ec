"""The contact sheet: pictures with their points and names, suspects first, swap pairs joined by a line."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from snellen.data.views import spread
from snellen.evaluation.check.report import CheckReport
from snellen.images import ImageError, PictureReader
from snellen.keypoints.formats import LabelledImage, PointLabels

__all__ = ["contact_sheet"]

_TILE = 300
_COLUMNS = 4
_TITLE = 14
# Okabe and Ito's hues, which colour-blind people tell apart.
_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")


def contact_sheet(
    labels: PointLabels,
    report: CheckReport,
    count: int = 24,
    reader: PictureReader = PictureReader(),  # noqa: B008  # frozen
) -> bytes:
    """A PNG of at most `count` pictures: what the findings name first, then some spread over all."""
    named = [file for finding in report.findings for file in finding.files[:4]]
    images = {image.file: image for image in labels.images if image.objects}
    chosen = list(
        dict.fromkeys([f for f in named if f in images] + [list(images)[i] for i in spread(len(images), count)])
    )
    tiles = [tile for file in chosen for tile in _tile(labels, images[file], report, named, reader)][:count]
    rows = max(1, -(-len(tiles) // _COLUMNS))
    sheet = Image.new("RGB", (_COLUMNS * _TILE, rows * (_TILE + _TITLE)), "white")
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (i % _COLUMNS * _TILE, i // _COLUMNS * (_TILE + _TITLE)))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _tile(
    labels: PointLabels, image: LabelledImage, report: CheckReport, named: Sequence[str], reader: PictureReader
) -> list[Image.Image]:
    """The tile of a picture; none where it cannot be read."""
    try:
        pixels = reader.image(labels.root / image.file)
    except ImageError:
        return []
    picture = Image.fromarray(pixels.numpy().transpose(1, 2, 0))
    factor = _TILE / max(picture.size)
    picture = picture.resize((max(1, round(picture.width * factor)), max(1, round(picture.height * factor))))
    tile = Image.new("RGB", (_TILE, _TILE + _TITLE), "white")
    tile.paste(picture, (0, _TITLE))
    draw = ImageDraw.Draw(tile)
    colour = "#d55e00" if image.file in named else "black"
    # Pillow's built-in font has Latin letters alone.
    draw.text((2, 1), image.file.encode("latin-1", "replace").decode("latin-1")[-48:], fill=colour)
    points = labels.schema.points
    for item in image.objects:
        xy = item.keypoints.xy * factor + [0, _TITLE]
        for a, b in report.swaps:
            ends = xy[[points.index(a), points.index(b)]]
            if np.isfinite(ends).all():
                draw.line([tuple(ends[0]), tuple(ends[1])], fill="#999999")
        for i, (x, y) in enumerate(xy):
            if np.isfinite((x, y)).all():
                shade = _COLOURS[i % len(_COLOURS)]
                draw.ellipse((x - 3, y - 3, x + 3, y + 3), outline=shade, width=2)
                word = points[i].encode("latin-1", "replace").decode("latin-1")[:14]
                draw.text((x + 4, y - 5), word, fill=shade, stroke_width=1, stroke_fill="black")
    return [tile]
