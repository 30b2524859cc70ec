"""Doubling pictures: sizes, gradients, and what each way to enlarge can do."""

import pytest
import torch

from contracts import nonzero_gradients, state_survives_saving
from snellen.layers import LiftDown2d
from snellen.models.superres import ENLARGERS, SuperResolver
from snellen.training.boundaries import psnr


def net_of(up, **choices):
    torch.manual_seed(0)
    return SuperResolver(up, features=8, depth=2, **choices)


def pictures(h, w, channels=3, batch=2):
    return 255 * torch.rand(batch, channels, h, w, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("up", ENLARGERS)
def test_twice_the_size_with_every_gradient(up):
    net = net_of(up)
    for h, w in ((8, 8), (7, 5), (1, 3)):
        assert net(pictures(h, w)).shape == (2, 3, 2 * h, 2 * w)
    (net(pictures(9, 8)) - 100).square().mean().backward()
    nonzero_gradients(net)
    state_survives_saving(net, net_of(up))
    program = torch.export.export(net, (pictures(8, 8),))
    torch.testing.assert_close(program.module()(pictures(8, 8)), net(pictures(8, 8)))


@pytest.mark.parametrize("up", ENLARGERS)
def test_it_learns_more_than_bilinear_enlarging(up):
    """Sharp stripes, which bilinear enlarging blurs, are learnt."""
    sharp = 255.0 * ((torch.arange(32)[:, None] // 4 + torch.arange(32) // 4) % 2).expand(2, 1, 32, 32)
    small = torch.nn.functional.avg_pool2d(sharp, 2)
    bilinear = torch.nn.functional.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
    net = net_of(up, channels=1)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(80):
        optimiser.zero_grad()
        (net(small) - sharp).div(255).square().mean().backward()
        optimiser.step()
    assert psnr(net(small).detach(), sharp).mean() > psnr(bilinear, sharp).mean() + 3


def test_lift_enlarges_by_the_inverse_of_its_pooling():
    net = net_of("lift")
    feature = torch.randn(1, 8, 5, 4)
    layer = net.enlarge.lift
    assert isinstance(layer, LiftDown2d)
    bands = layer.bands(net.enlarge(feature))
    torch.testing.assert_close(bands["LL"], feature, rtol=1e-5, atol=1e-5)
    details = torch.cat([bands[name] for name in ("LH", "HL", "HH")], 1)
    torch.testing.assert_close(details, net.enlarge.details(feature), rtol=1e-5, atol=1e-5)


def test_what_makes_no_sense_is_refused():
    for choices, says in (
        ({"up": "bicubic"}, "give one of nearest, pixel-shuffle, lift"),
        ({"features": 0}, "at least 1"),
        ({"lift_options": {"kernel_size": 3}}, "make no sense with up='nearest'"),
        ({"channels": 2}, "channels=2"),
    ):
        with pytest.raises(ValueError, match=says):
            SuperResolver(**choices)
    with pytest.raises(ValueError, match="1 channels"):
        net_of("nearest")(pictures(4, 4, channels=1))
