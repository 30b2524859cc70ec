"""LiftPool's lifts and their derivatives as a sequence of in-place passes, made for the caches of a CPU.

Source: lift.md 2.1, 2.2 and 6; the arrangement is ours. A few images at a time are brought into a layout with the
channels innermost, where a depthwise convolution along any axis is quick, and lifted in memory that every such chunk
uses again.

A lift of (even, odd) and its inverse of (detail, approximation) are the same two steps, `Walk.couple`::

    target += first(source)          d = o - P(e)          e = s - U(d)
    source += second(target)         s = e + U(d)          o = d + P(e)
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from snellen.layers.lift_steps import Net, convolve, every_other, reverse_bits

__all__ = ["Walk", "channel_groups"]

#: Numbers of the full-resolution map in a chunk, for each thread (our choice, measured): more does not stay in the
#: caches, less is spent on calling the operations.
CHUNK_CPU = 1 << 20
#: On other devices chunks only bound the memory that a pass needs for a moment.
CHUNK = 1 << 26

_aten = torch.ops.aten


class Lift(NamedTuple):
    """What the backward pass needs of a lift of some bands. A sigmoid is 0 where the relu of its net was off."""

    first: Net
    second: Net
    rows: slice
    source: Tensor
    target: Tensor
    of_first: Tensor
    of_second: Tensor


def channel_groups(like: Tensor, size: Sequence[int]) -> list[slice]:
    """The channels that one walk takes where an image is larger than a chunk: they do not see each other."""
    channels = like.shape[0]
    step = max(16, _most(like) // math.prod(size) // 16 * 16)  # whole cache lines of float32
    return [slice(start, start + step) for start in range(0, channels, step)]


def _most(like: Tensor) -> int:
    return CHUNK_CPU * torch.get_num_threads() if like.device.type == "cpu" else CHUNK


class Walk:
    """All lifts of one layer, over one chunk of a batch after the other.

    Maps are (m, b, *size, c), m bands stacked. A level lifts all bands along one axis, into (2m, b, *half, c): the
    approximations of all, then the details of all. So of the four bands of an image, HL comes before LH.

    Args:
        size: spatial size of the full-resolution map.
        weights: spatial (c, k) and point (c,) of P, then of U; once for all lifts, or for each in turn.
        up: whether the inverse is meant.
        taped: whether the backward pass of each chunk follows.
        weigh: whether that sums the gradients of the weights.
        residuals: whether it needs s - o, for the regularisers.
    """

    def __init__(
        self,
        size: tuple[int, ...],
        weights: Sequence[Tensor],
        *,
        up: bool,
        taped: bool,
        weigh: bool = True,
        residuals: bool = False,
    ) -> None:
        self.size, self.taped, self.weigh, self.residuals = size, taped, weigh, residuals
        self.levels = len(size)
        self.like = weights[0]
        p, u = (1, -1) if up else (-1, 1)
        self.pairs = [
            (Net(weights[i], weights[i + 1], p), Net(weights[i + 2], weights[i + 3], u))
            for i in range(0, len(weights), 4)
        ]
        self.tape: dict[int, list[Lift]] = {}
        self.rests: dict[int, Tensor] = {}
        self.kept: list[Tensor] = []
        self.used = 0
        self.spare = self.like.new_empty(0)
        self.wide: dict[tuple[Sequence[int], int], Tensor] = {}

    # --- chunks and memory

    def chunks(self, batch: int) -> Iterator[slice]:
        """The parts of the batch to go through; each gives the memory of the one before free."""
        step = max(1, _most(self.like) // max(1, self.like.shape[0] * math.prod(self.size)))
        for start in range(0, batch, step):
            self.used = 0
            yield slice(start, start + step)

    def take(self, shape: Sequence[int]) -> Tensor:
        """Memory until the next chunk, which will ask for the same in the same order: fresh pages are slow."""
        if self.used == len(self.kept):
            self.kept.append(self.like.new_empty(math.prod(shape)))
        self.used += 1
        return self.kept[self.used - 1][: math.prod(shape)].view(shape)

    def scratch(self, shape: Sequence[int]) -> Tensor:
        """Memory until the next call."""
        if self.spare.numel() < math.prod(shape):
            self.spare = self.like.new_empty(math.prod(shape))
        return self.spare[: math.prod(shape)].view(shape)

    def margins(self, shape: Sequence[int], dim: int, width: int) -> Tensor:
        """Memory until the next call for this shape, with zeros on both sides along an axis."""
        if (shape, dim) not in self.wide:
            wide = [side + 2 * width * (i == dim) for i, side in enumerate(shape)]
            self.wide[shape, dim] = self.like.new_zeros(wide)
        return self.wide[shape, dim]

    def inner(self, parts: Sequence[Tensor]) -> Tensor:
        """Parts (b, c, ...) of all bands as one map in the dtype of the weights, not to be written to."""
        rows = [part.movedim(1, -1) for part in parts]
        if len(rows) == 1 and rows[0].is_contiguous() and rows[0].dtype == self.like.dtype:
            return rows[0][None]
        stack = self.take((len(rows), *rows[0].shape))
        for i, row in enumerate(rows):
            stack[reverse_bits(i, self.levels)].copy_(row)
        return stack

    def bands(self, stack: Tensor) -> list[Tensor]:
        """The maps (b, *half, c) of a stack in the order of the bands: LL, LH, HL, HH."""
        return [stack[reverse_bits(i, self.levels)] for i in range(len(stack))]

    def lifts(self, level: int) -> Iterator[tuple[Net, Net, slice]]:
        """The nets of a level and what they lift of the stack: all where they are shared."""
        if len(self.pairs) == 1:
            yield *self.pairs[0], slice(None)
        else:
            for j in range(2**level):
                yield *self.pairs[2**level - 1 + reverse_bits(j, level)], slice(j, j + 1)

    # --- forwards

    def down(self, z: Tensor, squares: Tensor | None = None) -> Tensor:
        """The stack of bands of a chunk; sums of squares of s - o and d are added to `squares` (lifts, 2)."""
        for level in range(self.levels):
            even, odd = self.split(z, level)
            # For the way back, the last approximations matter only to the regularisers.
            need = not self.taped or self.residuals or level < self.levels - 1
            both = self.take((2, *even.shape))
            s, d = both
            self.tape[level] = [
                self.couple(p, u, rows, even[rows], odd[rows], s[rows] if need else None, d[rows], level)
                for p, u, rows in self.lifts(level)
            ]
            if self.residuals:
                self.rests[level] = s - odd
            if squares is not None:
                for j, (rest, detail) in enumerate(zip(s - odd, d, strict=True)):
                    lift = 2**level - 1 + reverse_bits(j, level)
                    squares[lift] += torch.stack((rest.square_().sum(), detail.square().sum()))
            z = both.flatten(0, 1)
        return z

    def up(self, z: Tensor, out: Tensor | None) -> None:
        """The map of a chunk's stack, written to `out`; None where only the way back is wanted."""
        for level in reversed(range(self.levels)):
            s, d = z.chunk(2)
            need = level > 0 or out is not None
            even, odd = self.take(s.shape), self.take(s.shape)
            self.tape[level] = [
                self.couple(u, p, rows, d[rows], s[rows], odd[rows] if need else None, even[rows], level)
                for p, u, rows in self.lifts(level)
            ]
            if need:
                z = self.merge(even, odd, level, None if level else out)

    def couple(
        self,
        first: Net,
        second: Net,
        rows: slice,
        source: Tensor,
        target: Tensor,
        new_source: Tensor | None,
        new_target: Tensor,
        level: int,
    ) -> Lift:
        """Both steps of a lift; the results are written to the new ones."""
        of_first = self.add(first, source, target, new_target, level)
        of_second = self.add(second, new_target, source, new_source, level)
        return Lift(first, second, rows, source, new_target, of_first, of_second)

    def add(self, net: Net, source: Tensor, target: Tensor, out: Tensor | None, level: int) -> Tensor:
        """``out = target + net(source)``, and the sigmoid."""
        v = convolve(source, net.taps, self.axis(level))
        if self.taped:
            torch.threshold_(v, 0.0, -math.inf)
        a = v.sigmoid_()
        if out is not None:
            half = _aten.softshrink.out(a, 0.5, out=self.scratch(a.shape) if self.taped else a)
            torch.addcmul(target, half, net.gain, out=out)
        return a

    # --- backwards

    def down_backward(self, g: Tensor, out: Tensor, squares: Tensor | None) -> None:
        """The gradient of the map, into `out`, from those of the stack of bands and of the sums of squares."""
        for level in reversed(range(self.levels)):
            dim = self.axis(level)
            gs, gd = g.chunk(2)
            if squares is not None:
                lifts = [2**level - 1 + reverse_bits(j, level) for j in range(2**level)]
                of_rest, of_detail = (2 * squares[lifts]).view(-1, 2, *[1] * (g.ndim - 1)).unbind(1)
                rest = self.rests[level].mul_(of_rest)
                gs = gs + rest
                gd = gd + torch.cat([lift.target for lift in self.tape[level]]) * of_detail
            g = self.take(self.full(gs, level)) if level else out
            even, odd = every_other(g, dim, 0), every_other(g, dim, 1)
            # Where the channels are not innermost, one copy is quicker than work on such memory.
            ge = even if g.stride(-1) == 1 else self.take(even.shape)
            go = odd if g.stride(-1) == 1 and odd.shape == even.shape else self.take(even.shape)
            self.pull_level(gs, gd, level, ge, go)
            if squares is not None:
                go -= rest
            if odd.shape != even.shape:  # the last sample was repeated
                ge.select(dim, -1).add_(go.select(dim, -1))
            if ge is not even:
                even.copy_(ge)
            if go is not odd:
                odd.copy_(go.narrow(dim, 0, odd.shape[dim]))

    def up_backward(self, g: Tensor) -> Tensor:
        """The gradients of the stack of bands from that of the map."""
        for level in range(self.levels):
            ge, go = self.split(g, level, repeat=False)
            both = self.take((2, *ge.shape))
            self.pull_level(go, ge, level, both[1], both[0])
            g = both.flatten(0, 1)
        return g

    def pull_level(self, g_source: Tensor, g_target: Tensor, level: int, source: Tensor, target: Tensor) -> None:
        """The gradients before a level's lifts, written to `source` and `target`, from those after them."""
        for lift in self.tape[level]:
            at = lift.rows
            pulled = self.pull(lift.second, g_source[at], lift.target, lift.of_second, level)
            torch.add(pulled, g_target[at], out=target[at])
            pulled = self.pull(lift.first, target[at], lift.source, lift.of_first, level)
            torch.add(pulled, g_source[at], out=source[at])

    def pull(self, net: Net, g: Tensor, source: Tensor, a: Tensor, level: int) -> Tensor:
        """The gradient that reaches `source` through the net; its weights' products are summed on the way."""
        dim, taps = self.axis(level), len(net.products)
        padded = self.margins(a.shape, dim, taps // 2)
        h = padded.narrow(dim, taps // 2, a.shape[dim])
        _aten.sigmoid_backward.grad_input(g, a, grad_input=h)
        if self.weigh:
            # h moves against the source, from behind, as the source has no margins. A tap at a time stays in the caches.
            products = self.scratch(a.shape)
            for tap, of_tap in enumerate(net.products):
                torch.mul(padded.narrow(dim, taps - 1 - tap, a.shape[dim]), source, out=products)
                of_tap += products.flatten(0, -2).sum(0)
        return convolve(padded, net.back, dim, 0)

    def weight_gradients(self) -> list[Tensor]:
        """In the order of the weights."""
        return [g for pair in self.pairs for net in pair for g in net.gradients()]

    # --- samples

    def axis(self, level: int) -> int:
        """Of a stack, what a level lifts: the last axis of the map first."""
        return 1 + self.levels - level

    def split(self, z: Tensor, level: int, *, repeat: bool = True) -> tuple[Tensor, Tensor]:
        """Even and odd samples, equally many: the last is repeated, or met by zeros."""
        dim = self.axis(level)
        even, odd = every_other(z, dim, 0), every_other(z, dim, 1)
        if repeat:  # it goes into a convolution
            even = self.take(even.shape).copy_(even)
        if z.shape[dim] % 2:
            short, odd = odd, self.take(even.shape)
            odd.narrow(dim, 0, short.shape[dim]).copy_(short)
            odd.select(dim, -1).copy_(even.select(dim, -1)) if repeat else odd.select(dim, -1).zero_()
        return even, odd

    def merge(self, even: Tensor, odd: Tensor, level: int, out: Tensor | None) -> Tensor:
        """Even and odd samples of the stack before a level's lifts, of which the last odd one may have no place."""
        dim = self.axis(level)
        if out is None:
            out = self.take(self.full(even, level))
        every_other(out, dim, 0).copy_(even)
        every_other(out, dim, 1).copy_(odd.narrow(dim, 0, out.shape[dim] // 2))
        return out

    def full(self, half: Tensor, level: int) -> list[int]:
        """The shape of the stack before a level's lifts."""
        dim = self.axis(level)
        return [*half.shape[:dim], self.size[dim - 2], *half.shape[dim + 1 :]]
