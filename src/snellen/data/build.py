"""From a data configuration to data sets: one place that knows the formats and the splits."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from snellen.config import ConfigError, DataConfig, nearest
from snellen.data.base import KeypointDataset
from snellen.data.files import AnnotatedImages, DataError
from snellen.data.memory import InMemory
from snellen.data.wings import Wings
from snellen.keypoints import Normaliser, Schema, get_schema
from snellen.keypoints.formats import Annotation, read_csv, read_mtfl

__all__ = ["SPLITS", "Split", "build_dataset"]

Split = Literal["train", "val", "test"]
SPLITS: tuple[str, ...] = get_args(Split)

# Wings of different splits come from different seeds, so no image is in two of them.
_WING_SEEDS = {"train": 1, "val": 2, "test": 3}


def build_dataset(config: DataConfig, split: Split) -> KeypointDataset:
    """The data set of one split.

    Splits: "wings" draws three disjoint sets; "mtfl" takes `training.txt` (of it `val_share` of the *people* are for
    validation, so no person is in both) and `testing.txt`; "csv" takes `val_share` of the files, by a hash of their names,
    and `test_annotations`.

    Raises:
        DataError, AnnotationError: one sentence with file and row.
        ConfigError: where the configuration lacks what the format needs.
    """
    if split not in SPLITS:
        raise ConfigError(f"there is no split {split!r}; choose one of {', '.join(SPLITS)}{nearest(split, SPLITS)}")
    if config.format == "wings":
        count = {"train": config.train_images, "val": config.val_images, "test": config.test_images}[split]
        return InMemory(Wings(count, seed=_WING_SEEDS[split]), channels=config.channels, cache_mb=config.cache_mb)
    if config.root is None:
        raise ConfigError(f"data.format {config.format!r} needs data.root: the folder that holds the images")
    root = Path(config.root)
    if not root.is_dir():
        raise DataError(f"data.root {root} is not a folder; give the path of the data set")
    source = _source(config, root, split)
    annotations = _read(config, source)
    if split != "test":
        annotations = [a for a in annotations if (_held_out(config, a) == (split == "val"))]
        if not annotations:
            raise DataError(f"{source}: the {split} split is empty; change data.val_share or add images")
    images = AnnotatedImages(
        annotations,
        root,
        source=source,
        box=config.box,
        box_scale=config.box_scale,
        channels=config.channels,
        on_error=config.on_error,
        cache_mb=config.cache_mb,
    )
    if config.on_error == "skip":
        images.decode_all()  # finds the broken files now, so that the order of the others is fixed
    return images


def _source(config: DataConfig, root: Path, split: Split) -> Path:
    if config.format == "mtfl":
        return root / ("testing.txt" if split == "test" else "training.txt")
    if split != "test":
        return root / config.annotations
    if config.test_annotations is None:
        raise ConfigError(
            "this CSV data has no test split; name its file with data.test_annotations, or use --split val"
        )
    return root / config.test_annotations


def _read(config: DataConfig, source: Path) -> list[Annotation]:
    if config.format == "mtfl":
        return read_mtfl(source, origin=config.origin)
    schema = get_schema(config.schema) if config.schema else None
    annotations = read_csv(source, schema=schema, origin=config.origin)
    found = annotations[0].keypoints.schema
    try:
        own = _with_structure(found, config)
    except ValueError as error:
        raise ConfigError(f"data.swaps or data.normaliser do not fit {source}: {error}") from None
    if own == found:
        return annotations
    return [replace(a, keypoints=replace(a.keypoints, schema=own)) for a in annotations]


def _with_structure(schema: Schema, config: DataConfig) -> Schema:
    """The schema with the swap pairs and the normaliser that the configuration gives it."""
    if config.swaps:
        schema = replace(schema, swaps=config.swaps)
    if config.normaliser:
        start, end = config.normaliser
        schema = replace(schema, normalisers=(Normaliser(f"{start} to {end}", (start,), (end,)),))
    return schema


def _held_out(config: DataConfig, annotation: Annotation) -> bool:
    """Whether a training file belongs to the validation split: decided by a hash, so it never depends on the order."""
    key = annotation.file
    if config.format == "mtfl":
        # LFW files are Person_Name_0001.jpg: all pictures of a person go to one side.
        key = re.sub(r"_\d+$", "", Path(annotation.file).stem)
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32 < config.val_share
