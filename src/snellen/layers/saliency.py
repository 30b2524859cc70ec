"""Saliency that is not predicted: from boxes, from a data set, from the frame before (zoom.md 7.1)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["follow_saliency", "mean_saliency", "saliency_from_boxes"]


def saliency_from_boxes(
    boxes: Float[Tensor, "b k 4"],
    nodes: tuple[int, int],
    source: tuple[int, int],
    *,
    labelled: Bool[Tensor, "b k"] | None = None,
    alpha: float = 1.0,
    beta: float = 64.0,
) -> Float[Tensor, "b gh gw"]:
    """FOVEA's kernel density of boxes: a Gaussian a box, of variance beta * width and beta * height square pixels.

    Each Gaussian has the sum alpha, and each box adds a uniform 1 / (2 P + 1)^2 a node, P one less than the shorter side. beta
    is for pictures about 1900 pixels wide: scale it with yours.

    Args:
        boxes: (b, k, 4) left, top, right, bottom in pixels of the source: objects, or those of the frame before.
        nodes: (rows, columns) of the saliency map.
        source: (height, width) of the picture, pixels.
        labelled: (b, k) the boxes that count; by default all.
        alpha: weight of the boxes beside the uniform part.
        beta: pixels; how far a box's saliency reaches.

    Returns:
        (b, rows, columns), sum 1; uniform without boxes.

    Raises:
        ValueError: for `alpha` or `beta` not above 0.

    >>> saliency_from_boxes(torch.zeros(1, 0, 4), (2, 2), (10, 10))
    tensor([[[0.2500, 0.2500],
             [0.2500, 0.2500]]])
    """
    if not (alpha > 0 and beta > 0):
        raise ValueError(f"alpha={alpha} and beta={beta} must be above 0")
    (gh, gw), (height, width) = nodes, source
    if not boxes.shape[1]:
        return boxes.new_full((boxes.shape[0], gh, gw), 1 / (gh * gw))
    x = torch.linspace(0, width, gw, device=boxes.device, dtype=boxes.dtype)
    y = torch.linspace(0, height, gh, device=boxes.device, dtype=boxes.dtype)
    left, top, right, bottom = (side[..., None] for side in boxes.unbind(-1))
    along = torch.exp(-0.5 * (x - (left + right) / 2).square() / (beta * (right - left).clamp(min=1)))
    down = torch.exp(-0.5 * (y - (top + bottom) / 2).square() / (beta * (bottom - top).clamp(min=1)))
    each = down[..., :, None] * along[..., None, :]
    each = alpha * each / (1e-5 + each.sum(dim=(-2, -1), keepdim=True)) + 1 / (2 * min(nodes) - 1) ** 2
    if labelled is not None:
        each = each * labelled.to(each.dtype)[..., None, None]
    total = each.sum(dim=1)
    mass = total.sum(dim=(-2, -1), keepdim=True)
    return torch.where(mass > 0, total / mass.clamp(min=1e-12), torch.full_like(total, 1 / (gh * gw)))


def mean_saliency(saliencies: Float[Tensor, "b gh gw"]) -> Float[Tensor, "gh gw"]:
    """The fixed saliency of a data set (FOVEA's S_D): the mean of its pictures' own, each of sum 1."""
    return (saliencies / saliencies.sum(dim=(-2, -1), keepdim=True)).mean(dim=0)


def follow_saliency(
    before: Float[Tensor, "b gh gw"], now: Float[Tensor, "b gh gw"], share: float = 0.5
) -> Float[Tensor, "b gh gw"]:
    """`share` of the saliency of the frames before beside what this one says: FOVEA's S_C where one is fixed, an exponential
    moving average where it is fed back.

    Raises:
        ValueError: for a share outside 0..1.

    >>> follow_saliency(torch.ones(1, 1, 2), torch.tensor([[[0.0, 2.0]]]), 0.5)
    tensor([[[0.5000, 1.5000]]])
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share={share} is not possible; give 0 (this frame alone) to 1 (those before alone)")
    return share * before + (1 - share) * now
