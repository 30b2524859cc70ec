"""The choices `pool` and `unpool` in our own keypoint models."""

import logging

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from contracts import ModelContract, exports_any_size, nonzero_gradients, stirred
from snellen.layers import LiftDown2d, auxiliary_losses
from snellen.models import RCN, SumNet, create_model
from snellen.models.timm_trunk import TimmTrunk
from snellen.models.trunk import TRUNK_POOLS, Trunk
from snellen.models.unpooling import UNPOOLS, MaxUnpool

#: Fresh weights for P and U: from its own start, an average, the first gradient of their convolutions is zero.
DRAWN = {"zero_init": False}


class TestLiftBothWays(ModelContract):
    size = (35, 48)
    sizes = ((33, 50),)
    keypoints = 4

    def make(self):
        choices = {"pool": "lift", "unpool": "lift", "pool_options": DRAWN, "branches": 4, "norm": "batch"}
        return create_model("rcn68", width=0.125, keypoints=4, **choices)


class TestMaxUnpool(ModelContract):
    size = (32, 35)
    sizes = ((33, 50),)

    def make(self):
        return create_model("rcn5-skip", branches=4, width=0.5, unpool="max")


class TestUNetBilinear(ModelContract):
    size = (33, 32)
    sizes = ((33, 50),)

    def make(self):
        return create_model("rcn5", aggregate="unet", unpool="bilinear", pool="strided", width=0.25, branches=4)


class TestSumNetBlur(ModelContract):
    size = (33, 32)
    sizes = ((33, 50),)

    def make(self):
        return create_model("sumnet5", pool="blur", branches=4)


class TestTimmLift(ModelContract):
    size = (33, 64)
    sizes = ((33, 50),)

    def make(self):
        choices = {"pool": "lift", "pool_options": DRAWN, "features": 8, "branches": 2}
        return stirred(create_model("rcn", backbone="timm:test_resnet", **choices))


# --- pool


