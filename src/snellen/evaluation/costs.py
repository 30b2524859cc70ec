"""What networks cost: multiply-adds, and milliseconds measured side by side."""

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from snellen.models.foreign import multiply_adds

__all__ = ["macs", "milliseconds"]

#: Rounds that are not counted: the first ones allocate memory and choose algorithms.
WARM_ROUNDS = 2


def macs(model: nn.Module, channels: int, canvas: tuple[int, int]) -> int:
    """Multiply-adds of one canvas (height, width) through a model.

    See `multiply_adds` of models/foreign.py. The model is left in evaluation mode.
    """
    image = torch.zeros(1, channels, *canvas, device=next(model.parameters()).device)
    with torch.no_grad():
        return multiply_adds(lambda: model.eval()(image, **_told(model, image)))


def _told(model: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """What a model is told beside its canvases: the middle as box, where it zooms by boxes that a caller gives."""
    if not getattr(model, "needs_boxes", False):
        return {}
    h, w = image.shape[-2:]
    return {"boxes": image.new_tensor([w / 4, h / 4, 3 * w / 4, 3 * h / 4]).expand(len(image), 1, 4)}


def milliseconds(models: Sequence[nn.Module], images: Sequence[Tensor], *, rounds: int = 20) -> list[list[float]]:
    """Times of several models, measured in turn: a machine that slows down does so for all of them.

    Args:
        models: in evaluation mode, on the devices of their images.
        images: (b, c, h, w), a batch a model.
        rounds: measurements of each model, after `WARM_ROUNDS` that are not counted.

    Returns:
        For each model `rounds` times of one image, milliseconds.
    """
    times: list[list[float]] = [[] for _ in models]
    with torch.inference_mode():
        for turn in range(rounds + WARM_ROUNDS):
            for model, image, measured in zip(models, images, times, strict=True):
                seconds = _seconds(model, image)
                if turn >= WARM_ROUNDS:
                    measured.append(1000 * seconds / len(image))
    return times


def _seconds(model: nn.Module, image: Tensor) -> float:
    cuda = image.device.type == "cuda"
    if cuda:
        torch.cuda.synchronize()
    told = _told(model, image)
    begin = time.perf_counter()
    model(image, **told)
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - begin
