"""LiftPool's sum of bands and its derivatives, plane by plane in machine code that numba makes on the first call.

Source: lift.md 2.1 and 6 ("one read and one write a plane"); the code is ours. Only `lift_planes.py` imports this file,
and only where numba is installed.

The planes (h, w) of one channel are lifted a pile at a time, one below the other, in buffers that stay in a core's caches:
one plane if it is large, many if they are small. Rows of a buffer are followed by `r` zeros (k = 2 r + 1), and at level 1
the planes by `r` rows of zeros; a buffer begins and ends with such rows too. So a convolution along either axis is one loop
over the flat buffer for each tap, at offsets that are multiples of 1 (along W) or of a row (along H), and zero padding
comes for free.
"""

from typing import Any

import numpy as np
from numba import njit

__all__ = ["down", "down_backward"]

#: Reassociation and fused multiply-adds are welcome; infinities and NaN keep their meaning.
_FAST = {"reassoc", "contract", "nsz", "arcp"}
#: Channels that are turned at once where the channels are innermost: a cache line of float32.
TURN = 16

Array = Any  # numba sees NumPy arrays; their shapes stand in the docstrings


@njit(inline="always", fastmath=_FAST, error_model="numpy")
def _tanh(x):  # type: ignore[no-untyped-def]
    """tanh to a few units in the last place: the rational function that Eigen and XLA use for float32."""
    x = min(max(x, np.float32(-7.90531110763549805)), np.float32(7.90531110763549805))
    y = x * x
    p = np.float32(-2.76076847742355e-16)
    p = p * y + np.float32(2.00018790482477e-13)
    p = p * y + np.float32(-8.60467152213735e-11)
    p = p * y + np.float32(5.12229709037114e-08)
    p = p * y + np.float32(1.48572235717979e-05)
    p = p * y + np.float32(6.37261928875436e-04)
    p = p * y + np.float32(4.89352455891786e-03)
    q = np.float32(1.19825839466702e-06)
    q = q * y + np.float32(1.18534705686654e-04)
    q = q * y + np.float32(2.26843463243900e-03)
    q = q * y + np.float32(4.89352518554385e-03)
    return x * p / q


@njit(nogil=True, fastmath=_FAST, cache=True, error_model="numpy")
def _convolve(source, taps, step, start, stop, sign, out):  # type: ignore[no-untyped-def]
    """``out[n] += sum over k of taps[k] source[n + sign (k - r) step]``."""
    r = taps.shape[0] // 2
    for k in range(taps.shape[0]):
        tap = taps[k]
        moved = source[start + sign * (k - r) * step : stop + sign * (k - r) * step]
        into = out[start:stop]
        for n in range(into.shape[0]):
            into[n] += tap * moved[n]


@njit(nogil=True, fastmath=_FAST, cache=True, error_model="numpy")
def _add_net(source, target, taps, point, sign, step, start, stop, v, out, slope, taped):  # type: ignore[no-untyped-def]
    """``out = target + sign tanh(point relu(taps * source))``, and the slope of tanh and relu for the way back."""
    v[start:stop] = 0
    _convolve(source, taps, step, start, stop, 1, v)
    a, b, c, s = v[start:stop], target[start:stop], out[start:stop], slope[start:stop]
    if taped:
        for n in range(a.shape[0]):
            t = _tanh(point * max(a[n], np.float32(0)))
            s[n] = (np.float32(1) - t * t) if a[n] > 0 else np.float32(0)
            c[n] = b[n] + sign * t
    else:
        for n in range(a.shape[0]):
            c[n] = b[n] + sign * _tanh(point * max(a[n], np.float32(0)))


@njit(nogil=True, cache=True, error_model="numpy")
def _clear_margins(buffer, start, rows, row, r):  # type: ignore[no-untyped-def]
    """Zeros behind each row."""
    for i in range(rows):
        for j in range(start + (i + 1) * row - r, start + (i + 1) * row):
            buffer[j] = 0


@njit(nogil=True, cache=True, error_model="numpy")
def _clear_gaps(buffer, start, planes, rows, row, r):  # type: ignore[no-untyped-def]
    """Zeros in the rows between planes of `rows` rows each."""
    for m in range(planes - 1):
        gap = start + (m * (rows + r) + rows) * row
        for j in range(gap, gap + r * row):
            buffer[j] = 0


