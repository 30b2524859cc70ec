"""Exchanging the poolings of other people's networks."""

import pytest
import torch
from torch import nn

from contracts import LayerContract
from snellen.evaluation.costs import macs
from snellen.models.halving import Halved
from snellen.models.pooling import POOLS, LowBand, make_pool
from snellen.models.surgery import replace_pooling

torchvision = pytest.importorskip("torchvision.models")
timm = pytest.importorskip("timm")

NETS = {
    "resnet18": lambda: torchvision.resnet18(num_classes=4),
    "vgg11_bn": lambda: torchvision.vgg11_bn(num_classes=4).features,
    "squeezenet1_0": lambda: torchvision.squeezenet1_0(num_classes=4).features,  # ceil mode, no padding
    "mobilenet_v2": lambda: torchvision.mobilenet_v2(num_classes=4, width_mult=0.25),
    "timm resnet18d": lambda: timm.create_model("resnet18d", num_classes=4),  # average pooling in its shortcuts
    "timm test_efficientnet": lambda: timm.create_model("test_efficientnet", num_classes=4),
    "timm tf_mobilenetv3": lambda: timm.create_model(
        "tf_mobilenetv3_small_minimal_100", num_classes=4
    ),  # "same" padding
    "timm convnext_atto": lambda: timm.create_model("convnext_atto", num_classes=4),  # 2x2 strided convolutions
}
EVERYTHING = ("max", "avg", "conv", "shortcut", "stem")


def net(name):
    torch.manual_seed(0)
    return NETS[name]().eval()


def shapes(model, names, size):
    seen, hooks = {}, []
    for n in names:
        module = model.get_submodule(n)
        hooks.append(module.register_forward_hook(lambda _, __, out, n=n: seen.__setitem__(n, tuple(out.shape))))
    with torch.no_grad():
        seen["output"] = tuple(model(torch.rand(1, 3, *size)).shape)
    for hook in hooks:
        hook.remove()
    return seen


class TestLowBand(LayerContract):
    sizes = ((8, 8), (4, 10), (2, 6))

    def images(self, batch=2, size=(10, 8)):
        return super().images(batch, size)

    def make(self):
        return LowBand(3)

    # No parameters to check; and gradcheck's odd size is none that a halving takes.
    def test_every_parameter_and_the_input_get_a_gradient(self):
        x = self.images().requires_grad_()
        self.layer()(x).square().sum().backward()
        assert x.grad.abs().min() > 0

    def test_gradcheck(self):
        x = self.images(1, (6, 4)).double().requires_grad_()
        assert torch.autograd.gradcheck(self.layer().double(), (x,))

    def test_it_is_the_lifting_scheme_of_jpeg_2000(self):
        x = torch.rand(1, 1, 1, 12, dtype=torch.float64)
        even, odd = x[..., 0::2], x[..., 1::2]
        right = torch.cat(
            (even[..., 1:], even[..., -1:]), -1
        )  # mirrored: beyond the last pixel comes the one before it
        detail = odd - (even + right) / 2
        left = torch.cat((detail[..., :1], detail[..., :-1]), -1)
        expected = even + (left + detail) / 4
        rows = x.expand(1, 1, 4, 12).contiguous()  # constant along the other axis, which then changes nothing
        torch.testing.assert_close(LowBand(1).double()(rows)[..., :1, :], expected)


