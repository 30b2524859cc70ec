import json

import pytest
import torch

from snellen.models import (
    RCN,
    SumNet,
    UnknownChoiceError,
    UnknownModelError,
    create_model,
    keypoint_models,
    list_models,
    model_choices,
    model_task,
    register_model,
)
from snellen.models.aggregate import AGGREGATES, FPN, Recombine, ScoreSum, UNet
from snellen.models.pyramid import PyramidNet

PAPERS = ["rcn5", "rcn5-bn", "rcn5-skip", "rcn68", "rcn68-released", "rcn68-skip", "sumnet5", "sumnet68"]
PRESETS = sorted([*PAPERS, "rcn", "unet", "fpn"])
TIMM = {"backbone": "timm:test_resnet", "features": 8}  # timm's smallest, for tests


def test_list_models():
    assert list_models(task="keypoints") == PRESETS
    assert set(PRESETS) < set(list_models())
    assert {model_task(name) for name in PRESETS} == {"keypoints"}
    assert model_task("timm:resnet18") == "classification"
    assert list_models("*skip") == ["rcn5-skip", "rcn68-skip"]
    assert list_models("nothing*") == []


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("rcn5", 227_141), ("rcn5-skip", 293_957), ("sumnet5", 142_850), ("rcn68", 1_095_492),
        ("rcn68-skip", 1_709_892), ("sumnet68", 603_368), ("rcn68-released", 1_095_492 + 4 * 9),
    ],
)  # fmt: skip
def test_presets_are_the_papers_networks(name, parameters):
    """rcn.md section 6; the released network adds four 3x3 upsampling kernels."""
    assert sum(p.numel() for p in create_model(name).parameters()) == parameters


@pytest.mark.parametrize("name", PRESETS)
def test_a_model_is_rebuilt_from_its_choices(name):
    small = {"width": 0.25} if name in PAPERS else TIMM
    model = create_model(name, keypoints=4, channels=3, **small)
    again = create_model(model.name, **json.loads(json.dumps(model.choices)))
    assert (again.name, again.choices) == (model.name, model.choices)
    assert list(again.state_dict()) == list(model.state_dict())
    again.load_state_dict(model.state_dict())
    x = torch.rand(1, 1, 32, 32) * 255
    assert torch.equal(again.eval()(x).logits, model.eval()(x).logits)


def test_choices_are_resolved():
    assert model_choices("rcn68")["kernel"] == "5x5"
    assert model_choices("rcn68")["keypoints"] == 68
    assert model_choices("sumnet68") | {"aggregate": "recombine"} == model_choices("rcn68") | {
        "mixing": "map",
        "kernel": "3x3",
    }
    pixel = create_model("sumnet5", mixing="pixel", map_size=(32, 48))
    assert pixel.choices["map_size"] == [32, 48]
    assert create_model("sumnet5", **pixel.choices).choices == pixel.choices
    assert model_choices("sumnet5", mixing="pixel")["map_size"] == [80, 80]


def test_one_choice_turns_one_model_into_the_other():
    assert isinstance(create_model("rcn5", aggregate="sum"), SumNet)
    assert isinstance(create_model("sumnet5", aggregate="recombine"), RCN)
    assert model_choices("rcn5", aggregate="sum") == model_choices("sumnet5")
    assert create_model("rcn5", aggregate="recombine-skip").choices == create_model("rcn5-skip").choices


def test_aggregates_of_a_timm_backbone_are_one_choice_apart():
    parts = {name: create_model("rcn", aggregate=name, **TIMM).branch for name in AGGREGATES}
    assert [type(p) for p in parts.values()] == [Recombine, Recombine, ScoreSum, UNet, FPN]
    assert model_choices("rcn", aggregate="unet") == model_choices("unet")
    assert model_choices("rcn", aggregate="fpn") == model_choices("fpn")
    assert isinstance(create_model("rcn5", aggregate="fpn"), PyramidNet)
    assert isinstance(create_model("rcn", backbone="rcn5"), RCN)


def test_defaults_follow_the_backbone():
    timm, papers = model_choices("rcn"), model_choices("rcn5", aggregate="unet")
    given = ("stride", "features", "norm", "contrast", "branches", "keypoints")
    assert [timm[k] for k in given] == [4, 64, "batch", "fixed", None, 5]
    assert [papers[k] for k in given] == [1, 32, "none", "lcn", 5, 5]
    assert model_choices("rcn5", aggregate="fpn", backbone="rcn68")["features"] == 64
    assert model_choices("rcn", pretrained=True)["contrast"] == "imagenet"
    assert model_choices("rcn", pretrained=True, contrast="lcn")["contrast"] == "lcn"
    assert model_choices("rcn", aggregate="sum")["mixing"] == "map"


def test_a_mask_may_come_as_a_number():
    assert model_choices("rcn", branch_mask=11, branches=4)["branch_mask"] == "0011"
    assert model_choices("rcn5", branch_mask=11, branches=4)["branch_mask"] == "0011"
    assert model_choices("rcn5", branch_mask=10001)["branch_mask"] == "10001"


