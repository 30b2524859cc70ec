"""MS-SAR: the oracles of ms-sar.md 8."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from contracts import LayerContract
from recalibrations import cell, grid_region, images, interval, layer, naive_scores
from snellen.layers import MultiScaleRecalibration, multi_scale_recalibrate
from snellen.layers.cells import common_cells, scale_cells, spread_cells
from snellen.layers.regions import pool_regions

EVERY = [
    {}, {"grids": (1,)}, {"grids": (1, 2, 3)}, {"fuse": "sum_pool"}, {"fuse": "sum_logit"}, {"fuse": "mul_gate"},
    {"fuse": "mean_gate"}, {"share": "bias"}, {"share": "cell"}, {"share": "cell_both"}, {"share": "rank"},
    {"share": "pixel"}, {"share": "pixel", "map_channels": 1, "map_size": (4, 6)}, {"symmetric": True},
    {"region": "window"}, {"region": "window", "extents": (7, 3)}, {"region": "strided"},
    {"region": "strided", "extents": (4, 2)}, {"pool": "max"}, {"pool": "avg+max"}, {"upsample": "bilinear"},
    {"norm_layer": nn.BatchNorm2d}, {"bias": False, "act_layer": "gelu", "gate_layer": "hard_sigmoid"},
    {"fuse": "sum_pool", "share": "cell", "grids": (2, 3)},
]  # fmt: skip


class TestMultiScaleRecalibration(LayerContract):
    sizes = ((8, 8), (9, 7), (1, 2), (32, 3))

    def make(self):
        return MultiScaleRecalibration(3, rd_channels=4)


class TestCellWeights(LayerContract):
    def make(self):
        return MultiScaleRecalibration(3, (1, 3), share="cell_both", rd_channels=4)


@pytest.mark.parametrize("options", EVERY, ids=str)
def test_every_reading(options):
    """Sizes down to one pixel, batch 0, gradients, layouts, half precision, state."""
    made = layer(**options)
    for size in ((8, 8), (7, 14), (1, 1), (2, 9)):
        assert made(images(*size)).shape == (2, 3, *size)
        scores = made.score_map(images(*size))
        torch.testing.assert_close(made(images(*size)), images(*size) * scores)
    assert made(images(8, 8, batch=0)).shape == (0, 3, 8, 8)
    x = images(6, 7).requires_grad_()
    made(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in made.parameters())
    torch.testing.assert_close(made(x.to(memory_format=torch.channels_last)), made(x))
    plain = made(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(made(x), plain)  # in float32 throughout
        low = made(x.bfloat16())
    assert low.dtype == torch.bfloat16
    assert (low.float() - made(x)).abs().max() < 0.05
    torch.manual_seed(1)
    other = MultiScaleRecalibration(3, **{"rd_channels": 4, **options}).eval()
    other.load_state_dict(made.state_dict())
    assert torch.equal(other(x), made(x))


@settings(max_examples=30, deadline=None)
@given(
    h=st.integers(1, 33),
    w=st.integers(1, 33),
    grids=st.sampled_from([(1, 2, 4), (4,), (1, 2, 3), (3, 5), (1, 2, 4, 8)]),
)
def test_the_fast_form_is_the_definition(h, w, grids):
    made, x = layer(grids=grids).double(), images(h, w, batch=1).double()
    path = made.paths[0]
    weights = path.reduce_weight, path.reduce_bias, path.restore_weight, path.restore_bias
    expected = naive_scores(x, *weights, grids)
    torch.testing.assert_close(made.score_map(x), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(made(x), x * expected, rtol=1e-12, atol=1e-12)
    w1, b1, w2, b2 = weights
    torch.testing.assert_close(
        multi_scale_recalibrate(x, w1, w2, b1, b2, grids=grids), x * expected, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 7, 8])
def test_every_pixel_lies_in_its_region(k):
    for side in range(1, 65):
        for pixel in range(side):
            first, behind = interval(cell(pixel, k, side), k, side)
            assert first <= pixel < behind


@pytest.mark.parametrize(("region", "extents"), [("window", (5, 0.5, 1.0)), ("strided", (3, 0.5, 1.0))])
@pytest.mark.parametrize("size", [(9, 8), (1, 3), (11, 5)])
def test_boxes_are_clipped_at_the_border(region, extents, size):
    x = images(*size).double()
    for kind, take in (("avg", torch.mean), ("max", torch.amax)):
        for extent, found in zip(extents, pool_regions(x, extents, region, kind), strict=True):
            centres, reaches = zip(*(_centres(n, extent, region) for n in size), strict=True)
            for i, y in enumerate(centres[0]):
                for j, z in enumerate(centres[1]):
                    box = x[
                        :, :, max(0, y - reaches[0]) : y + reaches[0] + 1, max(0, z - reaches[1]) : z + reaches[1] + 1
                    ]
                    torch.testing.assert_close(found[:, :, i, j], take(box, (2, 3)))
            assert found.shape[2:] == tuple(len(c) for c in centres)


def _centres(side, extent, region):
    """Middles of the boxes, and pixels on either side."""
    if region == "window":
        reach = {5: 2, 0.5: round(side / 2) // 2, 1.0: side}[extent]
        return range(side), reach
    stride = min(side, {3: 3, 0.5: max(1, round(side / 2)), 1.0: side}[extent])
    return range(0, side, stride), stride - 1


@pytest.mark.parametrize("extent", [2, 3, 5, 0.3])
def test_strided_boxes_hold_their_pixels(extent):
    for side in range(1, 30):
        centres, reach = _strided(side, extent)
        for pixel in range(side):
            assert abs(pixel - centres[pixel * len(centres) // side]) <= reach


def _strided(side, extent):
    stride = min(side, extent if isinstance(extent, int) else max(1, round(extent * side)))
    return range(0, side, stride), stride - 1


def test_one_scale_of_one_cell_is_squeeze_and_excitation():
    timm = pytest.importorskip("timm.layers")
    se = timm.SEModule(32, rd_ratio=1 / 16)
    ours = MultiScaleRecalibration(32, grids=(1,))
    path = ours.paths[0]
    with torch.no_grad():
        path.reduce_weight.copy_(se.fc1.weight[None, :, :, 0, 0])
        path.reduce_bias.copy_(se.fc1.bias)
        path.restore_weight.copy_(se.fc2.weight[:, :, 0, 0])
        path.restore_bias.copy_(se.fc2.bias)
    x = images(7, 9, channels=32)
    torch.testing.assert_close(ours(x), se(x), rtol=1e-6, atol=1e-6)
    assert count(ours) == count(se)


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("c", "d", "grids"), [(64, 4, (1, 2, 4)), (32, 8, (1,)), (48, 3, (2, 5))])
def test_parameters_are_the_formulas(c, d, grids):
    """ms-sar.md 6."""
    scales, k = len(grids), grids[-1]
    shared = (scales + 1) * c * d + c + d
    cells = {
        "all": shared,
        "bias": shared + (k * k - 1) * c,
        "cell": scales * c * d + d + k * k * (c * d + c),
        "rank": shared + k * k * d,
        "pixel": shared + c * 12 * 10,
        "cell_both": sum(n * n for n in grids) * c * d + k * k * (d + c * d + c),
    }
    for share, number in cells.items():
        assert count(MultiScaleRecalibration(c, grids, rd_channels=d, share=share, map_size=(12, 10))) == number
    assert count(MultiScaleRecalibration(c, grids, rd_channels=d, share="pixel", map_channels=1)) == shared + 64
    assert count(MultiScaleRecalibration(c, grids, rd_channels=d, fuse="sum_pool")) == 2 * c * d + c + d
    assert count(MultiScaleRecalibration(c, grids, rd_channels=d, fuse="mul_gate")) == scales * (2 * c * d + c + d)
    assert count(MultiScaleRecalibration(c, grids, rd_channels=d, fuse="sum_logit")) == scales * (2 * c * d + d) + c


@pytest.mark.parametrize(
    ("options", "width"),
    [({}, 8), ({"rd_ratio": 0.25}, 16), ({"rd_divisor": 1}, 4), ({"rd_channels": 5}, 5), ({"rd_ratio": 0.2}, 16)],
)
def test_bottleneck_width(options, width):
    """C rd_ratio rounded to rd_divisor, at least that: 64/16 = 4 -> 8, 64/4 = 16, 4, given, 12.8 -> 16 (as timm's SE)."""
    assert MultiScaleRecalibration(64, **options).width == width


def test_pixels_of_a_cell_may_change_places():
    made, x = layer(), images(8, 12)
    changed = x.clone()
    changed[:, :, 2:4, 3:6] = x[:, :, 2:4, 3:6].flip(2, 3)  # a cell of 2x3
    torch.testing.assert_close(made.scores(changed), made.scores(x))
    expected = made(x)
    expected[:, :, 2:4, 3:6] = expected[:, :, 2:4, 3:6].flip(2, 3)
    torch.testing.assert_close(made(changed), expected)


def test_a_cell_is_seen_by_others_only_through_coarser_scales():
    for grids, elsewhere in (((4,), False), ((1, 4), True)):
        made, x = layer(grids=grids), images(8, 8)
        changed = x.clone()
        changed[:, :, :2, :2] += 3
        moved = (made.scores(changed) - made.scores(x)).abs().amax((0, 1))
        assert moved[0, 0] > 1e-3
        assert (moved.flatten()[1:].max() > 1e-4) == elsewhere


def test_only_weights_of_cells_know_where_they_are():
    """A circular shift by a cell moves the gate along, and does not where cells have weights of their own."""
    x = images(8, 8)
    for share, equivariant in (("all", True), ("cell", False), ("bias", False), ("rank", False), ("cell_both", False)):
        made = layer(grids=(4,), share=share)
        shifted, expected = made.scores(x.roll(2, 2)), made.scores(x).roll(1, 2)
        assert torch.allclose(shifted, expected, atol=1e-6) == equivariant


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (3, 2)])
@pytest.mark.parametrize("fuse", ["concat", "mul_gate"])
def test_symmetric_is_the_mean_logit_everywhere(size, fuse):
    made, x = layer(symmetric=True, fuse=fuse), images(*size)
    assert made.scores(x).shape == (2, 3, 1, 1)
    if fuse == "concat":
        asymmetric = layer()
        logits = torch.logit(asymmetric.score_map(x).double()).mean((2, 3), keepdim=True)
        torch.testing.assert_close(made.scores(x).double(), logits.sigmoid(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [o for o in EVERY if "gate_layer" not in o], ids=str)
def test_identity_start_is_nothing_at_all(options):
    made = MultiScaleRecalibration(3, **options, init="identity")
    for size in ((8, 8), (5, 7)):
        assert torch.equal(made(images(*size)), images(*size))
    made(images(6, 6)).square().sum().backward()
    assert all(path.restore_weight.grad.any() for path in made.paths)


def test_a_logit_map_is_its_own_size_exactly_and_bilinear_at_others():
    made = layer(share="pixel", map_size=(4, 5))
    with torch.no_grad():
        made.paths[0].restore_weight.zero_()
        made.paths[0].restore_bias.zero_()
    stored = made.paths[0].logit_map.detach()
    assert torch.equal(made.scores(images(4, 5))[0], stored.sigmoid())
    twice = nn.functional.interpolate(stored[None], scale_factor=2, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(made.scores(images(8, 10))[1], twice.sigmoid())
    larger = MultiScaleRecalibration(3, share="pixel", map_size=(8, 10), rd_channels=4)
    larger.load_state_dict(made.state_dict())
    torch.testing.assert_close(larger.paths[0].logit_map.detach(), twice)
    assert made.no_weight_decay() == {"paths.0.reduce_bias", "paths.0.restore_bias", "paths.0.logit_map"}


def test_weights_of_cells_are_averaged_where_the_map_has_fewer_pixels():
    made = layer(grids=(4,), share="bias")
    with torch.no_grad():
        made.paths[0].restore_weight.zero_()
    stored = made.paths[0].restore_bias.detach()
    pooled = torch.stack([stored[:, i : i + 2, j : j + 2].mean((1, 2)) for i in (0, 2) for j in (0, 2)], 1)
    torch.testing.assert_close(made.scores(images(2, 2))[0], pooled.unflatten(1, (2, 2)).sigmoid())


def test_nothing_of_the_gates_full_size_is_kept():
    """Autograd keeps the map, which was there anyway, and less than half as much beside it; the plain form keeps five maps."""
    for size in ((32, 32), (14, 14)):
        made, x = layer(channels=32), images(*size, batch=8, channels=32).requires_grad_()
        own, sizes = {x.untyped_storage().data_ptr()}, {}

        def pack(t, own=own, sizes=sizes):
            if t.untyped_storage().data_ptr() not in own:
                sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            made(x)
        assert sum(sizes.values()) < 0.75 * x.numel() * 4


@pytest.mark.parametrize("side", [7, 14, 16, 28, 33])
def test_training_goes_on_after_inference(side):
    """What depends on sizes alone is kept, never as a tensor of inference; the answer may be changed in place."""
    x, layer = torch.rand(2, 8, side, side), MultiScaleRecalibration(8)
    with torch.inference_mode():
        shown = layer(x)
    y = layer(x.requires_grad_())
    assert torch.equal(y, shown)
    y.mul_(2).sub_(0.5).sum().backward()
    assert x.grad.isfinite().all()
    assert layer.paths[0].restore_weight.grad.abs().sum() > 0


def test_cells_and_bands():
    """Repetition on the finest common grid is repetition on the map, and multiplying bands is multiplying the map."""
    for counts, side in (((1, 2, 4), 13), ((1, 2, 4), 25), ((1, 2, 4), 24), ((2, 3), 17), ((3, 4), 7), ((4,), 4)):
        cells = common_cells(counts, side)
        for n in counts:
            z = torch.arange(float(n)).view(1, 1, n)
            direct = spread_cells(z, (1, side))
            assert torch.equal(spread_cells(spread_cells(z, (1, cells)), (1, side)), direct)
            assert direct.flatten().tolist() == [pixel * n // side for pixel in range(side)]
        gate = images(cells, cells)
        x = images(side, side)
        for y in (x, x.to(memory_format=torch.channels_last)):
            assert torch.equal(scale_cells(y, gate), x * spread_cells(gate, (side, side)))
    rows, columns = grid_region(6, 2, 2, 7, 5)
    assert (rows, columns) == (slice(3, 7), slice(0, 3))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"grids": ()}, "growing whole numbers"),
        ({"grids": (2, 1)}, "growing whole numbers"),
        ({"grids": (1, 2.0)}, "growing whole numbers"),
        ({"fuse": "add"}, "fuse='add' is not known; give one of concat"),
        ({"share": "cell", "fuse": "mul_gate"}, "share='cell' has no form with fuse='mul_gate'"),
        ({"share": "cell", "region": "window"}, "give region='grid'"),
        ({"share": "cell_both", "fuse": "sum_pool"}, "give fuse='concat'"),
        ({"share": "bias", "bias": False}, "give bias=True"),
        ({"extents": (3,)}, "sizes of boxes"),
        ({"region": "window", "extents": (4,)}, "odd numbers"),
        ({"region": "strided", "extents": (1.5,)}, "shares of the map"),
        ({"region": "strided", "extents": ()}, "at least one size"),
        ({"rd_channels": 0}, "at least 1"),
        ({"rd_ratio": 0}, "above 0"),
        ({"act_layer": "rleu"}, "act_layer='rleu' is not known"),
        ({"init": "identity", "gate_layer": "tanh"}, "1/2 at 0"),
        ({"map_channels": 2}, "1 or None"),
    ],
)
def test_refusals(options, says):
    with pytest.raises(ValueError, match=says):
        MultiScaleRecalibration(3, **options)


def test_another_number_of_channels_is_refused():
    with pytest.raises(ValueError, match=r"\(batch, 3, height, width\)"):
        layer()(images(4, 4, channels=2))
    with pytest.raises(ValueError, match="a map of size 0x4 has no surroundings"):
        layer()(torch.zeros(2, 3, 0, 4))
    with pytest.raises(ValueError, match="channels=0"):
        MultiScaleRecalibration(0)