@njit(nogil=True, fastmath=_FAST, cache=True, error_model="numpy")
def _pull(g, slope, source, taps, point, sign, step, start, stop, h, into, products):  # type: ignore[no-untyped-def]
    """The gradient `g` through a net: added to `into`, and its products with what each tap saw to `products` (k,)."""
    r = taps.shape[0] // 2
    a, b, c = g[start:stop], slope[start:stop], h[start:stop]
    for n in range(a.shape[0]):
        c[n] = sign * a[n] * b[n]
    for k in range(taps.shape[0]):
        moved = source[start + (k - r) * step : stop + (k - r) * step]
        total = np.float32(0)
        for n in range(c.shape[0]):
            total += c[n] * moved[n]
        products[k] += total
        # into[n] += point taps[k] h[n - (k - r) step]
        tap = point * taps[k]
        turned = h[start - (k - r) * step : stop - (k - r) * step]
        d = into[start:stop]
        for n in range(d.shape[0]):
            d[n] += tap * turned[n]


@njit(nogil=True, fastmath=_FAST, cache=True, error_model="numpy")
def _rest(s, o, start, stop, out):  # type: ignore[no-untyped-def]
    """``out = s - o``; returns its sum of squares."""
    total = np.float64(0)
    for n in range(start, stop):
        d = s[n] - o[n]
        out[n] = d
        total += d * d
    return total


