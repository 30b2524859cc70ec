"""What the report shows of single images: best, median and worst answers, and how an answer forms from coarse to fine."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from snellen.config import AugmentConfig
from snellen.data import CanvasDataset, KeypointDataset
from snellen.evaluation.record import EvaluationRecord, SampleEntry
from snellen.inference import Localiser
from snellen.models import JointNet
from snellen.models.zoomed import source_probability

__all__ = ["canvas_picture", "choose", "coarse_to_fine", "where_they_differ"]


def choose(errors: NDArray[np.float64], count: int = 4) -> dict[str, list[int]]:
    """Indices of the images with the lowest, middle and highest error, `count` of each; images without one are left out.

    With few images there are fewer of each, so that no image stands in two rows.
    """
    order = [int(i) for i in np.argsort(errors, kind="stable") if np.isfinite(errors[i])]
    count = min(count, max(1, len(order) // 3), len(order))
    middle = max(0, (len(order) - count) // 2)
    return {
        "best": order[:count],
        "median": order[middle : middle + count],
        "worst": order[::-1][:count],
    }


def canvas_picture(
    localiser: Localiser, samples: KeypointDataset, index: int, changes: AugmentConfig
) -> tuple[NDArray[np.uint8], torch.Tensor]:
    """An image as the model sees it: (h, w, 3) uint8 for drawing, and the canvas (c, h, w) for the model."""
    canvas = CanvasDataset(samples, localiser.canvas, changes)[index]["image"]
    picture = canvas.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    return np.ascontiguousarray(np.broadcast_to(picture, (*picture.shape[:2], 3))), canvas


@torch.inference_mode()
def coarse_to_fine(localiser: Localiser, canvas: torch.Tensor) -> tuple[list[str], NDArray[np.float32]]:
    """Heatmaps with only the coarsest branch switched on, then the next one too, and so on to all of them.

    The paper masks branches in training (rcn.md section 4); here a trained model's branches are masked when it is looked at,
    which shows what each resolution adds.

    Returns:
        Labels of the stages and probabilities (stages, k, h, w), maps that cover the canvas from border to border.
    """
    # Of a joint model the image model alone: the structure has no branches.
    model: Any = localiser.model.image if isinstance(localiser.model, JointNet) else localiser.model
    batch = canvas[None].to(next(model.parameters()).device).contiguous(memory_format=torch.channels_last)
    labels, maps = [], []
    for used, reduction in enumerate(reversed(model.reductions), start=1):
        h, w = (max(1, side // reduction) for side in localiser.canvas)
        labels.append(f"up to {w} x {h}" if used > 1 else f"{w} x {h} alone")
        # The first look: a further one is where the masked network's own answer is, elsewhere at each stage.
        output = model(batch, branch_mask="1" * used + "0" * (model.branches - used)).first
        probability = source_probability(output)[0]
        # What is zoomed comes back to cells that cover the canvas exactly.
        zoomed = output.grid is not None
        maps.append(probability if zoomed else _cut(probability, model.stride, localiser.canvas))
    return labels, torch.stack(maps).cpu().numpy()


def _cut(maps: torch.Tensor, stride: int, canvas: tuple[int, int]) -> torch.Tensor:
    """Maps (k, h, w) as they are where their cells divide the canvas, else at its size, without what lies outside."""
    height, width = canvas
    if height % stride == 0 and width % stride == 0:
        return maps
    return maps.repeat_interleave(stride, 1).repeat_interleave(stride, 2)[:, :height, :width]


def where_they_differ(
    first: tuple[str, EvaluationRecord],
    second: tuple[str, EvaluationRecord],
    localiser: Localiser,
    samples: KeypointDataset,
    changes: AugmentConfig,
    count: int = 4,
) -> list[SampleEntry]:
    """The images on which two runs' errors differ most, either way, as gallery rows named after the runs.

    Args:
        first: a name and the evaluation of a run.
        second: another of the same images.
        localiser: either model; the canvas is drawn for it.
        samples: the images of the split.
        changes: what was done to them when they were scored.
        count: images; half of them those on which the first run is better, half the second, so that nothing is picked to
            please.

    Raises:
        ValueError: where the two were not scored on the same images and normaliser.
    """
    records = [record for _, record in (first, second)]
    if list(records[0].names) != list(records[1].names) or records[0].normaliser != records[1].normaliser:
        raise ValueError(
            f"{records[0].run} and {records[1].run} were scored on different images or by different normalisers; "
            "evaluate both on one split of one data set"
        )
    errors = [record.errors_of_images() for record in records]
    gap = np.nan_to_num(errors[1] - errors[0])
    order = np.argsort(gap, kind="stable")
    shown = [*order[::-1][: count - count // 2], *order[: count // 2]]
    entries = []
    for (name, record), error in zip((first, second), errors, strict=True):
        if record.pred_canvas is None or record.true_canvas is None:
            raise ValueError(f"the evaluation of {record.run} holds no points on the canvas; evaluate the run again")
        for i in map(int, shown):
            picture, _ = canvas_picture(localiser, samples, i, changes)
            entries.append(
                SampleEntry(
                    name, picture, record.pred_canvas[i], record.true_canvas[i], float(error[i]), record.names[i]
                )
            )
    return entries
