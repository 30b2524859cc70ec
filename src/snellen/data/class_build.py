"""From plain settings to a classification data set: one place that knows the formats and the splits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from snellen.config import ConfigError, nearest
from snellen.data.build import Split, as_split
from snellen.data.class_readers import (
    ClassFolders,
    Keep,
    ParquetImages,
    TorchvisionCIFAR,
    folder_classes,
    parquet_classes,
)
from snellen.data.classes import ClassImages, OnError
from snellen.data.files import DataError
from snellen.data.splits import held_out

__all__ = ["CLASS_FORMATS", "ClassFormat", "build_classification"]

ClassFormat = Literal["folders", "parquet", "cifar10", "cifar100"]
CLASS_FORMATS: tuple[str, ...] = get_args(ClassFormat)


def build_classification(
    format: ClassFormat,  # the name the setting has everywhere
    root: str | Path,
    split: Split,
    *,
    val_share: float = 0.1,
    train: str = "train",
    val: str | None = None,
    test: str = "test",
    classes: Sequence[str] | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    download: bool = False,
    channels: int = 3,
    on_error: OnError = "raise",
    cache_mb: int = 2048,
) -> ClassImages:
    """The data set of one split.

    Formats::

        folders   ROOT/TRAIN/class/image.jpg and ROOT/TEST/class/image.jpg (`ClassFolders`). ImageNet is `test="val"`; a
                  severity of ImageNet-C is its own root, `test="."`, with the training data's `classes`.
        parquet   ROOT/TRAIN-*.parquet or ROOT/data/TRAIN-*.parquet, likewise TEST (`ParquetImages`)
        cifar10, cifar100   what torchvision downloaded to ROOT (`TorchvisionCIFAR`)

    Args:
        format: one of `CLASS_FORMATS`.
        root: the folder of the data.
        split: "train", "val" or "test". Validation images are the part `val` where there is one, else `val_share` of the
            training images, drawn by a hash of the name: an image stays in its split whatever is added or taken away.
        val_share: share of the training images, at least 0 and below 1.
        train, val, test: folders below `root`, or the beginnings of the parquet files' names.
        classes: names of the labels in order; by default those of the training data, for folders and parquet those of the
            split itself where there is no training data.
        image_column, label_column: of parquet files, where they cannot be guessed.
        download: let torchvision fetch CIFAR.
        channels: 1 or 3.
        on_error: "raise" or "skip" images that cannot be read.
        cache_mb: memory for decoded images, in megabytes.

    Raises:
        ConfigError: for settings that do not exist.
        DataError: one sentence with the file, or the folder and what it lacks.
    """
    if format not in CLASS_FORMATS:
        raise ConfigError(
            f"there is no format {format!r} of labelled images; choose one of {', '.join(CLASS_FORMATS)}"
            f"{nearest(format, CLASS_FORMATS)}"
        )
    split = as_split(split)
    if not 0 <= val_share < 1:
        raise ConfigError(f"val_share is {val_share}; give a share of the training images, from 0 to below 1")
    if val is not None and format.startswith("cifar"):
        raise ConfigError(f"{format} has no part {val!r}; leave val out to hold out a share of its training images")
    root = Path(root)
    if not root.is_dir() and not download:
        raise DataError(f"{root} is not a folder; give the path of the data set")
    part = {"train": train, "val": val or train, "test": test}[split]
    keep: Keep | None = None
    if val is None and split != "test":
        if split == "val" and not val_share:
            raise ConfigError("val_share is 0, so there is no val split; give a share, or name a part as val")
        keep = _Half(val_share, split == "val")
    options: dict[str, Any] = {"keep": keep, "channels": channels}
    caching: dict[str, Any] = {"on_error": on_error, "cache_mb": cache_mb}
    data: ClassImages
    if format == "folders":
        if classes is None and (root / train).is_dir():
            classes = folder_classes(root / train)
        data = ClassFolders(root / part, classes=classes, **options, **caching)
    elif format == "parquet":
        if classes is None:
            shards = _shards(root, train, required=False) or _shards(root, part)
            classes = parquet_classes(shards, label=label_column)
        files = _shards(root, part)
        data = ParquetImages(files, image=image_column, label=label_column, classes=classes, **options, **caching)
    else:
        kind: Literal["cifar10", "cifar100"] = "cifar10" if format == "cifar10" else "cifar100"
        data = TorchvisionCIFAR(root, kind, train=split != "test", download=download, **options)
    if on_error == "skip" or data.fits:
        # Finds broken pixels behind good headers now, before an order is fixed that skips them. Costs nothing where the
        # images stay in memory, since each is decoded once anyway.
        data.decode_all()
    return data


class _Half:
    """Takes the validation share by name, or the rest."""

    def __init__(self, share: float, wanted: bool) -> None:
        self.share, self.wanted = share, wanted

    def __call__(self, name: str) -> bool:
        return held_out(name, self.share) == self.wanted


def _shards(root: Path, part: str, *, required: bool = True) -> list[Path]:
    """The parquet files of a part, in order."""
    for folder in (root, root / "data"):
        found = sorted(folder.glob(f"{part}-*.parquet")) or sorted(folder.glob(f"{part}.parquet"))
        if found:
            return found
    if required:
        raise DataError(
            f"{root} holds no {part}-*.parquet, nor does its folder data; give the root and the names of the parts"
        )
    return []
