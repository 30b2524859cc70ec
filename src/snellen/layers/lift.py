"""LiftPool: halve a map into sub-bands that hold all of it, and put them together again.

Source: Zhao, Snoek, "LiftPool: Bidirectional ConvNet Pooling", ICLR 2021, arXiv 2104.00996, by the definition of lift.md
2.1 and 2.2 (there is no official code)::

    x -- even e ------------- + --> s = e + U(d)     predict  P(e) = tanh(w2 relu(depthwise conv(e)))
      \\- odd  o -- - --> d = o - P(e)                update   U(d), the same form with its own weights

A map is lifted along its last axis first (W, then H, then D). The inverse recomputes U and P and is exact but for
rounding. Bands are named by construction, one letter an axis in that order: L = s, H = d; LH is the detail along H of
the approximation along W.

How this differs: a side may be odd (lift.md 2.3: nothing is published). These are the functions; the layers are in
`lift_pool.py` and `lift_unpool.py`. Two forms agree to rounding: `lift_plain.py`, and `lift_memory.py`, which is
quicker on CPUs and keeps nothing for the backward pass but its input.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.export import register_dataclass

from snellen.layers.counting import is_counting
from snellen.layers.grid_forms import is_transformed
from snellen.layers.lift_checks import (
    MEMORIES,
    PADDINGS,
    check_choices,
    check_map,
    check_memory,
    check_weights,
)
from snellen.layers.lift_compiled import graph_suits, summed_in_graph
from snellen.layers.lift_memory import Plan, recomputed_down, recomputed_up
from snellen.layers.lift_plain import LiftWeights, NetWeights, lift, lift_net, plain_down, plain_up, unlift
from snellen.layers.precision import no_autocast

__all__ = [
    "Bands",
    "LiftWeights",
    "NetWeights",
    "band_names",
    "lift",
    "lift_down",
    "lift_net",
    "lift_up",
    "unlift",
]

Memory = Literal["recompute", "autograd"]


@dataclass(frozen=True)
class Bands:
    """The sub-bands of a map.

    Attributes:
        tensors: by name, "L" and "H" of a one-dimensional map, "LL", "LH", "HL", "HH" of an image, and so on: each
            (b, c, *half).
        size: the spatial size of the map they came from.
    """

    tensors: dict[str, Tensor]
    size: tuple[int, ...]

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise KeyError(f"there is no band {name!r}; {', '.join(self.tensors)} are")
        return self.tensors[name]

    def sum(self, scale: float = 1.0) -> Tensor:
        """The sum of the bands times `scale`; with 0.25 it has the scale of an average."""
        first, *others = self.tensors.values()
        total = sum(others, first)
        return total if scale == 1 else total * scale

    def replace(self, **tensors: Tensor) -> "Bands":
        """The same with other tensors of the same shapes for some bands, such as a decoder's own LL."""
        for name, tensor in tensors.items():
            if tensor.shape != self[name].shape:
                raise ValueError(
                    f"band {name} is {tuple(self[name].shape)} and cannot be replaced by {tuple(tensor.shape)}; "
                    "bring channels and size to that first"
                )
        return Bands({**self.tensors, **tensors}, self.size)


# torch.export and functorch need to look inside.
register_dataclass(Bands, serialized_type_name="snellen.Bands")


def band_names(dims: int) -> tuple[str, ...]:
    """The names of all bands of a map with so many axes, in order.

    >>> band_names(2)
    ('LL', 'LH', 'HL', 'HH')
    """
    return tuple("".join(letters) for letters in itertools.product("LH", repeat=dims))


