"""Readers of labelled pictures: a folder a class, parquet as on the Hugging Face hub, torchvision's CIFAR."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from snellen.data.classes import ClassEntry, ClassImages, OnError
from snellen.data.files import DataError
from snellen.data.views import to_channels
from snellen.images import ImageError, image_size, read_image

__all__ = ["ClassFolders", "ParquetImages", "TorchvisionCIFAR", "folder_classes", "parquet_classes"]

#: What counts as a picture in a folder; other files beside them (lists, thumbnails' databases) are not data.
SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}

#: Names taken first where several columns would do, in this order.
_IMAGE_NAMES, _LABEL_NAMES = ("image", "img"), ("label", "fine_label", "labels", "class")

Keep = Callable[[str], bool]


def folder_classes(folder: str | Path) -> tuple[str, ...]:
    """Names of the classes of a folder: its subfolders, sorted.

    Raises:
        DataError: where there is no such folder, or no subfolder in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give one that holds a folder of pictures for each class")
    names = tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")))
    if not names:
        raise DataError(f"{folder} has no folders in it; put the pictures of each class into a folder of its name")
    return names


class ClassFolders(ClassImages):
    """A folder of pictures for each class: ``FOLDER/class/.../image.jpg``, the layout of torchvision's ImageFolder.

    ImageNet comes so, and so does each severity of ImageNet-C: ``FOLDER`` is then ``gaussian_noise/3``.

    Args:
        folder: holds the class folders.
        classes: names of the labels; by default the folders' sorted names. Give the training data's for a test folder.
        keep: takes or leaves an image by its name; by default all are taken.
        channels, on_error, cache_mb: see `ClassImages`.

    Raises:
        DataError: where the folder is missing or has a folder that is no class, or an image is broken.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        classes: Sequence[str] | None = None,
        keep: Keep | None = None,
        channels: int = 3,
        on_error: OnError = "raise",
        cache_mb: int = 2048,
    ) -> None:
        self.folder = Path(folder)
        found = folder_classes(self.folder)
        known = tuple(found if classes is None else classes)
        unknown = [name for name in found if name not in known]
        if unknown:
            raise DataError(
                f"{self.folder} has a folder {unknown[0]!r}, which is none of the {len(known)} classes "
                f"({', '.join(known[:3])}, ...); take it out, or give its name as a class"
            )
        entries = (entry for entry in self._scan(found, known) if keep is None or keep(entry.name))
        super().__init__(
            entries, known, source=str(self.folder), channels=channels, on_error=on_error, cache_mb=cache_mb
        )

    def _scan(self, found: Sequence[str], classes: Sequence[str]) -> Iterator[ClassEntry]:
        positions = {name: i for i, name in enumerate(classes)}
        for name in found:
            for path in sorted((self.folder / name).rglob("*")):
                if path.suffix.lower() in SUFFIXES and path.is_file():
                    yield ClassEntry(path.relative_to(self.folder).as_posix(), positions[name], path)

    def size_of(self, entry: ClassEntry) -> tuple[int, int]:
        """(height, width) from the file's header."""
        return image_size(entry.place)

    def read(self, entry: ClassEntry) -> Tensor:
        """The decoded file."""
        return read_image(entry.place, channels=self.channels)


