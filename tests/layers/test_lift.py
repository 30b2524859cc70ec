import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from contracts import LayerContract
from lifts import layer_of, randoms
from snellen.layers import (
    Bands,
    LiftDown2d,
    LiftUp1d,
    LiftUp2d,
    LiftUp3d,
    auxiliary_losses,
    lift_down,
    lift_up,
)
from snellen.layers.lift import band_names, lift, unlift
from snellen.layers.lift_plain import LiftWeights, NetWeights
from snellen.layers.lift_pool import REGULARISER_WEIGHTS

UP = {1: LiftUp1d, 2: LiftUp2d, 3: LiftUp3d}


class RoundTrip(nn.Module):
    """Down, something done to the lowest band, and up again."""

    def __init__(self, **choices):
        super().__init__()
        self.down = LiftDown2d(3, **choices)
        self.up = LiftUp2d(self.down)

    def forward(self, x):
        bands = self.down.bands(x)
        return self.up(bands, low=0.5 * bands["LL"])


class TestDown(LayerContract):
    def make(self):
        return LiftDown2d(3)


class TestDownPlain(LayerContract):
    def make(self):
        return LiftDown2d(3, 3, groups=1, bias=True, padding="replicate", shared=False, scale=0.25)


class TestDownFloor(LayerContract):
    def make(self):
        return LiftDown2d(3, output="HL", ceil_mode=False)


class TestRoundTrip(LayerContract):
    def make(self):
        return RoundTrip()


class TestRoundTripFloor(LayerContract):
    def make(self):
        return RoundTrip(ceil_mode=False, memory="autograd")


def polyphase(x):
    return {a + b: x[..., "LH".index(b) :: 2, "LH".index(a) :: 2] for a in "LH" for b in "LH"}


# --- the definition


