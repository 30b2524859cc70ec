"""Pictures that are there more than once: equal to the pixel, or the same but for compression and size."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from snellen.evaluation.check.pictures import Picture
from snellen.evaluation.check.report import Finding
from snellen.keypoints.formats import PointLabels

__all__ = ["find_copies", "look_alikes"]

#: Grey levels by which the thumbnails of one picture may differ: on average, and in the worst cell (our choice: JPEGs saved
#: again at quality 60 and half of the size stayed within it, different photos of faces and drawn wings had four times as much).
_MEAN, _WORST = 2.5, 16.0
#: Thumbnails with less contrast, in grey levels, look like each other whatever the pictures show.
_FLAT = 4.0
#: Ratio of two aspect ratios from which on pictures differ.
_ASPECT = 1.02
#: Cells of a thumbnail that are averaged for a first look: a row of 16 with three colours.
_BLOCK = 48
#: Thumbnails that are compared at a time with as many as these: what bounds the memory.
_ROWS, _COLUMNS = 256, 8192
#: Share of these pairs.
_MANY = 0.05


def find_copies(labels: PointLabels, pictures: Mapping[str, Picture], test: Mapping[str, Picture]) -> list[Finding]:
    """Copies within the data and between training and test, and groups that are in several splits.

    Args:
        labels: the annotations.
        pictures: what was seen, by file.
        test: the same of a separate test.
    """
    seen = {**pictures, **{f"{file} (test)": picture for file, picture in test.items()}}
    splits = {image.file: image.split for image in labels.images}
    splits |= dict.fromkeys(seen.keys() - pictures.keys(), "test")
    equal: dict[str, list[str]] = {}
    for file, picture in seen.items():
        if picture.digest:
            equal.setdefault(picture.digest, []).append(file)
    first = [files[0] for files in equal.values()]
    alike = [[first[i] for i in group] for group in look_alikes([seen[file] for file in first])]
    found: list[Finding] = []
    for groups, words in (
        ([files for files in equal.values() if len(files) > 1], ";"),
        (alike, ", but for compression or size; look at them, and"),
    ):
        leaks = [files for files in groups if len({splits[f] == "test" for f in files}) > 1]
        copies = [files for files in groups if files not in leaks]
        if leaks:
            sentence = f"{len(leaks)} pictures are in the test and in the training{words} take them out of one"
            found.append(
                Finding(
                    "leak",
                    "error" if words == ";" else "warning",
                    sentence,
                    tuple(file for files in leaks for file in files),
                )
            )
        if copies:
            sentence = (
                f"{len(copies)} pictures are there more than once{words} keep one of each, or give them one group"
            )
            found.append(Finding("duplicate", "warning", sentence, tuple(file for files in copies for file in files)))
    return [*found, *_mixed_groups(labels)]


def _mixed_groups(labels: PointLabels) -> list[Finding]:
    sides: dict[str, set[str]] = {}
    for image in labels.images:
        if image.group and image.split:
            sides.setdefault(image.group, set()).add(image.split)
    mixed = sorted(group for group, splits in sides.items() if len(splits) > 1)
    if not mixed:
        return []
    sentence = f"{len(mixed)} groups are in several splits: {', '.join(mixed[:3])}; a group belongs on one side"
    return [Finding("leak", "error", sentence)]


def look_alikes(pictures: Sequence[Picture]) -> list[list[int]]:
    """Groups of pictures whose thumbnails are equal to within what saving a JPEG again, or halving it, changes.

    Args:
        pictures: what was seen; those without a thumbnail, or with next to no contrast, are like no other.

    Returns:
        Positions in `pictures`, growing, of each group of two and more: each is like another one of them.
    """
    lively = [i for i, p in enumerate(pictures) if p.thumbnail and np.frombuffer(p.thumbnail, np.uint8).std() >= _FLAT]
    if len(lively) < 2:
        return []
    small = np.stack([np.frombuffer(pictures[i].thumbnail, np.uint8) for i in lively])
    shape = np.log([pictures[i].size[0] / pictures[i].size[1] for i in lively])
    order = np.argsort(small.mean(axis=1), kind="stable")
    groups = _groups(small[order], shape[order])
    return sorted(sorted(lively[order[place]] for place in members) for members in groups)


def _groups(small: NDArray[np.uint8], shape: NDArray[np.float64]) -> list[list[int]]:
    """Groups of two and more thumbnails (n, cells), sorted by their mean, of which each is like another one.

    Most pairs are ruled out many at a time, by matrix products: differences of at most `_WORST` whose mean is at most `_MEAN`
    have squares that sum to no more than their product, and those of the means of blocks no more than that.
    """
    level, cells = small.mean(axis=1), small.shape[1]
    limit = _WORST * _MEAN * cells * 1.01  # float32's rounding
    values = small.astype(np.float32) - np.float32(np.rint(small.mean()))
    blocks = values.reshape(len(values), -1, min(cells, _BLOCK)).mean(axis=2) * np.float32(min(cells, _BLOCK) ** 0.5)
    ends = np.searchsorted(level, level + _MEAN, side="right")
    group = np.arange(len(small))
    members = {i: [i] for i in range(len(small))}
    for top in range(0, len(small), _ROWS):
        rows = slice(top, min(top + _ROWS, len(small)))
        for left in range(top, int(ends[rows][-1]), _COLUMNS):
            columns = slice(left, min(left + _COLUMNS, int(ends[rows][-1])))
            near = _squares(blocks[rows], blocks[columns]) <= limit
            near &= np.abs(shape[rows, None] - shape[columns]) <= np.log(_ASPECT)
            near &= np.arange(rows.start, rows.stop)[:, None] < np.arange(columns.start, columns.stop)
            # Those of the same group need no second look: there are very many where all pictures are alike.
            near &= group[rows, None] != group[columns]
            # Where many are left, as of a camera that stands still, all at once is cheaper than pair by pair.
            if near.mean() > _MANY:
                near &= _squares(values[rows], values[columns]) <= limit
            for row in np.flatnonzero(near.any(axis=1)):
                i = top + int(row)
                others = left + np.flatnonzero(near[row] & (group[columns] != group[i]))
                there = small[others]
                apart = np.maximum(there, small[i]) - np.minimum(there, small[i])  # bytes know no sign
                fits = apart.max(axis=1, initial=0) <= _WORST
                alike = others[fits][apart[fits].sum(axis=1, dtype=np.uint32) <= _MEAN * cells]
                for other in np.unique(group[alike]).tolist():
                    gone, kept = sorted((other, int(group[i])), key=lambda g: len(members[g]))
                    group[members[gone]] = kept
                    members[kept] += members.pop(gone)
    return [found for found in members.values() if len(found) > 1]


def _squares(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums of squared differences between the rows of two arrays, (len(a), len(b))."""
    found: NDArray[np.float32] = (a**2).sum(axis=1)[:, None] - 2 * (a @ b.T) + (b**2).sum(axis=1)
    return found
