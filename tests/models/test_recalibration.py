"""Recalibration as a choice of models, in timm's networks, and put into other people's."""

import functools

import pytest
import torch
from torch import nn

from contracts import ModelContract, nonzero_gradients, stirred
from snellen import add_recalibration, replace_pooling
from snellen.layers import MultiScaleRecalibration
from snellen.models import UnknownChoiceError, create_classifier, create_keypoint_model, create_model
from snellen.models.recalibration import RECALIBRATIONS, Recalibrated, make_recalibration

timm = pytest.importorskip("timm")


def gates(net):
    return [m for m in net.modules() if isinstance(m, MultiScaleRecalibration)]


def count(net):
    return sum(p.numel() for p in net.parameters())


class TestRcn(ModelContract):
    def make(self):
        return create_keypoint_model("rcn5", branches=4, norm="batch", recalibrate="ms-sar")


@pytest.mark.parametrize("kind", [k for k in RECALIBRATIONS if k != "none"])
def test_every_block_keeps_a_maps_shape(kind):
    layer = make_recalibration(kind, 32).eval()
    for size in ((8, 8), (9, 15)):
        assert layer(torch.randn(2, 32, *size)).shape == (2, 32, *size)


#: Blocks of each network: 9 and 27 residual ones, 3 x 6 dense layers, 17 inverted residuals, levels of VGG, of the trunk and
#: branches of RCN and SumNet, stages of SegNet.
PLACES = {
    ("resnet20", ()): 9, ("resnet56", ()): 27, ("resnet18", ()): 8, ("densenet40", ()): 18,
    ("densenet40-plain", (("depth", 16),)): 12,
    ("mobilenetv2", (("width", 0.35),)): 17, ("vgg13-w16", ()): 5, ("timm:test_resnet", ()): 4,
    ("rcn5", ()): 10, ("sumnet5", ()): 10, ("rcn68", (("branches", 4),)): 8,
    ("unet", (("backbone", "rcn5"),)): 5 + 4, ("fpn", (("backbone", "timm:test_resnet"),)): 4 + 4,
    ("rcn", (("backbone", "timm:test_resnet"),)): 4 + 4, ("segnet-small", ()): 10,
}  # fmt: skip


@pytest.mark.parametrize(("network", "places"), PLACES.items(), ids=str)
def test_each_network_takes_it_where_it_should_and_is_else_the_same(network, places):
    name, choices = network
    options = dict(choices) | ({"classes": 5} if name in ("segnet-small",) or not _keypoints(name) else {})
    nets = []
    for kind in ("none", "ms-sar"):
        torch.manual_seed(0)
        nets.append(create_model(name, recalibrate=kind, **options))
    plain, net = nets
    assert len(gates(net)) == places
    assert not gates(plain)
    own = [p for n, p in net.named_parameters() if not any(p is q for g in gates(net) for q in g.parameters())]
    assert all(torch.equal(a, b) for a, b in zip(own, plain.parameters(), strict=True))
    x = 255 * torch.rand(2, 3, 40, 48)
    nonzero = net.train()(x).logits
    (nonzero * torch.randn(nonzero.shape)).sum().backward()
    assert all(p.grad is not None for g in gates(net) for p in g.parameters())
    again = create_model(net.name, **net.choices)
    again.load_state_dict(net.state_dict())


def _keypoints(name):
    return name.startswith(("rcn", "sumnet", "unet", "fpn"))


def test_choices_without_the_key_are_those_of_old_runs():
    for name, classes in (("rcn5", {}), ("resnet20", {"classes": 3}), ("segnet-small", {"classes": 3})):
        torch.manual_seed(0)
        net = create_model(name, **classes)
        old = {k: v for k, v in net.choices.items() if not k.startswith("recalibrate")}
        torch.manual_seed(0)
        again = create_model(name, **old)
        assert again.choices == net.choices
        assert all(torch.equal(v, again.state_dict()[k]) for k, v in net.state_dict().items())


