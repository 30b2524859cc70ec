"""Which form of an operation on small grids is quick where: few pixels, a compiled graph, a graph that is exported.

All forms that `regions.py` and `cells.py` choose from give the same numbers.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from snellen.layers.counting import is_counting

__all__ = [
    "channels_last",
    "constant",
    "is_compiled",
    "is_open",
    "is_transformed",
    "matrices_pay",
    "number",
    "outer",
    "sum_type",
]

#: Pixels up to which a map is small, see `matrices_pay`: 28 x 28 gains, 32 x 32 does not (measured, forward).
FEW_PIXELS = 800


def matrices_pay(x: Tensor) -> bool:
    """Whether a dense product is the fastest way: for few pixels on a CPU, where torch treats short rows slowly."""
    few = x.shape[-2] * x.shape[-1] <= FEW_PIXELS
    return few and x.device.type == "cpu" and not channels_last(x) and not is_counting()


def channels_last(x: Tensor) -> bool:
    """Whether a map's channels are innermost."""
    return not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def sum_type(x: Tensor) -> torch.dtype:
    """What sums over a map are taken in: float32 at least."""
    return torch.promote_types(x.dtype, torch.float32)


def is_open(*sides: int | torch.SymInt) -> bool:
    """Whether a graph is exported whose height or width is left open."""
    return torch.compiler.is_exporting() and any(isinstance(side, torch.SymInt) for side in sides)


def is_compiled(*sides: int) -> bool:
    """Whether a graph is compiled, not exported; for these sides alone where there are some."""
    if not torch.compiler.is_dynamo_compiling() or torch.compiler.is_exporting():
        return False
    from snellen.layers.graph_constants import are_numbers

    return are_numbers(*sides)


def is_transformed() -> bool:
    """Whether plain operations are needed: in a trace, which keeps no function of our own, and in torch.func's transforms."""
    if torch.jit.is_tracing():
        return True
    # Dynamo makes graphs of functions of our own, and cannot ask what follows.
    return not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is not None


def outer(rows: Tensor, columns: Tensor) -> Tensor:
    """The Kronecker product of two matrices, of operations that all exporters know."""
    return (rows[:, None, :, None] * columns[None, :, None, :]).flatten(2).flatten(0, 1)


def number(side: int) -> int:
    """The side itself; in a compiled graph, where a second image size has made sides symbols, its value.

    What follows from symbols by rounding and by common multiples takes minutes to compile, or cannot be; the graph is compiled
    again for another value. Dynamo asks for values in a range.
    """
    return len(range(side)) if is_compiled() else side


def constant(build: Callable[..., Tensor], x: Tensor, size: tuple[int, int], *arguments: Any) -> Tensor:
    """`build(size, *arguments, device)`, made once: on a small map it takes as long as its use.

    A graph that is exported, or compiled for sizes that are symbols, makes its own; one compiled for one size contains it.
    """
    if is_compiled(*size):
        from snellen.layers.graph_constants import in_graph

        known = [tuple(map(number, a)) if isinstance(a, tuple) else a for a in (size, *arguments)]
        return in_graph(build, *known, x.device)
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing() or type(x) not in (Tensor, nn.Parameter)
    return build(size, *arguments, x.device) if traced else _kept(build, size, *arguments, x.device)


@functools.lru_cache(maxsize=128)
def _kept(build: Callable[..., Tensor], *arguments: Any) -> Tensor:
    with torch.inference_mode(False):  # one that inference made could not serve a training
        return build(*arguments)
