"""From a data configuration to data sets: one place that knows the formats and the splits."""

import logging
import re
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from snellen.config import ConfigError, KeypointDataConfig, nearest
from snellen.data.base import KeypointDataset
from snellen.data.files import AnnotatedImages, DataError
from snellen.data.own import read_own, refuse_wrong_unit
from snellen.data.splits import held_out
from snellen.data.views import InMemory
from snellen.data.wings import Wings
from snellen.images import PictureReader
from snellen.keypoints import get_schema
from snellen.keypoints.formats import (
    Annotation,
    AnnotationError,
    read_mtfl,
    read_pts_folder,
    read_wflw,
)

__all__ = ["Split", "as_split", "build_dataset"]

log = logging.getLogger("snellen")

Split = Literal["train", "val", "test"]
_SPLITS: dict[str, Split] = {name: name for name in get_args(Split)}

# Published data sets in their own layouts; everything else is a user's own files.
_PUBLISHED = ("mtfl", "pts", "wflw")

# Wings of different splits come from different seeds, so no image is in two of them.
_WING_SEEDS = {"train": 1, "val": 2, "test": 3}


def as_split(name: str) -> Split:
    """The split of a name; a ConfigError with the nearest one where there is none."""
    if name not in _SPLITS:
        raise ConfigError(f"there is no split {name!r}; choose one of {', '.join(_SPLITS)}{nearest(name, _SPLITS)}")
    return _SPLITS[name]


def build_dataset(config: KeypointDataConfig, split: Split, *, decode: bool = True) -> KeypointDataset:
    """The data set of one split; without `decode` no pixel is read before a sample is asked for.

    Splits: "wings" draws three disjoint sets; "mtfl" takes `training.txt` (of it `val_share` of the *people* are for
    validation, so no person is in both) and `testing.txt`; "pts" takes `train_folders` (of them `val_share` of the
    *photos*: their other faces and mirrored copies stay with them) and the folders of `test_groups`; "wflw" takes its two
    lists; for all others see `snellen.data.own`. Shares are drawn by a hash of the name, so a file stays in its split
    whatever is added or taken away.

    Raises:
        DataError, AnnotationError: one sentence with file and row.
        ConfigError: where the configuration lacks what the format needs.
    """
    split = as_split(split)
    if config.format == "wings":
        count = {"train": config.train_images, "val": config.val_images, "test": config.test_images}[split]
        return InMemory(Wings(count, seed=_WING_SEEDS[split]), channels=config.channels, cache_mb=config.cache_mb)
    if config.root is None:
        raise ConfigError(f"data.format {config.format!r} needs data.root: the folder that holds the images")
    root = Path(config.root)
    if not root.is_dir():
        raise DataError(f"data.root {root} is not a folder; give the path of the data set")
    if config.format not in _PUBLISHED:
        labels, annotations = read_own(config, split)
        broken = dict(labels.broken)
        if broken and config.on_error == "raise":
            raise AnnotationError(f"{next(iter(broken.values()))}; or pass --on-error skip to go on without such files")
        images = _images(config, annotations, labels.root, labels.source, broken, decode=decode)
        refuse_wrong_unit(images)
        return images
    source = _source(config, root, split)
    annotations, broken = _read(config, source, split)
    if split != "test":
        annotations = [a for a in annotations if _held_out(config, a.file) == (split == "val")]
        if config.format == "pts":  # elsewhere they are rows, of which nobody knows the side: they count on both
            broken = {
                file: sentence for file, sentence in broken.items() if _held_out(config, file) == (split == "val")
            }
        if not annotations:
            raise DataError(f"{source}: the {split} split is empty; change data.val_share or add images")
    return _images(config, annotations, root, source, broken, decode=decode)


def _images(
    config: KeypointDataConfig,
    annotations: list[Annotation],
    root: Path,
    source: Path,
    broken: dict[str, str],
    *,
    decode: bool,
) -> AnnotatedImages:
    images = AnnotatedImages(
        _teaching(annotations, source),
        root,
        source=source,
        skipped=list(broken.values()),
        box=config.box,
        box_scale=config.box_scale,
        channels=config.channels,
        on_error=config.on_error,
        cache_mb=config.cache_mb,
        reader=PictureReader(config.max_pixels, config.grey_range),
    )
    if decode and (config.on_error == "skip" or images.fits):
        # Finds broken pixels behind good headers now: before anything is written, and before an order is fixed that skips
        # them. Costs nothing where the images stay in memory, since each is decoded once anyway.
        images.decode_all()
    return images


