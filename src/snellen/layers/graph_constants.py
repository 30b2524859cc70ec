"""Tensors that a compiled graph contains, and when it may.

Apart from `grid_forms.py`, which imports this where a graph is compiled: what it needs of torch takes a second to import, and
who compiles has it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import has_static_value

__all__ = ["are_numbers", "in_graph"]


def are_numbers(*sides: int) -> bool:
    """Whether none of these sides is a symbol in the graph that is being compiled."""
    return all(has_static_value(side) for side in sides)


@torch.compiler.assume_constant_result
def in_graph(build: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """`build(*arguments)`, which the graph that is being compiled contains."""
    return build(*arguments)
