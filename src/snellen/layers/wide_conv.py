"""Convolutions with kernels as wide as half a map, at a small part of their arithmetic: sparse on one-hot maps, by FFT after.

Source: the keypoint denoiser of Honari et al. 2016 (rcn.md 2.7, 6). A 45x45 convolution of 64 to 64 channels on an 80x80
map takes 53 billion multiply-adds when done tap by tap. Two exact ways around it:

* a one-hot map holds a single 1, so its convolution is the kernel itself, turned by 180 degrees, put where the 1 is;
* the rest is a product of spectra. Zeros beyond the map on one side serve both of its ends, so a period of h + p is enough,
  p being the padding (for 80 and 45: 102, rounded up to 108), where the plain rule would take h + 2 p.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from snellen.layers.precision import no_autocast

__all__ = ["WideConv2d", "fourier_convolution", "one_hot_maps", "place_kernels"]


def one_hot_maps(cells: Int[Tensor, "b k"], size: tuple[int, int]) -> Float[Tensor, "b k h w"]:
    """A map for each point with a 1 in its cell and zeros elsewhere (rcn.md 2.7).

    Args:
        cells: index y * w + x of each point's cell; a negative one gives a map of zeros.
        size: (height, width) of the maps.

    >>> one_hot_maps(torch.tensor([[2, -1]]), (2, 2))
    tensor([[[[0., 0.],
              [1., 0.]],
    <BLANKLINE>
             [[0., 0.],
              [0., 0.]]]])
    """
    places = torch.arange(size[0] * size[1], device=cells.device)
    return (cells[..., None] == places).to(torch.float32).unflatten(-1, size)


def place_kernels(
    cells: Int[Tensor, "b k"],
    size: tuple[int, int],
    weight: Float[Tensor, "o k side side"],
    bias: Float[Tensor, " o"] | None = None,
) -> Float[Tensor, "b o h w"]:
    """The same-size convolution of `one_hot_maps(cells, size)`, as a sum of k shifted kernels an image.

    For 68 points, 64 outputs and 80x80 cells that is under 28 million additions, where the dense form has 56 billion
    multiply-adds (rcn.md 6). Exact: only the order of the sum differs.

    Args:
        cells: index y * w + x of each point's cell; a negative one adds nothing.
        size: (height, width) of the maps.
        weight: kernels (o, k, side, side), side odd.
        bias: (o,) or None.

    >>> kernel = torch.arange(9.0).view(1, 1, 3, 3)
    >>> place_kernels(torch.tensor([[4]]), (3, 3), kernel)
    tensor([[[[8., 7., 6.],
              [5., 4., 3.],
              [2., 1., 0.]]]])
    """
    (h, w), (outputs, _, side, _) = size, weight.shape
    reach = side // 2
    # A frame of one zero row and column around each kernel: whatever lies out of its reach is read there.
    framed = nn.functional.pad(weight.flip(-2, -1), (1, 1, 1, 1))
    rows, columns = torch.arange(h, device=cells.device), torch.arange(w, device=cells.device)
    total = weight.new_zeros(cells.shape[0], outputs, h, w)
    for k in range(cells.shape[1]):
        cell = cells[:, k]
        y, x = torch.div(cell.clamp(min=0), w, rounding_mode="floor"), cell.clamp(min=0) % w
        down = (rows - y[:, None] + reach + 1).clamp(0, side + 1)  # (b, h), 0 and side + 1 are the frame
        across = (columns - x[:, None] + reach + 1).clamp(0, side + 1)  # (b, w)
        down = torch.where(cell[:, None] < 0, 0, down)
        total = total + framed[:, k][:, down[:, :, None], across[:, None, :]].transpose(0, 1)
    return total if bias is None else total + bias[:, None, None]


def _fast_length(least: int) -> int:
    """The next length that FFTs like: even, with no prime factor above 5."""
    length = least + least % 2
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 2


def _spectrum(weight: Tensor, period: tuple[int, int]) -> Tensor:
    """Conjugate spectrum of kernels, frequencies first: (f, c, o)."""
    return torch.fft.rfft2(weight, s=period).conj().flatten(2).permute(2, 1, 0).contiguous()


def _period(size: tuple[int, int], side: int) -> tuple[int, int]:
    return _fast_length(size[0] + side // 2), _fast_length(size[1] + side // 2)


def fourier_convolution(
    x: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "o c side side"],
    bias: Float[Tensor, " o"] | None = None,
    *,
    spectrum: Tensor | None = None,
) -> Float[Tensor, "b o h w"]:
    """The same-size, zero-padded convolution with an odd kernel, by a product of spectra; float32 at least.

    Args:
        x: maps (b, c, h, w).
        weight: kernels (o, c, side, side), side odd, side // 2 below the map's sides.
        bias: (o,) or None.
        spectrum: of `weight` for maps of this size, where the caller has kept it (`WideConv2d`).

    Equal to ``conv2d(x, weight, bias, padding=side // 2)`` but for rounding, 1e-12 of the values in float64.

    >>> x, weight = torch.randn(1, 2, 9, 8).double(), torch.randn(3, 2, 7, 7).double()
    >>> torch.allclose(fourier_convolution(x, weight), nn.functional.conv2d(x, weight, padding=3))
    True
    """
    (h, w), reach = x.shape[-2:], weight.shape[-1] // 2
    period = _period((h, w), weight.shape[-1])
    with no_autocast(x.device.type):
        wide = torch.promote_types(x.dtype, torch.float32)
        kernels = _spectrum(weight.to(wide), period) if spectrum is None else spectrum
        maps = torch.fft.rfft2(x.to(wide), s=period)
        bins = maps.shape[-2:]
        product = torch.bmm(maps.flatten(2).permute(2, 0, 1), kernels)  # (f, b, c) @ (f, c, o)
        full = torch.fft.irfft2(product.permute(1, 2, 0).unflatten(-1, bins), s=period)
        # Result i of the circular sum belongs to pixel i + reach; the first `reach` rows and columns are at its end.
        out = full.roll((reach, reach), dims=(-2, -1))[..., :h, :w]
    return out if bias is None else out + bias[:, None, None].to(out.dtype)


class WideConv2d(nn.Conv2d):
    """A same-size convolution with a wide kernel, computed through its spectrum.

    Without gradients the kernels' spectrum is kept from call to call, until the weights or the maps' size change.

    Args:
        c_in: channels in.
        c_out: channels out.
        side: side of the kernel, odd.
        fourier: False convolves tap by tap, as an exported graph does in any case.

    Raises:
        ValueError: at construction for an even side.
    """

    def __init__(self, c_in: int, c_out: int, side: int, *, fourier: bool = True) -> None:
        if side % 2 == 0:
            raise ValueError(f"a kernel of side {side} has no centre; give an odd side")
        super().__init__(c_in, c_out, side, padding=side // 2)
        self.fourier = fourier
        self._kept: tuple[tuple[object, ...], Tensor] | None = None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o h w"]:
        """Convolve maps (b, c_in, h, w) to (b, c_out, h, w)."""
        if not self.fourier or torch.compiler.is_exporting():
            return super().forward(x)
        return fourier_convolution(x, self.weight, self.bias, spectrum=self._remembered(x))

    def _remembered(self, x: Tensor) -> Tensor | None:
        weight = self.weight
        if torch.compiler.is_compiling() or torch.is_grad_enabled() or weight.is_inference():
            return None  # training changes the weights at each step; tensors of inference mode count no changes
        period = _period((x.shape[-2], x.shape[-1]), weight.shape[-1])
        key = (weight._version, weight.data_ptr(), weight.device, weight.dtype, period)
        if self._kept is None or self._kept[0] != key:
            self._kept = (key, _spectrum(weight.to(torch.promote_types(weight.dtype, torch.float32)), period))
        return self._kept[1]
