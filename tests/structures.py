"""Made-up objects of five points with a structure that is known: a template, turned, sized and put somewhere."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from snellen.inference import StructureModel
from snellen.keypoints import Schema
from snellen.models import Denoiser
from snellen.models.attention_denoiser import Mixture

#: Two eyes, a nose, two corners of a mouth, about the middle, in shares of the object's size.
TEMPLATE = np.array([[-0.25, -0.2], [0.25, -0.2], [0.0, 0.05], [-0.18, 0.3], [0.18, 0.3]])
SCHEMA = Schema(
    "five",
    ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth"),
    swaps=(("left_eye", "right_eye"), ("left_mouth", "right_mouth")),
)
SIZE = 48


def shapes(count: int, seed: int = 0, *, still: bool = False) -> np.ndarray:
    """(count, 5, 2) points in pictures of `SIZE`; `still` only moves the template, without turning or sizing it."""
    rng = np.random.default_rng(seed)
    angle, scale = rng.uniform(-0.4, 0.4, count), rng.uniform(0.8, 1.2, count)
    if still:
        angle, scale = np.zeros(count), np.ones(count)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    return 20 * scale[:, None, None] * TEMPLATE @ turn.transpose(0, 2, 1) + SIZE / 2 + rng.uniform(-6, 6, (count, 1, 2))


def write_shapes(root: Path, count: int = 24, seed: int = 0) -> Path:
    """annotations.csv and test.csv (corner coordinates: origin 0.5), and grey pictures with a dot at each point."""
    root.mkdir(parents=True, exist_ok=True)
    rows = ["file," + ",".join(f"{p}_x,{p}_y" for p in SCHEMA.points)]
    for i, xy in enumerate(shapes(count, seed)):
        y, x = np.mgrid[:SIZE, :SIZE] + 0.5
        picture = np.full((SIZE, SIZE), 90)
        for k, (px, py) in enumerate(xy):
            picture[np.hypot(x - px, y - py) < 2.5] = 130 + 25 * k
        Image.fromarray(picture.astype(np.uint8)).save(root / f"face {i:02d}.png")
        rows.append(f"face {i:02d}.png," + ",".join(f"{v:.4f}" for v in xy.ravel()))
    (root / "annotations.csv").write_text("\n".join(rows) + "\n")
    (root / "test.csv").write_text("\n".join([rows[0], *rows[-8:]]) + "\n")
    return root


def data_settings(root: Path) -> dict[str, Any]:
    """How a recipe names that data."""
    return {
        "format": "csv", "root": str(root), "origin": 0.5, "test_annotations": "test.csv", "val_share": 0.25,
        "canvas": [32, 32], "swaps": [list(pair) for pair in SCHEMA.swaps],
    }  # fmt: skip


def denoiser_recipe(root: Path, out: Path, **train: Any) -> dict[str, Any]:
    """Settings of a denoiser's run over `write_shapes` data: a second or two on one core."""
    return {
        "task": "denoising",
        "recipe": "shapes",
        "out": str(out),
        "data": data_settings(root),
        "augment": {"shift": 0.05, "rotate": 10, "flip": 0.5},
        "noise": {"share": [0.2, 0.6], "blank": 1, "swap": 0.5, "jitter": 0.5},
        "model": {"name": "denoiser", "choices": {"features": 16, "heads": 2, "blocks": 1, "components": 2}},
        "train": {
            "steps": 12, "batch_size": 8, "lr": 0.003, "schedule": "one-cycle", "validate_every": 6, "threads": 1, **train,
        },
        "evaluate": {"batch_size": 4},
    }  # fmt: skip


def keypoint_recipe(root: Path, out: Path, **train: Any) -> dict[str, Any]:
    """Settings of a keypoint run over the same data."""
    return {
        "recipe": "faces",
        "out": str(out),
        "data": data_settings(root),
        "model": {"name": "rcn5", "choices": {"branches": 4, "width": 0.5, "norm": "batch"}},
        "train": {"steps": 12, "batch_size": 8, "lr": 0.003, "validate_every": 6, "threads": 1, **train},
        "evaluate": {"batch_size": 4},
    }


class KnownStructure(Denoiser):
    """Knows that objects are `TEMPLATE` of 20 pixels moved anywhere: the median of what the given points say of the move.

    Args:
        deviation: of the Gaussian about the place it answers, pixels.
    """

    def __init__(self, deviation: float = 0.5) -> None:
        super().__init__(keypoints=5, size=(SIZE, SIZE))
        self.deviation = deviation
        self.template = torch.nn.Parameter(torch.tensor(20 * TEMPLATE / SIZE, dtype=torch.float32))

    def density(self, xy: Tensor, given: Tensor) -> Mixture:
        moves = torch.where(given[..., None], xy - self.template, torch.nan)
        place = torch.nanmedian(moves, dim=1, keepdim=True).values + self.template
        weights = torch.tensor([0.99, 0.01]).log().expand(*given.shape, 2)
        whitening = torch.tensor([1.0, 0.0, 1.0]) * SIZE / self.deviation
        return Mixture(weights, place[:, :, None], whitening.expand(*given.shape, 1, 3), self.size)


def known_structure() -> StructureModel:
    """`KnownStructure` as a loaded run."""
    card = {"schema": SCHEMA.to_dict(), "canvas": [SIZE, SIZE], "box": {"rule": "image", "scale": 1.0}}
    return StructureModel(KnownStructure(), card)