def test_identity_start_changes_no_answer():
    """The options reach every block, and the networks' weights are drawn alike."""
    options = {"init": "identity", "grids": [1, 3]}
    for name, more in (("rcn5", {}), ("resnet20", {"classes": 4})):
        torch.manual_seed(0)
        plain = create_model(name, **more).eval()
        torch.manual_seed(0)
        net = create_model(name, recalibrate="ms-sar", recalibrate_options=options, **more).eval()
        x = 255 * torch.rand(1, 3, 33, 40)
        assert torch.equal(net(x).logits, plain(x).logits)
        assert {g.grids for g in gates(net)} == {(1, 3)}


def test_what_a_mask_leaves_idle_is_not_trained():
    net = create_keypoint_model("rcn5", branches=4, branch_mask="0011", recalibrate="ms-sar")
    net(255 * torch.rand(2, 1, 32, 32)).logits.square().sum().backward()
    nonzero_gradients(net)
    assert sum(not next(g.parameters()).requires_grad for g in gates(net)) == 4


@pytest.mark.parametrize(
    ("name", "choices", "says"),
    [
        ("rcn5", {"recalibrate": "ms_sar"}, "nearest: ms-sar"),
        ("resnet20", {"classes": 3, "recalibrate": "sar"}, "nearest: "),
        ("rcn5", {"recalibrate_options": {"grids": [1]}}, "makes no sense with recalibrate='none'"),
        ("rcn5", {"recalibrate": "se", "recalibrate_options": {"grids": [1]}}, "does not take these options"),
        ("resnet20", {"classes": 3, "recalibrate": "ms-sar", "recalibrate_options": {"grids": [2, 1]}}, "growing whole"),
        ("rcn", {"backbone": "timm:convnext_atto", "recalibrate": "ms-sar"}, "no residual or dense blocks of the usual names"),
        ("smp-unet", {"classes": 3, "recalibrate": "se"}, "snellen.add_recalibration"),
        ("segnet", {"classes": 3, "recalibrate_options": {"a": 1}}, "recalibrate='none'"),
    ],
)  # fmt: skip
def test_refusals_are_one_sentence(name, choices, says):
    with pytest.raises(UnknownChoiceError, match=says) as raised:
        create_model(name, **choices)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "layer", [MultiScaleRecalibration, functools.partial(MultiScaleRecalibration, grids=(1, 4), rd_ratio=1 / 32)]
)
def test_as_timms_attn_layer(layer):
    """ms-sar.md 5.6: 8 in a ResNet-18; by class and by partial."""
    torch.manual_seed(0)
    net = stirred(timm.create_model("resnet18", num_classes=5, block_args={"attn_layer": layer}))
    assert [g.channels for g in gates(net)] == [64] * 2 + [128] * 2 + [256] * 2 + [512] * 2
    net(torch.rand(2, 3, 64, 64)).square().sum().backward()
    nonzero_gradients(net)


#: ms-sar.md 6: what SE and MS-SAR add at SE's place, in %, with d = C/r and no rounding.
SHEET = [
    ("resnet18", 16, 0.76, 1.51), ("resnet18", 32, None, 0.76), ("resnet34", 16, 0.74, 1.46), ("resnet50", 16, 9.90, 19.7),
    ("resnet50", 32, None, 9.90),
]  # fmt: skip


@pytest.mark.parametrize(("name", "ratio", "se", "ms_sar"), SHEET)
def test_overheads_of_the_specification(name, ratio, se, ms_sar):
    with torch.device("meta"):
        for kind, percent in (("se", se), ("ms-sar", ms_sar)):
            if percent is not None:
                net = timm.create_model(name)
                base = count(net)
                add_recalibration(
                    net, kind, verbose=False, example=torch.zeros(1, 3, 32, 32), rd_ratio=1 / ratio, rd_divisor=1
                )
                assert 100 * (count(net) / base - 1) == pytest.approx(percent, abs=0.051)


def test_overheads_of_the_cifar_networks():
    """ms-sar.md 6 counts them with the identity's 1x1 convolutions; its differences to our counts are absolute ones."""
    for name, depth, percent, base in (("resnet20", 20, 1.61, 272_474), ("resnet56", 56, 1.54, 855_770)):
        options = {"rd_ratio": 1 / 16, "rd_divisor": 1}
        more = count(create_classifier(name, 10, recalibrate="ms-sar", recalibrate_options=options)) - count(
            create_classifier(name, 10)
        )
        # (L + 1) C d + C + d in each block, by hand: 16, 32 and 64 channels with d = 1, 2 and 4.
        assert more == (depth - 2) // 6 * (4 * 16 * 1 + 17 + 4 * 32 * 2 + 34 + 4 * 64 * 4 + 68)
        assert 100 * more / base == pytest.approx(percent, abs=0.006)