def lift_down(
    x: Float[Tensor, "b c *size"],
    weights: Sequence[LiftWeights],
    *,
    padding: str = "zeros",
    ceil_mode: bool = True,
    memory: Memory | None = None,
) -> Bands:
    """Lift a map along all of its axes, the last one first.

    Args:
        x: map (b, c, *size) with one to three spatial axes of any size.
        weights: one for all lifts (the paper's), or one for each: along the last axis, then of its s, of its d, and
            so on.
        padding: see `lift_net`.
        ceil_mode: what becomes of an odd side: True repeats the last sample, so that the bands are half rounded up and
            hold everything (our choice); False drops it, as floor pooling does, and `lift_up` can only repeat its
            neighbour.
        memory: "recompute" keeps nothing but the input for the backward pass, "autograd" is plain operations, None
            chooses "recompute" where it is possible: depthwise 1x1, zero padding, no biases, float32 or float64,
            outside torch.compile, export and ONNX.

    Returns:
        All bands, in the wider dtype of map and weights, under autocast too: the inverse stays exact.

    Raises:
        ValueError: for a side of 0, or of 1 with ceil_mode=False; for maps, weights and choices that do not fit.

    >>> from snellen.layers import LiftWeights, NetWeights, lift_down
    >>> net = NetWeights(torch.randn(8, 5), torch.randn(8, 1))
    >>> bands = lift_down(torch.zeros(2, 8, 9, 7), [LiftWeights(net, net)])
    >>> bands["LH"].shape, bands.size
    (torch.Size([2, 8, 5, 4]), (9, 7))
    """
    check_map(x)
    check_weights(weights, x.ndim - 2, x.shape[1])
    check_choices(padding=(padding, PADDINGS), memory=(memory, MEMORIES))
    tensors, _ = down(x, weights, padding, ceil_mode, memory, scale=None, squares=False)
    return Bands(dict(zip(band_names(x.ndim - 2), tensors, strict=True)), tuple(x.shape[2:]))


def lift_up(
    bands: Bands, weights: Sequence[LiftWeights], *, padding: str = "zeros", memory: Memory | None = None
) -> Float[Tensor, "b c *size"]:
    """The inverse of `lift_down` with the same weights: the map of size `bands.size`.

    Args:
        bands: all of them.
        weights: those of `lift_down`.
        padding: that of `lift_down`.
        memory: see `lift_down`; "recompute" keeps the bands.

    Raises:
        ValueError: where bands are missing, of sizes that do not belong together, or of other channels than the weights.

    >>> from snellen.layers import LiftWeights, NetWeights, lift_down, lift_up
    >>> net = NetWeights(torch.randn(8, 5), torch.randn(8, 1))
    >>> x = torch.randn(2, 8, 9, 7)
    >>> bool((lift_up(lift_down(x, [LiftWeights(net, net)]), [LiftWeights(net, net)]) - x).abs().max() < 1e-5)
    True
    """
    tensors = checked_bands(bands)
    check_weights(weights, len(bands.size), tensors[0].shape[1])
    check_choices(padding=(padding, PADDINGS), memory=(memory, MEMORIES))
    return up(tensors, bands.size, weights, padding, memory)


def checked_bands(bands: object, sides: int | None = None) -> list[Tensor]:
    """All bands of a map in order.

    Raises:
        ValueError: for what are no `Bands`, those of a map with another number of sides than `sides`, or not all; for shapes
            that differ, and whole numbers.
    """
    if not isinstance(bands, Bands):
        raise ValueError(
            f"the inverse takes the Bands of a map, not {type(bands).__name__}; give it layer.bands(x), or lift_down(x, ...)"
        )
    own = len(bands.size)
    if sides is not None and own != sides:
        raise ValueError(
            f"bands of a map with {own} sides do not fit a layer for {sides}; give it those of its own LiftDown"
        )
    names = band_names(own)
    missing = [name for name in names if name not in bands.tensors]
    if missing:
        raise ValueError(f"band {missing[0]} is missing; the inverse needs all of {', '.join(names)}")
    tensors = [bands[name] for name in names]
    if any(t.shape != tensors[0].shape or t.ndim != own + 2 for t in tensors):
        raise ValueError(
            f"bands are of shapes {[tuple(t.shape) for t in tensors]}; they all have to be of one, with {own} sides"
        )
    for t in tensors:
        check_map(t)
    return tensors


