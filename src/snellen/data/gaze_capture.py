"""GazeCapture's folders (Krafka et al., "Eye Tracking for Everyone", CVPR 2016): a folder a person, a JSON file a property.

::

    ROOT/00002/frames/00000.jpg ...
         frames.json                  the files' names, in order; every other list has one entry a frame
         dotInfo.json                 XCam, YCam: the dot that is looked at, centimetres from the camera
         appleFace.json               X, Y, W, H, IsValid: the face's box, pixels of the frame
         appleLeftEye.json            the same for an eye, but X and Y from the corner of the *face's* box
         appleRightEye.json
         info.json                    Dataset: train, val or test (a folder without it is for training)

Boxes are read as continuous coordinates: X and Y are the box's corner, so no half pixel is added. A frame in which the face or
an eye was not detected (IsValid 0) has no gaze to be learnt by iTracker and is left out, as its authors do.
"""

import json
from pathlib import Path
from typing import Any

from snellen.data.gaze import GazeEntry, GazeParts
from snellen.geometry import Box
from snellen.keypoints.formats import AnnotationError

__all__ = ["read_gazecapture"]


def read_gazecapture(root: str | Path) -> tuple[list[tuple[GazeEntry, str]], dict[str, str]]:
    """Read all people of a folder.

    Returns:
        Each entry with its split ("" where info.json does not name one), frames without detections left out; and a sentence
        for each person whose files are broken, by folder.

    Raises:
        AnnotationError: where the folder holds no person.
    """
    root = Path(root)
    folders = sorted(f for f in root.iterdir() if (f / "frames").is_dir()) if root.is_dir() else []
    if not folders:
        raise AnnotationError(f"{root} holds no folder with frames in it; give the folder of GazeCapture's people")
    entries: list[tuple[GazeEntry, str]] = []
    broken: dict[str, str] = {}
    for folder in folders:
        try:
            entries += _person(folder)
        except AnnotationError as error:
            broken[folder.name] = str(error)
    return entries, broken


def _person(folder: Path) -> list[tuple[GazeEntry, str]]:
    frames = _json(folder / "frames.json")
    if not isinstance(frames, list) or not all(isinstance(name, str) for name in frames):
        raise AnnotationError(f"{folder / 'frames.json'} is not a list of file names; copy it again")
    dots = _lists(folder / "dotInfo.json", ("XCam", "YCam"), len(frames))
    faces, lefts, rights = (
        _lists(folder / f"{name}.json", ("X", "Y", "W", "H", "IsValid"), len(frames))
        for name in ("appleFace", "appleLeftEye", "appleRightEye")
    )
    split = ""
    if (folder / "info.json").is_file():
        info = _json(folder / "info.json")
        split = str(info.get("Dataset", "")).lower() if isinstance(info, dict) else ""
        if split not in ("", "train", "val", "test"):
            raise AnnotationError(f"{folder / 'info.json'}: Dataset is {split!r}; it is train, val or test")
    entries = []
    for i, name in enumerate(frames):
        if not all(boxes["IsValid"][i] and boxes["W"][i] > 0 and boxes["H"][i] > 0 for boxes in (faces, lefts, rights)):
            continue
        face = _box(faces, i)
        eyes = [_box(boxes, i).shifted(face.left, face.top) for boxes in (lefts, rights)]
        entry = GazeEntry(
            file=f"{folder.name}/frames/{name}",
            target=(dots["XCam"][i], dots["YCam"][i]),
            person=folder.name,
            parts=GazeParts(face, eyes[0], eyes[1]),
            place=f"{folder}, frame {i}",
        )
        entries.append((entry, split))
    return entries


def _box(boxes: dict[str, list[float]], i: int) -> Box:
    left, top = boxes["X"][i], boxes["Y"][i]
    return Box(left, top, left + boxes["W"][i], top + boxes["H"][i])


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AnnotationError(f"{file} does not exist; copy the person's folder again") from None
    except (ValueError, OSError) as error:
        raise AnnotationError(f"{file} cannot be read as JSON ({error}); copy it again") from None


def _lists(file: Path, names: tuple[str, ...], count: int) -> dict[str, list[float]]:
    """Lists of numbers, one entry a frame."""
    found = _json(file)
    lists = {}
    for name in names:
        values = found.get(name) if isinstance(found, dict) else None
        if not isinstance(values, list) or len(values) != count:
            held = f"{len(values)} entries" if isinstance(values, list) else "no list"
            raise AnnotationError(f"{file}: {name} has {held} for {count} frames; copy the person's folder again")
        try:
            lists[name] = [float(value) for value in values]
        except (TypeError, ValueError):
            raise AnnotationError(f"{file}: {name} holds what is no number; copy the person's folder again") from None
    return lists
