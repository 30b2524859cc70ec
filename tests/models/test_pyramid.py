"""Networks on a pyramid of maps: five aggregates, on timm backbones and on the paper's trunk."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from contracts import ModelContract, exports_any_size, nonzero_gradients, stirred
from snellen.inference import Localiser
from snellen.keypoints import Schema
from snellen.models import KeypointOutput, create_model
from snellen.models.aggregate import AGGREGATES, Aggregate, make_aggregate
from snellen.models.base import KeypointNet
from snellen.models.pyramid import PyramidNet
from snellen.models.trunk import Trunk


class TestRecombine(ModelContract):
    def make(self):
        return stirred(create_model("rcn", backbone="timm:test_resnet", features=16))


class TestRecombineSkip(ModelContract):
    channels = 3

    def make(self):
        choices = {"aggregate": "recombine-skip", "stride": 2, "channels": 3, "contrast": "imagenet"}
        return stirred(create_model("rcn", backbone="timm:test_resnet", features=8, **choices))


class TestSum(ModelContract):
    keypoints = 3

    def make(self):
        choices = {"aggregate": "sum", "stride": 2, "keypoints": 3}
        return stirred(create_model("rcn", backbone="timm:test_efficientnet", features=16, **choices))


class TestUNet(ModelContract):
    def make(self):
        return stirred(create_model("unet", backbone="timm:test_byobnet", features=16, stride=8))


class TestFPN(ModelContract):
    """On a backbone whose finest map is coarser than the heatmap, without batch norm in the aggregate."""

    def make(self):
        return stirred(create_model("fpn", backbone="timm:test_convnext", features=16, stride=1, norm="none"))


@pytest.mark.parametrize("aggregate", ["unet", "fpn"])
def test_on_the_papers_trunk(aggregate):
    """Every aggregate's contract is kept above, and the trunk's in test_rcn.py: here they meet."""
    torch.manual_seed(0)
    model = create_model("rcn5", aggregate=aggregate, width=0.25, branches=4, norm="batch")
    x = torch.rand(2, 1, 51, 48) * 255
    logits = model.train()(x).logits
    assert logits.shape == (2, 5, 51, 48)
    (logits * torch.randn(logits.shape)).sum().backward()
    nonzero_gradients(model)
    model.eval()
    torch.testing.assert_close(model(x[:1]).logits, model(x).logits[:1], rtol=1e-4, atol=1e-4)


# --- what the aggregates compute


def enlarged(x, size):
    """Repetition by index."""
    rows, columns = (torch.arange(n) * old // n for n, old in zip(size, x.shape[-2:], strict=True))
    return x[:, :, rows][..., columns]


def convolved(block, x):
    """A `conv` without batch norm, from its weights alone."""
    x = F.conv2d(x, block[0].weight, block[0].bias, padding=block[0].weight.shape[-1] // 2)
    return x.relu() if len(block) == 2 else x


def twice(blocks, x):
    return convolved(blocks[1], convolved(blocks[0], x))


@pytest.fixture
def maps():
    """Three maps with a gap: the finest level and the second coarsest have none."""
    torch.manual_seed(0)
    sizes = [(22, 19), (11, 10), (6, 5), (3, 3)]
    given = [None, torch.randn(2, 6, 11, 10).double(), None, torch.randn(2, 8, 3, 3).double()]
    full = [torch.randn(2, 4, 22, 19).double(), given[1], torch.randn(2, 7, 6, 5).double(), given[3]]
    return sizes, given, full


def made(name, maps):
    torch.manual_seed(1)
    return make_aggregate(name, [None if m is None else m.shape[1] for m in maps], 5, 3, "none").double()


def test_recombine_written_out(maps):
    sizes, given, full = maps
    for name, level_maps in (("recombine", full), ("recombine", given), ("recombine-skip", full)):
        net = made(name, level_maps)
        up = None
        for level in (3, 2, 1, 0):
            parts = [] if level_maps[level] is None else [convolved(net.lateral[level], level_maps[level])]
            below = [] if up is None else [enlarged(up, sizes[level])]
            out = twice(net.branch[level], torch.cat(parts + below, dim=1))
            up = torch.cat([out, *below], dim=1) if name == "recombine-skip" else out
        expected = convolved(net.head, out)
        torch.testing.assert_close(net(level_maps, sizes, [True] * 4), expected, rtol=0, atol=1e-12)


def test_dense_skips_have_the_papers_widths(maps):
    """rcn.md 2.6: each branch sees its trunk map and everything that came up from all coarser ones."""
    net = made("recombine-skip", maps[2])
    assert [b[0][0].in_channels for b in net.branch] == [20, 15, 10, 5]
    assert net.head[0].in_channels == 5


def test_unet_written_out(maps):
    sizes, given, full = maps
    for level_maps in (full, given):
        net = made("unet", level_maps)
        stage = convolved(net.lateral[3], level_maps[3])
        for level in (2, 1, 0):
            up = F.conv_transpose2d(stage, net.up[level].weight, net.up[level].bias, stride=2)
            parts = [] if level_maps[level] is None else [convolved(net.lateral[level], level_maps[level])]
            stage = twice(net.branch[level], torch.cat([*parts, enlarged(up, sizes[level])], dim=1))
        expected = convolved(net.head, stage)
        torch.testing.assert_close(net(level_maps, sizes, [True] * 4), expected, rtol=0, atol=1e-12)


def test_fpn_written_out(maps):
    sizes, given, full = maps
    for level_maps in (full, given):
        net = made("fpn", level_maps)
        total = 0
        for level in (3, 2, 1, 0):
            lateral = 0 if level_maps[level] is None else convolved(net.lateral[level], level_maps[level])
            total = convolved(net.branch[level], total + lateral)
            if level:
                total = enlarged(total, sizes[level - 1])
        torch.testing.assert_close(net(level_maps, sizes, [True] * 4), convolved(net.head, total), rtol=0, atol=1e-12)


def test_sum_written_out(maps):
    sizes, given, full = maps
    for level_maps in (full, given):
        net, expected, row = made("sum", level_maps), 0, 0
        for level, m in enumerate(level_maps):
            if m is not None:
                lateral, first, last = net.branch[level]
                score = convolved(last, convolved(first, convolved(lateral, m)))
                expected = expected + net.mixing[row] * enlarged(score, sizes[0])
                row += 1
        torch.testing.assert_close(net(level_maps, sizes, [True] * 4), expected, rtol=0, atol=1e-12)


def test_an_unknown_aggregate_is_refused():
    with pytest.raises(ValueError, match="give one of recombine, recombine-skip, sum, unet, fpn"):
        make_aggregate("hypercolumn", [4], 8, 5, "none")


def test_budgets_are_alike():
    """With the same laterals and width; the ratio of RCN to SumNet is the paper's kind (227,141 to 142,850)."""
    counts = {}
    for name in AGGREGATES:
        parts = make_aggregate(name, [64, 128, 256, 512], 64, 5, "batch")
        counts[name] = sum(p.numel() for p in parts.parameters())
    assert 0.9 < counts["unet"] / counts["recombine"] < 1.1
    assert (
        counts["sum"] < counts["fpn"] * 1.2 < counts["recombine"] < counts["recombine-skip"] < 1.5 * counts["recombine"]
    )


