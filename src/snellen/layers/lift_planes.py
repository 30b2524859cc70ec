"""LiftPool's sum of bands on a CPU, a plane at a time, where numba is installed: ``pip install 'snellen[cpu]'``.

The arithmetic is in `lift_kernels.py`; here is what it can do, and how its work is shared between threads. Bands for an
inverse do not come from here: both directions have to round alike. The first call on a machine waits some ten seconds for
numba, which then keeps what it made.
"""

import importlib.util
import itertools
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["planes_backward", "planes_down", "suits"]

#: Numbers of the map below which a second thread costs more than it brings (our choice, measured).
WORTH_A_THREAD = 1 << 16
#: Numbers of one channel that are lifted together: planes that are smaller come several at a time (our choice, measured).
PILE = 1 << 11


@lru_cache
def _kernels() -> Any:
    """The module with the kernels, or None without numba."""
    if importlib.util.find_spec("numba") is None:
        return None
    from snellen.layers import lift_kernels

    return lift_kernels


def suits(x: Tensor, weights: Sequence[Tensor]) -> bool:
    """Whether a map can be lifted here: two axes, float32 on the CPU, dense in one of the usual layouts."""
    return (
        x.ndim == 4
        and type(x) in (Tensor, torch.nn.Parameter)  # others may have no numbers
        and x.numel() > 0
        and x.device.type == "cpu"
        and x.dtype == torch.float32 == weights[0].dtype
        and (x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last))
        and _kernels() is not None
    )


def planes_down(x: Tensor, weights: Sequence[Tensor], scale: float, squares: Tensor | None) -> Tensor:
    """The sum of all bands of a map (b, c, h, w) times `scale`: (b, c, ceil(h / 2), ceil(w / 2)), in the layout of `x`.

    Args:
        x: a map that `suits`.
        weights: spatial (c, k) and point (c,) of P, then of U; once for all lifts, or for each in turn.
        scale: of the sum.
        squares: (3, 2), gets the sums of squares of s - o and d of each lift; None where nobody wants them.
    """
    last, numbers = _numbers(x)
    y, result = _empty(x, last)
    spatial, point = _stacked(weights)
    pile, pieces = _pieces(x)
    sums = np.zeros((pieces, 3, 2))

    def work(start: int, stop: int) -> None:
        _kernels().down(
            numbers, last, pile, spatial, point, np.float32(scale), squares is not None, sums, result, start, stop
        )

    _share(work, pieces, x.numel())
    if squares is not None:
        squares += torch.from_numpy(sums.sum(0)).to(squares)
    return y


def planes_backward(
    x: Tensor, g: Tensor, weights: Sequence[Tensor], scale: float, of_squares: Tensor | None
) -> list[Tensor]:
    """The gradients of the map and, in their order, of the weights, from `g` like the result of `planes_down`."""
    last, numbers = _numbers(x)
    layout = torch.channels_last if last else torch.contiguous_format
    _, of_sum = _numbers(g.detach().to(torch.float32).contiguous(memory_format=layout), last)
    gx = torch.empty_like(x)
    spatial, point = _stacked(weights)
    pile, pieces = _pieces(x)
    products = np.zeros((-(-len(x) // pile), *spatial.shape), np.float32)
    squared = of_squares is not None
    gradients = of_squares.detach().double().numpy() if of_squares is not None else np.zeros((3, 2))

    def work(start: int, stop: int) -> None:
        _kernels().down_backward(
            numbers, of_sum, last, pile, spatial, point, np.float32(scale), squared, gradients, products,
            _numbers(gx, last)[1], start, stop,
        )  # fmt: skip

    _share(work, pieces, x.numel())
    summed = torch.from_numpy(products.sum(0))  # (c, 3, 2, k): of what each tap saw
    if len(weights) == 4:
        summed = summed.sum(1, keepdim=True)
    found = [gx]
    for lift in range(len(weights) // 4):
        for net in range(2):
            i = 4 * lift + 2 * net
            at = summed[:, lift, net]
            found += [weights[i + 1].detach()[:, None] * at, (weights[i].detach() * at).sum(1)]
    return found


def _stacked(weights: Sequence[Tensor]) -> tuple[Any, Any]:
    """The weights as (c, 3, 2, k) and (c, 3, 2): for each channel and lift, P and U."""
    lifts = [weights[i : i + 4] for i in range(0, len(weights), 4)] * (3 if len(weights) == 4 else 1)
    spatial = torch.stack([torch.stack((lift[0], lift[2]), 1) for lift in lifts], 1)
    point = torch.stack([torch.stack((lift[1], lift[3]), 1) for lift in lifts], 1)
    return spatial.detach().numpy(), point.detach().numpy()


def _numbers(x: Tensor, last: bool | None = None) -> tuple[bool, Any]:
    """Whether the channels are innermost, and the map as the kernels take it."""
    last = not x.is_contiguous() if last is None else last
    return last, (x.detach().permute(0, 2, 3, 1) if last else x.detach()).numpy()


def _empty(x: Tensor, last: bool) -> tuple[Tensor, Any]:
    b, c, h, w = x.shape
    size = (b, c, (h + 1) // 2, (w + 1) // 2)
    y = torch.empty(size, memory_format=torch.channels_last if last else torch.contiguous_format)
    return y, _numbers(y, last)[1]


def _pieces(x: Tensor) -> tuple[int, int]:
    """How many images are lifted together, and how many pieces of work that makes."""
    pile = max(1, min(len(x), PILE // (x.shape[-2] * x.shape[-1])))
    return pile, -(-len(x) // pile) * -(-x.shape[1] // _kernels().TURN)


def _share(work: Callable[[int, int], None], pieces: int, numbers: int) -> None:
    """Do all pieces with as many threads as torch uses. What each gives does not depend on who does it."""
    count = max(1, min(torch.get_num_threads(), pieces, numbers // WORTH_A_THREAD))
    ends = [pieces * i // count for i in range(count + 1)]
    threads = [threading.Thread(target=work, args=pair) for pair in itertools.pairwise(ends[1:])]
    for thread in threads:
        thread.start()
    work(ends[0], ends[1])
    for thread in threads:
        thread.join()