def test_choices_are_a_copy():
    create_model("rcn5").choices["keypoints"] = 99
    assert create_model("rcn5").choices["keypoints"] == 5


@pytest.mark.parametrize("name", ["rnc5", "RCN5", "", "resnet50"])
def test_unknown_names_get_the_nearest(name):
    with pytest.raises(UnknownModelError, match=r"nearest: \S+, \S+, \S+; snellen.list_models\(\)"):
        create_model(name)


def test_the_nearest_name_comes_first():
    with pytest.raises(UnknownModelError, match="no model is called 'rnc5'; nearest: rcn5,"):
        create_model("rnc5")


@pytest.mark.parametrize(
    ("name", "choices", "words"),
    [
        ("rcn5", {"keypoint": 3}, "no choice 'keypoint'; nearest: keypoints"),
        ("rcn5", {"norm": "bacth"}, "norm='bacth' is not possible; nearest: batch"),
        ("rcn5", {"backbone": "vgg"}, "backbone='vgg'"),
        ("rcn5", {"branches": 8}, "all values are 4, 5, 6, 7"),
        ("rcn5", {"branches": True}, "branches=True"),
        ("rcn5", {"zero_nonmax": 1}, "zero_nonmax=1"),
        ("rcn5", {"keypoints": 2.5}, "whole number"),
        ("rcn5", {"width": 0}, "a number above 0"),
        ("rcn5", {"width": "wide"}, "a number above 0"),
        ("rcn5", {"channels": 2}, "all values are 1, 3"),
        ("rcn5", {"branch_mask": True}, "a string of 0 and 1"),
        ("rcn5", {"branch_mask": 20001}, "does not fit 5 branches"),
        ("rcn5", {"branch_mask": "1001"}, "does not fit 5 branches"),
        ("rcn5", {"mixing": "map"}, "makes no sense with aggregate='recombine'"),
        ("rcn5", {"map_size": (80, 80)}, "makes no sense"),
        ("rcn68-skip", {"branches": 6}, "5 branches only"),
        ("sumnet5", {"branches": 7}, "4, 5 or 6"),
        ("sumnet5", {"unpool": "learned"}, "concatenates nothing"),
        ("sumnet5", {"zero_nonmax": True}, "concatenates nothing"),
        ("sumnet5", {"map_size": (80, 80)}, "only mixing='pixel'"),
        ("rcn5", {"backbone": "resnet18"}, "and timm:NAME, e.g. timm:resnet18"),
        ("rcn5", {"stride": 4}, "stride=4 makes no sense with backbone='rcn5'"),
        ("rcn5", {"features": 64}, "take width"),
        ("rcn5", {"pretrained": True}, "no pretrained weights; take a timm backbone"),
        ("rcn5", {"aggregate": "unet", "kernel": "5x5"}, "kernel='5x5' makes no sense with aggregate='unet'"),
        ("rcn5", {"aggregate": "unet", "stride": 2}, "stride=2 makes no sense with backbone='rcn5'"),
        ("rcn5", {"aggregate": "fpn", "branches": 8}, "all values are 4, 5, 6, 7"),
        ("rcn5", {"contrast": "imagnet"}, "nearest: imagenet"),
        ("rcn", {"kernel": "3x3"}, "kernel='3x3' makes no sense with backbone='timm:resnet18'"),
        ("rcn", {"unpool": "learned"}, "learn it"),
        ("rcn", {"zero_nonmax": True}, "2x2 pool"),
        ("rcn", {"extra_fine": True}, "take more features"),
        ("rcn", {"width": 0.5}, "its own widths"),
        ("rcn", {"mixing": "map"}, "it sums no maps"),
        ("rcn", {"aggregate": "sum", "mixing": "pixel"}, "take mixing='map'"),
        ("rcn", {"aggregate": "sum", "map_size": (80, 80)}, "only mixing='pixel'"),
        ("rcn", {"stride": 3}, "a power of two"),
        ("rcn", {"stride": True}, "a power of two"),
        ("rcn", {"features": 0}, "a whole number of channels"),
        ("rcn", {"pretrained": 1}, "false, true, or the path"),
        ("rcn", {"branches": True}, "branches=True"),
        ("rcn", {"backbone": "timm:test_resnet", "branch_mask": "101"}, "does not fit 4 branches"),
        ("sumnet5", {"mixing": "pixel", "map_size": (80,)}, "two whole numbers"),
        ("sumnet5", {"mixing": "pixel", "map_size": "80"}, "two whole numbers"),
    ],
)
def test_refusals(name, choices, words):
    with pytest.raises(UnknownChoiceError, match=words):
        create_model(name, **choices)


def test_register_model(monkeypatch):
    monkeypatch.setattr(keypoint_models, "_PRESETS", dict(keypoint_models._PRESETS))
    register_model("wings-small", keypoints=12, width=0.5)
    assert "wings-small" in list_models()
    assert create_model("wings-small", branches=4).name == "wings-small"
    assert create_model("wings-small").keypoints == 12
    with pytest.raises(ValueError, match="called 'rcn5' already"):
        register_model("rcn5", keypoints=12)
    with pytest.raises(UnknownChoiceError, match="nearest: norm"):
        register_model("other", nrom="batch")
