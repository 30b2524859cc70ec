"""timm's backbones as trunks: families of all kinds, and what is said where one cannot be had."""

import sys

import pytest
import safetensors.torch
import torch

from snellen.models import create_model
from snellen.models.timm_trunk import TimmTrunk


@pytest.mark.parametrize(
    ("name", "stride", "reductions", "step"),
    [
        ("resnet18", 4, (4, 8, 16, 32), 4),
        ("convnext_atto", 2, (4, 8, 16, 32), 4),
        ("mobilenetv3_small_100", 2, (2, 4, 8, 16, 32), 2),
        ("efficientnet_lite0", 8, (8, 16, 32), 8),
        ("hrnet_w18_small", 4, (4, 8, 16, 32), 32),  # adds maps of different strides: sides must be multiples
        ("mambaout_femto", 4, (4, 8, 16, 32), 4),  # axes (b, h, w, c)
        ("test_vit", 4, (16,), 16),  # one map, patches of 16
    ],
)
def test_families(name, stride, reductions, step):
    trunk = TimmTrunk(name, in_channels=1, stride=stride).eval()
    assert (trunk.reductions, trunk.step, trunk.minimum_size) == (reductions, step, max(reductions))
    for h, w in ((2, 3), (3, 5)):
        size = (32 * h + step, 32 * w + 3 * step)
        with torch.no_grad():
            maps = trunk(torch.rand(1, 1, *size))
        assert len(maps) == len(reductions)
        for m, c, r in zip(maps, trunk.channels, reductions, strict=True):
            assert m.shape[1] == c
            assert all(side // r <= cells <= -(-side // r) for side, cells in zip(size, m.shape[2:], strict=True))


@pytest.mark.slow
def test_windowed_transformers_and_wide_plain_networks():
    """A swin takes any size once it is asked to; vgg's maps begin at stride 1."""
    model = create_model("fpn", backbone="timm:swin_tiny_patch4_window7_224", features=8, branches=2).eval()
    assert model(torch.rand(1, 3, 57, 70) * 255).logits.shape == (1, 5, 15, 18)
    assert TimmTrunk("vgg11_bn", stride=1, levels=3).reductions == (1, 2, 4)


def test_trials_leave_the_seed_to_the_network_itself():
    torch.manual_seed(0)
    first = TimmTrunk("test_resnet").state_dict()
    torch.manual_seed(0)
    import timm

    net = timm.create_model("test_resnet", features_only=True, out_indices=(1, 2, 3, 4)).state_dict()
    assert all(torch.equal(first[f"net.{name}"], value) for name, value in net.items())


@pytest.mark.parametrize(
    ("name", "choices", "words"),
    [
        ("resnet81", {}, "no model 'resnet81'; nearest: resnet18"),
        ("resnet18.a9_in1k", {}, r"nearest: resnet18\.a"),
        ("hf-hub:somebody/something", {}, "no model 'hf-hub:somebody/something'"),
        ("maxvit_nano_rw_256", {}, "must be divisible by window .*; take a convolutional backbone"),
        ("crossvit_9_240", {}, "maps of stride 12, 17, none of them a power of two"),
        ("test_resnet", {"stride": 64}, "none of them a power of two of at least stride=64"),
        ("test_resnet", {"levels": 5}, r"it has 4 maps of stride 4 or coarser \(4, 8, 16, 32\); give at most 4"),
    ],
)
def test_backbones_that_cannot_be_used_are_refused_in_a_sentence(name, choices, words):
    with pytest.raises(ValueError, match=words) as refusal:
        TimmTrunk(name, **choices)
    assert "\n" not in str(refusal.value)


def test_without_timm_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"pip install 'snellen\[train\]'"):
        create_model("rcn")


# --- pretrained weights


@pytest.fixture
def weights(tmp_path):
    import timm

    torch.manual_seed(7)
    model = timm.create_model("test_resnet")
    file = tmp_path / "model.safetensors"
    safetensors.torch.save_file(model.state_dict(), file)
    return file, model.state_dict()


def same(trunk, state):
    ours = trunk.state_dict()
    return all(torch.equal(state[name.removeprefix("net.")], value) for name, value in ours.items())


def test_weights_of_a_file(weights):
    file, state = weights
    assert same(TimmTrunk("test_resnet", pretrained=str(file)), state)
    model = create_model("rcn", backbone="timm:test_resnet", pretrained=str(file), channels=3)
    assert same(model.trunk, state)
    assert model.preprocess.contrast == "imagenet"
    model.reset_parameters()  # draws the aggregate's alone
    assert same(model.trunk, state)
    grey = create_model("rcn", backbone="timm:test_resnet", pretrained=str(file), channels=1)
    assert not same(create_model("rcn", backbone="timm:test_resnet", channels=3).trunk, state)
    first = next(iter(grey.trunk.parameters()))
    torch.testing.assert_close(first, next(iter(model.trunk.parameters())).sum(dim=1, keepdim=True))


def test_a_model_is_rebuilt_without_its_pretrained_weights(weights):
    file, _ = weights
    model = create_model("rcn", backbone="timm:test_resnet", pretrained=str(file))
    file.unlink()
    again = create_model("rcn", load_pretrained=False, **model.choices)
    assert again.choices == model.choices
    again.load_state_dict(model.state_dict())


def test_weights_come_from_the_cache_without_a_network(weights, monkeypatch):
    import huggingface_hub

    file, state = weights
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: str(file))
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: pytest.fail("asked the network"))
    assert same(TimmTrunk("test_resnet", pretrained=True), state)


def test_weights_that_cannot_be_had_are_told_in_a_sentence(weights, tmp_path, monkeypatch):
    import huggingface_hub

    def no_network():
        raise OSError("Name or service not known\nand more")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(huggingface_hub, "get_session", no_network)
    (tmp_path / "broken.safetensors").write_bytes(b"x" * 100)
    for pretrained, words in (
        (
            True,
            r"cannot be downloaded \(Name or service not known\); on a machine with network run `hf download timm/resnet18",
        ),
        ("nowhere.safetensors", "is not a file of weights"),
        (str(tmp_path / "broken.safetensors"), "cannot be read as safetensors"),
        (str(weights[0]), "does not hold weights of timm's 'resnet18'"),
    ):
        with pytest.raises(ValueError, match=words) as refusal:
            create_model("rcn", pretrained=pretrained)
        assert "\n" not in str(refusal.value)