# --- masks


def seen(model, mask):
    """Which of the trunk's maps the logits depend on, coarsest first."""
    x = torch.rand(1, 1, 64, 64) * 255
    maps = [m.detach().requires_grad_() for m in model.trunk(model.preprocess(x))]
    model.trunk.forward = lambda _: maps
    try:
        model(x, mask).logits.abs().sum().backward()
    finally:
        del model.trunk.forward
    return "".join("01"[m.grad is not None and bool(m.grad.any())] for m in reversed(maps))


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_masked_maps_do_not_matter(aggregate):
    torch.manual_seed(0)
    choices = {"backbone": "timm:test_resnet", "features": 8, "aggregate": aggregate}
    whole, x = create_model("rcn", **choices).eval(), torch.rand(2, 1, 64, 64) * 255
    assert seen(whole, None) == "1111"
    for mask in ("1000", "0100", "0011", "1001"):
        assert seen(whole, mask) == mask
        model = stirred(create_model("rcn", branch_mask=mask, **choices))
        model.train()(x).logits.square().sum().backward()
        nonzero_gradients(model)
        model.eval()
        state = model.state_dict()
        other = create_model("rcn", **choices).eval()
        other.load_state_dict(state)
        assert torch.equal(other(x, mask).logits, model(x).logits)
        assert not torch.equal(other(x).logits, model(x).logits)


