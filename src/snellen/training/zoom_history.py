"""How saliency and grid change over a training: the first validation images, kept at every validation for the report."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray

from snellen.training.runs import packed, write_atomically
from snellen.training.tasks.task import Task

__all__ = ["ZOOM_FILE", "ZoomHistory", "read_zoom_history"]

ZOOM_FILE = "zoom-history.npz"
#: Images that are followed, and the longer side they are kept at, in pixels.
IMAGES, LARGEST = 3, 200


class ZoomHistory(Callback):
    """Writes zoom-history.npz: `steps` (t,), `nodes` (t, n, gh, gw, 2), `saliency` (t, n, gh, gw) where there is one, `images`
    (n, h, w, 3) uint8 and `size` (height, width) of the zoomed picture. A resume drops what lies after its checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / ZOOM_FILE
        self.kept: dict[str, NDArray[Any]] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on with what an interrupted run wrote before its checkpoint."""
        if self.file.exists():
            self.kept = read_zoom_history(self.file)
            before = self.kept["steps"] <= trainer.global_step
            self.kept |= {name: self.kept[name][before] for name in ("steps", "nodes", "saliency") if name in self.kept}

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Keep the first images of the first batch."""
        if batch_idx or trainer.sanity_checking or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, Task)
        view = pl_module.zoom_view
        if view is None:
            return
        new = {"steps": np.array([trainer.global_step]), "nodes": _array(view.grid.nodes)}
        if view.saliency is not None:
            new["saliency"] = _array(view.saliency)
        for name, value in new.items():
            before = self.kept.get(name)
            self.kept[name] = value if before is None or not len(before) else np.concatenate((before, value))
        self.kept["size"] = np.array(view.grid.size)
        self.kept["images"] = _pictures(view.image)
        write_atomically(self.file, packed(self.kept))


def read_zoom_history(file: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays of a zoom-history.npz, see `ZoomHistory`."""
    with np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _array(value: torch.Tensor) -> NDArray[Any]:
    """(1, n, ...) of the images that are followed."""
    return value[:IMAGES][None].detach().float().cpu().numpy()


def _pictures(image: torch.Tensor) -> NDArray[np.uint8]:
    image = image[:IMAGES].detach().float().cpu()
    scale = min(1.0, LARGEST / max(image.shape[-2:]))
    size = [max(1, round(side * scale)) for side in image.shape[-2:]]
    small = F.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)
    small = small.expand(-1, 3, -1, -1).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(small.permute(0, 2, 3, 1).numpy())
