"""Wide convolutions: the sparse and the Fourier form against torch's direct one."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from contracts import LayerContract
from snellen.layers.wide_conv import WideConv2d, fourier_convolution, one_hot_maps, place_kernels


class TestWideConv(LayerContract):
    def make(self):
        return WideConv2d(3, 4, 7)


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="no centre"):
        WideConv2d(3, 4, 8)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 5), st.integers(0, 3))
def test_sparse_form_is_the_dense_convolution(h, w, reach, batch):
    """rcn.md 8: sparse layer 1 == dense conv; some points taken away, some in one cell, any side of the kernel."""
    torch.manual_seed(h * 100 + w)
    cells = torch.randint(-1, h * w, (batch, 5))
    weight, bias = torch.randn(4, 5, 2 * reach + 1, 2 * reach + 1).double(), torch.randn(4).double()
    maps = one_hot_maps(cells, (h, w)).double()
    assert torch.equal(maps.sum(dim=(-2, -1)), (cells >= 0).double())
    expected = F.conv2d(maps, weight, bias, padding=reach)
    torch.testing.assert_close(place_kernels(cells, (h, w), weight, bias), expected, rtol=0, atol=1e-12)


def test_sparse_form_has_the_gradient_of_the_dense():
    torch.manual_seed(0)
    cells = torch.randint(-1, 99, (3, 5))
    weight = torch.randn(4, 5, 9, 9, dtype=torch.float64, requires_grad=True)
    goal = torch.randn(3, 4, 9, 11).double()
    forms = (
        place_kernels(cells, (9, 11), weight),
        F.conv2d(one_hot_maps(cells, (9, 11)).double(), weight, padding=4),
    )
    sparse, dense = (torch.autograd.grad((form * goal).sum(), weight)[0] for form in forms)
    torch.testing.assert_close(sparse, dense)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 14), st.integers(1, 14), st.integers(0, 12))
def test_fourier_form_is_the_direct_convolution(h, w, reach):
    """Also for kernels wider than the map, where the spare zeros must serve both ends."""
    assume(reach < min(h, w))
    torch.manual_seed(h * 100 + w)
    side = 2 * reach + 1
    x, weight, bias = torch.randn(2, 3, h, w).double(), torch.randn(4, 3, side, side).double(), torch.randn(4).double()
    expected = F.conv2d(x, weight, bias, padding=reach)
    torch.testing.assert_close(fourier_convolution(x, weight, bias), expected, rtol=0, atol=1e-10)


def test_a_kept_spectrum_follows_the_weights_and_the_size():
    torch.manual_seed(0)
    layer = WideConv2d(2, 3, 5).double()
    direct = WideConv2d(2, 3, 5, fourier=False).double()
    small, large = torch.randn(1, 2, 6, 6).double(), torch.randn(1, 2, 20, 9).double()
    with torch.no_grad():
        for x in (small, large, small):
            for _ in range(2):
                direct.load_state_dict(layer.state_dict())
                torch.testing.assert_close(layer(x), direct(x), rtol=0, atol=1e-12)
                layer.weight.mul_(1.5)