def by_hand(x, layer, dim):
    """One lift of lift.md 2.1, written once more and differently."""
    index = torch.arange(0, x.shape[dim], 2)
    even, odd = x.index_select(dim, index), x.index_select(dim, index + 1)

    def net(z, part):
        z = z.movedim(dim, -1)
        flat = z.reshape(z.shape[0], z.shape[1], -1, z.shape[-1])
        k = part.spatial.shape[1]
        y = F.conv2d(flat, part.spatial[:, None, None], padding=(0, k // 2), groups=len(part.spatial))
        y = torch.tanh(part.point[:, :, None] * y.relu())
        return y.reshape(z.shape).movedim(-1, dim)

    d = odd - net(even, layer.pairs[0].predict)
    return even + net(d, layer.pairs[0].update), d


@pytest.mark.parametrize("memory", ["recompute", "autograd"])
@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
def test_width_first_then_height(memory, kernel_size):
    layer = layer_of(kernel_size=kernel_size, memory=memory)
    x = randoms(2, 4, 6, 8)
    s, d = by_hand(x, layer, 3)
    expected = dict(zip(("LL", "LH", "HL", "HH"), (*by_hand(s, layer, 2), *by_hand(d, layer, 2)), strict=True))
    bands = layer.bands(x)
    assert tuple(bands.tensors) == band_names(2) == ("LL", "LH", "HL", "HH")
    for name, band in expected.items():
        torch.testing.assert_close(bands[name], band, rtol=0, atol=1e-12)
    torch.testing.assert_close(layer(x), sum(expected.values()), rtol=0, atol=1e-12)
    turned = layer.bands(x.mT)
    assert (turned["LL"].mT - bands["LL"]).abs().mean() > 1e-3  # height first is something else


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_bands_are_named_by_what_they_were_made_of(dims):
    layer = layer_of(dims, zero_init=True, output="all")
    x = randoms(2, 4, *(6, 4, 8)[:dims])
    bands = layer(x)
    assert list(bands.tensors) == list(band_names(dims))
    for name, band in bands.tensors.items():
        # The first letter is the last axis.
        steps = [slice("LH".index(letter), None, 2) for letter in reversed(name)]
        assert torch.equal(band, x[(..., *steps)])


@pytest.mark.parametrize("memory", ["recompute", "autograd"])
def test_zero_init_is_average_pooling_and_the_polyphase_components(memory):
    layer = layer_of(zero_init=True, memory=memory)
    x = randoms(2, 4, 10, 6)
    torch.testing.assert_close(layer(x), 4 * F.avg_pool2d(x, 2), rtol=0, atol=1e-12)
    for name, component in polyphase(x).items():
        assert torch.equal(layer.bands(x)[name], component)
    layer.scale = 0.25
    torch.testing.assert_close(layer(x), F.avg_pool2d(x, 2), rtol=0, atol=1e-12)


def test_zero_init_trains_the_1x1_first():
    """lift.md 8: every parameter gets a gradient but for the convolution under an exact zero, in both forms."""
    gradients = []
    for memory in ("recompute", "autograd"):
        layer = layer_of(zero_init=True, memory=memory)
        layer(randoms(2, 4, 8, 8)).square().sum().backward()
        gradients.append([p.grad for p in layer.parameters()])
    for fast, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-12, atol=1e-12)
    assert [bool(g.any()) for g in gradients[0]] == [False, True] * 2


@settings(max_examples=40, deadline=None)
@given(weight=st.floats(0, 1e3), scale=st.floats(0, 1e3), seed=st.integers(0, 99))
def test_the_sum_is_pooling_plus_a_bounded_correction(weight, scale, seed):
    layer = layer_of(seed=seed, weight=weight, channels=2)
    x = scale * randoms(2, 2, 8, 8, seed=seed)
    assert (layer(x) - 4 * F.avg_pool2d(x, 2)).abs().max() <= 8 + 1e-9


def test_constant_stays_constant_away_from_borders():
    bands = layer_of().bands(torch.full((1, 4, 24, 24), 0.7, dtype=torch.float64))
    for band in bands.tensors.values():
        middle = band[..., 4:-4, 4:-4]
        torch.testing.assert_close(middle, middle[..., :1, :1].expand_as(middle))
    everywhere = layer_of(padding="replicate")(torch.full((1, 4, 6, 6), 0.7, dtype=torch.float64))
    torch.testing.assert_close(everywhere, everywhere[..., :1, :1].expand_as(everywhere))


@pytest.mark.parametrize(
    ("choices", "counts"),
    [({}, (512, 768, 1024)), ({"bias": True}, (768, 1024, 1280)), ({"groups": 1}, (8576, 8832, 9088))],
)
def test_parameter_counts(choices, counts):
    """lift.md 2.4."""
    for k, count in zip((3, 5, 7), counts, strict=True):
        assert sum(p.numel() for p in LiftDown2d(64, k, **choices).parameters()) == count
        assert sum(p.numel() for p in LiftDown2d(64, k, shared=False, **choices).parameters()) == 3 * count


@pytest.mark.parametrize("memory", ["recompute", "autograd"])
def test_one_pair_serves_all_lifts_where_it_is_shared(memory):
    x = randoms(2, 4, 8, 8)
    for shared, changed in ((True, ("LL", "LH", "HL", "HH")), (False, ("HL", "HH"))):
        layer = layer_of(shared=shared, memory=memory)
        before = layer.bands(x)
        layer.pairs[-1].predict.point.data += 0.3  # of an own pair, the last is for the details along W
        after = layer.bands(x)
        assert tuple(n for n in after.tensors if not torch.equal(before[n], after[n])) == changed


# --- the inverse


sides = st.integers(1, 65)


@settings(max_examples=60, deadline=None)
@given(
    size=st.lists(sides, min_size=1, max_size=2)
    | st.tuples(sides, st.integers(1, 9), st.integers(1, 9)).flatmap(st.permutations),
    kernel_size=st.sampled_from([1, 3, 5, 7, 9]),
    # The options that the plain form alone has.
    other=st.sampled_from([{}, {}, {"groups": 1}, {"bias": True}, {"padding": "replicate"}, {"padding": "circular"}]),
    weight=st.sampled_from([0.1, 1.0, 2.0]),
    memory=st.sampled_from(["recompute", "autograd"]),
    shared=st.booleans(),
    precise=st.booleans(),
    scale=st.sampled_from([1e-3, 1.0]),
    seed=st.integers(0, 99),
)
def test_up_inverts_down(size, kernel_size, other, weight, memory, shared, precise, scale, seed):
    dims, dtype = len(size), torch.float64 if precise else torch.float32
    options = {"kernel_size": kernel_size, "shared": shared, "memory": "autograd" if other else memory, **other}
    layer = layer_of(dims, 2, seed, weight, dtype, **options)
    x = scale * randoms(2, 2, *size, dtype=dtype, seed=seed)
    back = UP[dims](layer)(layer.bands(x))
    assert back.shape == x.shape
    # Steeper nets multiply the rounding of what they see, lift after lift, and cost more digits than this.
    tolerance = 1e-12 if precise else 4e-6
    assert (back - x).abs().max() <= tolerance * max(1, x.abs().max())


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_up_inverts_down_after_training(dims):
    """Weights that have learned to predict, with the regularisers, are no draw of any distribution."""
    layer = layer_of(dims, 3, dtype=torch.float32)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.05)
    x = randoms(2, 3, *[13] * dims, dtype=torch.float32).cumsum(-1) / 3  # neighbours are alike
    first = None
    for _ in range(60):
        optimiser.zero_grad()
        with auxiliary_losses(layer) as aux:
            layer(x)
        loss = aux.total(REGULARISER_WEIGHTS)
        loss.backward()
        optimiser.step()
        first = first or loss.item()
    assert loss.item() < 0.8 * first
    for dtype, tolerance in ((torch.float32, 4e-6), (torch.float64, 1e-12)):
        trained, y = layer.to(dtype), x.to(dtype)
        assert (UP[dims](trained)(trained.bands(y)) - y).abs().max() <= tolerance * max(1, y.abs().max())