@pytest.mark.parametrize("kind", POOLS)
def test_poolings_halve_and_keep_a_constant(kind):
    layer = make_pool(kind, 3)
    for size in ((2, 2), (4, 6), (10, 2)):
        out = layer(torch.full((2, 3, *size), 7.0))
        assert out.shape == (2, 3, size[0] // 2, size[1] // 2)
        torch.testing.assert_close(out, torch.full_like(out, 7.0))


@pytest.mark.parametrize("name", NETS)
def test_every_map_keeps_its_size_and_undo_restores_every_bit(name):
    model = net(name)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = model(x)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    surgery = replace_pooling(model, "avg", EVERYTHING, example=x, verbose=False)
    names = [c.name for c in surgery.changes]
    assert len(names) >= 3
    sizes = [(33, 65), (38, 47)]
    changed = [shapes(model, names, s) for s in sizes]
    assert not any(m.training for m in model.modules())
    surgery.undo()
    assert not any(isinstance(m, Halved) for m in model.modules())
    assert [shapes(model, names, s) for s in sizes] == changed
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    with torch.no_grad():
        assert torch.equal(model(x), before)


@pytest.mark.parametrize("side", range(33, 66))
def test_sizes_of_every_published_window(side):
    windows = [
        nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(3, 2), nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.AvgPool2d(2, 2, ceil_mode=True), nn.AvgPool2d(3, 2, 1),
        nn.Conv2d(5, 5, 3, 2, 1), nn.Conv2d(5, 5, 1, 2), nn.Conv2d(5, 5, 7, 2, 3), nn.Conv2d(5, 5, 2, 2),
        nn.Conv2d(5, 5, 3, 2, 2, dilation=2), nn.Conv2d(5, 5, 4, 2, 1), nn.Conv2d(5, 5, (3, 5), 2, (1, 2)),
    ]  # fmt: skip
    x = torch.rand(1, 5, side, 98 - side)
    for window in windows:
        model = nn.Sequential(window)
        expected = model(x).shape
        replace_pooling(model, "avg", EVERYTHING, verbose=False, example=x)
        assert model(x).shape == expected, window


def test_a_pooling_replaced_by_its_own_kind_is_the_same():
    model, x = nn.Sequential(nn.MaxPool2d(2)), torch.randn(2, 3, 37, 40)
    before = model(x)
    replace_pooling(model, "max", example=x, verbose=False)
    assert torch.equal(model(x), before)


def test_a_shortcut_pools_first_and_keeps_its_weights():
    model = nn.Sequential(nn.Conv2d(8, 4, 1, 2))
    weight = model[0].weight
    surgery = replace_pooling(model, "avg", verbose=False)
    x = torch.randn(1, 8, 6, 6)
    assert surgery.changes[0].kind == "shortcut"
    assert model[0].conv.weight is weight
    expected = nn.functional.conv2d(nn.functional.avg_pool2d(x, 2), weight, model[0].conv.bias)
    torch.testing.assert_close(model(x), expected)


def test_the_table_counts_parameters_and_multiplications(capsys):
    model = net("resnet18")
    surgery = replace_pooling(model, "blur", example=torch.zeros(1, 3, 64, 64))
    shown = capsys.readouterr().out
    assert f"{surgery.macs[0] / 1e6:,.1f} M -> {surgery.macs[1] / 1e6:,.1f} M" in shown
    assert surgery.parameters[0] == surgery.parameters[1]  # a blur learns nothing
    # Three 3x3 convolutions run on four times the pixels; resnet18 at 64x64 by hand: 128*64*9*8*8 + 256*128*9*4*4 + ...
    extra = 3 * (64 * 128 * 9 * 8 * 8 + 128 * 256 * 9 * 4 * 4 + 256 * 512 * 9 * 2 * 2)
    blurs = surgery.macs[1] - surgery.macs[0] - extra
    assert 0 < blurs < 0.05 * surgery.macs[0]
    assert "layer2.0.downsample.0" in shown


def test_lifts_multiplications_are_counted():
    """lift.md 6: 12 n at K = 5 for a map of n numbers, whatever form computes it."""
    model = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.MaxPool2d(2))
    surgery = replace_pooling(model, "lift", example=torch.zeros(1, 3, 64, 64), verbose=False)
    assert surgery.macs[1] - surgery.macs[0] == 12 * 64 * 64 * 64
    assert macs(model, 3, (64, 64)) == surgery.macs[1]


def test_lift_starts_as_the_average_learns_and_takes_its_options():
    model, other, x = net("resnet18"), net("resnet18"), torch.rand(2, 3, 40, 56)
    replace_pooling(other, "avg", verbose=False)
    surgery = replace_pooling(model, "lift", kernel_size=3, verbose=False)
    torch.testing.assert_close(model(x), other(x), rtol=1e-4, atol=1e-5)
    # lift.md 2.4: 2C(K + 1) numbers a layer; the stem's pool, three convolutions, three shortcuts.
    assert surgery.parameters[1] - surgery.parameters[0] == 2 * 4 * (64 + (128 + 256 + 512) + (64 + 128 + 256))
    model.train()(x).square().sum().backward()
    points = [p for name, p in model.named_parameters() if name.endswith("point")]
    assert len(points) == 14
    assert all(p.grad.any() for p in points)
    with pytest.raises(ValueError, match="does not take these options"):
        replace_pooling(other, "max", where=["stem"], kernel_size=3, verbose=False)


