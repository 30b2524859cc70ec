"""Classifiers by name."""

import io
import json

import pytest
import safetensors.torch
import torch
from torch import nn

from contracts import nonzero_gradients, state_survives_saving
from snellen.layers import LiftDown2d, auxiliary_losses
from snellen.models import (
    ClassNet,
    ClassOutput,
    UnknownChoiceError,
    UnknownModelError,
    classifier_choices,
    create_classifier,
    list_classifiers,
)
from snellen.models.cifar_nets import VGG
from snellen.models.halving import Halved
from snellen.models.pooling import LowBand

timm = pytest.importorskip("timm")


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "choices", "parameters"),
    [
        ("resnet20", {}, 269_722),  # He et al. 2016, table 6: 0.27 M
        ("resnet32", {}, 464_154),  # 0.46 M
        ("resnet56", {}, 853_018),  # 0.85 M
        ("resnet18", {}, 11_173_962),  # the CIFAR form of many repositories
        ("densenet", {}, 769_162),  # Huang et al. 2017, table 2: DenseNet-BC (L=100, k=12) 0.8 M
        ("densenet40-plain", {}, 1_019_722),  # ibid.: DenseNet (L=40, k=12) 1.0 M; all counts with 10 classes
        # 9,402,048 of convolutions, 2 x 2,944 of batch norms (or 2,944 biases), 5,130 of the linear layer.
        ("vgg13", {}, 9_402_048 + 2 * 2_944 + 5_130),
        ("vgg13", {"norm": "none"}, 9_402_048 + 2_944 + 5_130),
    ],
)
def test_parameters_of_the_literature(name, choices, parameters):
    assert count(create_classifier(name, 10, **choices)) == parameters


def test_mobilenet_is_that_of_the_paper_but_for_two_strides():
    # Sandler et al. 2018, table 4: 3.4 M with 1000 classes.
    assert count(create_classifier("mobilenetv2", 1000)) == 3_504_872
    net = create_classifier("mobilenetv2", 10).net
    assert net.forward_features(torch.zeros(1, 3, 32, 32)).shape[2:] == (4, 4)
    assert create_classifier("resnet18", 10).net.forward_features(torch.zeros(1, 3, 32, 32)).shape[2:] == (4, 4)
    assert create_classifier("densenet40", 10).net.forward_features(torch.zeros(1, 3, 32, 32)).shape[2:] == (8, 8)


