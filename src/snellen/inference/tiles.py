"""Labels for images of any size: whole where they fit, else in overlapping tiles whose logits are blended."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Num
from torch import Tensor

from snellen.geometry import scaling, warp
from snellen.models.outputs import LabelOutput

__all__ = ["Segmentation", "canvas_logits", "read_off", "segment", "tile_starts", "tiled_logits"]


@dataclass(frozen=True)
class Segmentation:
    """The answer for one image.

    Attributes:
        labels: (h, w) int64, the most probable class of each pixel of the original image.
        confidence: (h, w) float32, its probability.
    """

    labels: Int[Tensor, "h w"]
    confidence: Float[Tensor, "h w"]


@torch.inference_mode()
def segment(
    model: Callable[[Tensor], LabelOutput],
    image: Num[Tensor, "c h w"],
    *,
    scale: float = 1.0,
    tile: tuple[int, int] | None = None,
    overlap: int = 64,
    step: int = 32,
) -> Segmentation:
    """Label every pixel of an image.

    Args:
        model: answers canvases (1, c, h, w) of 0..255 with logits of their size; in eval mode, on the image's device.
        image: (c, h, w) in 0..255, uint8 or float, of any size.
        scale: canvas pixels for a pixel of the image: what the model was trained at. The image is resized for the model,
            anti-aliased, and the logits back to the image's size, bilinearly.
        tile: (height, width) of the largest canvas the model is shown; None shows every image whole.
        overlap: see `tiled_logits`.
        step: see `tiled_logits`.

    Returns:
        Labels and confidences of the image's own size.

    Raises:
        ValueError: for sizes that do not work.

    >>> from snellen.models.segmenters import create_segmenter
    >>> net = create_segmenter("segnet-small", 11).eval()
    >>> segment(net, torch.zeros(3, 70, 90), tile=(64, 64), overlap=32).labels.shape
    torch.Size([70, 90])
    """
    logits = canvas_logits(model, image, scale=scale, tile=tile, overlap=overlap, step=step)
    return read_off(logits, (image.shape[-2], image.shape[-1]))


def canvas_logits(
    model: Callable[[Tensor], LabelOutput],
    image: Num[Tensor, "c h w"],
    *,
    scale: float = 1.0,
    tile: tuple[int, int] | None = None,
    overlap: int = 64,
    step: int = 32,
) -> Float[Tensor, "classes ch cw"]:
    """A model's logits for an image of any size, float32, at the resolution the model saw; arguments and errors as `segment`.

    The canvas is `scale` times the image, rounded, and at least a pixel.
    """
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"an image is (c, h, w) with pixels, not {tuple(image.shape)}")
    if not (scale > 0 and math.isfinite(scale)):
        raise ValueError(f"scale={scale} is not possible; give canvas pixels per pixel of the image, above 0")
    h, w = image.shape[-2:]
    size = (max(1, round(h * scale)), max(1, round(w * scale)))
    canvas = image.float() if size == (h, w) else warp(image, scaling(size[1] / w, size[0] / h), size)
    return tiled_logits(model, canvas, tile=tile, overlap=overlap, step=step)


def read_off(logits: Float[Tensor, "classes ch cw"], size: tuple[int, int]) -> Segmentation:
    """The labels and confidences of logits, brought to an image's (height, width) bilinearly where they are of another.

    >>> read_off(torch.tensor([[[0.0]], [[2.0]]]), (1, 2)).labels.tolist()
    [[1, 1]]
    """
    if tuple(logits.shape[-2:]) != tuple(size):
        logits = F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
    # The softmax at the winner, without a copy of all maps.
    best, labels = logits.max(dim=0)
    return Segmentation(labels, (best - logits.logsumexp(dim=0)).exp())


def tiled_logits(
    model: Callable[[Tensor], LabelOutput],
    canvas: Float[Tensor, "c h w"],
    *,
    tile: tuple[int, int] | None = None,
    overlap: int = 64,
    step: int = 32,
) -> Float[Tensor, "classes h w"]:
    """A model's logits for a canvas of any size.

    Where a side is longer than the tile's, it is covered by tiles that overlap by at least `overlap` pixels and start at
    multiples of `step`, so that poolings meet the pixels they would meet in the whole canvas. Across an overlap the weight
    of a tile goes from 0 to 1 linearly over the middle half; the outer quarter only gives context, so a model
    that sees no further than `overlap` / 4 pixels answers as it does for the whole canvas (our choice).

    Args:
        model: answers (1, c, h, w) with logits (1, classes, h, w).
        canvas: (c, h, w) in 0..255.
        tile: (height, width), or None for the whole canvas.
        overlap: pixels that neighbouring tiles share at least.
        step: side of the model's coarsest pixel (`LabelNet.step`).

    Returns:
        (classes, h, w) float32.

    Raises:
        ValueError: where a tile is no larger than the overlap and a step together.
    """
    if overlap < 0 or step < 1:
        raise ValueError(f"overlap={overlap} and step={step} are not possible; give 0 or more, and 1 or more")
    h, w = canvas.shape[-2:]
    height, width = tile or (h, w)
    if (height >= h and width >= w) or tile is None:
        return model(canvas[None]).logits[0].float()
    rows, columns = tile_starts(h, height, overlap, step), tile_starts(w, width, overlap, step)
    total: Tensor | None = None
    weight = canvas.new_zeros((h, w), dtype=torch.float32)
    for top in rows:
        for left in columns:
            part = canvas[None, :, top : top + height, left : left + width]
            logits = model(part).logits[0].float()
            bottom, right = top + logits.shape[-2], left + logits.shape[-1]
            down, across = (
                _ramp(end - start, start > 0, end < side, overlap).to(logits)
                for start, end, side in ((top, bottom, h), (left, right, w))
            )
            mine = down[:, None] * across
            if total is None:
                total = logits.new_zeros((logits.shape[0], h, w))
            total[:, top:bottom, left:right] += logits * mine
            weight[top:bottom, left:right] += mine
    assert total is not None  # there is at least one tile
    return total / weight


def tile_starts(side: int, tile: int, overlap: int, step: int) -> list[int]:
    """Where tiles start along a side, multiples of `step`; the last tile may be cut short by the side's end.

    Raises:
        ValueError: where a side longer than a tile cannot be covered.

    >>> tile_starts(100, 64, 16, 32), tile_starts(60, 64, 16, 32)
    ([0, 32, 64], [0])
    """
    if side <= tile:
        return [0]
    stride = (tile - overlap) // step * step
    if stride < 1:
        raise ValueError(
            f"tiles of {tile} pixels are too small to overlap by {overlap} at steps of {step}; "
            f"give at least {overlap + step}, or a smaller overlap"
        )
    count = math.ceil((side - tile) / stride)
    return [i * stride for i in range(count + 1)]


def _ramp(length: int, before: bool, behind: bool, overlap: int) -> Tensor:
    """Weights of a tile's pixels along a side: lower towards an end that another tile goes on from."""
    if not overlap:
        return torch.ones(length)
    place = torch.arange(length, dtype=torch.float32) + 0.5
    weight = torch.ones(length)
    for distance, inner in ((place, before), (length - place, behind)):
        if inner:
            weight = torch.minimum(weight, ((distance - overlap / 4) / (overlap / 2)).clamp(0, 1))
    return weight
