import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from contracts import LayerContract
from snellen.layers.recombine import LearnedUpsample, keep_maxima, merge_conv, recombine, upsample_to


class Upsample(LearnedUpsample):
    """To twice the size, as a layer of one argument."""

    def forward(self, x):
        return super().forward(x, (2 * x.shape[-2], 2 * x.shape[-1]))


class Merge(nn.Module):
    """Half a map's channels, pooled, merged with the rest: a layer of one argument."""

    def __init__(self, side):
        super().__init__()
        self.conv = nn.Conv2d(4, 6, side)

    def forward(self, x):
        x = F.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2))
        return merge_conv(x[:, :2], F.max_pool2d(x[:, 2:], 2), self.conv.weight, self.conv.bias)


class KeepMaxima(nn.Module):
    def forward(self, x):
        return keep_maxima(x)


class TestLearnedUpsample(LayerContract):
    def make(self):
        return Upsample(2)


class TestMergeConv(LayerContract):
    channels = 4

    def make(self):
        return Merge(5)


class TestKeepMaxima(LayerContract):
    def make(self):
        return KeepMaxima()


sides = st.integers(1, 40)


@settings(max_examples=60, deadline=None)
@given(h=sides, w=sides, oh=st.integers(1, 200), ow=st.integers(1, 200))
def test_upsampling_takes_the_nearest_by_index(h, w, oh, ow):
    oh, ow = max(h, oh), max(w, ow)
    x = torch.arange(h * w, dtype=torch.float32).reshape(1, 1, h, w)
    y = upsample_to(x, (oh, ow))[0, 0]
    rows = (y[:, 0] / w).floor().int().tolist()
    columns = y[0].int().tolist()
    # floor(i * h / oh) in whole numbers; torch rounds i * (h / oh) and may miss by one where that is a whole number.
    for got, side, out in ((rows, h, oh), (columns, w, ow)):
        for i, index in enumerate(got):
            assert index == i * side // out or (i * side % out == 0 and index == i * side // out - 1)


@pytest.mark.parametrize("coarse", [1, 2, 5, 7, 40])
def test_upsampling_by_whole_factors_repeats(coarse):
    x = torch.rand(2, 3, coarse, coarse)
    for r in (2, 4, 8, 16, 40):
        repeated = x.repeat_interleave(r, 2).repeat_interleave(r, 3)
        assert torch.equal(upsample_to(x, (coarse * r, coarse * r)), repeated)


def test_from_2_to_5_is_three_repetitions_cropped():
    """rcn.md 2.2."""
    x = torch.rand(1, 4, 2, 2)
    assert torch.equal(upsample_to(x, (5, 5)), x.repeat_interleave(3, 2).repeat_interleave(3, 3)[..., :5, :5])


def test_trunk_comes_first():
    fine, coarse = torch.rand(2, 3, 9, 6), torch.rand(2, 5, 4, 3)
    y = recombine(fine, coarse)
    assert y.shape == (2, 8, 9, 6)
    assert torch.equal(y[:, :3], fine)
    assert torch.equal(y[:, 3:], upsample_to(coarse, (9, 6)))


@settings(max_examples=30, deadline=None)
@given(h=st.integers(1, 12), w=st.integers(1, 12))
def test_kept_values_are_the_pooled_ones(h, w):
    x = torch.randn(2, 3, h, w)
    y = keep_maxima(x)
    assert ((y == x) | (y == 0)).all()
    # One of each window, even where windows are cut off at the border.
    assert (y != 0).sum() == 2 * 3 * ((h + 1) // 2) * ((w + 1) // 2)
    pooled = F.max_pool2d(x, 2, ceil_mode=True)
    kept = F.pad(y, (0, w % 2, 0, h % 2)).unfold(2, 2, 2).unfold(3, 2, 2).sum(dim=(4, 5))
    assert torch.equal(kept, pooled)


def test_learned_upsampling_is_the_transposed_convolution_of_the_spec():
    """rcn.md 2.5: ConvTranspose2d(1, 1, 3, stride 2, padding 1, output_padding 1) on (B*C, 1, H, W)."""
    up = LearnedUpsample(2).double()
    spec = nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1, output_padding=1, bias=False).double()
    spec.weight.data.copy_(up.weight)
    x = torch.randn(2, 4, 5, 7, dtype=torch.double)
    expected = spec(x.reshape(8, 1, 5, 7)).reshape(2, 4, 10, 14)
    torch.testing.assert_close(up(x, (10, 14)), expected)
    torch.testing.assert_close(up(x, (11, 13))[..., :10, :], expected[..., :13])


def test_learned_upsampling_with_a_tent_interpolates():
    up = LearnedUpsample(3)
    tent = torch.tensor([1.0, 2, 3, 2, 1]) / 3
    up.weight.data.copy_(torch.outer(tent, tent)[None, None])
    y = up(torch.tensor([[[[0.0, 3.0], [6.0, 9.0]]]]), (4, 4))[0, 0]
    torch.testing.assert_close(y, torch.arange(4.0) + 2 * torch.arange(4.0)[:, None])


def test_learned_upsampling_initialisation():
    torch.manual_seed(0)
    for r, k in ((2, 3), (3, 5)):
        weights = torch.cat([LearnedUpsample(r).weight.flatten() for _ in range(200)])
        bound = (6 / (2 * k * k)) ** 0.5
        assert weights.abs().max() <= bound
        assert weights.abs().max() > 0.98 * bound


def test_learned_upsampling_says_what_it_can_do():
    with pytest.raises(ValueError, match="3x3 map cannot be enlarged to 8x6 by factor 2; the most is 7x7"):
        LearnedUpsample(2)(torch.zeros(1, 1, 3, 3), (8, 6))
    with pytest.raises(ValueError, match="factor=0"):
        LearnedUpsample(0)


@pytest.mark.parametrize("side", [3, 5])
@pytest.mark.parametrize("size", [(2, 2), (4, 6), (12, 10)])
@pytest.mark.parametrize("bias", [True, False])
def test_phase_form_is_the_convolution_of_the_concatenation(side, size, bias):
    """rcn.md section 8: to 1e-12 in float64."""
    torch.manual_seed(0)
    fine = torch.randn(2, 3, *size, dtype=torch.double)
    coarse = torch.randn(2, 4, size[0] // 2, size[1] // 2, dtype=torch.double)
    weight = torch.randn(5, 7, side, side, dtype=torch.double, requires_grad=True)
    b = torch.randn(5, dtype=torch.double) if bias else None
    merged = merge_conv(fine, coarse, weight, b)
    plain = F.conv2d(recombine(fine, coarse), weight, b, padding=side // 2)
    torch.testing.assert_close(merged, plain, rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad((y * y).sum(), weight)[0] for y in (merged, plain)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-11)


def test_phase_form_says_where_it_does_not_exist():
    fine, coarse = torch.zeros(1, 1, 9, 8), torch.zeros(1, 1, 4, 4)
    with pytest.raises(ValueError, match="exactly half the size"):
        merge_conv(fine, coarse, torch.zeros(1, 2, 5, 5))
    with pytest.raises(ValueError, match="7x7 convolution"):
        merge_conv(fine[:, :, :8], coarse, torch.zeros(1, 2, 7, 7))
