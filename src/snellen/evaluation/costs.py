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
        return multiply_adds(lambda: model.eval()(image))


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
    begin = time.perf_counter()
    model(image)
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - begin