def test_lift_adds_what_its_specification_counts():
    """lift.md 2.4: 17,664 in VGG-13's five pools at K=5; 2C(K + 1) in each, so a quarter at a quarter of the width."""
    for name, more in (("vgg13", 17_664), ("vgg13-w16", 17_664 // 4)):
        assert count(create_classifier(name, 10, pool="lift")) - count(create_classifier(name, 10)) == more
    k3 = create_classifier("vgg13", 10, pool="lift", pool_options={"kernel_size": 3})
    assert count(k3) - count(create_classifier("vgg13", 10)) == 17_664 * 4 // 6


def test_the_small_vgg_has_a_quarter_of_the_channels():
    widths = [m.out_channels for m in create_classifier("vgg13-w16", 10).modules() if isinstance(m, nn.Conv2d)]
    assert widths == [c for c in (16, 32, 64, 128, 128) for _ in range(2)]


@pytest.mark.parametrize("name", [*list_classifiers(), "timm:test_resnet"])
def test_every_name(name):
    torch.manual_seed(0)
    model = create_classifier(name, 7, channels=1)
    assert isinstance(model, ClassNet)
    assert sum(isinstance(m, Halved) for m in model.modules()) == 0
    x = torch.rand(3, 3, 33, 40) * 255
    with torch.no_grad():
        output = model.eval()(x)
        assert isinstance(output, ClassOutput)
        assert output.logits.shape == (3, 7)
        assert output.logits.isfinite().all()
        torch.testing.assert_close(model(x[1:2]).logits, output.logits[1:2], rtol=1e-3, atol=1e-4)
    choices = json.loads(json.dumps(model.choices))
    torch.manual_seed(0)
    again = create_classifier(model.name, **choices).eval()
    assert (again.name, again.choices) == (model.name, model.choices)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())


# Poolings that each family has, and how many of its layers halve.
HALVINGS = {
    "vgg13-w16": 5,
    "resnet20": 4,
    "resnet18": 6,
    "mobilenetv2": 3,
    "densenet40": 2,
    "densenet40-plain": 2,
    "timm:test_resnet": 4,
}


@pytest.mark.parametrize(("name", "halvings"), HALVINGS.items())
@pytest.mark.parametrize(("pool", "layer"), [("lift", LiftDown2d), ("dwt", LowBand)])
def test_a_pool_is_put_wherever_the_network_halves(name, halvings, pool, layer):
    width = {} if name.startswith("timm:") else {"width": 0.5 if name == "mobilenetv2" else 0.25}
    model = create_classifier(name, 4, pool=pool, **width)
    halved = [m for m in model.modules() if isinstance(m, Halved)]
    assert len(halved) == halvings
    assert all(isinstance(m.pool, layer) for m in halved)
    x = torch.rand(2, 3, 35, 42) * 255
    model.train()
    with auxiliary_losses(model) as aux:
        loss = model(x).logits.square().sum()
        assert bool(aux.means()) == (pool == "lift")
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_poolings_start_alike_and_sizes_stay():
    """Lift's default starts as the average, so the two networks agree before any training, for odd sizes too."""
    nets = []
    for pool in ("avg", "lift"):
        torch.manual_seed(0)
        nets.append(create_classifier("resnet20", 5, pool=pool).eval())
    nets[1].load_state_dict(nets[0].state_dict(), strict=False)
    x = torch.rand(2, 3, 31, 45) * 255
    torch.testing.assert_close(nets[0](x).logits, nets[1](x).logits, rtol=1e-4, atol=1e-4)


def test_max_is_vggs_own():
    torch.manual_seed(0)
    features = VGG(10, width=0.1).features
    assert [type(m) for m in features if not isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.ReLU)] == [nn.MaxPool2d] * 5


class TestOneNetworkThoroughly:
    def model(self, pool="lift"):
        torch.manual_seed(0)
        options = {"zero_init": False, "scale": 1.0} if pool == "lift" else {}
        return create_classifier("vgg13-w16", 10, width=0.125, pool=pool, pool_options=options)

    def canvases(self, batch=4):
        return 255 * torch.rand(batch, 3, 32, 32, generator=torch.Generator().manual_seed(1))

    def test_it_learns_a_batch_by_heart(self):
        model, x, y = self.model(), self.canvases(8), torch.arange(8)
        optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
        losses = []
        for _ in range(25):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(model(x).logits, y)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        nonzero_gradients(model.net.classifier)
        assert losses[-1] < 0.5 * losses[0]

    def test_compile_export_and_state(self):
        torch.compiler.reset()
        model, x = self.model().eval(), self.canvases()
        expected = model(x).logits
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(x).logits, expected, rtol=1e-4, atol=1e-4)
        program = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
        output = program.module()(x[:3])
        assert isinstance(output, ClassOutput)
        torch.testing.assert_close(output.logits, expected[:3], rtol=1e-4, atol=1e-4)
        state_survives_saving(model, self.model())

    def test_an_exported_program_can_be_saved(self):
        """Its output's type has a name to be saved by; a linear layer shows that as well as a network."""
        model = ClassNet(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), 5).eval()
        x, stored = torch.rand(2, 3, 2, 2) * 255, io.BytesIO()
        torch.export.save(torch.export.export(model, (x,)), stored)
        stored.seek(0)
        output = torch.export.load(stored).module()(x)
        assert isinstance(output, ClassOutput)
        torch.testing.assert_close(output.logits, model(x).logits)

    def test_bf16_and_channels_last(self):
        model, x = self.model().eval(), self.canvases()
        expected = model(x).logits
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(x).logits.float()
        assert (logits - expected).abs().max() < 0.2 * expected.abs().max()
        model = model.to(memory_format=torch.channels_last)
        torch.testing.assert_close(model(x).logits, expected, rtol=1e-4, atol=1e-4)

    def test_too_small_a_canvas_is_told_the_size_that_works(self):
        with pytest.raises(ValueError, match="at least 32x32"):
            self.model()(torch.zeros(1, 3, 31, 32))


