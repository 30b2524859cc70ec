"""Segmentation networks by name, and those of segmentation-models-pytorch."""

import json

import pytest
import torch

from snellen.config import TASKS
from snellen.layers import LiftDown2d
from snellen.models import UnknownChoiceError, UnknownModelError, create_model, list_models, model_choices, model_task
from snellen.models.outputs import LabelOutput
from snellen.models.segmenters import create_segmenter, list_segmenters, segmenter_choices
from snellen.models.smp import SmpNet

SMALL = [name for name in list_segmenters() if name.endswith("-small")]


def canvases(*size, batch=2):
    return 255 * torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(1))


def test_names():
    assert SMALL == ["segnet-small", "smp-deeplabv3plus-small", "smp-unet-small"]
    assert list_segmenters("seg*") == ["segnet", "segnet-small", "segnet13"]
    assert list_models(task="segmentation") == list_segmenters()
    assert {model_task(name) for name in list_segmenters()} == {"segmentation"}
    assert model_choices("segnet", classes=4) == {"classes": 4, **segmenter_choices("segnet")}
    # A name means one network.
    assert len(list_models()) == sum(len(list_models(task=t)) for t in TASKS)


@pytest.mark.parametrize("name", SMALL)
def test_small_ones_are_small_take_any_size_and_are_built_again_by_their_choices(name):
    torch.manual_seed(0)
    net = create_segmenter(name, 11).eval()
    assert sum(p.numel() for p in net.parameters()) < 1_000_000
    for size in ((32, 64), (45, 61), (7, 5)):
        output = net(canvases(*size))
        assert isinstance(output, LabelOutput)
        assert output.logits.shape == (2, 11, *size)
        assert output.logits.isfinite().all()
    assert net(canvases(32, 32)[:, :1]).logits.shape == (2, 11, 32, 32)  # a grey canvas for a colour network
    again = create_model(name, **json.loads(json.dumps(net.choices))).eval()
    again.load_state_dict(net.state_dict())
    assert again.choices == net.choices
    assert torch.equal(again(canvases(45, 61)).logits, net(canvases(45, 61)).logits)


@pytest.mark.parametrize("name", ["smp-unet-small", "smp-deeplabv3plus-small"])
def test_packages_networks_train(name):
    torch.manual_seed(0)
    net = create_segmenter(name, 4, channels=1).train()
    net(canvases(45, 61)).logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_padded_networks_are_exported():
    net, x = create_segmenter("smp-deeplabv3plus-small", 4).eval(), canvases(45, 61)
    program = torch.export.export(net, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    wider = canvases(45, 61, batch=3)
    torch.testing.assert_close(program.module()(wider).logits, net(wider).logits, rtol=1e-3, atol=1e-3)


def test_padding_changes_nothing_where_none_is_needed():
    net = SmpNet(3, features=4).eval()
    x = canvases(64, 32)
    assert torch.equal(net(x).logits, net.net(net.preprocess(x)))


def test_poolings_of_an_encoder_can_be_exchanged():
    torch.manual_seed(0)
    plain, lifted = (
        create_segmenter("smp-unet", 3, features=4),
        create_segmenter("smp-unet", 3, features=4, pool="lift"),
    )
    names = {type(m).__name__ for m in lifted.modules()}
    assert "LiftDown2d" in names
    assert "MaxPool2d" not in names
    assert lifted(canvases(45, 61)).logits.shape == plain(canvases(45, 61)).logits.shape


def test_deeplab_says_why_one_image_is_too_few():
    net = create_segmenter("smp-deeplabv3plus-small", 3).train()
    with pytest.raises(ValueError, match="batch of one image"):
        net(canvases(32, 32, batch=1))
    assert net.eval()(canvases(32, 32, batch=1)).logits.shape == (1, 3, 32, 32)


def test_deeplab_pools_where_it_still_strides():
    """Its last stage is dilated instead; every map keeps its size."""
    torch.manual_seed(0)
    net = create_segmenter("smp-deeplabv3plus-small", 3, pool="lift")
    assert sum(isinstance(m, LiftDown2d) for m in net.modules()) == 3
    x = canvases(45, 60, batch=2)
    net.train()(x).logits.square().sum().backward()
    assert net(x).logits.shape == (2, 3, 45, 60)


def test_choices_are_resolved():
    assert segmenter_choices("segnet")["encoder"] == "vgg16"
    assert segmenter_choices("segnet", pool="lift")["unpool"] == "lift"
    assert segmenter_choices("segnet", pool="blur")["unpool"] == "nearest"
    assert segmenter_choices("smp-unet")["pool"] == "own"
    assert segmenter_choices("smp-deeplabv3plus")["features"] == 256
    assert segmenter_choices("segnet", width=1)["width"] == 1.0
    for name in list_segmenters():
        choices = segmenter_choices(name)
        assert json.loads(json.dumps(choices)) == choices
        assert segmenter_choices(name, **choices) == choices


@pytest.mark.parametrize(
    ("name", "choices", "error", "says"),
    [
        ("segnett", {}, UnknownModelError, "nearest: segnet"),
        ("segnet", {"pol": "max"}, UnknownChoiceError, "no choice 'pol'; nearest: pool"),
        ("segnet", {"pool": "lft"}, UnknownChoiceError, "nearest: lift"),
        ("segnet", {"pool": "own"}, UnknownChoiceError, "pool='own' is not possible"),
        ("segnet", {"unpool": "lift"}, UnknownChoiceError, "needs what pool='lift' keeps"),
        ("segnet", {"features": 8}, UnknownChoiceError, "features=8 makes no sense with decoder='segnet'"),
        ("segnet", {"width": -1}, UnknownChoiceError, "above 0"),
        ("segnet", {"channels": 2}, UnknownChoiceError, "channels=2"),
        ("segnet", {"contrast": "fxed"}, UnknownChoiceError, "nearest: fixed"),
        ("segnet", {"pool_options": 3}, UnknownChoiceError, "pool_options=3"),
        ("smp-unet", {"unpool": "lift"}, UnknownChoiceError, "unpool='lift' makes no sense with decoder='unet'"),
        ("smp-unet", {"width": 0.5}, UnknownChoiceError, "width=0.5 makes no sense"),
        ("smp-unet", {"features": 0}, UnknownChoiceError, "features=0"),
        ("smp-unet", {"encoder": "resnet19"}, UnknownChoiceError, "nearest: resnet18"),
        ("smp-unet", {"encoder": "timm:resnet1"}, UnknownChoiceError, "encoder='timm:resnet1' cannot be used by unet"),
        ("smp-unet", {"pool_options": {"kernel_size": 3}}, UnknownChoiceError, "pool_options are for another pool"),
    ],
)
def test_what_does_not_exist_is_refused_in_one_sentence(name, choices, error, says):
    with pytest.raises(error, match=says) as raised:
        create_segmenter(name, 3, **choices)
    assert "\n" not in str(raised.value)


def test_a_network_needs_its_number_of_labels():
    with pytest.raises(UnknownChoiceError, match="needs classes=N"):
        create_model("segnet-small")
    with pytest.raises(UnknownChoiceError, match="classes=0"):
        create_model("segnet-small", classes=0)
