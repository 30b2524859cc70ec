"""Made-up faces in the layouts of 300-W and WFLW: random points on tiny grey pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def points(count: int, seed: int = 0, size: int = 40) -> np.ndarray:
    """(count, 2) points in pixels, inside a picture of `size`."""
    return np.random.default_rng(seed).uniform(8, size - 8, (count, 2))


def pts_text(xy: np.ndarray) -> str:
    """A .pts file of points in the file's own coordinates."""
    rows = "\n".join(f"{x!r} {y!r}" for x, y in xy.tolist())
    return f"version: 1\nn_points: {len(xy)}\n{{\n{rows}\n}}\n"


def write_pts(root: Path, names: Sequence[str], *, count: int = 68, size: int = 40, ending: str = ".png") -> Path:
    """Pictures with a .pts file each, e.g. names ["helen/trainset/1_1", ...]; a bright disc on every point."""
    for i, name in enumerate(names):
        file = root / f"{name}.pts"
        file.parent.mkdir(parents=True, exist_ok=True)
        xy = points(count, seed=i, size=size)
        file.write_text(pts_text(xy + 0.5))  # from 1, as 300-W: our corner is at 0.5 there
        canvas = np.full((size, size), 60 + i % 40, dtype=np.uint8)
        y, x = np.mgrid[:size, :size] + 0.5
        for px, py in xy:
            canvas[np.hypot(x - px, y - py) < 2] = 250
        Image.fromarray(canvas).save(root / f"{name}{ending}")
    return root


def wflw_row(xy: np.ndarray, attributes: str = "0 0 0 0 0 0", file: str = "0--Parade/a.jpg") -> str:
    """A row of WFLW's lists."""
    return " ".join([*(repr(v) for v in xy.ravel().tolist()), "1 2 30 40", attributes, file])