@pytest.mark.parametrize("memory", ["recompute", "autograd"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("size", [(10,), (8, 6), (4, 6, 8)])
def test_down_inverts_up(memory, shared, size):
    """The map between a picture and its bands is a bijection, whatever a decoder makes of LL (lift.md 2.8)."""
    layer = layer_of(len(size), shared=shared, memory=memory)
    names = band_names(len(size))
    half = [side // 2 for side in size]
    bands = Bands({name: 3 * randoms(2, 4, *half, seed=i) for i, name in enumerate(names)}, size)
    again = layer.bands(UP[len(size)](layer)(bands))
    for name in names:
        torch.testing.assert_close(again[name], bands[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("memory", ["recompute", "autograd"])
def test_up_passes_ll_on_to_one_phase_only(memory):
    """lift.md 5, trap 1."""
    layer = layer_of(memory=memory)
    bands = layer.bands(randoms(2, 4, 12, 12))
    up = LiftUp2d(layer)
    change = polyphase(up(bands, low=bands["LL"] + 100) - up(bands))
    assert (change["LL"] - 100).abs().max() <= 1e-9
    assert max(change[name].abs().max() for name in ("LH", "HL", "HH")) < 2


@pytest.mark.parametrize("size", [(7, 7), (1, 1), (9, 4), (33, 5)])
def test_odd_sizes(size):
    x = randoms(2, 4, *size)
    up = layer_of().bands(x)
    assert up["HH"].shape[2:] == F.max_pool2d(x, 2, ceil_mode=True).shape[2:]
    if min(size) > 1:
        layer = layer_of(ceil_mode=False)
        bands = layer.bands(x)
        assert bands["HH"].shape[2:] == F.max_pool2d(x, 2).shape[2:]
        back = LiftUp2d(layer)(bands)
        h, w = (side // 2 * 2 for side in size)
        torch.testing.assert_close(back[..., :h, :w], x[..., :h, :w], rtol=0, atol=1e-12)
        assert back.shape == x.shape
        assert torch.equal(back[..., h:, :], back[..., h - 1 : h, :].expand_as(back[..., h:, :]))


def test_low_precision_is_as_exact_as_the_spec_says():
    """lift.md 2.2."""
    for dtype, tolerance in ((torch.float16, 8e-3), (torch.bfloat16, 0.1)):
        layer = layer_of(dtype=dtype)
        x = randoms(2, 4, 16, 16).to(dtype)
        bands = layer.bands(x)
        assert bands["LL"].dtype == layer(x).dtype == dtype
        assert (LiftUp2d(layer)(bands) - x).abs().max() < tolerance


@pytest.mark.parametrize("memory", ["recompute", "autograd"])
def test_autocast_keeps_the_bands_exact(memory):
    layer = layer_of(dtype=torch.float32, memory=memory)
    x = randoms(2, 4, 9, 8, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(x), layer.float()(x))
        bands = layer.bands(x.bfloat16().requires_grad_())
        assert bands["LL"].dtype == torch.float32
        back = LiftUp2d(layer)(bands)
        assert layer(x.bfloat16()).dtype == torch.bfloat16
    assert (back - x.bfloat16()).abs().max() < 4e-6 * x.abs().max()
    back.sum().backward()
    for own in layer.parameters():
        assert own.grad.dtype == torch.float32


def test_up_is_tied_to_its_down():
    trip = RoundTrip()
    assert not list(trip.up.parameters())
    assert not trip.up.state_dict()
    assert set(trip.state_dict()) == {f"down.{name}" for name in trip.down.state_dict()}
    x = randoms(1, 3, 6, 6, dtype=torch.float32)
    other = copy.deepcopy(trip)
    for parameter in other.parameters():
        parameter.data.mul_(3)
    bands = other.down.bands(x)
    torch.testing.assert_close(other.up(bands), x)
    assert (trip.up(bands) - x).abs().max() > 1e-3


# --- choices and refusals


def test_outputs():
    x = randoms(2, 4, 8, 8)
    bands = layer_of().bands(x)
    assert torch.equal(layer_of(output="HL")(x), bands["HL"])
    some = layer_of(output=("LL", "HH"))(x)
    assert list(some.tensors) == ["LL", "HH"]
    torch.testing.assert_close(layer_of(scale=0.25)(x), bands.sum(0.25))
    with pytest.raises(ValueError, match="band LH is missing; the inverse needs all of LL, LH, HL, HH"):
        LiftUp2d(layer_of())(some)
    with pytest.raises(KeyError, match="no band 'LLL'; LL, LH, HL, HH are"):
        bands["LLL"]


def test_functions_take_any_predictor():
    def sines(z, dim):
        return torch.sin(z.roll(1, dim))

    x = randoms(2, 3, 9)
    s, d = lift(x, sines, lambda z, dim: z.square(), -1)
    torch.testing.assert_close(unlift(s, d, sines, lambda z, dim: z.square(), -1, 9), x)


def test_functions_are_the_layers():
    layer, x = layer_of(), randoms(2, 4, 7, 6)
    bands = lift_down(x, layer.weights())
    for name, band in layer.bands(x).tensors.items():
        assert torch.equal(bands[name], band)
    torch.testing.assert_close(lift_up(bands, layer.weights()), x)


def test_initialisation():
    torch.manual_seed(0)
    layer = LiftDown2d(512, 5)
    net = layer.pairs[0].predict
    for weight, bound in ((net.spatial, 1 / math.sqrt(5)), (net.point, 1)):
        assert weight.abs().max() <= bound
        assert weight.abs().max() > 0.98 * bound


def test_weights_of_a_named_shape():
    net = NetWeights(randoms(4, 5), randoms(4, 1))
    assert lift_down(randoms(1, 4, 6), [LiftWeights(net, net)])["H"].shape == (1, 4, 3)
