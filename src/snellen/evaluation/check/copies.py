"""Pictures that are there more than once: equal to the pixel, or the same but for compression and size."""

from collections.abc import Mapping, Sequence

import numpy as np

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
        Positions in `pictures`, growing, of each group of two and more.
    """
    lively = [i for i, p in enumerate(pictures) if p.thumbnail and np.frombuffer(p.thumbnail, np.uint8).std() >= _FLAT]
    if len(lively) < 2:
        return []
    small = np.stack([np.frombuffer(pictures[i].thumbnail, np.uint8) for i in lively]).astype(np.float32)
    shape = np.log([pictures[i].size[0] / pictures[i].size[1] for i in lively])
    level = small.mean(axis=1)
    order = np.argsort(level)
    small, shape, level = small[order], shape[order], level[order]
    # Pictures of one level alone can be alike; of these most differ in the means of a few cells already.
    coarse = small.reshape(len(small), 16, -1).mean(axis=2)
    ends = np.searchsorted(level, level + _MEAN, side="right")
    group = list(range(len(small)))
    for i, end in enumerate(ends):
        near = i + 1 + np.flatnonzero(np.abs(coarse[i + 1 : end] - coarse[i]).max(axis=1, initial=0) <= _WORST)
        near = near[np.abs(shape[near] - shape[i]) <= np.log(_ASPECT)]
        apart = np.abs(small[near] - small[i])
        for j in near[(apart.mean(axis=1) <= _MEAN) & (apart.max(axis=1, initial=0) <= _WORST)]:
            group = [group[i] if g == group[j] else g for g in group] if group[i] != group[j] else group
    members: dict[int, list[int]] = {}
    for place, g in enumerate(group):
        members.setdefault(g, []).append(lively[order[place]])
    return sorted(sorted(m) for m in members.values() if len(m) > 1)
