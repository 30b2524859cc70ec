"""Folders of images and masks, as they are distributed, to segmentation data sets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from snellen.config import ConfigError
from snellen.config.checks import nearest
from snellen.data.build import Split, as_split
from snellen.data.files import DataError
from snellen.data.masks import MaskFile, MaskImages
from snellen.data.splits import held_out
from snellen.images import ImageError

__all__ = ["CAMVID_CLASSES", "MASK_FORMATS", "VOC_CLASSES", "MaskFormat", "build_segmentation"]

MaskFormat = Literal["segnet", "voc", "masks"]
MASK_FORMATS: tuple[str, ...] = get_args(MaskFormat)

#: The eleven classes that SegNet was trained on, in the order of its labels; 11 is unlabelled.
CAMVID_CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip

#: The classes of PASCAL VOC; 255 is the seam between objects, and unlabelled.
VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

_PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}


def build_segmentation(
    format: MaskFormat,
    root: str | Path,
    split: Split,
    *,
    classes: Sequence[str] | None = None,
    ignore: int | None = None,
    val_share: float = 0.1,
    train_list: str = "train",
    val_list: str | None = "val",
    test_list: str = "test",
    channels: int = 3,
    on_error: Literal["raise", "skip"] = "raise",
    cache_mb: int = 2048,
) -> MaskImages:
    """The segmentation data set of one split.

    Formats, below `root`::

        segnet   train/NAME.jpg with trainannot/NAME.png; val and valannot, test and testannot likewise
        voc      JPEGImages/NAME.jpg, SegmentationClass/NAME.png, ImageSets/Segmentation/LIST.txt with a name a line
                 (`root` may also be the folder that holds VOCdevkit, or one of its years)
        masks    SPLIT/images/NAME.jpg with SPLIT/masks/NAME.png, or without splits images/ and masks/

    Where "segnet" and "masks" have no folder for validation, and where `val_list` is None, `val_share` of the training
    images are held out by a hash of their names, so an image stays in its split whatever is added or taken away.

    Args:
        format: one of `MASK_FORMATS`.
        root: folder of the data.
        split: "train", "val" or "test".
        classes: names of the labels 0, 1, ...; by default CamVid's for "segnet", VOC's for "voc", and for "masks" the lines
            of `root`/classes.txt.
        ignore: label of pixels without a class; by default the number after the last class for "segnet", else 255.
        val_share: share of the training images held out where validation has none of its own.
        train_list: for "voc", the list of the training split, such as "trainaug".
        val_list: for "voc", the list of the validation split; None holds out a share of the training list.
        test_list: for "voc", the list of the test split; "val" where `val_list` is None, since VOC's own test masks are
            not public.
        channels: 1 or 3.
        on_error: "raise" or "skip", see `MaskImages`.
        cache_mb: memory for decoded images and masks, in megabytes.

    Raises:
        DataError: one sentence with file or folder.
        ConfigError: where the arguments do not go together.
    """
    if format not in MASK_FORMATS:
        near = nearest(format, MASK_FORMATS)
        raise ConfigError(f"there is no segmentation format {format!r}; choose one of {', '.join(MASK_FORMATS)}{near}")
    split = as_split(split)
    if not 0 < val_share < 1:
        raise ConfigError(f"val_share must lie between 0 and 1, not {val_share}")
    folder = Path(root)
    if not folder.is_dir():
        raise DataError(f"data.root {folder} is not a folder; give the path of the data set")
    if format == "voc":
        names = classes or VOC_CLASSES
        files, broken, source = _voc(folder, split, train_list, val_list, test_list, val_share)
    else:
        names = classes or (CAMVID_CLASSES if format == "segnet" else _class_names(folder))
        images, masks, shared = _segnet_folders(folder, split) if format == "segnet" else _mask_folders(folder, split)
        files, broken = _pairs(images, masks, folder)
        source = str(images)
        if shared:
            files = [f for f in files if held_out(f.name, val_share) == (split == "val")]
            broken = {n: s for n, s in broken.items() if held_out(n, val_share) == (split == "val")}
    if broken and on_error == "raise":
        raise DataError(f"{next(iter(broken.values()))}; or pass --on-error skip to go on without such files")
    if not files:
        raise DataError(f"{source}: the {split} split is empty; add images, or change val_share")
    own = len(names) if format == "segnet" else 255
    try:
        data = MaskImages(
            files,
            names,
            ignore=own if ignore is None else ignore,
            source=source,
            channels=channels,
            on_error=on_error,
            cache_mb=cache_mb,
            skipped=list(broken.values()),
        )
    except (DataError, ImageError):
        raise
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from None
    if on_error == "skip" or data.fits:
        # As for keypoints: broken pixels are found now, and it costs nothing where all stays in memory.
        data.decode_all()
    return data


def _segnet_folders(root: Path, split: Split) -> tuple[Path, Path, bool]:
    """Folders of images and masks, and whether training and validation share them."""
    shared = split != "test" and not (root / "val").is_dir()
    name = "train" if shared else split
    return root / name, root / f"{name}annot", shared


def _mask_folders(root: Path, split: Split) -> tuple[Path, Path, bool]:
    if split == "test" and not (root / "test" / "images").is_dir():
        raise ConfigError(
            f"{root} has no test split: there is no folder {root / 'test' / 'images'}; make it, or use --split val"
        )
    shared = split != "test" and not (root / "val" / "images").is_dir()
    place = root / ("train" if shared else split)
    if shared and not (place / "images").is_dir():
        place = root
    return place / "images", place / "masks", shared


def _pairs(images: Path, masks: Path, root: Path) -> tuple[list[MaskFile], dict[str, str]]:
    """The images of a folder with the masks of the same stem, by name; and sentences on those without a partner."""
    for folder in (images, masks):
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder; images need a folder of masks beside theirs")
    found, labels = _by_stem(images), _by_stem(masks)
    files, broken = [], {}
    for stem in sorted(found.keys() | labels.keys()):
        name = str((found.get(stem) or labels[stem]).relative_to(root).as_posix())
        if stem not in labels:
            broken[name] = f"{found[stem]} has no mask {masks / stem}.png; draw it or take the image away"
        elif stem not in found:
            broken[name] = f"{labels[stem]} has no image {images / stem}.*; copy it or take the mask away"
        else:
            files.append(MaskFile(name, found[stem], labels[stem]))
    return files, broken


def _by_stem(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in _PICTURES and not path.name.startswith("."):
            if path.stem in files:
                raise DataError(f"{path} and {files[path.stem].name} are called the same; keep one of them")
            files[path.stem] = path
    return files


def _voc(
    root: Path, split: Split, train_list: str, val_list: str | None, test_list: str, val_share: float
) -> tuple[list[MaskFile], dict[str, str], str]:
    place = _voc_folder(root)
    shared = split != "test" and val_list is None
    listed = test_list if split == "test" else train_list if split == "train" or val_list is None else val_list
    source = place / "ImageSets" / "Segmentation" / f"{listed}.txt"
    if not source.is_file():
        there = ", ".join(sorted(p.stem for p in source.parent.glob("*.txt"))) or "none"
        raise DataError(f"{source} does not exist; lists there are: {there}; name one with {split}_list")
    files, broken = [], {}
    for row, line in enumerate(source.read_text(encoding="utf-8").splitlines(), 1):
        name = line.strip()
        if not name or (shared and held_out(name, val_share) != (split == "val")):
            continue
        file = MaskFile(name, place / "JPEGImages" / f"{name}.jpg", place / "SegmentationClass" / f"{name}.png")
        missing = [path for path in (file.image, file.mask) if not path.is_file()]
        if missing:
            broken[name] = f"{source}, row {row}: {missing[0]} does not exist; copy it or take the row away"
        else:
            files.append(file)
    return files, broken, str(source)


def _voc_folder(root: Path) -> Path:
    for place in (root, *sorted(root.glob("VOC2*")), *sorted(root.glob("VOCdevkit/VOC2*"))):
        if (place / "JPEGImages").is_dir():
            return place
    raise DataError(
        f"{root} does not hold PASCAL VOC (there is no JPEGImages); give the folder VOC2012, or the one of VOCdevkit"
    )


def _class_names(root: Path) -> tuple[str, ...]:
    file = root / "classes.txt"
    if not file.is_file():
        raise ConfigError(
            f"the classes of {root} are not known; write their names into {file}, a line each, label 0 first, or give classes"
        )
    return tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
