"""Saliency that is not predicted: from boxes, from a data set, from the frame before (zoom.md 7.1), from another's peak."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["follow_saliency", "mean_saliency", "saliency_from_boxes", "saliency_of_peak"]

#: How far about a peak a saliency counts, see `saliency_of_peak`. Chosen on training photos held out, where faces take up
#: a third of the picture; 0.13 to 0.23 are alike.
NEAR = 0.16


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


def saliency_of_peak(saliency: Float[Tensor, "b gh gw"], near: float = NEAR) -> Float[Tensor, "b gh gw"]:
    """A saliency's highest peak alone: the Gaussian fitted to it, and what it does not account for spread evenly (our choice).

    Where a saliency has a second peak, or a peak with a tail, the grid looks at a place between: at neither. The Gaussian has
    the sum, the mean and the variances of what the saliency has above its minimum, seen through a Gaussian window about the
    maximum, the window's own part taken out. What is as wide as the window is a peak, what is 1.4 times as wide is none: there
    the saliency stays as it is, and in between it is a mixture. So no peak is made up in pictures with nothing in them.

    Args:
        saliency: (b, gh, gw), not negative, sum 1.
        near: standard deviation of the window, a share of the grid's shorter side.

    Returns:
        (b, gh, gw), sum 1.

    Raises:
        ValueError: for `near` not above 0.

    >>> saliency_of_peak(torch.full((1, 2, 2), 0.25))
    tensor([[[0.2500, 0.2500],
             [0.2500, 0.2500]]])
    """
    if not near > 0:
        raise ValueError(f"near={near} is not possible; give a share of the grid's shorter side above 0")
    gh, gw = saliency.shape[-2:]
    above = saliency - saliency.amin(dim=(1, 2), keepdim=True)
    width = near * min(gh, gw)
    place = above.flatten(1).argmax(dim=1)
    at = place // gw, place % gw
    window = [
        torch.exp(-0.5 * ((_cells(above, n) - a[:, None]) / width).square()) for n, a in zip((gh, gw), at, strict=True)
    ]
    seen = above * window[0][:, :, None] * window[1][:, None]
    sums = seen.sum(dim=(1, 2))
    share, narrow, shapes = sums, torch.ones_like(sums), []
    for along, peak, seen_through in zip((seen.sum(dim=2), seen.sum(dim=1)), at, window, strict=True):
        shape, variance = _gaussian(along / sums[:, None].clamp(min=1e-12), peak, width)
        share = share / (shape * seen_through).sum(dim=1)
        narrow = torch.minimum(narrow, 2 * width**2 / variance - 1)
        shapes.append(shape)
    share, narrow = share.clamp(max=1)[:, None, None], narrow[:, None, None]
    fitted = share * shapes[0][:, :, None] * shapes[1][:, None] + (1 - share) / (gh * gw)
    return narrow * fitted + (1 - narrow) * saliency


def _cells(x: Tensor, count: int) -> Tensor:
    return torch.arange(count, device=x.device).to(x.dtype)


def _gaussian(
    seen: Float[Tensor, "b n"], peak: Tensor, width: float
) -> tuple[Float[Tensor, "b n"], Float[Tensor, " b"]]:
    """The Gaussian, sum 1, that a window of `width` about `peak` shows with the moments of `seen`, and its variance.

    Precisions of a product of Gaussians add up, as do means times precisions. A variance is that of a twelfth of a cell at
    least, as an even cell's, and twice the window's at most: what is wider shows little of its own shape.
    """
    cells = _cells(seen, seen.shape[1])
    mean = (seen * cells).sum(dim=1)
    variance = (seen * (cells - mean[:, None]).square()).sum(dim=1).clamp(min=1 / 12)
    own = 1 / variance - 1 / width**2
    wide = own * 2 * width**2 < 1
    true = 1 / torch.where(wide, 0.5 / width**2, own)
    middle = torch.where(wide, mean, true * (mean / variance - peak / width**2))
    shape = torch.exp(-0.5 * (cells - middle[:, None]).square() / true[:, None])
    return shape / shape.sum(dim=1, keepdim=True), true