def test_surgery_shows_its_costs_and_can_be_undone(capsys):
    torch.manual_seed(0)
    net = timm.create_model("resnet26", num_classes=3).double().eval()
    state, x = {k: v.clone() for k, v in net.state_dict().items()}, torch.rand(1, 3, 64, 64).double()
    before = net(x)
    additions = add_recalibration(net, "ms-sar", ["inner"], example=x, rd_ratio=1 / 16, rd_divisor=1)
    shown = capsys.readouterr().out
    assert [c.channels for c in additions.changes] == [64] * 2 + [128] * 2 + [256] * 2 + [512] * 2
    more = sum(4 * c * (c // 16) + c + c // 16 for c in (64, 128, 256, 512)) * 2
    assert (
        additions.parameters[1] - additions.parameters[0]
        == more
        == count(net)
        - sum(v.numel() for v in state.values() if v.ndim and v.is_floating_point())
        + sum(v.numel() for k, v in state.items() if "running" in k)
    )
    assert f"{additions.parameters[0]:,} -> {additions.parameters[1]:,}" in shown
    assert "layer1.0.bn2" in shown
    # (1 + 4 + 16 + 16) C d multiply-adds a block on 16, 8 and 4 pixels; 2x2 pixels have (1 + 4 + 4 + 4) (ms-sar.md 6).
    extra = 2 * sum(37 * c * (c // 16) for c in (64, 128, 256)) + 2 * 13 * 512 * 32
    assert 0 <= additions.macs[1] - additions.macs[0] - extra < 0.2 * extra
    assert {(p.dtype, p.device.type) for p in net.parameters()} == {(torch.float64, "cpu")}
    assert not any(m.training for m in net.modules())
    additions.undo()
    assert not any(isinstance(m, Recalibrated) for m in net.modules())
    assert net.state_dict().keys() == state.keys()
    assert torch.equal(net(x), before)


def test_where_chooses_and_refuses():
    net = timm.create_model("test_resnet", num_classes=3)
    x = torch.zeros(1, 3, 64, 64)
    by_name = add_recalibration(net, "eca", ["layer2.*.act1"], example=x, verbose=False)
    assert [c.place for c in by_name.changes] == ["named"]
    by_name.undo()
    by_function = add_recalibration(net, "se", lambda _, m: isinstance(m, nn.MaxPool2d), example=x, verbose=False)
    assert [c.name for c in by_function.changes] == ["maxpool"]
    by_function.undo()
    with pytest.raises(ValueError, match=r"nothing in ResNet is recalibrated; it has the places: .*residual"):
        add_recalibration(net, "se", "dense", example=x, verbose=False)
    with pytest.raises(ValueError, match=r"where='layer9.\*' matches nothing; .*nearest: layer"):
        add_recalibration(net, "se", ["residual", "layer9.*"], example=x, verbose=False)
    with pytest.raises(ValueError, match="gave no map"):
        add_recalibration(net, "se", ["fc"], example=x, verbose=False)
    with pytest.raises(ValueError, match="example="):
        add_recalibration(net, "se", example=torch.zeros(1, 2, 8, 8), verbose=False)
    with pytest.raises(ValueError, match="give one of none, se"):
        add_recalibration(net, "sar", verbose=False)
    with pytest.raises(ValueError, match="does not take these options"):
        add_recalibration(net, "ms-sar", gridz=(1,), verbose=False)
    assert not any(isinstance(m, Recalibrated) for m in net.modules())


def test_networks_of_torchvision():
    models = pytest.importorskip("torchvision.models")
    for make, places in ((models.resnet18, 8), (models.densenet121, 58)):
        net = make(num_classes=2)
        additions = add_recalibration(net, "se", example=torch.zeros(1, 3, 32, 32), verbose=False)
        assert len(additions.changes) == places
        additions.undo()


def with_strides():
    torch.manual_seed(0)
    convs = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*convs).eval()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("undone", [(0, 1), (1, 0)])
def test_two_surgeries_are_undone_in_any_order(order, undone):
    net, x = with_strides(), torch.rand(1, 3, 33, 40)
    state, before = {k: v.clone() for k, v in net.state_dict().items()}, net(x)
    surgeries = [
        lambda: replace_pooling(net, "blur", ["conv", "max"], example=x, verbose=False),
        lambda: add_recalibration(net, "se", ["2", "4"], example=x, verbose=False),
    ]
    handles = {i: surgeries[i]() for i in order}
    both = net(x)
    handles[undone[0]].undo()
    left = net(x)
    assert not torch.equal(left, both)
    assert left.shape == before.shape
    assert not torch.equal(left, before)  # the other surgery is still there
    handles[undone[1]].undo()
    assert net.state_dict().keys() == state.keys()
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
    assert torch.equal(net(x), before)


def test_a_module_that_is_called_several_times():
    class Shared(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.a, self.b, self.act = nn.Conv2d(3, 8, 3), nn.Conv2d(8, width, 3, 2), nn.ReLU()

        def forward(self, x):
            return self.act(self.b(self.act(self.a(x))))

    x = torch.rand(1, 3, 12, 12)
    net = Shared(8)  # one number of channels, two sizes: the run that looks at them changes nothing
    add_recalibration(net, "se", ["act"], example=x, verbose=False)
    assert net(x).shape == (1, 8, 4, 4)
    net = Shared(16)
    with pytest.raises(ValueError, match="act is called for maps of 8 and 16 channels"):
        add_recalibration(net, "se", ["act"], example=x, verbose=False)
    assert not any(isinstance(m, Recalibrated) for m in net.modules())


def test_blocks_in_a_frozen_network_can_be_trained():
    net = timm.create_model("resnet18", num_classes=2).requires_grad_(False)
    additions = add_recalibration(net, "se", example=torch.zeros(1, 3, 32, 32), verbose=False)
    trained = {name for name, p in net.named_parameters() if p.requires_grad}
    assert len(trained) == 4 * len(additions.changes)
    assert all(".recalibration." in name for name in trained)
    with pytest.raises(ValueError, match="and 8 that hold a block already"):
        add_recalibration(net, "se", example=torch.zeros(1, 3, 32, 32), verbose=False)


def test_blocks_whose_norms_come_last():
    from timm.models.resnetv2 import ResNetV2

    net = ResNetV2([1, 1, 1, 1], channels=(128, 128, 128, 128), num_classes=2, preact=False)
    changes = add_recalibration(net, "se", example=torch.zeros(1, 3, 96, 96), verbose=False).changes
    assert {(c.place, c.name.split(".")[-1]) for c in changes} == {("residual", "norm3")}
    assert len(changes) == 4


@pytest.mark.parametrize(
    ("name", "place", "child", "count"),
    [
        ("resnetv2_18", "residual", "conv2", 8),
        ("resnetv2_50", "residual", "conv3", 16),
        ("densenet121", "dense", "conv2", 58),
    ],
)
def test_blocks_whose_norms_come_first(name, place, child, count):
    net = timm.create_model(name, num_classes=2)
    changes = add_recalibration(net, "se", example=torch.zeros(1, 3, 32, 32), verbose=False).changes
    assert {(c.place, c.name.split(".")[-1]) for c in changes} == {(place, child)}
    assert len(changes) == count


def test_networks_that_are_no_usual_ones():
    """Without parameters, without numbers, and one that wants no image."""
    added = add_recalibration(nn.Sequential(nn.ReLU()), "se", ["0"], example=torch.zeros(1, 8, 4, 4), verbose=False)
    assert "parameters 0 -> 144" in str(added)
    with torch.device("meta"):
        net = timm.create_model("resnet18", num_classes=2)
    assert add_recalibration(net, "ms-sar", verbose=False).macs is not None
    assert all(p.is_meta for p in net.parameters())
    assert replace_pooling(net, "lift", verbose=False).macs is not None

    class OfADictionary(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, 2, 1)

        def forward(self, batch):
            return self.conv(batch["image"])

    with pytest.raises(ValueError, match=r"OfADictionary cannot be run on an input of shape \(1, 3, 224, 224\)"):
        add_recalibration(OfADictionary(), "se", ["conv"], verbose=False)
    assert replace_pooling(OfADictionary(), "lift", ["stem"], verbose=False).macs is None
