"""The joints of Recombinator Networks: bring a coarse map up and put it beside the finer one.

Source: Honari, Yosinski, Vincent, Pal, "Recombinator Networks", CVPR 2016, arXiv 1511.07356 (rcn.md 2.2, 2.4, 2.5)::

    trunk, fine    ---------------+
                                  |  concatenate (trunk first), then convolve
    branch, coarse -- upsample ---+

How this differs: sizes need not divide. Upsampling always goes to the finer map's size, by nearest index, which is
plain repetition where it is exactly twice as large and the paper's "repeat three times and crop" from 2x2 to 5x5.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["LearnedUpsample", "keep_maxima", "merge_conv", "recombine", "upsample_to"]


def upsample_to(x: Float[Tensor, "b c h w"], size: tuple[int, int]) -> Float[Tensor, "b c oh ow"]:
    """Enlarge a map by repeating its values.

    Args:
        x: map (b, c, h, w).
        size: (height, width) of the result; pixel i of it is pixel floor(i * h / height) of `x`.

    >>> upsample_to(torch.tensor([[[[1.0, 2.0]]]]), (1, 5))
    tensor([[[[1., 1., 1., 2., 2.]]]])
    """
    return F.interpolate(x, size=size, mode="nearest")


def keep_maxima(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Set to zero whatever 2x2 max pooling would not pass on ("zero-non-pooled", rcn.md 2.5).

    The released RCN checkpoint does this to the trunk maps before they are concatenated. Equal maxima of one window are
    all kept. At the end of an odd side the window is cut to one row or column (our choice).

    Args:
        x: map (b, c, h, w).

    Returns:
        (b, c, h, w), each window's maximum in its place and zeros elsewhere.

    >>> keep_maxima(torch.tensor([[[[1.0, 2.0], [3.0, 0.0]]]]))
    tensor([[[[0., 0.],
              [3., 0.]]]])
    """
    h, w = x.shape[-2:]
    maxima = F.max_pool2d(x, 2, ceil_mode=True)
    maxima = F.interpolate(maxima, scale_factor=2.0, mode="nearest")[..., :h, :w]
    return torch.where(x == maxima, x, torch.zeros_like(x))


def recombine(fine: Float[Tensor, "b c h w"], coarse: Float[Tensor, "b d oh ow"]) -> Float[Tensor, "b c+d h w"]:
    """Concatenate a trunk map with a coarser branch, enlarged to its size; the trunk's channels come first.

    >>> recombine(torch.zeros(1, 16, 80, 80), torch.zeros(1, 48, 40, 40)).shape
    torch.Size([1, 64, 80, 80])
    """
    h, w = fine.shape[-2:]
    return torch.cat((fine, upsample_to(coarse, (h, w))), dim=1)


