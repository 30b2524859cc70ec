"""Local contrast normalisation, the input layer of Recombinator Networks.

Source: Honari, Yosinski, Vincent, Pal, "Recombinator Networks", CVPR 2016, arXiv 1511.07356, as their code does it
(rcn.md 2.1): a Gaussian mean is subtracted, and the rest is divided by a Gaussian standard deviation that is not
allowed to fall below its own mean.

How this differs: that mean is taken over each image instead of over the whole mini-batch (``statistics="batch"`` is the
original), and a tiny epsilon keeps a blank image finite. The 9x9 Gaussian is applied as 9x1 and 1x9, which is exactly
the same filter.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from snellen.layers.precision import no_autocast

__all__ = ["LocalContrastNorm", "local_contrast_normalise"]

Statistics = Literal["image", "batch"]

#: rcn.md 2.1: 9 taps, standard deviation 1.591 px.
SIDE, SIGMA = 9, 1.591
#: Variance added before the square root, in squared input units; invisible beside a single grey level of 1/255.
EPSILON = 1e-12


def gaussian_taps(dtype: torch.dtype = torch.float32, device: torch.device | None = None) -> Float[Tensor, " 9"]:
    """The nine weights of the normalised Gaussian, sum 1."""
    taps = [math.exp(-0.5 * ((i - SIDE // 2) / SIGMA) ** 2) for i in range(SIDE)]
    return torch.tensor([t / sum(taps) for t in taps], dtype=dtype, device=device)


def local_contrast_normalise(
    x: Float[Tensor, "b c h w"],
    *,
    statistics: Statistics = "image",
    taps: Float[Tensor, " 9"] | None = None,
) -> Float[Tensor, "b c h w"]:
    """Remove the local mean and divide by the local contrast.

    With ``*`` the zero-padded convolution with the Gaussian G: ``v = x - G*x``, ``s = sqrt(G*v^2)``,
    ``n = v / max(s, mean(s))``, and the result is ``(n + 2.5) / 5``, roughly 0..1 and 0.5 where the image is flat. It
    does not change when the input is multiplied by a positive number, so 0..255 and 0..1 give the same. Zero padding
    leaves a response along the borders. Computed in float32 at least, under autocast too.

    Args:
        x: images (b, c, h, w), any non-negative range. Each channel is filtered on its own.
        statistics: what mean(s) is taken over. "image": all channels and pixels of one image, so that an answer does
            not depend on which images share the batch, and one image alone gets what it gets in a batch. "batch": the
            whole tensor, as the authors' code does.
        taps: the Gaussian's weights, where a module keeps them; made afresh by default.

    Returns:
        (b, c, h, w) in the input's dtype.

    Raises:
        ValueError: for an unknown `statistics`.

    >>> local_contrast_normalise(torch.zeros(1, 1, 4, 4)).unique()
    tensor([0.5000])
    """
    _check_statistics(statistics)
    with no_autocast(x.device.type):
        image = x.to(torch.promote_types(x.dtype, torch.float32))
        weights = gaussian_taps(image.dtype, image.device) if taps is None else taps.to(image.dtype)
        v = image - _blur(image, weights)
        s = torch.sqrt(_blur(v * v, weights) + EPSILON)
        floor = s.mean(dim=(1, 2, 3), keepdim=True) if statistics == "image" else s.mean()
        return ((v / torch.maximum(s, floor) + 2.5) / 5).to(x.dtype)


class LocalContrastNorm(nn.Module):
    """`local_contrast_normalise` as a layer without parameters.

    Args:
        statistics: "image" (default) or "batch"; see the function.

    >>> LocalContrastNorm()(torch.rand(2, 1, 80, 80) * 255).shape
    torch.Size([2, 1, 80, 80])
    """

    taps: Tensor

    def __init__(self, statistics: Statistics = "image") -> None:
        super().__init__()
        _check_statistics(statistics)
        self.statistics: Statistics = statistics
        # A constant, not a weight: kept out of the state dict, but moved with the module.
        self.register_buffer("taps", gaussian_taps(torch.float64).to(torch.float32), persistent=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Normalise images (b, c, h, w)."""
        return local_contrast_normalise(x, statistics=self.statistics, taps=self.taps)

    def extra_repr(self) -> str:
        """The constructor's argument."""
        return f"statistics={self.statistics!r}"


def _blur(x: Tensor, taps: Tensor) -> Tensor:
    """Zero-padded Gaussian blur of each channel: down the columns, then along the rows."""
    b, c, h, w = x.shape
    flat = x.reshape(b * c, 1, h, w)  # one plain convolution is faster on CPU than a depthwise one
    flat = F.conv2d(flat, taps.view(1, 1, -1, 1), padding=(SIDE // 2, 0))
    flat = F.conv2d(flat, taps.view(1, 1, 1, -1), padding=(0, SIDE // 2))
    return flat.reshape(b, c, h, w)


def _check_statistics(statistics: str) -> None:
    if statistics not in ("image", "batch"):
        raise ValueError(f"statistics={statistics!r} is not known; 'image' (per image) or 'batch' (the paper's) are")
