import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from contracts import ModelContract, nonzero_gradients
from snellen.models import SumNet, create_model


class TestSumNet5(ModelContract):
    def make(self):
        return create_model("sumnet5")


class TestSumNet5Pixel(ModelContract):
    def make(self):
        return create_model("sumnet5", branches=6, mixing="pixel", map_size=(48, 40), kernel="5x5", norm="batch")


class TestSumNet68(ModelContract):
    keypoints = 7
    channels = 3
    sizes = ((33, 48),)

    def make(self):
        return create_model("sumnet68", width=0.25, keypoints=7, extra_fine=True)


@pytest.mark.parametrize(
    ("choices", "parameters"),
    [
        ({}, 142_850),
        ({"branches": 6}, 186_588),
        ({"topology": "68"}, 603_368),
        ({"mixing": "pixel"}, 142_825 + 160_000),
    ],
)
def test_parameter_counts(choices, parameters):
    """rcn.md section 6; a pixel's matrices are 5 branches x 5 keypoints x 6400."""
    assert sum(p.numel() for p in SumNet(**choices).parameters()) == parameters


def convolutions(module):
    return [(m.in_channels, m.out_channels, m.kernel_size[0]) for m in module.modules() if isinstance(m, nn.Conv2d)]


def test_widths_of_the_table():
    """rcn.md 2.3."""
    assert [convolutions(b) for b in SumNet(branches=6).branch] == [
        [(c, c, 3), (c, 5, 3)] for c in (16, 32, 48, 48, 48, 48)
    ]
    assert convolutions(SumNet(kernel="5x5").branch[2]) == [(48, 48, 5), (48, 5, 1)]
    finest = SumNet(topology="68").branch[0]
    assert convolutions(finest) == [(64, 64, 3), (64, 64, 3), (64, 64, 3), (64, 68, 3)]
    assert [any(isinstance(m, nn.ReLU) for m in block) for block in finest] == [True, False, True, False]


@pytest.mark.parametrize("mixing", ["map", "pixel"])
def test_sum_written_out(mixing):
    """S_k = sum over branches of a[b, k] * up(B_b)_k, upsampled in one step by repetition (rcn.md 2.3)."""
    torch.manual_seed(0)
    model = SumNet(branches=6, mixing=mixing, contrast="fixed").double()
    x = torch.rand(2, 1, 80, 80, dtype=torch.double) * 255
    expected = torch.zeros(2, 5, 80, 80, dtype=torch.double)
    for level, features in enumerate(model.trunk((x / 255 - 0.5) / 0.25)):
        score, repeat = model.branch[level](features), (1, 2, 4, 8, 16, 40)[level]
        expected += model.mixing[level] * score.repeat_interleave(repeat, 2).repeat_interleave(repeat, 3)
    torch.testing.assert_close(model(x).logits, expected, rtol=0, atol=1e-12)


def test_pixel_mixing_is_resampled_to_other_sizes():
    torch.manual_seed(0)
    model = SumNet(mixing="pixel", map_size=(16, 16))
    other = SumNet(mixing="pixel", map_size=(32, 48))
    state = model.state_dict()
    state["mixing"] = F.interpolate(state["mixing"], (32, 48), mode="bilinear")
    other.load_state_dict(state)
    x = torch.rand(1, 1, 32, 48) * 255
    torch.testing.assert_close(model(x).logits, other(x).logits)


def test_mixing_weights_start_between_0_and_1_and_are_trained():
    torch.manual_seed(0)
    model = SumNet(topology="68")
    assert model.mixing.min() >= 0
    assert 0.98 < model.mixing.max() <= 1
    assert model.mixing.requires_grad
    assert model.parameter_groups()["mixing"] == [model.mixing]


@pytest.mark.parametrize("mask", ["1000", "0100", "1100", "0010", "0001", "0011", "0111", "1001", "1111"])
def test_masked_branches_are_not_summed(mask):
    torch.manual_seed(0)
    model = SumNet(branches=4, branch_mask=mask)
    x = torch.rand(2, 1, 32, 32) * 255
    model(x).logits.square().sum().backward()
    for level, on in enumerate(reversed(mask)):
        assert bool(model.mixing.grad[level].any()) == (on == "1")
    nonzero_gradients(model)

    whole = SumNet(branches=4)
    whole.load_state_dict(model.state_dict())
    with torch.no_grad():  # whatever a masked branch says, it is not heard
        before = whole(x, mask).logits
        for level, on in enumerate(reversed(mask)):
            if on == "0":
                whole.branch[level][-1][0].weight += 1
        assert torch.equal(whole(x, mask).logits, before)
        assert torch.equal(model(x).logits, before)


@settings(max_examples=10, deadline=None)
@given(branches=st.integers(4, 6), dh=st.integers(0, 40), dw=st.integers(0, 40), pixel=st.booleans())
def test_any_size_from_the_minimum(branches, dh, dw, pixel):
    model = SumNet(branches=branches, mixing="pixel" if pixel else "map", width=0.5)
    size = (model.minimum_size + dh, model.minimum_size + dw)
    assert model(torch.zeros(1, 1, *size)).logits.shape == (1, 5, *size)


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"branches": 7}, "4, 5 or 6"),
        ({"mixing": "sum"}, "'map' or 'pixel'"),
        ({"map_size": (40, 40)}, "no meaning with mixing='map'"),
        ({"kernel": "1x1"}, "'3x3' or '5x5'"),
        ({"topology": "5 "}, "'5' or '68'"),
    ],
)
def test_refusals(choices, words):
    with pytest.raises(ValueError, match=words):
        SumNet(**choices)
