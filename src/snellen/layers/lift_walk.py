"""LiftPool's lifts and their derivatives as a sequence of in-place passes, made for the caches of a CPU.

Source: lift.md 2.1, 2.2 and 6; the arrangement is ours. A few images at a time are brought into a layout with the
channels innermost, where a depthwise convolution along any axis is quick, and lifted in memory that every such chunk
uses again. With::

    tanh(w relu(k * x))  =  2 sign(w) max(sigmoid(v) - 1/2, 0)    where  v = 2 |w| k * x

one depthwise convolution, one sigmoid and one softshrink make P(x); its derivative by k * x is 4 w sigmoid'(v) where
v > 0, and 0 elsewhere. So the 1x1 has to be depthwise, padding zero, and biases absent.

A lift of (even, odd) and its inverse of (detail, approximation) are the same two steps, `Walk.couple`::

    target += first(source)          d = o - P(e)          e = s - U(d)
    source += second(target)         s = e + U(d)          o = d + P(e)
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Walk"]

#: Numbers of the full-resolution map in a chunk, for each thread (our choice, measured): more does not stay in the
#: caches, less is spent on calling the operations.
CHUNK_CPU = 1 << 20
#: On other devices chunks only bound the memory that a pass needs for a moment.
CHUNK = 1 << 26

# A smaller |w| makes no difference to P, but v has to keep its sign, which decides what the gradient of w sums.
_TINY = 1e-20

_aten = torch.ops.aten


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


class Lift(NamedTuple):
    """What the backward pass needs of a lift of some bands. A sigmoid is 0 where the relu of its net was off."""

    first: Net
    second: Net
    rows: slice
    source: Tensor
    target: Tensor
    of_first: Tensor
    of_second: Tensor


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
        most = CHUNK_CPU * torch.get_num_threads() if self.like.device.type == "cpu" else CHUNK
        step = max(1, most // max(1, self.like.shape[0] * math.prod(self.size)))
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
            stack[_reverse(i, self.levels)].copy_(row)
        return stack

    def bands(self, stack: Tensor) -> list[Tensor]:
        """The maps (b, *half, c) of a stack in the order of the bands: LL, LH, HL, HH."""
        return [stack[_reverse(i, self.levels)] for i in range(len(stack))]

    def lifts(self, level: int) -> Iterator[tuple[Net, Net, slice]]:
        """The nets of a level and what they lift of the stack: all where they are shared."""
        if len(self.pairs) == 1:
            yield *self.pairs[0], slice(None)
        else:
            for j in range(2**level):
                yield *self.pairs[2**level - 1 + _reverse(j, level)], slice(j, j + 1)

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
                    lift = 2**level - 1 + _reverse(j, level)
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
        v = _convolve(source, net.taps, self.axis(level))
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
            gs, gd = g.chunk(2)
            if squares is not None:
                lifts = [2**level - 1 + _reverse(j, level) for j in range(2**level)]
                of_rest, of_detail = (2 * squares[lifts]).view(-1, 2, *[1] * (g.ndim - 1)).unbind(1)
                rest = self.rests[level].mul_(of_rest)
                gs = gs + rest
                gd = gd + torch.cat([lift.target for lift in self.tape[level]]) * of_detail
            ge, go = self.pull_level(gs, gd, level)
            if squares is not None:
                go -= rest
            if self.size[self.axis(level) - 2] % 2:  # the last sample was repeated
                ge.select(self.axis(level), -1).add_(go.select(self.axis(level), -1))
            g = self.merge(ge, go, level, None if level else out)

    def up_backward(self, g: Tensor) -> Tensor:
        """The gradients of the stack of bands from that of the map."""
        for level in range(self.levels):
            ge, go = self.split(g, level, repeat=False)
            gd, gs = self.pull_level(go, ge, level)
            g = torch.cat((gs, gd))
        return g

    def pull_level(self, g_source: Tensor, g_target: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """The gradients before a level's lifts, source and target, from those after them; new tensors."""
        sources, targets = [], []
        for first, second, rows, source, target, of_first, of_second in self.tape[level]:
            gt = self.pull(second, g_source[rows], target, of_second, level).add_(g_target[rows])
            sources.append(self.pull(first, gt, source, of_first, level).add_(g_source[rows]))
            targets.append(gt)
        return (sources[0], targets[0]) if len(sources) == 1 else (torch.cat(sources), torch.cat(targets))

    def pull(self, net: Net, g: Tensor, source: Tensor, a: Tensor, level: int) -> Tensor:
        """The gradient that reaches `source` through the net; its weights' products are summed on the way."""
        dim, taps = self.axis(level), len(net.products)
        padded = self.margins(a.shape, dim, taps // 2)
        h = padded.narrow(dim, taps // 2, a.shape[dim])
        _aten.sigmoid_backward.grad_input(g, a, grad_input=h)
        if self.weigh:
            # All taps in one product: h moved against the source, from behind, as the source has no margins.
            moved = padded.as_strided((taps, *a.shape), (padded.stride(dim), *padded.stride()))
            products = torch.mul(moved, source, out=self.scratch(moved.shape))
            net.products += products.flatten(1, -2).sum(1).flip(0)
        return _convolve(padded, net.back, dim, 0)

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
        even, odd = _every_other(z, dim, 0), _every_other(z, dim, 1)
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
        length = self.size[dim - 2]
        if out is None:
            out = self.take((*even.shape[:dim], length, *even.shape[dim + 1 :]))
        _every_other(out, dim, 0).copy_(even)
        _every_other(out, dim, 1).copy_(odd.narrow(dim, 0, length // 2))
        return out


def _reverse(number: int, bits: int) -> int:
    """The binary digits of a number read from the other end: from the order of bands to the stack's, and back."""
    return int(f"{number:0{bits}b}"[::-1], 2) if bits else 0


def _every_other(z: Tensor, dim: int, start: int) -> Tensor:
    return z[(slice(None),) * dim + (slice(start, None, 2),)]


def _convolve(z: Tensor, taps: Tensor, dim: int, pad: int | None = None) -> Tensor:
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
