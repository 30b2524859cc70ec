"""SegNet: sizes, what crosses from encoder to decoder, the checkerboard and its cures."""

import copy

import pytest
import torch
from torch import nn

from contracts import nonzero_gradients, state_survives_saving
from snellen.layers import LiftDown2d, auxiliary_losses
from snellen.models.outputs import LabelOutput
from snellen.models.segnet import SegNet
from snellen.training.boundaries import checkerboard

SMALL = {"encoder": "vgg13", "width": 0.125}
PAPERS = {"zero_init": False, "scale": 1.0}

VARIANTS = {
    "max": {},
    "lift": {"pool": "lift", "pool_options": PAPERS},
    "lift-norm": {"pool": "lift", "cure": "norm"},
    "lift-conv": {"pool": "lift", "cure": "conv"},
    "lift-bilinear": {"pool": "lift", "unpool": "bilinear"},
    "max-nearest": {"unpool": "nearest"},
    "avg": {"pool": "avg"},
    "blur": {"pool": "blur"},
    "dwt": {"pool": "dwt"},
}


def net_of(seed=0, **choices):
    torch.manual_seed(seed)
    return SegNet(4, **(SMALL | choices))


def canvases(*size, batch=2, seed=1):
    return 255 * torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", VARIANTS)
def test_any_size_of_canvas_and_every_gradient(name):
    net = net_of(**VARIANTS[name]).eval()
    for size in ((32, 64), (37, 51), (1, 3)):
        output = net(canvases(*size))
        assert isinstance(output, LabelOutput)
        assert output.logits.shape == (2, 4, *size)
        assert output.logits.isfinite().all()
    logits = net(canvases(37, 51, batch=3)).logits
    torch.testing.assert_close(net(canvases(37, 51, batch=3)[1:2]).logits, logits[1:2], rtol=1e-4, atol=1e-4)
    net.train()
    logits = net(canvases(35, 40)).logits
    (logits * torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        # A lift that starts as the average has P = U = 0: its convolutions learn from the second step on.
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any() or key.endswith("spatial"), key


def test_lift_with_the_papers_start_trains_everything():
    net = net_of(pool="lift", pool_options=PAPERS).train()
    net(canvases(35, 40)).logits.square().sum().backward()
    nonzero_gradients(net)


def test_the_papers_network_has_its_size():
    """VGG-16's convolutions twice (14,710,464 weights, simonyan2014), but for the first and the answer, and norms."""
    net = SegNet(11)
    weights = sum(m.weight.numel() for m in net.modules() if isinstance(m, nn.Conv2d))
    assert weights == 2 * 14_710_464 - 3 * 64 * 9 + 64 * 11 * 9
    assert 29.4e6 < sum(p.numel() for p in net.parameters()) < 29.5e6  # 29.45 M in the literature
    # Both have one convolution more in three stages, but for VGG-13.
    assert [len([m for m in s.modules() if isinstance(m, nn.Conv2d)]) for s in net.encoder] == [2, 2, 3, 3, 3]
    # 2C(K + 1) of each of the five lifts (lift.md 2.4).
    lift = SegNet(11, pool="lift")
    added = sum(p.numel() for p in lift.parameters()) - sum(p.numel() for p in net.parameters())
    assert added == 17_664


def test_maxima_return_to_their_places():
    """Unpooling the maxima as torch's own layer does it."""
    net, x = net_of(), torch.randn(2, 5, 8, 6)
    pooled, indices = net._down(net.pools[0], x)
    theirs = nn.functional.max_unpool2d(pooled, indices, 2, output_size=x.shape)
    assert torch.equal(net._up(0, pooled, indices, (8, 6)), theirs)


@pytest.mark.parametrize("size", [(8, 6), (7, 5), (1, 1)])
def test_sub_bands_give_the_map_back(size):
    """With the lowest band itself as the decoder's feature, LiftUp is the exact inverse of the encoder's pooling."""
    net = net_of(pool="lift", pool_options=PAPERS)
    c = net.pools[0].channels
    x = torch.randn(2, c, *size)
    pooled, bands = net._down(net.pools[0], x)
    torch.testing.assert_close(pooled, net.pools[0](x))
    torch.testing.assert_close(net._up(0, bands["LL"], bands, size), x, rtol=0, atol=4e-6 * float(x.abs().max()))


def test_the_decoder_uses_the_encoders_own_lift_weights():
    net = net_of(pool="lift")
    for pool, up in zip(net.pools, net.ups, strict=True):
        assert isinstance(pool, LiftDown2d)
        assert up.tied[0] is pool
    assert not any(name.startswith("ups") for name in net.state_dict())
    other = copy.deepcopy(net)
    assert other.ups[0].tied[0] is other.pools[0] is not net.pools[0]


def test_regularisers_are_collected():
    net = net_of(pool="lift").train()
    with auxiliary_losses(net) as aux:
        net(canvases(32, 32))
    assert set(aux.means()) == {"lift/update", "lift/predict"}
    assert all(value > 0 for value in aux.means().values())


def test_upsampled_maps_are_where_the_poolings_were():
    net = net_of(pool="lift").eval()
    shapes = [tuple(m.shape[1:]) for m in net.upsampled(canvases(37, 51))]
    assert shapes == [(64, 3, 4), (64, 5, 7), (32, 10, 13), (16, 19, 26), (8, 37, 51)]


def test_large_features_in_the_place_of_the_low_band_make_a_checkerboard_that_a_norm_weakens():
    """lift.md 5.1: what takes the place of LL reaches one phase in four unchanged, the others through a tanh."""
    channels = net_of(pool="lift", pool_options=PAPERS).pools[0].channels
    found = {}
    for cure in ("none", "norm"):
        net = net_of(pool="lift", pool_options=PAPERS, cure=cure).train()
        x = torch.randn(2, channels, 32, 32, generator=torch.Generator().manual_seed(3))
        _, bands = net._down(net.pools[0], x)
        feature = 100 + 30 * torch.randn(bands["LL"].shape, generator=torch.Generator().manual_seed(4))
        found[cure] = checkerboard(net._up(0, net.before[0](feature), bands, (32, 32)))
        flat = checkerboard(x)
    assert flat.fixed < 0.01
    assert flat.modulated < 0.01
    assert found["none"].fixed > 0.5
    assert found["norm"].fixed < 0.05
    assert found["norm"].modulated < 0.5 * found["none"].modulated


@pytest.mark.parametrize("name", ["max", "lift"])
def test_compile_save_and_precision(name):
    net, x = net_of(**VARIANTS[name]).eval(), canvases(33, 40)
    with torch.no_grad():
        expected = net(x).logits
        torch.compiler.reset()
        compiled = torch.compile(net, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(x).logits, expected, rtol=1e-4, atol=1e-4)
        state_survives_saving(net, net_of(seed=5, **VARIANTS[name]))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            close = net(x).logits.float()
        # Some maxima change their place among near-equals, beside the usual rounding to 8 bits.
        assert (close - expected).std() < 0.2 * expected.std()
        moved = net.to(memory_format=torch.channels_last)(x).logits
        torch.testing.assert_close(moved, expected, rtol=1e-3, atol=1e-3 * float(expected.std()))


@pytest.mark.parametrize("name", ["max", "lift"])
def test_export_with_any_batch(name):
    net, wider = net_of(**VARIANTS[name]).eval(), canvases(33, 40, batch=3)
    program = torch.export.export(net, (canvases(33, 40),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.testing.assert_close(program.module()(wider).logits, net(wider).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({"unpool": "max", "pool": "avg"}, "it needs what pool='max' keeps"),
        ({"unpool": "lift"}, "it needs what pool='lift' keeps"),
        ({"encoder": "vgg19"}, "give one of vgg13, vgg16"),
        ({"cure": "prayer"}, "give one of none, norm, conv"),
        ({"pool": "min"}, "pool='min' is not known"),
        ({"width": 0}, "above 0"),
        ({"pool": "lift", "pool_options": {"ceil_mode": False}}, "ceil_mode=False does not go with unpool='lift'"),
        ({"pool_options": {"kernel_size": 3}}, "does not take these options"),
        ({"channels": 2}, "channels=2"),
    ],
)
def test_what_makes_no_sense_is_refused(choices, says):
    with pytest.raises(ValueError, match=says):
        net_of(**choices)
    with pytest.raises(ValueError, match="classes=0"):
        SegNet(0)
