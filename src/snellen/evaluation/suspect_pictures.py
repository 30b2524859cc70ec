"""Pictures of suspect annotations, for a person to decide."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from snellen.evaluation.figures.drawing import BLUE, FONT_SIZE, GREEN, INK, RED, new_figure
from snellen.evaluation.suspects import Suspect
from snellen.geometry import Box
from snellen.keypoints import Keypoints

__all__ = ["figure_suspect", "write_suspect_pictures"]


def figure_suspect(
    suspect: Suspect, keypoints: Keypoints, box: Box, picture: NDArray[np.uint8] | None = None
) -> Figure:
    """One finding: all points small, the suspect ones ringed, a line to where they are expected.

    Args:
        suspect: the finding.
        keypoints: the object's points, pixels of the image.
        box: the region to show; it is widened to hold everything that is drawn.
        picture: (h, w, 3) uint8, the image; without it the points stand on white.
    """
    marked = np.array([*suspect.annotated, *suspect.expected])
    left, top = np.minimum([box.left, box.top], marked.min(axis=0))
    right, bottom = np.maximum([box.right, box.bottom], marked.max(axis=0))
    width = 3.0
    height = float(np.clip(width * (bottom - top) / (right - left), 1.0, 6.0))
    figure = new_figure(height + 0.35, width, bleed=True)
    figure.patch.set(facecolor="white", alpha=1.0)  # a file of its own is shown on pages of any colour
    figure.subplots_adjust(0, 0, 1, height / (height + 0.35))
    axes = figure.subplots()
    axes.set_axis_off()
    if picture is not None:
        axes.imshow(picture, extent=(0, picture.shape[1], picture.shape[0], 0), aspect="equal")
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    size = 4.0 if len(keypoints.xy) <= 20 else 2.0
    axes.plot(*keypoints.xy.T, ".", color=GREEN, markersize=size)
    for annotated, expected in zip(suspect.annotated, suspect.expected, strict=True):
        axes.plot(*np.transpose([annotated, expected]), color=BLUE, linewidth=1.2)
        axes.plot(*annotated, "o", markerfacecolor="none", markeredgecolor=RED, markersize=9, markeredgewidth=1.6)
        axes.plot(*expected, "x", color=BLUE, markersize=7, markeredgewidth=1.6)
    words = ", ".join(p.replace("_", " ") for p in suspect.points)
    title = f"{words}: {suspect.kind}, {suspect.score:.1f} nats"
    axes.set_title(title, fontsize=FONT_SIZE - 1, color=INK, loc="left", parse_math=False)
    return figure


def write_suspect_pictures(
    suspects: Sequence[Suspect],
    keypoints: Sequence[Keypoints],
    boxes: Sequence[Box],
    folder: str | Path,
    *,
    image: Callable[[int], NDArray[np.uint8]] | None = None,
    count: int = 24,
) -> list[Path]:
    """Write a PNG file for each of the first `count` findings, named by rank, object and kind.

    Args:
        suspects: as `rank_suspects` gives them.
        keypoints: the objects that were ranked.
        boxes: the region of each.
        folder: is made where needed.
        image: gives the picture (h, w, 3) uint8 of an object by its position; without it points stand on white.
        count: how many to write.

    Returns:
        The files, the most surprising first.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    written = []
    for rank, suspect in enumerate(suspects[:count], start=1):
        picture = None if image is None else image(suspect.index)
        figure = figure_suspect(suspect, keypoints[suspect.index], boxes[suspect.index], picture)
        # Names of objects are paths with any characters; the position in the data is what finds it again.
        file = place / f"{rank:03d}-object{suspect.index}-{suspect.kind}.png"
        figure.savefig(file, dpi=120)
        written.append(file)
    return written
