"""A pooling in the place of a layer of stride 2, with exactly its output size for inputs of any size."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Halved", "Side", "fit", "pair", "sides_of"]


@dataclass(frozen=True)
class Side:
    """The length of an axis after a layer of stride 2, from its length before.

    Attributes:
        kernel: the window.
        padding: on each side.
        dilation: of the window.
        ceil: whether a last window that is not full counts, as torch's `ceil_mode` has it.
        same: half, rounded up, whatever the window: TensorFlow's padding.
    """

    kernel: int
    padding: int
    dilation: int
    ceil: bool = False
    same: bool = False

    def __call__(self, n: int) -> int:
        """Length of the output for one of `n`."""
        if self.same:
            return -(-n // 2)
        room = n + 2 * self.padding - self.dilation * (self.kernel - 1) - 1
        if not self.ceil:
            return room // 2 + 1
        out = -(-room // 2) + 1
        # torch lets no window start in the padding behind the image.
        return out - 1 if (out - 1) * 2 >= n + self.padding else out


class Halved(nn.Module):
    """A pooling, and the convolution that it takes the stride from, with exactly the output size of what was replaced.

    Args:
        pool: halves maps of even sides.
        sides: the output's height and width by the input's.
        conv: at stride 1; None for a pooling.
        pool_first: pool before the convolution: for 1x1 ones, whose values stay the same and cost a quarter.
    """

    def __init__(self, pool: nn.Module, sides: tuple[Side, Side], conv: nn.Conv2d | None, *, pool_first: bool) -> None:
        super().__init__()
        self.pool, self.sides, self.conv, self.pool_first = pool, sides, conv, pool_first

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d oh ow"]:
        """As the replaced layer, but for the values."""
        if self.conv is None:
            return self.pool(self.fitted(x))
        h, w = self.sides[0](x.shape[-2]), self.sides[1](x.shape[-1])
        if not self.pool_first:
            x = self.conv(x)
        x = self.pool(fit(x, 2 * h, 2 * w))
        return self.conv(x) if self.pool_first else x

    def fitted(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 2*oh 2*ow"]:
        """What the pool is given in the place of a pooling: `x` with even sides, a last row and column cut or repeated."""
        h, w = self.sides[0](x.shape[-2]), self.sides[1](x.shape[-1])
        return fit(x, 2 * h, 2 * w)

    def extra_repr(self) -> str:
        """The order, where there is a convolution."""
        return "" if self.conv is None else f"pool_first={self.pool_first}"


def fit(x: Float[Tensor, "b c oh ow"], h: int, w: int) -> Float[Tensor, "b c h w"]:
    """Repeat or cut the last row and column so that `x` is h by w: odd sides, and kernels that ask for a pixel less."""
    if torch.compiler.is_exporting() and any(isinstance(n, torch.SymInt) for n in (h, w, *x.shape[-2:])):
        # The same without a question about the sizes, so that a graph leaves them open.
        for dim, n in ((-2, h), (-1, w)):
            x = x.index_select(dim, torch.arange(n, device=x.device).clamp(max=x.shape[dim] - 1))
        return x
    below, right = h - x.shape[-2], w - x.shape[-1]
    if below > 0 or right > 0:
        x = F.pad(x, (0, max(right, 0), 0, max(below, 0)), mode="replicate")
    return x[..., :h, :w] if below < 0 or right < 0 else x


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """One number for both axes, or one each."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def sides_of(module: nn.Module) -> tuple[Side, Side]:
    """Height and width after a pooling or convolution of stride 2."""
    # timm's layers with the padding of TensorFlow compute it from the input.
    same = type(module).__name__.endswith("Same") or getattr(module, "padding", 0) == "same"
    kernel = pair(module.kernel_size)  # type: ignore[arg-type]
    padding = (0, 0) if same or isinstance(module.padding, str) else pair(module.padding)  # type: ignore[arg-type]
    dilation = pair(getattr(module, "dilation", 1))
    ceil = bool(getattr(module, "ceil_mode", False))
    height, width = (Side(kernel[i], padding[i], dilation[i], ceil, same) for i in (0, 1))
    return height, width