def merge_conv(
    fine: Float[Tensor, "b c h w"],
    coarse: Float[Tensor, "b d h/2 w/2"],
    weight: Float[Tensor, "o c+d side side"],
    bias: Float[Tensor, " o"] | None = None,
) -> Float[Tensor, "b o h w"]:
    """The same-size convolution of ``recombine(fine, coarse)``, without making it.

    A convolution of repeated pixels sees each coarse pixel through several taps at once. Their sum is taken first, once
    for each of the four places (phases) that a fine pixel can have in its coarse one. Of a 5x5 kernel's rows::

        phase 0:  (0 + 1), (2 + 3), 4        phase 1:  0, (1 + 2), (3 + 4)      over coarse rows -1, 0, 1

    The four phases are one convolution of four times the outputs on the coarse grid, 9 multiplications instead of 25.
    Exact but for rounding (rcn.md 6). For a 3x3 kernel nothing is saved.

    Args:
        fine: trunk map (b, c, h, w).
        coarse: branch map (b, d, h/2, w/2), exactly half.
        weight: (o, c + d, side, side) with side 3 or 5, trunk channels first.
        bias: (o,) or None.

    Returns:
        (b, o, h, w).

    Raises:
        ValueError: for other sizes or kernels; `recombine` takes them.

    >>> merge_conv(torch.zeros(1, 2, 8, 8), torch.zeros(1, 3, 4, 4), torch.zeros(7, 5, 5, 5)).shape
    torch.Size([1, 7, 8, 8])
    """
    (h, w), (ch, cw), side = fine.shape[-2:], coarse.shape[-2:], weight.shape[-1]
    if (h, w) != (2 * ch, 2 * cw) or side not in (3, 5):
        raise ValueError(
            f"a {side}x{side} convolution of {h}x{w} with {ch}x{cw} has no phase form; it needs a map of exactly half "
            "the size and a 3x3 or 5x5 kernel; convolve recombine(fine, coarse) instead"
        )
    c = fine.shape[1]
    rows = _phase_taps(weight[:, c:], dim=2)
    phases = [kernel for row in rows for kernel in _phase_taps(row, dim=3)]  # 4 kernels (o, d, 3, 3)
    stacked = torch.stack(phases, dim=1).flatten(0, 1)  # (o * 4, d, 3, 3), the order pixel_shuffle wants
    from_coarse = F.pixel_shuffle(F.conv2d(coarse, stacked, padding=1), 2)
    return F.conv2d(fine, weight[:, :c], bias, padding=side // 2) + from_coarse


def _phase_taps(weight: Tensor, dim: int) -> list[Tensor]:
    """For each of the two phases, the kernel with its taps along `dim` summed by the coarse pixel -1, 0, 1 they see."""
    taps = weight.unbind(dim)
    kernels = []
    for phase in (0, 1):
        sums = [torch.zeros_like(taps[0])] * 3
        for i, tap in enumerate(taps):
            place = (phase + i - len(taps) // 2) // 2 + 1
            sums[place] = sums[place] + tap
        kernels.append(torch.stack(sums, dim))
    return kernels


class LearnedUpsample(nn.Module):
    """Enlarge by a learned kernel, one for all channels (rcn.md 2.5; only the released RCN-68 uses it).

    A transposed convolution of stride r with a single kernel of side 2r - 1 and no bias. Pixel r*i of the result lies
    on pixel i of the input. Sizes up to r*h + r - 1 are possible, so that maps of odd size fit (our choice).

    Args:
        factor: r, the enlargement; 2, or 3 after a 3x3 pool.

    Raises:
        ValueError: in `forward`, where the wanted size is not covered.

    >>> LearnedUpsample(2)(torch.zeros(2, 64, 5, 5), (10, 10)).shape
    torch.Size([2, 64, 10, 10])
    """

    def __init__(self, factor: int = 2) -> None:
        super().__init__()
        if factor < 1:
            raise ValueError(f"factor={factor} cannot enlarge; give a whole number of at least 1")
        self.factor = factor
        self.weight = nn.Parameter(torch.empty(1, 1, 2 * factor - 1, 2 * factor - 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the kernel from U(-b, b) with b = sqrt(6 / (2 k^2)), k its side (rcn.md 2.5)."""
        side = self.weight.shape[-1]
        bound = math.sqrt(6 / (2 * side * side))
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Float[Tensor, "b c h w"], size: tuple[int, int]) -> Float[Tensor, "b c oh ow"]:
        """Enlarge `x` (b, c, h, w) to `size`, (height, width)."""
        b, c, h, w = x.shape
        r, (oh, ow) = self.factor, size
        if oh > r * h + r - 1 or ow > r * w + r - 1:
            raise ValueError(
                f"a {h}x{w} map cannot be enlarged to {oh}x{ow} by factor {r}; "
                f"the most is {r * h + r - 1}x{r * w + r - 1}, or take a larger factor"
            )
        one = x.reshape(b * c, 1, h, w)
        # Padding r - 1 is done by cropping afterwards: that leaves the far border available for odd sizes.
        full = F.conv_transpose2d(one, self.weight, stride=r, output_padding=r - 1)
        return full[..., r - 1 : r - 1 + oh, r - 1 : r - 1 + ow].reshape(b, c, oh, ow)

    def extra_repr(self) -> str:
        """The constructor's argument."""
        return f"factor={self.factor}"
