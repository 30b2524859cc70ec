"""Made-up eyes: a dark disc that moves with the gaze, and a bar at the inner corner; and frames in GazeCapture's layout."""

import itertools
import json
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 32


def eye(pitch, yaw, which, shade=200, noise=0):
    """(32, 32) uint8: the disc moves half a pixel a degree, right with the yaw, up with the pitch."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    picture = np.full((SIDE, SIDE), float(shade))
    picture[np.hypot(x - SIDE / 2 - yaw / 2, y - SIDE / 2 + pitch / 2) < 5] = 20
    picture[:, -3:] = 90
    if which == "R":
        # A right eye is a left one mirrored, whose gaze is mirrored too.
        return eye(pitch, -yaw, "L", shade, noise)[:, ::-1].copy()
    picture += np.random.default_rng(noise).integers(-8, 9, picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


def write_gazes(root: Path, people: int = 6, split: bool = True) -> Path:
    """Columbia's layout: both eyes of nine gazes of each person, the last of whom is for the test."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    rows = ["file,subject,eye,head_yaw_deg,gaze_pitch_deg,gaze_yaw_deg" + (",split" if split else "")]
    gazes = itertools.product(range(1, people + 1), (-10, 0, 10), (-15, 0, 15), "LR")
    for i, (person, pitch, yaw, which) in enumerate(gazes):
        file = f"images/{person}_{pitch}_{yaw}_{which}.png"
        Image.fromarray(eye(pitch, yaw, which, 150 + 10 * person, noise=i)).save(root / file)
        name = "test" if person == people else "train"
        rows.append(f"{file},{person},{which},{15 * (person % 3 - 1)},{pitch},{yaw}" + (f",{name}" if split else ""))
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return root


def write_gazecapture(root: Path, people: int = 4, frames: int = 6, *, named: bool = True) -> Path:
    """GazeCapture's layout: 80x60 frames with a face and two eyes; in the last frame of each person no eye was found."""
    rng = np.random.default_rng(0)
    for person in range(people):
        folder = root / f"{person:05d}"
        (folder / "frames").mkdir(parents=True, exist_ok=True)
        names = [f"{i:05d}.png" for i in range(frames)]
        # The eyes' boxes count from the face's corner: (20, 10) + (4, 6) and (20, 10) + (22, 6).
        boxes = {"appleFace": (20, 10, 40, 40), "appleLeftEye": (22, 6, 12, 8), "appleRightEye": (4, 6, 12, 8)}
        for name, box in boxes.items():
            lists = {key: [float(value)] * frames for key, value in zip("XYWH", box, strict=True)}
            valid = [1] * frames
            if name == "appleLeftEye":
                valid[-1] = 0
            (folder / f"{name}.json").write_text(json.dumps({**lists, "IsValid": valid}))
        points = rng.uniform(-5, 5, (frames, 2))
        (folder / "dotInfo.json").write_text(json.dumps({"XCam": points[:, 0].tolist(), "YCam": points[:, 1].tolist()}))
        (folder / "frames.json").write_text(json.dumps(names))
        if named:
            part = "train" if person < people - 2 else "val" if person < people - 1 else "test"
            (folder / "info.json").write_text(json.dumps({"Dataset": part, "DeviceName": "none"}))
        for name, (x, y) in zip(names, points, strict=True):
            picture = np.full((60, 80, 3), 60, np.uint8)
            picture[10:50, 20:60] = 160
            for left, top, shade in ((24, 16, 240), (42, 16, 220)):
                picture[top : top + 8, left : left + 12] = shade
                at = int(left + 6 + x / 2), int(top + 4 - y / 3)
                picture[at[1] - 1 : at[1] + 2, at[0] - 1 : at[0] + 2] = 10
            Image.fromarray(picture).save(folder / "frames" / name)
    return root


def gaze_recipe(root: Path, out: Path, **train) -> dict:
    """Settings of a run over `write_gazes` data: a second or two on one core."""
    return {
        "task": "gaze",
        "recipe": "discs",
        "out": str(out),
        "data": {"root": str(root), "val_share": 0.2, "canvas": [32, 32]},
        "augment": {"shift": 0.05, "rotate": 5, "flip": 0.5, "gamma": 0.2, "light": 0.2},
        "model": {"name": "gaze-small", "choices": {"width": 8}},
        "train": {
            "steps": 12, "batch_size": 8, "lr": 0.005, "schedule": "one-cycle", "validate_every": 6, "threads": 1,
            "loss": "angular", **train,
        },
        "evaluate": {"flip": True},
    }  # fmt: skip


def parts_recipe(root: Path, out: Path, **train) -> dict:
    """Settings of iTracker over `write_gazecapture` data."""
    made = gaze_recipe(root, out, loss="l1", **train)
    return {
        **made,
        "data": {"root": str(root), "format": "gazecapture", "look": "parts", "canvas": [35, 43], "channels": 3},
        "augment": {"flip": 0.5, "scale": [0.9, 1.1]},
        "model": {"name": "itracker"},
    }
