"""Whether points can lie where annotations put them."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from snellen.evaluation.check.pictures import Picture
from snellen.evaluation.check.report import Finding
from snellen.keypoints.formats import LabelledObject, PointLabels

__all__ = ["find_positions", "points_of"]

#: Distance outside of the image that is put down to another origin, pixels.
_SLACK = 1.0
#: Share of outside points above which something is wrong with all of them.
_MANY = 0.05
#: Part of the width and height that is a corner, and share of the images whose points all lie there above which that is no
#: chance: coordinates in millimetres are small beside the pictures' pixels.
_CORNER, _MOST = 1 / 8, 0.8
#: As many images make a pattern.
_ENOUGH = 5
#: Share of a point's labels in exactly one place above which that place is a mark, such as (0, 0) for "not seen".
_SAME = 0.2


def points_of(objects: Sequence[LabelledObject]) -> NDArray[np.float64]:
    """The labelled points (n, 2) of objects, pixels."""
    parts = [item.keypoints.xy[item.keypoints.labelled] for item in objects]
    return np.concatenate(parts) if parts else np.zeros((0, 2))


def find_positions(labels: PointLabels, pictures: Mapping[str, Picture]) -> list[Finding]:
    """Points outside of their image or on empty background, in another unit, with y the wrong way, or always in one place.

    Args:
        labels: the annotations.
        pictures: how each file looks.
    """
    usable = [i for i in labels.images if not pictures[i.file].error and i.objects]
    if not usable:
        return []
    outside: list[str] = []
    total = out = out_mirrored = 0
    largest = 0.0
    for image in usable:
        height, width = pictures[image.file].size
        xy = points_of(image.objects)
        upside = xy * [1, -1] + [0, height]
        beyond, mirrored = (
            ((p < -_SLACK) | (p > np.array([width, height]) + _SLACK)).any(axis=1) for p in (xy, upside)
        )
        outside += [image.file] if beyond.any() else []
        total, out, out_mirrored = total + len(xy), out + int(beyond.sum()), out_mirrored + int(mirrored.sum())
        largest = max(largest, float(np.abs(xy).max(initial=0)))
    if total and largest <= 2:
        return [
            Finding("unit", "error", f"no coordinate is above {largest:g}: these are shares of the size, give pixels")
        ]
    found = _in_a_corner(labels, pictures) + _always_there(labels)
    if out:
        many = out > _MANY * total
        hint = (
            "they may be in another unit (millimetres?) or belong to pictures of another size"
            if many
            else "look at them"
        )
        sentence = f"{out:,} of {total:,} points lie outside of their image; {hint}"
        found.append(Finding("outside", "error" if many else "warning", sentence, tuple(outside)))
    lively, mirrored_at, background = (
        np.array([getattr(pictures[i.file], name) for i in usable]) for name in ("lively", "mirrored", "background")
    )
    both = np.isfinite(lively) & np.isfinite(mirrored_at)
    better = mirrored_at[both] > 1.5 * lively[both]
    if (both.sum() >= 5 and better.mean() >= 0.8) or (out > _MANY * total and 4 * out_mirrored < out):
        sentence = (
            "the y axis seems to be upside down: counted from the other edge, the points lie on the objects; mirror the "
            "coordinates, or read the file as a format whose y counts upwards (TPS)"
        )
        found.append(Finding("upside-down", "error", sentence))
    empty = tuple(i.file for i, a, b in zip(usable, lively, background, strict=True) if a < 0.25 * b)
    if empty:
        sentence = f"the points of {len(empty)} images lie on empty background; look at them on the sheet"
        found.append(Finding("background", "warning", sentence, empty))
    return found


def _in_a_corner(labels: PointLabels, pictures: Mapping[str, Picture]) -> list[Finding]:
    """Points that all crowd at the origin: the upper left corner, or the lower left one where y counts upwards."""
    cornered, images = [], 0
    for image in labels.images:
        xy = points_of(image.objects)
        if len(xy) < 2 or pictures[image.file].error:
            continue
        images += 1
        x, y = (xy / pictures[image.file].size[::-1]).T
        if (x < _CORNER).all() and ((y < _CORNER).all() or (y > 1 - _CORNER).all()):
            cornered.append(image.file)
    if images < _ENOUGH or len(cornered) < _MOST * images:
        return []
    sentence = (
        f"all points of {len(cornered)} of {images} images lie in an eighth of the width and height beside a corner: they may "
        "be in another unit (millimetres?) or belong to smaller pictures; give pixels of these pictures"
    )
    return [Finding("unit", "error", sentence, tuple(cornered))]


def _always_there(labels: PointLabels) -> list[Finding]:
    """Points with exactly one position in many images."""
    found = []
    for k, name in enumerate(labels.schema.points):
        places = [tuple(item.keypoints.xy[k].tolist()) for _, item in labels.objects if item.keypoints.labelled[k]]
        (x, y), count = Counter(places).most_common(1)[0] if places else ((0.0, 0.0), 0)
        if count >= max(_ENOUGH, _SAME * len(places)):
            sentence = (
                f"{name} lies at exactly ({x:g}, {y:g}) in {count} of {len(places)} objects; where that is a mark for a point "
                "that is not seen, leave the coordinates empty"
            )
            found.append(Finding("constant", "warning", sentence))
    return found