def test_pretrained_weights_come_from_a_file(tmp_path):
    torch.manual_seed(5)
    donor = timm.create_model("test_resnet")
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(donor.state_dict(), str(path))
    model = create_classifier("timm:test_resnet", 9, pretrained=str(path))
    assert torch.equal(model.net.conv1[0].weight, donor.conv1[0].weight)
    assert model.choices["contrast"] == "imagenet"
    assert model.net.num_classes == 9
    fresh = create_classifier("timm:test_resnet", load_pretrained=False, **model.choices)
    assert not torch.equal(fresh.net.conv1[0].weight, donor.conv1[0].weight)
    with pytest.raises(UnknownChoiceError, match=r"not a file of weights.*safetensors"):
        create_classifier("timm:test_resnet", 9, pretrained=str(tmp_path / "none.safetensors"))


@pytest.mark.parametrize(
    ("name", "choices", "error", "says"),
    [
        ("resnet21", {}, UnknownModelError, r"nearest: .*resnet20"),
        ("timm:resnet81", {}, UnknownChoiceError, "nearest: resnet"),
        ("vgg13", {"poool": "max"}, UnknownChoiceError, "nearest: pool"),
        ("vgg13", {"pool": "lfit"}, UnknownChoiceError, "nearest: lift"),
        ("vgg13", {"pool": "own"}, UnknownChoiceError, "all values are max, avg"),
        ("resnet20", {"norm": "none"}, UnknownChoiceError, "no choice 'norm'"),
        ("resnet20", {"width": 0}, UnknownChoiceError, "above 0"),
        ("resnet20", {"width": True}, UnknownChoiceError, "above 0"),
        ("resnet20", {"channels": 2}, UnknownChoiceError, "1 or 3"),
        ("resnet20", {"depth": 21}, UnknownChoiceError, "6n [+] 2"),
        ("densenet", {"depth": 41}, UnknownChoiceError, "6n [+] 4"),
        ("mobilenetv2", {"width": 0.6}, UnknownChoiceError, "0.35, 0.5"),
        ("resnet20", {"pool_options": {"kernel_size": 3}}, UnknownChoiceError, "makes no sense with pool='own'"),
        ("resnet20", {"pool": "avg", "pool_options": {"kernel_size": 3}}, UnknownChoiceError, "does not take"),
        ("vgg13", {"pool_options": {"kernel_size": 3}}, UnknownChoiceError, "does not take"),
        ("timm:test_vit", {"pool": "avg"}, UnknownChoiceError, "nothing in VisionTransformer"),
        ("timm:test_resnet", {"width": 2}, UnknownChoiceError, "no choice 'width'"),
    ],
)
def test_refusals_are_one_sentence(name, choices, error, says):
    with pytest.raises(error, match=says) as raised:
        create_classifier(name, 10, **choices)
    assert "\n" not in str(raised.value)


def test_choices_are_json_and_classes_are_checked():
    choices = classifier_choices("vgg13-w16", pool="lift", pool_options={"scale": 1.0})
    assert json.loads(json.dumps(choices)) == choices
    assert choices["width"] == 0.25
    for classes in (0, 2.0, True):
        with pytest.raises(UnknownChoiceError, match="whole number"):
            create_classifier("resnet20", classes)