def test_where_chooses_by_name_and_by_function():
    model = net("resnet18")
    assert [c.name for c in replace_pooling(model, "avg", ["layer3.*"], verbose=False).changes] == [
        "layer3.0.conv1", "layer3.0.downsample.0",
    ]  # fmt: skip
    by_function = replace_pooling(model, "avg", lambda name, m: isinstance(m, nn.MaxPool2d), verbose=False)
    assert [c.name for c in by_function.changes] == ["maxpool"]


def test_a_module_of_two_names_is_replaced_at_both():
    pool = nn.MaxPool2d(2)
    model = nn.Sequential(pool, nn.ReLU(), pool)
    x = torch.randn(1, 3, 12, 12)
    surgery = replace_pooling(model, "avg", example=x, verbose=False)
    assert model[0] is model[2]
    assert isinstance(model[0], Halved)
    surgery.undo()
    assert model[0] is pool
    assert model[2] is pool


class OnePoolTwice(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.pool = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3), nn.MaxPool2d(2)

    def forward(self, x):
        return self.pool(self.second(self.pool(self.first(x))))


def test_a_pooling_called_for_maps_of_different_widths():
    model, x = OnePoolTwice(), torch.rand(1, 3, 32, 32)
    before = model(x)
    with pytest.raises(ValueError, match=r"nothing in OnePoolTwice.*8 and 16 channels; give each call a module"):
        replace_pooling(model, "lift", example=x, verbose=False)
    assert torch.equal(model(x), before)
    replace_pooling(model, "avg", example=x, verbose=False)  # which does not care
    assert isinstance(model.pool.pool, nn.AvgPool2d)


def test_a_network_is_changed_as_a_whole_or_not_at_all():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, 2), nn.Conv2d(8, 12, 3, 2))
    with pytest.raises(ValueError, match="groups=8 does not divide 12 channels"):
        replace_pooling(model, "lift", groups=8, verbose=False)
    assert not any(isinstance(m, Halved) for m in model.modules())
    assert [m.stride for m in model] == [(1, 1), (2, 2), (2, 2)]


def test_refusals():
    with pytest.raises(ValueError, match="where='shortcutt' matches nothing; give kinds of max"):
        replace_pooling(nn.Sequential(nn.MaxPool2d(2)), "avg", ["max", "shortcutt"], verbose=False)
    with pytest.raises(ValueError, match="Conv1d, MaxPool1d are of sequences or volumes"):
        replace_pooling(nn.Sequential(nn.Conv1d(3, 4, 3, stride=2), nn.MaxPool1d(2)), "avg", verbose=False)
    with pytest.raises(ValueError, match=r"nothing in Sequential.*0 \(max\)"):
        replace_pooling(nn.Sequential(nn.MaxPool2d(2)), "avg", ["conv"], verbose=False)
    with pytest.raises(ValueError, match="returns indices"):
        replace_pooling(nn.Sequential(nn.MaxPool2d(2, return_indices=True)), "avg", verbose=False)
    with pytest.raises(ValueError, match="give one of max, avg"):
        replace_pooling(nn.Sequential(nn.MaxPool2d(2)), "wavelet", verbose=False)
    with pytest.raises(ValueError, match="example="):
        replace_pooling(nn.Sequential(nn.Linear(3, 3), nn.MaxPool2d(2)), "avg", verbose=False)


def test_a_changed_network_compiles_and_exports():
    model, x = net("timm test_efficientnet"), torch.rand(2, 3, 40, 56)
    replace_pooling(model, "blur", verbose=False)
    torch.compiler.reset()
    expected = model(x)
    torch.testing.assert_close(torch.compile(model, fullgraph=True, backend="eager")(x), expected)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.testing.assert_close(program.module()(x[:1].repeat(3, 1, 1, 1))[:1], expected[:1], rtol=1e-4, atol=1e-5)