# --- sizes and strides


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(AGGREGATES), st.sampled_from([1, 2, 4, 8, 16]), st.integers(0, 40), st.integers(0, 40))
def test_any_size_and_stride(aggregate, stride, dh, dw):
    model = create_model(
        "rcn", backbone="timm:test_efficientnet", features=4, aggregate=aggregate, stride=stride
    ).eval()
    size = (model.minimum_size + dh, model.minimum_size + dw)
    logits = model(torch.zeros(1, 1, *size)).logits
    assert logits.shape == (1, 5, *(-(-side // stride) for side in size))


def test_a_canvas_may_be_grown_to_whole_cells_without_changing_the_answer():
    """The padding at the right and at the bottom is what a canvas of whole cells would have held there."""
    torch.manual_seed(0)
    model = create_model("rcn", backbone="timm:test_resnet", features=8).eval()
    x = torch.rand(1, 1, 61, 50) * 255
    grown = F.pad(x, (0, 2, 0, 3), value=127.5)  # the middle of "fixed", so zero once preprocessed
    torch.testing.assert_close(model(x).logits, model(grown).logits)


def test_levels_without_a_map():
    model = create_model("rcn", backbone="timm:test_convnext", features=8, stride=1)
    assert model.reductions == (4, 8, 16, 32)
    assert model.level_strides == (1, 2, 4, 8, 16, 32)
    assert isinstance(model.branch, Aggregate)
    assert model.branch.has_map == (False, False, True, True, True, True)
    assert model.branches == 4  # a mask names maps


def test_fewer_branches_take_the_finer_maps():
    model = create_model("rcn", backbone="timm:test_resnet", features=8, branches=2)
    assert model.reductions == (4, 8)
    assert model.minimum_size == 8
    assert all(p.requires_grad for p in model.parameters())
    whole = create_model("rcn", backbone="timm:test_resnet", features=8)
    assert sum(p.numel() for p in model.trunk.parameters()) < sum(p.numel() for p in whole.trunk.parameters())


def test_wrong_arguments_are_refused():
    trunk = Trunk(1, (4, 4, 4), "none")
    for choices, words in (
        ({"stride": 3}, "a power of two"),
        ({"stride": 1, "features": 0}, "at least 1"),
        ({"stride": 2}, "coarser than the trunk's finest map, of stride 1"),
        ({"stride": 1, "aggregate": "sums"}, "give one of recombine"),
        ({"stride": 1, "branch_mask": "1"}, "does not fit 3 branches"),
    ):
        with pytest.raises(ValueError, match=words):
            PyramidNet(trunk, **choices)


@exports_any_size
@pytest.mark.parametrize("aggregate", ["recombine-skip", "unet"])  # every operation of the others is in these
def test_export_of_any_size(aggregate):
    torch.manual_seed(0)
    model = create_model("rcn", backbone="timm:test_resnet", features=8, aggregate=aggregate).eval()
    # Sides by AUTO: halved and rounded as often as here, torch does not manage to write named ones down.
    sides = {0: torch.export.Dim("batch"), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    program = torch.export.export(model, (torch.rand(2, 1, 51, 70),), dynamic_shapes=(sides,)).module()
    for size in ((65, 93), (64, 96)):
        x = torch.rand(3, 1, *size) * 255
        torch.testing.assert_close(program(x).logits, model(x).logits, rtol=1e-4, atol=1e-4)


# --- its answers are canvas pixels


class Planted(nn.Module):
    """Answers the same maps to every canvas."""

    needs_boxes, cell = False, KeypointNet.cell

    def __init__(self, logits, stride):
        super().__init__()
        self.logits, self.stride = nn.Parameter(logits), stride

    def forward(self, x):
        return KeypointOutput(self.logits.expand(len(x), -1, -1, -1))


def test_a_localiser_answers_in_canvas_pixels():
    logits = torch.zeros(1, 2, 13, 21)
    logits[0, 0, 5, 7] = logits[0, 1, 12, 20] = 60.0
    card = {
        "schema": Schema("two", ("a", "b")).to_dict(), "canvas": [49, 83], "channels": 1,
        "decoder": {"method": "argmax", "window": 2, "radius": 2.5},
    }  # fmt: skip
    localiser = Localiser(Planted(logits, 4), card)
    found = localiser.locate(torch.zeros(1, 1, 49, 83))
    assert found.xy.tolist() == [[[30.0, 22.0], [82.0, 49.0]]]  # the last cell's centre, moved onto the border
    assert localiser.radius == 10  # 2.5 cells
    # A picture of twice the canvas's size: twice the position.
    answer = localiser.predict(torch.zeros(1, 98, 166, dtype=torch.uint8))[0]
    assert answer.xy[0].tolist() == pytest.approx([60, 44])
