"""Losses on keypoint heatmaps."""

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from snellen.keypoints.codecs import Target, axis_targets

__all__ = ["keypoint_loss", "sum_of_squares"]


def keypoint_loss(
    logits: Float[Tensor, "b k h w"],
    xy: Float[Tensor, "b k 2"],
    mask: Bool[Tensor, "b k"],
    *,
    stride: int = 1,
    target: Target = "hard",
    sigma: float = 1.0,
) -> Float[Tensor, ""]:
    """Cross-entropy of the softmax over all positions, averaged over images and summed over keypoints.

    ``K * sum(nll * mask) / (sum(mask) + 1e-8)`` (Honari et al. 2016, rcn.md 3.1). With "hard" targets this is
    the paper's loss; "split" and "gauss" targets keep the sub-pixel position (our choice, keypoints/codecs.py).

    Args:
        logits: pre-softmax maps (b, k, h, w); the loss runs in float32.
        xy: true points (b, k, 2), canvas pixels; ignored where masked out.
        mask: (b, k) True for the points that count: labelled and inside the canvas.
        stride: side of a map's cell in canvas pixels (see keypoints/codecs.py).
        target: "hard", "split" or "gauss".
        sigma: standard deviation of "gauss", cells.

    Returns:
        A scalar; 0 with zero gradients where everything is masked.

    >>> keypoint_loss(torch.zeros(1, 5, 80, 80), torch.full((1, 5, 2), 40.0), torch.ones(1, 5, dtype=torch.bool)).item()
    43.82...
    """
    _, k, h, w = logits.shape
    maps = logits.to(torch.float32)
    columns = axis_targets(xy[..., 0] / stride, w, target, sigma)
    rows = axis_targets(xy[..., 1] / stride, h, target, sigma)
    # -sum_ij t_i t_j log p_ij, with log p = logits - logsumexp: the target map is never built.
    expected = torch.einsum("bkhw,bkw,bkh->bk", maps, columns, rows)
    nll = torch.logsumexp(maps.flatten(2), dim=-1) - expected
    weight = mask.to(torch.float32)
    return k * (nll * weight).sum() / (weight.sum() + 1e-8)


def sum_of_squares(parameters: Iterable[Tensor]) -> Float[Tensor, ""]:
    """The paper's L2 term of a group of weights: a plain sum of squares, without 1/2 (rcn.md 3.1)."""
    return torch.stack([p.square().sum() for p in parameters]).sum()
