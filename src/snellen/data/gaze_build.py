"""From a configuration of gaze data to data sets: one place that knows the formats and the splits."""

from pathlib import Path

from snellen.config import ConfigError, GazeDataConfig
from snellen.data.build import Split, as_split
from snellen.data.files import DataError
from snellen.data.gaze import GazeDataset, GazeEntry, GazeImages, people_held_out
from snellen.data.gaze_angles import Answer
from snellen.data.gaze_capture import read_gazecapture
from snellen.data.gaze_scene import GazeScenes
from snellen.data.gaze_table import read_gaze_table
from snellen.keypoints.formats import AnnotationError

__all__ = ["build_gaze"]

#: First part of the key of pasted scenes: no split sees another's clutter.
_SCENE_SEEDS = {"train": 1, "val": 2, "test": 3}


def build_gaze(config: GazeDataConfig, split: Split) -> GazeDataset:
    """The data set of one split.

    No person is in two splits: validation people are those that the data name, else `val_share` of the training people, drawn
    by `split_seed` (`people_held_out`). The test is what the data name so, or `test_annotations`.

    Raises:
        DataError, AnnotationError: one sentence with file and row.
        ConfigError: where the configuration lacks what the format needs.
    """
    split = as_split(split)
    if config.root is None:
        raise ConfigError(f"data.format {config.format!r} needs data.root: the folder that holds the pictures")
    root = Path(config.root)
    if not root.is_dir():
        raise DataError(f"data.root {root} is not a folder; give the path of the data set")
    entries, answer, broken = _read(config, root, split)
    if broken and config.on_error == "raise":
        raise AnnotationError(f"{broken[0]}; or pass --on-error skip to go on without such files")
    kept = _of_split(config, entries, split)
    if not kept:
        raise DataError(f"{root}: the {split} split is empty; name its pictures in the list, or choose another split")
    images = GazeImages(
        kept,
        root,
        answer=answer,
        channels=config.channels,
        on_error=config.on_error,
        cache_mb=config.cache_mb,
        skipped=broken,
    )
    if config.on_error == "skip" or images.fits:
        # Finds broken pixels behind good headers before training; costs nothing, since each is decoded once anyway.
        images.decode_all()
    if not config.clutter:
        return images
    return GazeScenes(images, config.clutter, seed=_SCENE_SEEDS[split], cache_mb=config.cache_mb)


def _read(config: GazeDataConfig, root: Path, split: Split) -> tuple[list[tuple[GazeEntry, str]], Answer, list[str]]:
    if config.format == "gazecapture":
        entries, broken = read_gazecapture(root)
        return entries, "point", list(broken.values())
    rows: dict[str, str] = {}
    apart = config.test_annotations if split == "test" else None
    entries, answer = read_gaze_table(
        root / (apart or config.annotations), broken=rows if config.on_error == "skip" else None
    )
    if apart is not None:
        entries = [(entry, "test") for entry, _ in entries]
    return entries, answer, list(rows.values())


def _of_split(config: GazeDataConfig, entries: list[tuple[GazeEntry, str]], split: Split) -> list[GazeEntry]:
    """The entries of a split; those of no named split are for training."""
    of_person: dict[str, str] = {}
    for entry, name in entries:
        if of_person.setdefault(entry.person, name) != name:
            raise DataError(
                f"{entry.place}: person {entry.person} is in the split {name!r} and in {of_person[entry.person]!r}; all "
                "pictures of a person go to one split"
            )
    named = set(of_person.values())
    if split == "test" and "test" not in named:
        raise ConfigError(
            "these data have no test split; add a column split, or name a list with data.test_annotations, or use --split val"
        )
    if split == "test" or "val" in named:
        wanted = ("train", "") if split == "train" else (split,)
        return [entry for entry, name in entries if name in wanted]
    training = [entry for entry, name in entries if name != "test"]
    val = people_held_out((entry.person for entry in training), config.val_share, config.split_seed)
    return [entry for entry in training if (entry.person in val) == (split == "val")]
