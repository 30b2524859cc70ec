"""LiftPool's two forms agree, and the hand-written one keeps nothing."""

from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lifts import layer_of, randoms
from snellen.layers import LiftUp1d, LiftUp2d, LiftUp3d, auxiliary_losses, lift_planes, lift_walk

UP = {1: LiftUp1d, 2: LiftUp2d, 3: LiftUp3d}


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("size", [(11,), (8, 6), (7, 9), (1, 3), (3, 4, 5)])
@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_recomputing_is_autograd(size, shared, chunk, monkeypatch):
    """lift.md 8 asks for 1e-6 in float32; this is 1e-10 in float64, of values, inputs and weights, down and up."""
    monkeypatch.setattr(lift_walk, "CHUNK_CPU", chunk)  # 1: one image, and 16 channels, at a time
    results = []
    for memory in ("recompute", "autograd"):
        layer = layer_of(len(size), 20, shared=shared, memory=memory)
        x = randoms(3, 20, *size).requires_grad_()
        bands = layer.bands(x)
        low = 2 * bands["L" * len(size)] + 1
        y = UP[len(size)](layer)(bands, low=low)
        total = layer(y)
        loss = sum((t * randoms(*t.shape, seed=i)).sum() for i, t in enumerate((*bands.tensors.values(), y, total)))
        results.append([y, total, *torch.autograd.grad(loss, [x, *layer.parameters()])])
    for by_hand, plain in zip(*results, strict=True):
        torch.testing.assert_close(by_hand, plain, rtol=1e-10, atol=1e-10)


def test_float32_gradients_are_as_exact_as_the_spec_says():
    """lift.md 8: values and the input's gradient to 1e-6, the weights' to 1e-6 of theirs; against float64."""
    results = []
    x, weight = randoms(4, 16, 28, 28, dtype=torch.float32).relu(), randoms(4, 16, 14, 14, dtype=torch.float32)
    start = layer_of(channels=16, dtype=torch.float32).state_dict()
    for memory, dtype in (("recompute", torch.float32), ("autograd", torch.float64)):
        layer = layer_of(channels=16, memory=memory)
        layer.load_state_dict(start)
        layer.to(dtype)
        inputs = [x.to(dtype).requires_grad_(), *layer.parameters()]
        y = layer(inputs[0])
        results.append([y, *torch.autograd.grad((y * weight.to(dtype)).sum(), inputs)])
    for by_hand, plain in zip(*results, strict=True):
        assert (by_hand - plain).abs().max() <= 1e-6 * max(1, plain.abs().max())


@pytest.mark.parametrize("shrink", [1e-8, 1e-25])
def test_tiny_weights_get_their_gradient(shrink):
    """Where P has all but vanished, which samples pass the relu still decides the gradient of w2."""
    results = []
    for memory in ("recompute", "autograd"):
        layer = layer_of(memory=memory, dtype=torch.float32)
        for net in (layer.pairs[0].predict, layer.pairs[0].update):
            net.point.data *= shrink
        layer(randoms(2, 4, 8, 8, dtype=torch.float32)).square().sum().backward()
        results.append(layer.pairs[0].predict.point.grad)
    assert results[0].abs().min() > 1
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)


def test_dead_and_saturated_channels():
    layer = layer_of(weight=100)
    x = -randoms(2, 4, 8, 8).abs() * 1e3
    x.requires_grad_()
    layer.pairs[0].predict.spatial.data.abs_()  # P sees nothing positive
    layer(x).sum().backward()
    assert x.grad.isfinite().all()
    assert not layer.pairs[0].predict.point.grad[0].any()


def test_second_derivatives():
    layer = layer_of(channels=2)
    x = randoms(1, 2, 4, 5).requires_grad_()
    assert torch.autograd.gradgradcheck(layer, (x,))
    up = LiftUp2d(layer)
    assert torch.autograd.gradgradcheck(lambda x: up(layer.bands(x), low=x[..., :2, :3]), (x,))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_layout_of_results_and_gradients_is_the_inputs(layout):
    layer = layer_of(dtype=torch.float32)
    x = randoms(2, 4, 8, 6, dtype=torch.float32).contiguous(memory_format=layout).requires_grad_()
    y = layer(x)
    back = LiftUp2d(layer)(layer.bands(x))
    y.sum().backward()
    for t in (y, back, x.grad):
        assert t.is_contiguous(memory_format=layout)


def test_frozen_weights_and_frozen_input():
    layer, x = layer_of(), randoms(2, 4, 6, 6).requires_grad_()
    layer(x.detach()).sum().backward()
    assert all(p.grad is not None for p in layer.parameters())
    full = torch.autograd.grad(layer(x).sum(), x)[0]
    layer.requires_grad_(False)
    torch.testing.assert_close(torch.autograd.grad(layer(x).sum(), x)[0], full)