def _teaching(annotations: list[Annotation], source: Path) -> list[Annotation]:
    """The objects with a labelled point. The others teach nothing, with or without a box: no loss and no metric counts them."""
    kept = [a for a in annotations if a.keypoints.labelled.any()]
    # Where there is none, `refuse_wrong_unit` says so of all.
    if not kept or len(kept) == len(annotations):
        return annotations
    log.warning("left out %d of %d objects of %s: they have no labelled point", len(annotations) - len(kept),
                len(annotations), source)  # fmt: skip
    return kept


def _source(config: KeypointDataConfig, root: Path, split: Split) -> Path:
    """The annotation file of a split; the root where there are many."""
    if config.format == "mtfl":
        return root / ("testing.txt" if split == "test" else "training.txt")
    if config.format == "pts":
        return root
    if config.format == "wflw":
        lists = Path("list_98pt_rect_attr_train_test")
        place = root / lists if (root / lists).is_dir() else root / "WFLW_annotations" / lists
        return place / f"list_98pt_rect_attr_{'test' if split == 'test' else 'train'}.txt"
    raise TypeError(f"{config.format} has no source of its own")


def _read(config: KeypointDataConfig, source: Path, split: Split) -> tuple[list[Annotation], dict[str, str]]:
    """The annotations of a source, and the annotation files that were left out, with a sentence each."""
    # A format's own origin is the default of its reader.
    origin = {} if config.origin is None else {"origin": config.origin}
    if config.format in ("mtfl", "wflw"):
        broken: dict[str, str] = {}
        read = read_mtfl if config.format == "mtfl" else read_wflw
        return read(source, **origin, broken=broken if config.on_error == "skip" else None), broken
    return _read_folders(config, source, split, origin)


def _read_folders(
    config: KeypointDataConfig, root: Path, split: Split, origin: dict[str, float]
) -> tuple[list[Annotation], dict[str, str]]:
    """300-W: the folders of a split, those of the test marked with their groups."""
    groups: dict[str, tuple[str, ...]] = dict.fromkeys(config.train_folders, ())
    if split == "test":
        listed = dict.fromkeys(folder for folders in config.test_groups.values() for folder in folders)
        groups = {f: tuple(name for name, folders in config.test_groups.items() if f in folders) for f in listed}
    if not groups:
        wanted = (
            "data.test_groups, e.g. {test: [helen/testset]}, or use --split val"
            if split == "test"
            else "data.train_folders, e.g. [helen/trainset]"
        )
        raise ConfigError(f"data.format 'pts' has no folders for the {split} split; name them with {wanted}")
    schema = get_schema(config.schema or "ibug-68")
    annotations: list[Annotation] = []
    broken: dict[str, str] = {}
    for folder, names in groups.items():
        found, sentences = read_pts_folder(root, folder, schema=schema, groups=names, **origin)
        annotations += found
        broken |= sentences
    if broken and config.on_error == "raise":
        raise AnnotationError(f"{next(iter(broken.values()))}; or pass --on-error skip to go on without such files")
    return annotations, broken


def _held_out(config: KeypointDataConfig, file: str) -> bool:
    """Whether a training file belongs to the validation split, with all that must stay on its side."""
    key, path = file, PurePosixPath(file)
    if config.format == "mtfl":
        # LFW files are Person_Name_0001.jpg: all pictures of a person go to one side.
        key = re.sub(r"_\d+$", "", path.stem)
    elif config.format == "pts":
        # One photo is one key: 134212_1 and 134212_2 are two of its faces, NAME_mirror is NAME once more. With the folder,
        # as image_0001 of LFPW's training and test halves are different photos.
        key = str(path.with_name(re.sub(r"(?<=\d)_\d+$", "", path.stem.removesuffix("_mirror"))))
    return held_out(key, config.val_share)
