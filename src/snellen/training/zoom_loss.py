"""Losses of models that zoom, measured in the original frame.

In the zoomed frame a loss has a degenerate optimum: shrink the object until all points share a cell. Here the answer is
brought back first (`source_probability_window`): what counts is the probability of each cell of the canvas, and its cells
are the same whatever the grid. A plain resize gives the loss of the same network without a zoom.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from snellen.config import ZoomTrainConfig
from snellen.keypoints.codecs import Target, axis_targets
from snellen.models import KeypointOutput
from snellen.models.zoomed import source_probability_window

__all__ = ["guiding_boxes", "jittered_boxes", "original_frame_loss", "point_boxes", "saliency_loss"]

#: Probability below which a cell counts as not seen: its logarithm must stay finite where a crop leaves a point out.
FLOOR = 1e-20
#: Standard deviations beyond which a Gaussian target is zero in float32 beside its middle.
TAIL = 6.5


def original_frame_loss(
    output: KeypointOutput,
    xy: Float[Tensor, "b k 2"],
    mask: Bool[Tensor, "b k"],
    *,
    canvas: tuple[int, int],
    target: Target = "hard",
    sigma: float = 1.0,
) -> Float[Tensor, ""]:
    """`keypoint_loss` on the cells of the canvas (design: losses are measured in the original frame; our choice of how).

    Args:
        output: of a network that zooms; the loss runs in float32.
        xy: true points (b, k, 2), canvas pixels; ignored where masked out.
        mask: (b, k) True for the points that count.
        canvas: (height, width) in pixels.
        target: "hard", "split" or "gauss", as of `keypoint_loss`, on cells of a plain resize.
        sigma: standard deviation of "gauss", such cells.

    Returns:
        A scalar, at least the entropy of the targets whatever the grid; 0 where everything is masked.
    """
    _, k, h, w = output.logits.shape
    cells = xy * torch.tensor([w / canvas[1], h / canvas[0]], device=xy.device)
    columns, rows = axis_targets(cells[..., 0], w, target, sigma), axis_targets(cells[..., 1], h, target, sigma)
    reach = {"hard": 0, "split": 1, "gauss": math.ceil(TAIL * sigma)}[target]
    window = (min(h, 2 * reach + 1), min(w, 2 * reach + 1))
    # Only cells that the targets give weight to are brought back; points that are masked out may be NaN.
    ends = torch.tensor([w - window[1], h - window[0]], device=xy.device)
    first = (cells.nan_to_num().floor() - reach).clamp(min=0).minimum(ends).long()
    probability = source_probability_window(output, first, window)
    columns = columns.gather(-1, first[..., :1] + torch.arange(window[1], device=xy.device))
    rows = rows.gather(-1, first[..., 1:] + torch.arange(window[0], device=xy.device))
    nll = -torch.einsum("bkhw,bkw,bkh->bk", (probability + FLOOR).log(), columns, rows)
    weight = mask.to(torch.float32)
    return k * (nll * weight).sum() / (weight.sum() + 1e-8)


def point_boxes(xy: Float[Tensor, "b k 2"], labelled: Bool[Tensor, "b k"]) -> Float[Tensor, "b 1 4"]:
    """The tight box of each image's labelled points (left, top, right, bottom), NaN where there are none.

    >>> point_boxes(torch.tensor([[[1.0, 2.0], [5.0, 4.0], [9.0, 9.0]]]), torch.tensor([[True, True, False]]))
    tensor([[[1., 2., 5., 4.]]])
    """
    far = torch.full_like(xy, torch.inf)
    low = torch.where(labelled[..., None], xy, far).amin(dim=1)
    high = torch.where(labelled[..., None], xy, -far).amax(dim=1)
    boxes = torch.cat((low, high), dim=-1)
    return torch.where(labelled.any(dim=1)[:, None], boxes, torch.nan)[:, None]


def jittered_boxes(boxes: Float[Tensor, "b k 4"], spread: float, generator: torch.Generator) -> Float[Tensor, "b k 4"]:
    """Boxes moved and scaled at random, as `train.zoom_jitter` says (our choice); NaN stays NaN.

    Args:
        boxes: (left, top, right, bottom), any unit.
        spread: standard deviation of the shifts, in widths and heights, and of the logarithms of these.
        generator: on the CPU.

    >>> jittered_boxes(torch.tensor([[[0.0, 0.0, 8.0, 4.0]]]), 0.0, torch.Generator())
    tensor([[[0., 0., 8., 4.]]])
    """
    sides, centre = boxes[..., 2:] - boxes[..., :2], (boxes[..., 2:] + boxes[..., :2]) / 2
    shift, scale = spread * torch.randn(2, *sides.shape, generator=generator).to(boxes)
    centre, half = centre + shift * sides, sides * scale.exp() / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def guiding_boxes(
    boxes: Float[Tensor, "b k 4"], train: ZoomTrainConfig, *, seed: int, step: int
) -> Float[Tensor, "b k 4"] | None:
    """The boxes that zoom in a training step in place of a predicted saliency: `train.zoom_guide`, `train.zoom_jitter`.

    Args:
        boxes: of the objects, NaN for none.
        train: the configuration.
        seed: of the run.
        step: its number; a resumed training draws the same.

    Returns:
        Boxes, NaN for images that the saliency zooms; None where it zooms all of them.
    """
    if not train.zoom_guide:
        return None
    chance = torch.Generator().manual_seed(train.steps * seed + step)
    told = jittered_boxes(boxes, train.zoom_jitter, chance)
    left_out = torch.rand(len(boxes), generator=chance).to(boxes.device) >= train.zoom_guide
    return torch.where(left_out[:, None, None], torch.nan, told)


def saliency_loss(
    saliency: Float[Tensor, "b gh gw"], wanted: Float[Tensor, "b gh gw"], boxes: Float[Tensor, "b k 4"]
) -> Float[Tensor, ""]:
    """The divergence KL(wanted || predicted) of the saliency: the zoom is told where the object is.

    Args:
        saliency: predicted, sum 1.
        wanted: what the boxes stand for, `SaliencySampler.told`.
        boxes: of the objects; images without one (NaN) do not count.

    Returns:
        Mean over the images that have boxes, 0 without any.
    """
    known = torch.isfinite(boxes).all(dim=-1).any(dim=-1)
    divergence = (wanted * (wanted.log() - (saliency.float() + FLOOR).log())).sum(dim=(1, 2))
    return (divergence * known).sum() / known.sum().clamp(min=1)