class ParquetImages(ClassImages):
    """Parquet files of images and labels, as data sets are stored on the Hugging Face hub.

    The encoded images of all files stay in memory (sets larger than that are for `ClassFolders`); they are decoded when
    they are asked for.

    Args:
        files: parquet files of one schema.
        image: column of the images, a struct with the field `bytes` (and `path`, which names the image); by default the
            only one there is, or the one called "image" or "img".
        label: column of whole numbers; by default the only one there is, or "label", "fine_label", "labels" or "class".
        classes: names of the labels; by default as `parquet_classes` finds them for `files`.
        keep: takes or leaves an image by its name; by default all are taken.
        channels, on_error, cache_mb: see `ClassImages`.

    Raises:
        DataError: one sentence with file and row, or with file and the columns it has.
    """

    def __init__(
        self,
        files: Sequence[str | Path],
        *,
        image: str | None = None,
        label: str | None = None,
        classes: Sequence[str] | None = None,
        keep: Keep | None = None,
        channels: int = 3,
        on_error: OnError = "raise",
        cache_mb: int = 2048,
    ) -> None:
        if not files:
            raise DataError("no parquet file is given; name at least one")
        paths = [Path(file) for file in files]
        known = parquet_classes(paths, label=label) if classes is None else tuple(classes)
        source = (
            str(paths[0]) if len(paths) == 1 else f"{paths[0].parent}/{{{', '.join(p.name for p in paths[:3])}...}}"
        )
        entries = (entry for entry in _rows(paths, image, label) if keep is None or keep(entry.name))
        super().__init__(entries, known, source=source, channels=channels, on_error=on_error, cache_mb=cache_mb)

    def _bytes(self, entry: ClassEntry) -> bytes:
        column, position, where = entry.place
        data = column[position].as_py()
        if data is None:
            raise ImageError(f"{where} holds no image; correct the row or leave it out")
        return bytes(data)

    def describe(self, entry: ClassEntry) -> str:
        """File and row, counted from 0."""
        return str(entry.place[2])

    def size_of(self, entry: ClassEntry) -> tuple[int, int]:
        """(height, width) from the header of the row's image."""
        return image_size(self._bytes(entry), name=self.describe(entry))

    def read(self, entry: ClassEntry) -> Tensor:
        """The decoded image of the row."""
        return read_image(self._bytes(entry), channels=self.channels, name=self.describe(entry))


def _parquet() -> tuple[Any, Any]:
    try:
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError:
        raise DataError("parquet files need pyarrow; install it with: pip install 'snellen[train]'") from None
    return pyarrow, pyarrow.parquet


def _schema(path: Path) -> Any:
    pyarrow, parquet = _parquet()
    try:
        return parquet.read_schema(path)
    except (OSError, pyarrow.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} cannot be read as a parquet file ({reason}); copy it again") from None


def _rows(paths: Sequence[Path], image: str | None, label: str | None) -> Iterator[ClassEntry]:
    pyarrow, parquet = _parquet()
    seen = Counter[str]()
    for path in paths:
        schema = _schema(path)
        image_column = _column(path, schema, image, "image", _IMAGE_NAMES)
        label_column = _column(path, schema, label, "label", _LABEL_NAMES)
        try:
            table = parquet.read_table(path, columns=[image_column, label_column])
        except (OSError, pyarrow.ArrowException) as error:
            raise DataError(f"{path} cannot be read ({str(error).splitlines()[0]}); copy it again") from None
        images, labels = table.column(image_column), table.column(label_column).to_pylist()
        data = pyarrow.compute.struct_field(images, "bytes")
        has_path = schema.field(image_column).type.get_field_index("path") >= 0
        names = pyarrow.compute.struct_field(images, "path").to_pylist() if has_path else [None] * len(labels)
        for i, (name, number) in enumerate(zip(names, labels, strict=True)):
            where = f"{path}, row {i}"
            if number is None:
                raise DataError(f"{where} has no label; correct the row or take it out")
            name = name or f"{path.stem}/{i:06d}"
            seen[name] += 1
            yield ClassEntry(name if seen[name] == 1 else f"{name}#{seen[name]}", int(number), (data, i, where))


def _column(path: Path, schema: Any, given: str | None, what: str, preferred: Sequence[str]) -> str:
    """The column of the images or of the labels."""
    from pyarrow import types

    def fits(kind: Any) -> bool:
        if what == "label":
            return bool(types.is_integer(kind))
        # Neither a struct without bytes nor one whose bytes are text can be an image.
        where = kind.get_field_index("bytes") if types.is_struct(kind) else -1
        return where >= 0 and bool(
            types.is_binary(kind.field(where).type) or types.is_large_binary(kind.field(where).type)
        )

    wanted = "a struct with the field `bytes`" if what == "image" else "whole numbers"
    has = ", ".join(f"{field.name} ({field.type})" for field in schema)
    if given is not None:
        if given in schema.names and fits(schema.field(given).type):
            return given
        raise DataError(f"{path} has no column {given!r} of {wanted} for the {what}; its columns are {has}")
    found = [field.name for field in schema if fits(field.type)]
    chosen = found if len(found) == 1 else [name for name in preferred if name in found]
    if chosen:
        return str(chosen[0])
    raise DataError(
        f"{path} has {len(found) or 'no'} columns of {wanted}, one of which would be the {what}; name it; "
        f"its columns are {has}"
    )