def count(model):
    return sum(p.numel() for p in model.parameters())


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(TRUNK_POOLS), st.integers(80, 111), st.integers(80, 111))
def test_every_pool_gives_max_poolings_sizes(pool, h, w):
    x = torch.rand(1, 1, h, w)
    widths = (8,) * 7
    expected = [(h, w)]
    for level in range(1, 7):  # the table of rcn.md 2.2
        expected.append(tuple((n - 3) // 2 + 1 if level == 5 else n // 2 for n in expected[-1]))
    assert [tuple(m.shape[2:]) for m in Trunk(1, widths, "none", pool)(x)] == expected


def test_counts_and_names():
    """Only LiftPool has weights, 2C(K + 1) of each map that it halves (lift.md 2.4); "strided" trades a 1x1 for a 3x3."""
    plain = RCN()
    for pool in ("avg", "blur", "dwt", "strided"):
        assert list(RCN(pool=pool).state_dict()) == list(plain.state_dict())
        assert count(RCN(pool=pool)) == count(plain)
    halved = 16 + 32 + 48 + 48
    assert count(RCN(pool="lift")) - count(plain) == 2 * halved * 6
    assert count(SumNet(pool="lift", pool_options={"kernel_size": 3})) - count(SumNet()) == 2 * halved * 4
    assert count(RCN(branches=7, pool="strided")) - count(RCN(branches=7)) == 48 * 48 * (9 - 1)


def test_trunks_written_out():
    torch.manual_seed(0)
    x = torch.rand(1, 1, 23, 18, dtype=torch.float64)
    means = Trunk(1, (4, 8, 8), "none", "avg").double()
    strided = Trunk(1, (4, 8, 8), "none", "strided").double()
    strided.load_state_dict(means.state_dict())
    first, second, _ = ((c[0].weight, c[0].bias) for c in means.convs)
    fine = F.conv2d(x, *first, padding=1).relu()
    torch.testing.assert_close(means(x)[1], F.conv2d(F.avg_pool2d(fine, 2), *second, padding=1).relu())
    whole = F.conv2d(fine[..., :22, :], *second, padding=1).relu()
    torch.testing.assert_close(strided(x)[1], whole[..., ::2, ::2])  # the same convolution, at every other pixel


@pytest.mark.parametrize("make", [RCN, SumNet])
def test_lift_starts_as_the_average_and_its_options_arrive(make):
    torch.manual_seed(0)
    x = torch.rand(1, 1, 35, 50) * 255
    means, lift = make(pool="avg"), make(pool="lift")
    lift.load_state_dict(means.state_dict(), strict=False)
    torch.testing.assert_close(lift(x).logits, means(x).logits, rtol=1e-4, atol=1e-4)
    papers = make(pool="lift", pool_options={"zero_init": False, "scale": 1, "kernel_size": 7})
    layers = [m for m in papers.modules() if isinstance(m, LiftDown2d)]
    assert len(layers) == 4
    assert all((m.scale, m.kernel_size, m.output) == (1, 7, "sum") for m in layers)
    drawn = layers[0].pairs[0].predict.point.clone()
    assert drawn.any()
    papers.reset_parameters()  # draws all weights, those of P and U too
    assert not torch.equal(layers[0].pairs[0].predict.point, drawn)


def test_a_lift_may_hand_on_one_band():
    """The lowest alone, as the paper's table of sub-bands has it; it is what the sum starts from."""
    model = RCN(pool="lift", pool_options={"output": "LL"}, width=0.5).double()
    fine = model.trunk.convs[0](torch.rand(1, 1, 20, 20).double())
    torch.testing.assert_close(model.trunk.pools[0](fine), fine[..., ::2, ::2])


@pytest.mark.parametrize("unpool", ["nearest", "lift"])
def test_regularisers_of_all_levels_are_collected(unpool):
    torch.manual_seed(0)
    model = RCN(pool="lift", pool_options=DRAWN, unpool=unpool, width=0.5).train()
    with auxiliary_losses(model) as aux:
        model(torch.rand(2, 1, 33, 40) * 255)
    assert set(aux.means()) == {"lift/update", "lift/predict"}
    aux.total({"lift/update": 0.01, "lift/predict": 0.1}).backward()
    assert all(p.grad.any() for pool in model.trunk.pools for p in pool.parameters())
    assert all(p.grad is None for p in model.branch.parameters())


def test_a_timm_trunk_is_changed_by_surgery():
    torch.manual_seed(0)
    own = TimmTrunk("test_resnet", in_channels=1)
    torch.manual_seed(0)
    lift = TimmTrunk("test_resnet", in_channels=1, pool="lift")
    assert count(lift) > count(own)
    assert lift.training
    held = {k.replace(".conv.weight", ".weight"): v for k, v in lift.state_dict().items()}
    assert all(torch.equal(held[name], v) for name, v in own.state_dict().items())
    for size in ((36, 64), (100, 44)):
        x = torch.rand(1, 1, *size)
        assert [m.shape for m in lift(x)] == [m.shape for m in own(x)]


# --- unpool


def test_lift_goes_up_by_the_trunks_own_bands():
    """lift.md 2.8: pooled again, what came up gives the coarse branch as LL and the trunk's own details."""
    torch.manual_seed(0)
    model = RCN(topology="68", width=0.125, keypoints=2, pool="lift", unpool="lift", pool_options=DRAWN).double()
    assert not list(model.up.state_dict())  # tied: weights are the trunk's
    seen = {}
    for level, up in enumerate(model.up):
        up.register_forward_hook(lambda _, args, out, level=level: seen.__setitem__(level, (args, out)))
    model(torch.rand(1, 1, 64, 48, dtype=torch.float64) * 255)
    assert sorted(seen) == [0, 1, 2, 3]
    for level, ((coarse, size, kept), up) in seen.items():
        assert up.shape[2:] == size
        if all(side % 2 == 0 for side in size):
            again = model.trunk.pools[level].pool.bands(up)
            torch.testing.assert_close(again["LL"], coarse, rtol=0, atol=1e-11)
            for band in ("LH", "HL", "HH"):
                torch.testing.assert_close(again[band], kept[band], rtol=0, atol=1e-11)
    assert {size[1] % 2 for (_, size, _), _ in seen.values()} == {0}
    odd = RCN(pool="lift", unpool="lift")
    odd.up[0].register_forward_hook(lambda _, args, out: seen.__setitem__("odd", out))
    odd(torch.rand(1, 1, 33, 35) * 255)
    assert torch.equal(seen["odd"][..., -1], seen["odd"][..., -2])  # what the pooling cut is repeated
    assert torch.equal(seen["odd"][:, :, -1], seen["odd"][:, :, -2])


@pytest.mark.parametrize("window", [2, 3])
def test_max_unpooling_is_the_adjoint_of_the_pooling(window):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 9, 11, dtype=torch.float64, requires_grad=True)
    y, indices = F.max_pool2d(x, window, 2, return_indices=True)
    coarse = torch.randn_like(y)
    up = MaxUnpool()(coarse, (9, 11), indices)
    torch.testing.assert_close(up, torch.autograd.grad(y, x, coarse)[0])
    if window == 2:
        torch.testing.assert_close(up, F.max_unpool2d(coarse, indices, 2, output_size=(9, 11)))


@pytest.mark.parametrize("kind", ["max", "lift"])
@pytest.mark.parametrize("aggregate", ["recombine", "unet"])
def test_what_a_masked_map_left_behind_stays_unseen(kind, aggregate):
    """Indices and bands of a masked level are its map's."""
    torch.manual_seed(0)
    small = {"recombine": {"width": 0.5}, "unet": {"width": 0.5, "features": 24}}[aggregate]
    options = DRAWN if kind == "lift" else {}
    choices = {"aggregate": aggregate, "pool": kind, "unpool": kind, "pool_options": options, "branches": 4, **small}
    whole, x = create_model("rcn5", **choices), torch.rand(1, 1, 32, 35) * 255
    for mask in ("1011", "1101", "1010"):
        held = []
        original = whole.trunk.with_kept
        whole.trunk.with_kept = lambda x, n, keep, to=held, run=original: to.append(keep) or run(x, n, keep)
        expected = whole(x, mask).logits
        whole.trunk.with_kept = original
        on = [digit == "1" for digit in reversed(mask)]
        keeps = whole.keeps if aggregate == "recombine" else whole.branch.keeps
        assert held[0][:3] == [a and b for a, b in zip(on, keeps, strict=False)]
        model = create_model("rcn5", branch_mask=mask, **choices)
        model.load_state_dict(whole.state_dict())
        assert torch.equal(model(x).logits, expected)
        model(x).logits.square().sum().backward()
        nonzero_gradients(model)


def test_levels_of_other_widths_are_named_once(caplog):
    with caplog.at_level(logging.INFO, "snellen"):
        create_model("rcn5", pool="lift", unpool="lift")
        assert not caplog.messages  # a branch hands up as many channels as the trunk has where it goes
        create_model("rcn5-skip", pool="lift", unpool="lift")
        unet = create_model("rcn5", aggregate="unet", unpool="max", features=48)
    assert caplog.messages == [
        "unpool='lift' is used between levels 3-4; the widths of levels 0-1, 1-2, 2-3 differ, which are enlarged by repetition",
        "unpool='max' is used between levels 2-3, 3-4; the widths of levels 0-1, 1-2 differ, which are enlarged by learned "
        "kernels",
    ]
    assert [n for n in unet.state_dict() if ".up." in n] == [
        "branch.up.0.weight", "branch.up.0.bias", "branch.up.1.weight", "branch.up.1.bias",
    ]  # fmt: skip


def test_bilinear_enlarges_between_pixel_centres():
    model = RCN(unpool="bilinear", width=0.5)
    row = torch.tensor([[[[0.0, 1.0]]]])
    assert model.up[0](row, (1, 4)).flatten().tolist() == [0, 0.25, 0.75, 1]


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(UNPOOLS), st.integers(4, 7), st.booleans(), st.integers(0, 30), st.integers(0, 30))
def test_any_size_from_the_minimum(unpool, branches, skip, dh, dw):
    """With the 3x3 pooling too, where bands and indices end before the finer map does."""
    pool = "lift" if unpool == "lift" else "max"
    model = RCN(branches=branches, width=0.5, skip=skip, pool=pool, unpool=unpool)
    size = (model.minimum_size + dh, model.minimum_size + dw)
    logits = model(torch.zeros(1, 1, *size)).logits
    assert logits.shape == (1, 5, *size)
    assert logits.isfinite().all()


@exports_any_size
@pytest.mark.parametrize("choices", [{"unpool": "max"}, {"pool": "lift", "unpool": "lift"}])
def test_export_of_any_size(choices):
    """Odd sides are cut and repeated in graphs whose sides stay open, too."""
    model, auto = create_model("rcn5", branches=4, width=0.5, **choices).eval(), torch.export.Dim.AUTO
    program = torch.export.export(model, (torch.rand(2, 1, 48, 64),), dynamic_shapes=({0: auto, 2: auto, 3: auto},))
    for size in ((65, 93), (32, 40)):
        x = torch.rand(3, 1, *size) * 255
        torch.testing.assert_close(program.module()(x).logits, model(x).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_onnx_of_lift_both_ways(tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    net = RCN(branches=4, width=0.5, pool="lift", unpool="lift", pool_options=DRAWN, norm="batch").eval()
    x = torch.rand(2, 1, 24, 19) * 255
    torch.onnx.export(Logits(net), (x,), dynamo=True, verbose=False).save(tmp_path / "net.onnx")
    session = runtime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    found = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])
    torch.testing.assert_close(found, net(x).logits, rtol=1e-4, atol=1e-4)


class Logits(nn.Module):
    """A tensor alone, which is what ONNX has."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x).logits