@njit(nogil=True, fastmath=_FAST, cache=True, error_model="numpy")
def _lift_pile(x, image, planes, channel, spatial, point, work, taped, squared, squares):  # type: ignore[no-untyped-def]
    """Lift some planes x[image : image + planes, channel] of a map (b, c, h, w) along W and then along H.

    `work` (buffers, n) is left with what the way back needs; of the lifts (W; H of s; H of d) lift i has in rows 8i to
    8i + 6: even, odd, d, s, slope of P, slope of U, s - o. spatial (lifts, 2, k) and point (lifts, 2): P, then U.
    """
    height, width = x.shape[2], x.shape[3]
    h2, w2 = (height + 1) // 2, (width + 1) // 2
    r = spatial.shape[2] // 2
    row = w2 + r
    # Level 0: planes * height rows begin at `first`; level 1: h2 rows a plane, with r rows of zeros between planes.
    first = r * row + r
    e, o = work[0], work[1]
    for m in range(planes):
        for i in range(height):
            at = first + (m * height + i) * row
            for j in range(width // 2):
                e[at + j] = x[image + m, channel, i, 2 * j]
                o[at + j] = x[image + m, channel, i, 2 * j + 1]
            if width % 2:
                e[at + w2 - 1] = x[image + m, channel, i, width - 1]
                o[at + w2 - 1] = x[image + m, channel, i, width - 1]
    for lift in range(3):
        base = 8 * lift
        e, o, d, s = work[base], work[base + 1], work[base + 2], work[base + 3]
        rows = planes * (h2 + r) - r if lift else planes * height
        step = row if lift else 1
        if lift:
            z = work[3] if lift == 1 else work[2]
            for m in range(planes):
                for i in range(h2):
                    at, even = first + (m * (h2 + r) + i) * row, first + (m * height + 2 * i) * row
                    odd = even + row if 2 * i + 1 < height else even
                    for j in range(w2):
                        e[at + j] = z[even + j]
                        o[at + j] = z[odd + j]
        stop = first + rows * row
        p, q = spatial[lift, 0], spatial[lift, 1]
        v = work[24]
        _add_net(e, o, p, point[lift, 0], np.float32(-1), step, first, stop, v, d, work[base + 4], taped)
        if lift:
            _clear_gaps(d, first, planes, h2, row, r)
        else:
            _clear_margins(d, first, rows, row, r)
        _add_net(d, e, q, point[lift, 1], np.float32(1), step, first, stop, v, s, work[base + 5], taped)
        if lift:
            _clear_gaps(s, first, planes, h2, row, r)
        else:
            _clear_margins(s, first, rows, row, r)
        if squared:
            squares[lift, 0] += _rest(s, o, first, stop, work[base + 6])
            total = np.float64(0)
            for n in range(first, stop):
                total += d[n] * d[n]
            squares[lift, 1] += total


@njit(nogil=True, fastmath=_FAST, cache=True, error_model="numpy")
def _sum_pile(work, height, width, r, scale, y, image, planes, channel):  # type: ignore[no-untyped-def]
    """The sum of the bands of lifted planes times `scale`, to y[image : image + planes, channel] (h2, w2)."""
    h2, w2 = (height + 1) // 2, (width + 1) // 2
    row = w2 + r
    first = r * row + r
    ll, lh, hl, hh = work[11], work[10], work[19], work[18]
    for m in range(planes):
        for i in range(h2):
            at = first + (m * (h2 + r) + i) * row
            for j in range(w2):
                y[image + m, channel, i, j] = scale * (ll[at + j] + lh[at + j] + hl[at + j] + hh[at + j])


@njit(nogil=True, fastmath=_FAST, cache=True, error_model="numpy")
def _pull_pile(  # type: ignore[no-untyped-def]
    g, image, planes, channel, spatial, point, work, scale, squared, of_squares, products, gx
):
    """The gradients of lifted planes, to `gx` (b, c, h, w), from those of their sum, `g` (b, c, h2, w2).

    What each tap saw is added to products (lifts, 2, k).
    """
    height, width = gx.shape[2], gx.shape[3]
    h2, w2 = g.shape[2], g.shape[3]
    r = spatial.shape[2] // 2
    row = w2 + r
    first = r * row + r
    # Rows 25 to 28: gradients of s and d of level 0, and of a lift's own s and d; 29: h, zero beyond what is written.
    for lift in (2, 1, 0):
        base = 8 * lift
        rows = planes * (h2 + r) - r if lift else planes * height
        stop = first + rows * row
        step = row if lift else 1
        gs, gd, h = (work[27], work[28], work[30]) if lift else (work[25], work[26], work[29])
        if lift:
            gs[first:stop] = 0
            for m in range(planes):
                for i in range(h2):
                    at = first + (m * (h2 + r) + i) * row
                    for j in range(w2):
                        gs[at + j] = scale * g[image + m, channel, i, j]
            gd[first:stop] = gs[first:stop]
        if squared:
            a, b = np.float32(2 * of_squares[lift, 0]), np.float32(2 * of_squares[lift, 1])
            rest, d = work[base + 6], work[base + 2]
            for n in range(first, stop):
                gs[n] += a * rest[n]
                gd[n] += b * d[n]
        _pull(
            gs, work[base + 5], work[base + 2], spatial[lift, 1], point[lift, 1], np.float32(1), step, first, stop,
            h, gd, products[lift, 1],
        )  # fmt: skip
        if lift:
            _clear_gaps(gd, first, planes, h2, row, r)
        else:
            _clear_margins(gd, first, rows, row, r)
        _pull(
            gd, work[base + 4], work[base], spatial[lift, 0], point[lift, 0], np.float32(-1), step, first, stop,
            h, gs, products[lift, 0],
        )  # fmt: skip
        if squared:
            a, rest = np.float32(2 * of_squares[lift, 0]), work[base + 6]
            for n in range(first, stop):
                gd[n] -= a * rest[n]
        if lift:  # of s or d of level 0: even rows from gs, odd ones from gd
            into = work[25] if lift == 1 else work[26]
            for m in range(planes):
                for i in range(h2):
                    at, even = first + (m * (h2 + r) + i) * row, first + (m * height + 2 * i) * row
                    for j in range(row):
                        into[even + j] = gs[at + j]
                    if 2 * i + 1 < height:
                        for j in range(row):
                            into[even + row + j] = gd[at + j]
                    else:  # the last row was repeated
                        for j in range(row):
                            into[even + j] += gd[at + j]
            _clear_margins(into, first, planes * height, row, r)
    gs, gd = work[25], work[26]
    for m in range(planes):
        for i in range(height):
            at = first + (m * height + i) * row
            for j in range(width // 2):
                gx[image + m, channel, i, 2 * j] = gs[at + j]
                gx[image + m, channel, i, 2 * j + 1] = gd[at + j]
            if width % 2:
                gx[image + m, channel, i, width - 1] = gs[at + w2 - 1] + gd[at + w2 - 1]


@njit(nogil=True, cache=True, error_model="numpy")
def _buffers(height, width, r, planes):  # type: ignore[no-untyped-def]
    """Memory for a pile of planes, all zero."""
    row = (width + 1) // 2 + r
    rows = planes * max(height, (height + 1) // 2 + r)
    return np.zeros((31, (rows + 2 * r) * row + 2 * r + 1), np.float32)


@njit(nogil=True, cache=True, error_model="numpy")
def _turn_in(x, image, planes, c0, count, out):  # type: ignore[no-untyped-def]
    """``out[m, c, i, j] = x[image + m, i, j, c0 + c]``."""
    for m in range(planes):
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                for c in range(count):
                    out[m, c, i, j] = x[image + m, i, j, c0 + c]


@njit(nogil=True, cache=True, error_model="numpy")
def _turn_out(planes_of, image, planes, c0, count, x):  # type: ignore[no-untyped-def]
    """``x[image + m, i, j, c0 + c] = planes_of[m, c, i, j]``."""
    for m in range(planes):
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                for c in range(count):
                    x[image + m, i, j, c0 + c] = planes_of[m, c, i, j]


@njit(nogil=True, cache=True, error_model="numpy")
def down(x, last, pile, spatial, point, scale, squared, squares, y, start, stop):  # type: ignore[no-untyped-def]
    """The sums of bands of some planes.

    Args:
        x: the map: (b, c, h, w), or (b, h, w, c) where `last`; float32.
        last: whether the channels are innermost, in `x` and `y`.
        pile: images that are lifted together.
        spatial: (c, 3, 2, k), for each channel and lift (W; H of s; H of d) of P and U.
        point: (c, 3, 2).
        scale: of the sum.
        squared: whether sums of squares are wanted.
        squares: (pieces, 3, 2) float64, sums of squares of s - o and of d.
        y: the result, like `x` of half the size rounded up.
        start: first piece of work: `TURN` channels of `pile` images.
        stop: the piece after the last.
    """
    height, width, channels = (x.shape[1], x.shape[2], x.shape[3]) if last else (x.shape[2], x.shape[3], x.shape[1])
    groups = (channels + TURN - 1) // TURN
    r = spatial.shape[3] // 2
    h2, w2 = (height + 1) // 2, (width + 1) // 2
    inner = (pile, TURN) if last else (0, 0)
    turned = np.empty((inner[0], inner[1], height, width), np.float32)
    sums = np.empty((inner[0], inner[1], h2, w2), np.float32)
    # One call for both layouts below: numba would compile one for each.
    source, total = (turned, sums) if last else (x, y)
    work = _buffers(height, width, r, pile)
    for piece in range(start, stop):
        image, c0 = piece // groups * pile, piece % groups * TURN
        planes, count = min(pile, x.shape[0] - image), min(TURN, channels - c0)
        if planes < pile:  # the last images: what lies behind their planes must be zero
            work = _buffers(height, width, r, planes)
        begin = 0 if last else image
        if last:
            _turn_in(x, image, planes, c0, count, turned)
        for c in range(count):
            at, channel = c0 + c, c if last else c0 + c
            _lift_pile(source, begin, planes, channel, spatial[at], point[at], work, False, squared, squares[piece])
            _sum_pile(work, height, width, r, scale, total, begin, planes, channel)
        if last:
            _turn_out(sums, image, planes, c0, count, y)


@njit(nogil=True, cache=True, error_model="numpy")
def down_backward(  # type: ignore[no-untyped-def]
    x, g, last, pile, spatial, point, scale, squared, of_squares, products, gx, start, stop
):
    """The gradients of some planes: `gx` like `x`, and products (b / pile, c, 3, 2, k), from `g` like the result of `down`.

    `of_squares` (3, 2) is the gradient of the sums of squares; the other arguments are those of `down`.
    """
    height, width, channels = (x.shape[1], x.shape[2], x.shape[3]) if last else (x.shape[2], x.shape[3], x.shape[1])
    groups = (channels + TURN - 1) // TURN
    r = spatial.shape[3] // 2
    h2, w2 = (height + 1) // 2, (width + 1) // 2
    inner = (pile, TURN) if last else (0, 0)
    turned = np.empty((inner[0], inner[1], height, width), np.float32)
    sums = np.empty((inner[0], inner[1], h2, w2), np.float32)
    unused = np.zeros((3, 2))
    source, above, below = (turned, sums, turned) if last else (x, g, gx)
    work = _buffers(height, width, r, pile)
    for piece in range(start, stop):
        image, c0 = piece // groups * pile, piece % groups * TURN
        planes, count = min(pile, x.shape[0] - image), min(TURN, channels - c0)
        if planes < pile:  # the last images: what lies behind their planes must be zero
            work = _buffers(height, width, r, planes)
        begin = 0 if last else image
        if last:
            _turn_in(x, image, planes, c0, count, turned)
            _turn_in(g, image, planes, c0, count, sums)
        for c in range(count):
            at, channel = c0 + c, c if last else c0 + c
            found = products[piece // groups, at]
            _lift_pile(source, begin, planes, channel, spatial[at], point[at], work, True, squared, unused)
            _pull_pile(
                above, begin, planes, channel, spatial[at], point[at], work, scale, squared, of_squares, found, below
            )  # fmt: skip
        if last:
            _turn_out(turned, image, planes, c0, count, gx)