def parquet_classes(files: Sequence[str | Path], *, label: str | None = None) -> tuple[str, ...]:
    """Names of the classes of parquet files.

    They stand in a `classes.json` beside the files, a list of names, or in the metadata that the Hugging Face library
    `datasets` writes into a file; otherwise they are the numbers from 0 to the largest label.

    Raises:
        DataError: where `classes.json` is no list of names, or a file has no column of labels.
    """
    pyarrow, parquet = _parquet()
    paths = [Path(file) for file in files]
    listed = paths[0].parent / "classes.json"
    if listed.is_file():
        try:
            names = json.loads(listed.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{listed} is not JSON ({error}); give a list of class names") from None
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise DataError(f'{listed} must hold a list of class names, e.g. ["apple", "baby"]')
        return tuple(names)
    largest = -1
    for path in paths:
        schema = _schema(path)
        column = _column(path, schema, label, "label", _LABEL_NAMES)
        told = (schema.metadata or {}).get(b"huggingface")
        features = json.loads(told).get("info", {}).get("features", {}) if told else {}
        names = features.get(column, {}).get("names")
        if names:
            return tuple(map(str, names))
        highest = pyarrow.compute.max(parquet.read_table(path, columns=[column]).column(column)).as_py()
        largest = max(largest, -1 if highest is None else highest)
    return tuple(str(i) for i in range(largest + 1))


class TorchvisionCIFAR(ClassImages):
    """CIFAR-10 or CIFAR-100 (fine labels) where torchvision has put it on disk.

    Args:
        root: the folder given to torchvision, which holds `cifar-10-batches-py` or `cifar-100-python`.
        kind: "cifar10" or "cifar100".
        train: the 50,000 training images, else the 10,000 test images.
        keep: takes or leaves an image by its name ("train/00042"); by default all are taken.
        download: fetch it through torchvision where it is missing.
        channels: 1 or 3.

    Raises:
        DataError: where the files are missing or damaged.
    """

    def __init__(
        self,
        root: str | Path,
        kind: Literal["cifar10", "cifar100"],
        *,
        train: bool,
        keep: Keep | None = None,
        download: bool = False,
        channels: int = 3,
    ) -> None:
        from torchvision import datasets

        if kind not in ("cifar10", "cifar100"):
            raise ValueError(f"kind={kind!r} is not known; give 'cifar10' or 'cifar100'")
        reader = datasets.CIFAR10 if kind == "cifar10" else datasets.CIFAR100
        try:
            found = reader(str(root), train=train, download=download)
        except RuntimeError as error:  # torchvision's word for files that are missing or have another checksum
            code = f"from torchvision.datasets import {reader.__name__} as C; C({str(root)!r}, download=True)"
            reason = str(error).split(".")[0].lower()
            raise DataError(f'{kind} is not in {root} ({reason}); fetch it with: python -c "{code}"') from None
        except OSError as error:
            raise DataError(
                f"{kind} cannot be downloaded to {root} ({error}); unpack the archive of the CIFAR page there yourself, or "
                "leave data.download out where it is there already"
            ) from None
        self._pixels = torch.from_numpy(found.data).permute(0, 3, 1, 2)
        part = "train" if train else "test"
        entries = [ClassEntry(f"{part}/{i:05d}", int(label), i) for i, label in enumerate(found.targets)]
        super().__init__(
            [entry for entry in entries if keep is None or keep(entry.name)],
            found.classes,
            source=str(root),
            channels=channels,
            cache_mb=0,
        )

    def size_of(self, entry: ClassEntry) -> tuple[int, int]:
        """32 by 32."""
        return self._pixels.shape[2], self._pixels.shape[3]

    def read(self, entry: ClassEntry) -> Tensor:
        """A copy of the image."""
        return to_channels(self._pixels[entry.place].contiguous(), self.channels)
