"""What LiftPool's hand-written form is made of: folded weights, and maps (m, b, *size, c) with the channels last.

Source: lift.md 2.1; the form is ours. With::

    tanh(w relu(k * x))  =  2 sign(w) max(sigmoid(v) - 1/2, 0)    where  v = 2 |w| k * x

one depthwise convolution, one sigmoid and one softshrink make P(x); its derivative by k * x is 4 w sigmoid'(v) where
v > 0, and 0 elsewhere. So the 1x1 has to be depthwise, padding zero, and biases absent.
"""

import math

import torch.nn.functional as F
from torch import Tensor

__all__ = ["Net", "convolve", "every_other", "reverse_bits"]

# A smaller |w| makes no difference to P, but v has to keep its sign, which decides what the gradient of w sums.
_TINY = 1e-20


class Net:
    """P or U, taken with a sign; its weights folded for both directions."""

    def __init__(self, spatial: Tensor, point: Tensor, sign: int) -> None:
        self.spatial, self.point, self.sign = spatial, point[:, None], sign
        self.taps = 2 * self.point.abs().clamp_min(_TINY) * spatial
        self.gain = 2 * sign * point.sign()
        self.back = (4 * sign * self.point * spatial).flip(1)
        self.products = spatial.new_zeros(spatial.shape[::-1])

    def gradients(self) -> tuple[Tensor, Tensor]:
        """Of `spatial` and `point`, from the products (of the gradient before the relu with what each tap saw)."""
        products = 4 * self.sign * self.products.t()
        return self.point * products, (self.spatial * products).sum(1)


def reverse_bits(number: int, bits: int) -> int:
    """The binary digits of a number read from the other end: from the order of bands to the stack's, and back."""
    return int(f"{number:0{bits}b}"[::-1], 2) if bits else 0


def every_other(z: Tensor, dim: int, start: int) -> Tensor:
    """The even (start 0) or odd (1) samples along an axis, a view."""
    return z[(slice(None),) * dim + (slice(start, None, 2),)]


def convolve(z: Tensor, taps: Tensor, dim: int, pad: int | None = None) -> Tensor:
    """Depthwise convolution of (m, b, *size, c) with (c, k) along one axis, as a two-dimensional one; zero-padded."""
    c, k = taps.shape
    pad = k // 2 if pad is None else pad
    before, side, after = z.shape[:dim], z.shape[dim], z.shape[dim + 1 : -1]
    if not after:
        # The axis before it joins as rows: images one pixel wide would be slow.
        images = z.reshape(-1, before[-1], side, c)
        y = F.conv2d(images.permute(0, 3, 1, 2), taps.view(c, 1, 1, k), padding=(0, pad), groups=c)
    else:
        images = z.reshape(math.prod(before), side, -1, c)
        y = F.conv2d(images.permute(0, 3, 1, 2), taps.view(c, 1, k, 1), padding=(pad, 0), groups=c)
    return y.permute(0, 2, 3, 1).reshape(*before, side + 2 * pad - k + 1, *after, c)
