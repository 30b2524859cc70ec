"""A data set and a run small enough for tests: bright discs on grey, located by a four-branch network."""

import csv
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image, ImageDraw

SIZE = 48


def write_discs(root: Path, count: int = 24, seed: int = 0) -> Path:
    """Images with a bright and a dark disc and annotations.csv (corner coordinates: origin 0.5)."""
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    rows = ["file,bright_x,bright_y,dark_x,dark_y"]
    for i in range(count):
        image = Image.new("L", (SIZE, SIZE), 128)
        draw = ImageDraw.Draw(image)
        points = rng.uniform(10, SIZE - 10, size=(2, 2))
        for (x, y), value in zip(points, (255, 0), strict=True):
            draw.ellipse((x - 4.5, y - 4.5, x + 3.5, y + 3.5), fill=value)
        image.save(root / f"disc {i:02d}.png")
        rows.append(f"disc {i:02d}.png," + ",".join(f"{v:.4f}" for v in points.ravel()))
    (root / "annotations.csv").write_text("\n".join(rows) + "\n")
    (root / "test.csv").write_text("\n".join([rows[0], *rows[-6:]]) + "\n")
    return root


def write_claiming(path: Path, side: int) -> Path:
    """A small PNG or JPEG whose header claims to be `side` pixels square: nothing that decodes it has the memory to."""
    Image.new("L", (16, 16), 90).save(path)
    content = bytearray(path.read_bytes())
    if path.suffix == ".png":  # the header's chunk: length, IHDR, width, height, five bytes, check sum
        content[16:24] = side.to_bytes(4, "big") * 2
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    else:  # the frame's segment: mark, length, bits, height, width
        frame = content.index(b"\xff\xc0")
        content[frame + 5 : frame + 9] = side.to_bytes(2, "big") * 2
    path.write_bytes(content)
    return path


def recipe(root: Path, out: Path, **train: Any) -> dict[str, Any]:
    """Settings of a run over `write_discs` data: a second or two on one core."""
    return {
        "recipe": "discs",
        "out": str(out),
        "data": {
            "format": "csv", "root": str(root), "origin": 0.5, "test_annotations": "test.csv", "val_share": 0.25,
            "canvas": [32, 32],
        },
        "augment": {"shift": 0.05, "rotate": 10, "noise": 4, "rectangle_probability": 0.3, "blur_probability": 0.3},
        "model": {"name": "rcn5", "choices": {"branches": 4, "width": 0.5, "norm": "batch"}},
        "train": {
            "steps": 12, "batch_size": 8, "lr": 0.003, "schedule": "one-cycle", "target": "gauss", "ema": 0.9,
            "validate_every": 4, "checkpoint_every": 3, "threads": 1, **train,
        },
    }  # fmt: skip


def write_recipe(root: Path, out: Path, **train: Any) -> Path:
    """The same as a YAML file beside the data."""
    file = root / "discs.yaml"
    file.write_text(yaml.safe_dump(recipe(root, out, **train)))
    return file


def write_classes(root: Path, count: int = 10, seed: int = 0) -> Path:
    """Folders train and test of 16-pixel pictures of two classes: brighter above, brighter below."""
    rng = np.random.default_rng(seed)
    for part in ("train", "test"):
        for name, above in (("above", 200), ("below", 60)):
            folder = root / part / name
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                picture = np.full((16, 16, 3), 260 - above)
                picture[:8] = above
                noise = rng.integers(-20, 21, picture.shape)
                Image.fromarray((picture + noise).clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    return root


def class_recipe(root: Path, out: Path, **train: Any) -> dict[str, Any]:
    """Settings of a run over `write_classes` data: a second or two on one core."""
    return {
        "task": "classification",
        "recipe": "halves",
        "out": str(out),
        "data": {"format": "folders", "root": str(root), "val_share": 0.4, "canvas": [16, 16]},
        "augment": {"shift": 0.05, "erase": 0.2},
        "model": {"name": "resnet20", "choices": {"width": 0.5}},
        "train": {
            "steps": 12, "batch_size": 8, "lr": 0.01, "schedule": "one-cycle", "validate_every": 6, "threads": 1, **train,
        },
        "evaluate": {"robust_images": 4, "corruptions": ["contrast", "gaussian_noise"], "frames": 3, "largest_shift": 2},
    }  # fmt: skip


def write_label_maps(root: Path, counts: dict[str, int] | None = None, seed: int = 0) -> Path:
    """SegNet's layout with three classes, dark, middle and bright squares of 24x32 pixels, and an unlabelled column."""
    rng = np.random.default_rng(seed)
    for split, count in (counts or {"train": 8, "val": 3, "test": 2}).items():
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            labels = np.zeros((24, 32), dtype=np.uint8)
            for label in (1, 2):
                top, left = rng.integers(0, 12), rng.integers(0, 20)
                labels[top : top + 11, left : left + 11] = label
            picture = 40 + 80 * labels.astype(int)[..., None] + rng.integers(-15, 16, (24, 32, 3))
            labels[:, -1] = 3
            Image.fromarray(picture.astype(np.uint8)).save(root / split / f"{i}.png")
            Image.fromarray(labels).save(root / f"{split}annot" / f"{i}.png")
    return root


def label_recipe(root: Path, out: Path, **train: Any) -> dict[str, Any]:
    """Settings of a run over `write_label_maps` data: a second or two on one core."""
    return {
        "task": "segmentation",
        "recipe": "squares",
        "out": str(out),
        "data": {
            "format": "segnet", "root": str(root), "classes": ["dark", "middle", "bright"], "canvas": [24, 32],
        },
        "augment": {"shift": 0.1, "flip": 0.5},
        "model": {"name": "segnet-small"},
        "train": {
            "steps": 12, "batch_size": 4, "lr": 0.01, "schedule": "one-cycle", "validate_every": 6, "threads": 1,
            "class_weights": "median-frequency", **train,
        },
        "evaluate": {"batch_size": 2},
    }  # fmt: skip


def table_rows(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV table, by its header."""
    with open(file, newline="") as opened:
        return list(csv.DictReader(opened))