def saved_bytes(layer, x, run):
    """What autograd keeps for the backward pass, apart from the input and the parameters."""
    ours = {t.untyped_storage().data_ptr() for t in (x, *layer.parameters())}
    kept = {}

    def pack(t):
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        result = run(x)
    del result
    return sum(size for place, size in kept.items() if place not in ours)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(16, 16), (15, 13)])
def test_nothing_but_the_input_is_kept(size, layout):
    layer = layer_of(channels=8, dtype=torch.float32)
    x = randoms(4, 8, *size, dtype=torch.float32).contiguous(memory_format=layout).requires_grad_()
    n = x.numel() * x.element_size()
    small = 4 * 8  # a weight of one number a channel, where it is viewed
    assert saved_bytes(layer, x, layer) <= small
    assert saved_bytes(layer, x, layer.bands) <= small
    # The way back keeps the bands, which are as large as the map but for its odd sides.
    up = LiftUp2d(layer)
    assert saved_bytes(layer, x, lambda x: up(layer.bands(x))) <= 1.3 * n + small
    plain = layer_of(channels=8, dtype=torch.float32, memory="autograd")
    assert saved_bytes(plain, x, plain) > 4 * n


@pytest.fixture
def without_numba(monkeypatch):
    """A machine on which numba is not installed."""
    monkeypatch.setattr(lift_planes, "_kernels", lambda: None)


def _sum_and_gradients(layer, x, weight):
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    with auxiliary_losses(layer) as aux:
        y = layer(x)
    loss = (y * weight.to(y.dtype)).sum() + 5 * aux.total({"lift/update": 1.0, "lift/predict": 1.0})
    return [y, *torch.autograd.grad(loss, [x, *layer.parameters()])]


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(st.integers(1, 21), st.integers(1, 21)),
    kernel_size=st.sampled_from([1, 3, 5, 7]),
    channels=st.sampled_from([1, 5, 16, 35]),
    shared=st.booleans(),
    channels_last=st.booleans(),
    scale=st.sampled_from([1.0, 0.25]),
    images=st.integers(1, 5),
    pile=st.sampled_from([1, 60, lift_planes.PILE]),
)
def test_planes_are_plain_operations_in_float64(
    size, kernel_size, channels, shared, channels_last, scale, images, pile
):
    """The kernels against plain autograd in twice the precision: value, input and weights, regularisers included.

    However many images are lifted together, the last pile being smaller or not.
    """
    pytest.importorskip("numba")
    options = {"kernel_size": kernel_size, "shared": shared, "scale": scale, "channels": channels}
    layer = layer_of(dtype=torch.float32, **options)
    exact = layer_of(memory="autograd", **options).double()
    exact.load_state_dict(layer.state_dict())
    x = randoms(images, channels, *size, dtype=torch.float32)
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    assert lift_planes.suits(x, [layer.pairs[0].predict.spatial])
    weight = randoms(images, channels, (size[0] + 1) // 2, (size[1] + 1) // 2, seed=1)
    with mock.patch.object(lift_planes, "PILE", pile):
        found = _sum_and_gradients(layer, x, weight)
    wanted = _sum_and_gradients(exact, x.double(), weight)
    assert found[0].is_contiguous() or found[0].is_contiguous(memory_format=torch.channels_last)
    for by_planes, plain in zip(found, wanted, strict=True):
        assert (by_planes - plain).abs().max() <= 4e-6 * max(1, plain.abs().max())


def test_threads_do_not_change_what_planes_give():
    pytest.importorskip("numba")
    layer, before = layer_of(channels=40, dtype=torch.float32), torch.get_num_threads()
    x, weight = randoms(8, 40, 40, 40, dtype=torch.float32), randoms(8, 40, 20, 20)
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(_sum_and_gradients(layer, x, weight))
    finally:
        torch.set_num_threads(before)
    for one, three in zip(*results, strict=True):
        assert torch.equal(one, three)


def test_planes_let_nan_through():
    """A number that is none shows in the answer, as it does in plain operations."""
    pytest.importorskip("numba")
    x = randoms(3, 4, 8, 8, dtype=torch.float32)
    x[1, 1, 3, 3] = torch.nan
    y = layer_of(dtype=torch.float32)(x)
    assert y[1, 1].isnan().any()
    assert y.isnan().flatten(2).any(2).sum() == 1  # neither in other channels nor in other images


def test_without_numba_the_walk_does_it(without_numba):
    x, weight = randoms(2, 4, 9, 8, dtype=torch.float32), randoms(2, 4, 5, 4)
    layer = layer_of(dtype=torch.float32)
    exact = layer_of(memory="autograd").double()
    exact.load_state_dict(layer.state_dict())
    for walked, plain in zip(
        _sum_and_gradients(layer, x, weight), _sum_and_gradients(exact, x.double(), weight), strict=True
    ):
        assert (walked - plain).abs().max() <= 4e-6 * max(1, plain.abs().max())
