"""A recipe proposed from what a check found, and left-right pairs read off the points' names."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snellen.data.splits import place_of
from snellen.evaluation.check.report import CheckReport
from snellen.evaluation.check.swaps import mean_shape
from snellen.images import MAX_PIXELS, PictureReader
from snellen.keypoints.formats import PointLabels, find_format

__all__ = ["propose_recipe", "swap_pairs"]

_SIDES = {"left": "right", "l": "r", "lft": "rgt", "lt": "rt", "sinister": "dexter"}


def swap_pairs(points: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Pairs of names that differ in left and right alone, in whatever case and between whatever marks.

    >>> swap_pairs(["nose", "left_eye", "right_eye", "L-ear", "R-ear", "eyeLeft", "eyeRight"])
    (('left_eye', 'right_eye'), ('L-ear', 'R-ear'), ('eyeLeft', 'eyeRight'))
    """
    spelled = {tuple(_words(p)): p for p in points}
    pairs = []
    for point in points:
        words = _words(point)
        for i, word in enumerate(words):
            partner = (*words[:i], _SIDES.get(word, ""), *words[i + 1 :])
            if partner in spelled:
                pairs.append((point, spelled[partner]))
                break
    return tuple(pairs)


def _words(name: str) -> list[str]:
    """Lower-case words of a name: of letters, of digits, and at changes from small to capital letters."""
    return [w.lower() for w in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_]+", name)]


def propose_recipe(
    labels: PointLabels,
    report: CheckReport,
    path: Path,
    *,
    schema: str | None = None,
    origin: float | None = None,
    root: str | None = None,
    scale_unit: float = 1.0,
    reader: PictureReader = PictureReader(),  # noqa: B008  # frozen
) -> str:
    """The text of a YAML recipe for the data, to be read and changed by its owner.

    Args:
        labels: the annotations.
        report: what was found.
        path: what the user gave: the annotation file or folder.
        schema: name of the built-in schema that the annotations were read with.
        origin: the origin that they were read with, where it is not the format's own.
        root: folder of the images, where the user named it.
        scale_unit: millimetres in the unit of TPS's SCALE.
        reader: how the pictures were read.
    """
    import yaml

    folder = path if path.is_dir() else path.parent
    if root is not None or not find_format(report.format).own_root:
        folder = labels.root  # from which training takes the images
    # As names of formats, these two are published data sets in their own folders.
    data: dict[str, Any] = {
        "format": "auto" if report.format in ("pts", "mtfl") else report.format,
        "root": str(folder),
    }
    annotations = Path(os.path.relpath(report.source, folder)).as_posix()
    if annotations != ".":
        data["annotations"] = annotations
    if schema is not None:
        data["schema"] = schema
    if origin is not None:
        data["origin"] = origin
    if scale_unit != 1:
        data["scale_unit"] = scale_unit
    if reader.max_pixels != MAX_PIXELS:
        data["max_pixels"] = reader.max_pixels
    if reader.grey_range is not None:
        data["grey_range"] = list(reader.grey_range)
    data |= _view(labels, report)
    if report.swaps and not labels.schema.swaps:
        data["swaps"] = [list(pair) for pair in report.swaps]
    normaliser = _normaliser(labels)
    if normaliser and not labels.schema.normalisers:
        data["normaliser"] = list(normaliser)
    small = report.objects < 100
    if "val" not in report.splits:
        data["val_share"] = _share(labels, 0.2 if small else 0.1)
    if "test" not in report.splits and not small:
        data["test_share"] = _share(labels, 0.1, last=True)
    # Few images are seen often, so they are changed more.
    augment = {
        "shift": 0.08 if small else 0.05,
        "scale": [0.8, 1.25] if small else [0.9, 1.1],
        "rotate": 30 if small else 20,
        "flip": 0.5 if report.swaps else 0.0,
        "rectangle": [0.1, 0.3],
        "rectangle_probability": 0.3 if small else 0.2,
        "brightness": 0.2,
        "contrast": 0.2,
        "noise": 4,
    }
    train = {
        "steps": 600 if small else 2000, "batch_size": 16 if small else 32, "lr": 0.005, "weight_decay": 0.01,
        "schedule": "one-cycle", "target": "gauss", "ema": 0.98, "keep": "best",
    }  # fmt: skip
    recipe = {"data": data, "augment": augment, "model": {"name": "rcn5", "choices": {"norm": "batch"}}, "train": train}
    head = (
        f"# {report.objects} objects of {len(labels.schema)} points in {report.images} images, proposed by `snellen check`.\n"
        "# Read it, change what you know better, then: snellen train THIS-FILE\n"
        "# swaps: points that exchange in a mirror image. normaliser: errors are divided by this distance.\n"
        "# Shares are held out by a hash of the names; a column group keeps an animal or a patient on one side.\n"
    )
    return head + yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)


def _share(labels: PointLabels, wanted: float, *, last: bool = False) -> float:
    """The share whose hashes hold out as many of these images (or groups) as `wanted` says; chance may take few."""
    keys = {image.group or image.file for image, item in labels.objects if item.keypoints.labelled.any()}
    places = sorted(1 - place_of(key) if last else place_of(key) for key in keys)
    count = max(1, round(wanted * len(places)))
    if count >= len(places):
        return wanted
    return float(round((places[count - 1] + places[count]) / 2, 4))


def _view(labels: PointLabels, report: CheckReport) -> dict[str, Any]:
    """Box and canvas: the whole image where one object fills much of it, else a square around each."""
    several = any(len(image.objects) > 1 for image in labels.images)
    objects = [item for _, item in labels.objects if item.keypoints.labelled.any()]  # what is trained on
    if several and objects and all(item.box for item in objects):
        return {"box": "given", "box_scale": 1.2, "canvas": [96, 96], "channels": 1}
    shares = []
    sizes = [tuple(map(int, size.split(" x "))) for size in report.sizes]
    width, height = sizes[0] if sizes else (96, 96)
    for item in objects:
        span = np.ptp(item.keypoints.xy[item.keypoints.labelled], axis=0)
        shares.append(max(span[0] / width, span[1] / height))
    if several or not shares or float(np.median(shares)) < 0.35:
        return {"box": "square", "box_scale": 1.5, "canvas": [96, 96], "channels": 1}
    # The longer side has 96 pixels, the other a multiple of 16 that keeps the shape.
    ratio = min(width, height) / max(width, height)
    short = max(48, round(96 * ratio / 16) * 16)
    return {"box": "image", "canvas": [short, 96] if width >= height else [96, short], "channels": 1}


def _normaliser(labels: PointLabels) -> tuple[str, str] | None:
    """The two points that are farthest apart in the mean shape, of those that are nearly always labelled."""
    xy = np.stack([item.keypoints.xy for _, item in labels.objects])
    often = np.flatnonzero(np.isfinite(xy).all(axis=2).mean(axis=0) >= 0.95)
    if len(often) < 2:
        return None
    mean = mean_shape(xy)[often]
    apart = np.linalg.norm(mean[:, None] - mean[None], axis=2)
    a, b = np.unravel_index(int(np.nanargmax(apart)), apart.shape)
    first, second = sorted((int(often[a]), int(often[b])))
    return labels.schema.points[first], labels.schema.points[second]