def down(
    x: Tensor,
    weights: Sequence[LiftWeights],
    padding: str,
    ceil_mode: bool,
    memory: Memory | None,
    scale: float | None,
    squares: bool,
) -> tuple[list[Tensor], Tensor | None]:
    """Bands, or their sum times `scale`; and, if wanted, sums of squares of s - o and d (lifts, 2)."""
    size = tuple(x.shape[2:])
    if not ceil_mode:
        for dim, side in enumerate(size, 2):
            x = x.narrow(dim, 0, side // 2 * 2)
    if 0 in x.shape[2:]:
        raise ValueError(
            f"a map of size {'x'.join(map(str, size))} cannot be halved; each side needs "
            f"{'at least 1' if ceil_mode else 'at least 2, or ceil_mode=True'}"
        )
    dtype = torch.promote_types(x.dtype, weights[0].predict.spatial.dtype)
    check_memory(memory, dtype)
    by_hand = _by_hand(weights, dtype, padding, memory)
    compiling = torch.compiler.is_compiling()
    if by_hand and compiling and scale is not None and graph_suits(x, flat := _flat(weights)):
        results = summed_in_graph(x, flat, scale, squares)
    elif by_hand and not compiling:
        plan = Plan(
            tuple(x.shape[2:]),
            scale,
            squares,
            lambda maps, flat: plain_down(maps[0].to(dtype), _nested(flat), padding, scale, squares),
        )
        results = list(recomputed_down(plan, x, _flat(weights)))
    else:
        with no_autocast(x.device.type):
            results = plain_down(x.to(dtype), weights, padding, scale, squares)
    return (results[:-1], results[-1]) if squares else (results, None)


def up(
    bands: Sequence[Tensor],
    size: tuple[int, ...],
    weights: Sequence[LiftWeights],
    padding: str,
    memory: Memory | None,
) -> Tensor:
    """The map of `size` from all bands in order; dropped last samples are filled by their neighbours."""
    half = bands[0].shape[2:]
    if not torch.compiler.is_compiling() and any(
        side // 2 != h and (side + 1) // 2 != h for side, h in zip(size, half, strict=True)
    ):
        raise ValueError(
            f"bands of size {'x'.join(map(str, half))} do not come from a map of {'x'.join(map(str, size))}; "
            "each side of the bands is half of the map's, rounded up or down"
        )
    covered = tuple(min(side, 2 * h) for side, h in zip(size, half, strict=True))
    dtype = weights[0].predict.spatial.dtype
    for band in bands:
        dtype = torch.promote_types(dtype, band.dtype)
    check_memory(memory, dtype)
    if _by_hand(weights, dtype, padding, memory) and not torch.compiler.is_compiling():
        plan = Plan(
            covered,
            None,
            False,
            lambda maps, flat: [plain_up([m.to(dtype) for m in maps], covered, _nested(flat), padding)],
        )
        x = recomputed_up(plan, bands, _flat(weights))
    else:
        with no_autocast(bands[0].device.type):
            x = plain_up([band.to(dtype) for band in bands], covered, weights, padding)
    for dim, (side, c) in enumerate(zip(size, covered, strict=True), 2):
        if side > c:
            x = torch.cat((x, x.narrow(dim, c - 1, 1)), dim)
    return x


def _by_hand(weights: Sequence[LiftWeights], dtype: torch.dtype, padding: str, memory: Memory | None) -> bool:
    """Whether the hand-written form is wanted and can do this."""
    nets = [net for pair in weights for net in pair]
    return (
        memory != "autograd"
        and not is_counting()
        and padding == "zeros"
        and dtype in (torch.float32, torch.float64)
        and all(
            net.point.shape[1] == 1
            and net.spatial.dtype == dtype
            and net.spatial_bias is None
            and net.point_bias is None
            for net in nets
        )
        and not is_transformed()
    )


def _flat(weights: Sequence[LiftWeights]) -> list[Tensor]:
    return [t for pair in weights for net in pair for t in (net.spatial, net.point.flatten())]


def _nested(flat: Sequence[Tensor]) -> list[LiftWeights]:
    nets = [NetWeights(flat[i], flat[i + 1][:, None]) for i in range(0, len(flat), 2)]
    return [LiftWeights(nets[i], nets[i + 1]) for i in range(0, len(nets), 2)]
