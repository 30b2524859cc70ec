"""LiftPool's layers `LiftUp1d/2d/3d`, in the place of an unpooling.

Source: Zhao, Snoek, ICLR 2021, arXiv 2104.00996, as lift.md 2.2 and 2.8 define them.

The inverse is exact for any weights but for rounding, which steep P and U multiply: fresh weights give the map back to
1e-6 in float32, weights 30 times as large to no digit. A decoder's own feature in the place of the lowest band reaches
only one of the four pixels of a 2x2 block unchanged, the others through a tanh (lift.md 5): normalise it, or follow
with a 3x3 convolution.
"""

from torch import Tensor, nn

from snellen.layers.lift import Bands, checked_bands, up
from snellen.layers.lift_pool import LiftDown

__all__ = ["LiftUp1d", "LiftUp2d", "LiftUp3d"]


class _LiftUp(nn.Module):
    dims: int

    def __init__(self, down: LiftDown) -> None:
        super().__init__()
        if getattr(down, "dims", None) != self.dims:
            raise ValueError(
                f"{type(self).__name__} inverts LiftDown{self.dims}d and was given {type(down).__name__}; give it the "
                "encoder's layer, whose weights it uses"
            )
        if down.stride == 1:
            raise ValueError(f"{type(down).__name__}({down.channels}, stride=1) halves nothing; give one of stride 2")
        # In a tuple, the layer is not a child: its weights stay the encoder's in state dicts and parameter lists.
        self.tied = (down,)

    def forward(self, bands: Bands, low: Tensor | None = None) -> Tensor:
        """The map (b, c, *bands.size); `low` takes the place of the lowest band, all approximations."""
        layer = self.tied[0]
        tensors = checked_bands(bands, self.dims)
        if tensors[0].shape[1] != layer.channels:
            raise ValueError(
                f"bands of {tensors[0].shape[1]} channels do not fit weights for {layer.channels}; "
                "give those of the layer's own map"
            )
        if low is not None:
            tensors[0] = bands.replace(**{"L" * self.dims: low})["L" * self.dims]
        return up(tensors, bands.size, layer.weights(), layer.padding, layer.memory)


class LiftUp1d(_LiftUp):
    """`LiftUp2d` for sequences.

    >>> import torch
    >>> from snellen.layers import LiftDown1d
    >>> layer = LiftDown1d(8)
    >>> LiftUp1d(layer)(layer.bands(torch.zeros(2, 8, 9))).shape
    torch.Size([2, 8, 9])
    """

    dims = 1


class LiftUp2d(_LiftUp):
    """The inverse of a `LiftDown2d`, with that layer's own weights (lift.md 2.2, 2.8).

    Args:
        down: the encoder's layer. It is referred to, not copied, and not a child of this one.

    Raises:
        ValueError: for a layer of other dimensions; in `forward`, for what are not all bands of a map that the layer could
            have lifted, and where `low` is not of the band's shape.

    >>> import torch
    >>> from snellen.layers import LiftDown2d
    >>> layer = LiftDown2d(64)
    >>> bands = layer.bands(torch.zeros(2, 64, 9, 7))
    >>> LiftUp2d(layer)(bands, low=torch.zeros(2, 64, 5, 4)).shape
    torch.Size([2, 64, 9, 7])
    """

    dims = 2


class LiftUp3d(_LiftUp):
    """`LiftUp2d` for volumes.

    >>> import torch
    >>> from snellen.layers import LiftDown3d
    >>> layer = LiftDown3d(8)
    >>> LiftUp3d(layer)(layer.bands(torch.zeros(2, 8, 4, 6, 7))).shape
    torch.Size([2, 8, 4, 6, 7])
    """

    dims = 3
