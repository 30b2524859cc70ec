"""Checking annotations and their images: everything is read, nothing is changed."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from snellen.evaluation.check.copies import find_copies
from snellen.evaluation.check.pictures import Picture, look_at_all
from snellen.evaluation.check.positions import find_positions, points_of
from snellen.evaluation.check.proposal import swap_pairs
from snellen.evaluation.check.report import CheckReport, Finding
from snellen.evaluation.check.swaps import suspect_swaps
from snellen.images import PictureReader
from snellen.keypoints.formats import LabelledImage, LabelledObject, PointLabels
from snellen.keypoints.schema import Schema

__all__ = ["CheckReport", "Finding", "RankSuspects", "check_data"]

#: A ranking of objects by how suspect their points are, e.g. by a denoiser: for all objects with their images, and (height,
#: width) of the images that can be read, by file, (position, sentence) of each suspect, the surest first.
RankSuspects = Callable[
    [Sequence[tuple[LabelledImage, LabelledObject]], Mapping[str, tuple[int, int]]], Sequence[tuple[int, str]]
]

#: Shares of the grey range that pictures of 16 bits must fill together: below the first they are warned of, below the second
#: fewer than 32 of the network's 256 grey levels are left.
_FILLED, _DARK = 1 / 3, 1 / 8
_ORDER = {"error": 0, "warning": 1, "note": 2}


def check_data(
    labels: PointLabels,
    format: str,
    *,
    test: PointLabels | None = None,
    workers: int = 0,
    progress: Callable[[int], None] | None = None,
    rank: RankSuspects | None = None,
    reader: PictureReader = PictureReader(),  # noqa: B008  # frozen
) -> CheckReport:
    """Look at every picture and every object.

    Args:
        labels: the annotations.
        format: their format, for the report.
        test: annotations of a separate test, to look for leaks.
        workers: processes; 0 takes one a core.
        progress: called with the number of pictures looked at.
        rank: names further suspects.
        reader: how pictures are read.
    """
    everything = [(labels, image) for labels in (labels, *([test] if test else [])) for image in labels.images]
    jobs = [(part.root / image.file, points_of(image.objects)) for part, image in everything]
    seen = list(look_at_all(jobs, workers=workers, progress=progress, reader=reader))
    pictures = {image.file: found for image, found in zip(labels.images, seen, strict=False)}
    of_test = {
        image.file: found for image, found in zip(test.images if test else (), seen[len(pictures) :], strict=True)
    }
    names = labels.schema.points
    swaps = labels.schema.swaps or swap_pairs(names)
    xy = np.stack([item.keypoints.xy for _, item in labels.objects])
    known: NDArray[np.bool_] = np.asarray(np.isfinite(xy).all(axis=2))
    findings = [
        *_broken({**labels.broken, **(test.broken if test else {})}),
        *_files(labels, pictures),
        *_greys(pictures, reader),
        *_blank(labels),
        *_coverage(names, known),
        *find_positions(labels, pictures),
        *find_copies(labels, pictures, of_test),
        *_suspects(labels, xy, swaps),
        *_ranked(labels, pictures, rank),
    ]
    scales = [item.scale for _, item in labels.objects if item.scale]
    sizes = Counter(f"{p.size[1]} x {p.size[0]}" for p in pictures.values() if not p.error)
    return CheckReport(
        source=str(labels.source),
        format=format,
        root=str(labels.root),
        images=len(labels.images),
        objects=len(xy),
        labelled=dict(zip(names, known.mean(axis=0).tolist(), strict=True)),
        sizes=dict(sizes.most_common()),
        splits=dict(Counter(image.split for image in labels.images if image.split)),
        scale=(min(scales), max(scales)) if scales else None,
        scaled=len(scales),
        swaps=swaps,
        findings=tuple(sorted(findings, key=lambda finding: _ORDER[finding.severity])),
    )


#: Annotation files and rows that `check` tells the mistakes of, one by one.
_BROKEN_SHOWN = 10


def _broken(sentences: Mapping[str, str]) -> list[Finding]:
    """Annotation files, and rows of tables, that cannot be read."""
    found = [Finding("broken", "error", sentence, (place,)) for place, sentence in sentences.items()]
    if len(found) <= _BROKEN_SHOWN:
        return found
    rest = tuple(sentences)[_BROKEN_SHOWN:]
    more = f"{len(rest):,} more annotation files or rows cannot be read"
    return [*found[:_BROKEN_SHOWN], Finding("broken", "error", more, rest)]


def _files(labels: PointLabels, pictures: dict[str, Picture]) -> list[Finding]:
    """Broken pictures, turned pictures, sizes that differ, and what the reader left out."""
    found = [Finding("note", "note", note) for note in labels.notes]
    unreadable = {file: p.error for file, p in pictures.items() if p.error}
    if unreadable:
        first = next(iter(unreadable.values()))
        sentence = f"{len(unreadable)} pictures cannot be read: {first}; or train with --on-error skip"
        found.append(Finding("unreadable", "error", sentence, tuple(unreadable)))
    turned = tuple(file for file, p in pictures.items() if p.turned)
    if turned:
        sentence = (
            f"{len(turned)} pictures are turned by EXIF; points are taken in the upright picture: see the sheet, or "
            "save the pictures without EXIF"
        )
        found.append(Finding("exif", "warning", sentence, turned))
    differ = tuple(
        i.file for i in labels.images if i.size and not pictures[i.file].error and i.size != pictures[i.file].size
    )
    if differ:
        image = next(i for i in labels.images if i.file == differ[0])
        (h, w), (height, width) = image.size or (0, 0), pictures[differ[0]].size
        sentence = (
            f"{len(differ)} pictures have another size than the annotations say (the first {width} x {height} instead of "
            f"{w} x {h}); the points belong to the other ones"
        )
        found.append(Finding("size", "error", sentence, differ))
    return found


def _greys(pictures: dict[str, Picture], reader: PictureReader) -> list[Finding]:
    """16-bit pictures whose values fill a small part of the range that becomes black to white: 12 bits look black."""
    deep = {file: p.deep for file, p in pictures.items() if p.deep is not None}
    if not deep:
        return []
    low, high = reader.grey_range or (0.0, 65535.0)
    least, most = min(values[0] for values in deep.values()), max(values[1] for values in deep.values())
    filled = (min(most, high) - max(least, low)) / (high - low)
    if filled >= _FILLED or most <= least:
        return []
    # The next whole number of bits, where the values fill enough of that.
    whole = 2.0 ** int(most).bit_length() - 1
    first, last = (0.0, whole) if most - least >= _FILLED * whole else (least, most)
    sentence = (
        f"the {len(deep)} pictures of 16 bits hold grey values from {least:g} to {most:g}, but {low:g} to {high:g} become "
        f"black to white, so little contrast is left; pass --grey-range {first:g} {last:g}"
    )
    return [Finding("grey-range", "error" if filled < _DARK else "warning", sentence, tuple(deep))]


def _blank(labels: PointLabels) -> list[Finding]:
    """Objects without any labelled point, which training leaves out; where all are, `_coverage` says so."""
    blank = [image.file for image, item in labels.objects if not item.keypoints.labelled.any()]
    if not blank or len(blank) == len(labels.objects):
        return []
    count = "1 object has" if len(blank) == 1 else f"{len(blank):,} objects have"
    sentence = f"{count} no labelled point; training leaves such out"
    return [Finding("blank", "note", sentence, tuple(dict.fromkeys(blank)))]


def _coverage(names: Sequence[str], known: NDArray[np.bool_]) -> list[Finding]:
    share = known.mean(axis=0)
    never = [n for n, s in zip(names, share, strict=True) if s == 0]
    rare = [n for n, s in zip(names, share, strict=True) if 0 < s < 0.05]
    found = []
    if never:
        sentence = f"no object has {', '.join(never)}; leave such points out of the schema, or label them"
        found.append(Finding("never", "error", sentence))
    if rare:
        found.append(Finding("rare", "warning", f"{', '.join(rare)} is labelled in less than 5 % of the objects"))
    if len(known) < 20:
        found.append(Finding("few", "warning", f"{len(known)} objects are few; 40 are a start (docs/own-data.md)"))
    return found


def _suspects(labels: PointLabels, xy: NDArray[np.float64], swaps: tuple[tuple[str, str], ...]) -> list[Finding]:
    """Exchanged pairs, copied labels."""
    objects = labels.objects
    schema = Schema(labels.schema.name, labels.schema.points, swaps=swaps)
    found = []
    suspects = suspect_swaps(xy, schema)
    if suspects:
        pairs = suspects[0][1]
        named = ", ".join(f"{a} and {b}" for a, b in pairs)
        sentence = f"{len(suspects)} objects have left and right exchanged, it seems (the first: {named}); look at them"
        found.append(
            Finding("swap", "warning", sentence, tuple(dict.fromkeys(objects[i][0].file for i, *_ in suspects)))
        )
    seen: dict[bytes, str] = {}
    copied = []
    for (image, _), points in zip(objects, xy, strict=True):
        key = points.tobytes()
        if np.isfinite(points).any() and seen.setdefault(key, image.file) != image.file:
            copied.append(image.file)
    if copied:
        sentence = f"{len(copied)} objects have exactly the points of another picture's; were they copied?"
        found.append(Finding("copied", "warning", sentence, tuple(copied)))
    return found


def _ranked(labels: PointLabels, pictures: dict[str, Picture], rank: RankSuspects | None) -> list[Finding]:
    """What `rank` names."""
    if rank is None:
        return []
    objects = labels.objects
    ranked = rank(objects, {file: p.size for file, p in pictures.items() if not p.error})
    if not ranked:
        return []
    count = "1 object has" if len(ranked) == 1 else f"{len(ranked)} objects have"
    sentence = f"{count} points where they hardly can be (the first: {ranked[0][1]}); look at them"
    return [Finding("denoiser", "warning", sentence, tuple(dict.fromkeys(objects[i][0].file for i, _ in ranked)))]
