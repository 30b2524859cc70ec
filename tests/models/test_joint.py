"""The image model and the denoiser together: the product of two distributions."""

import pytest
import torch
from torch import nn

from snellen import create_model
from snellen.models import AttentionDenoiser, ConvDenoiser, JointNet, KeypointOutput
from snellen.models.denoisers import peaks


@pytest.fixture
def models():
    torch.manual_seed(0)
    image = create_model("rcn5", keypoints=4, branches=4, width=0.5).eval()
    return image, AttentionDenoiser(keypoints=4, size=(40, 48), features=16, heads=2, blocks=1).eval()


@pytest.fixture
def canvas():
    return torch.rand(2, 1, 40, 48, generator=torch.Generator().manual_seed(1)) * 255


def softmax(logits):
    return logits.flatten(2).softmax(-1)


def test_the_joint_answer_is_the_normalised_product(models, canvas):
    """rcn.md 8: softmax(A + B) == normalised product of softmaxes."""
    image, denoiser = models
    a = image(canvas).logits
    b = denoiser(peaks(a), torch.ones(2, 4, dtype=torch.bool), a.shape[-2:]).logits
    product = softmax(a) * softmax(b)
    found = softmax(JointNet(image, denoiser)(canvas).logits)
    torch.testing.assert_close(found, product / product.sum(-1, keepdim=True), rtol=1e-4, atol=1e-6)


def test_a_constant_changes_nothing(models, canvas):
    """rcn.md 8: argmax(A + const) unchanged; logits of a map are known up to a constant."""
    joint = JointNet(*models)
    said = joint.voices(canvas)
    assert torch.equal(peaks(said.image + said.structure), peaks(said.image + said.structure + 7.0))


def test_weight_none_is_the_image_model(models, canvas):
    assert torch.equal(JointNet(*models, weight=0)(canvas).logits, models[0](canvas).logits)


def test_a_second_pass_reads_the_joint_maxima(models, canvas):
    image, denoiser = models
    once = JointNet(image, denoiser)(canvas).logits
    again = denoiser(peaks(once), torch.ones(2, 4, dtype=torch.bool), once.shape[-2:]).logits
    torch.testing.assert_close(JointNet(image, denoiser, passes=2)(canvas).logits, image(canvas).logits + again)


def test_other_sizes_of_the_denoisers_maps(canvas):
    torch.manual_seed(0)
    image = create_model("rcn", backbone="timm:test_resnet", keypoints=3, stride=4, features=8).eval()
    said = JointNet(image, ConvDenoiser(keypoints=3, size=(20, 24), kernel=5, features=4)).voices(canvas)
    assert said.image.shape == said.structure.shape == (2, 3, 10, 12)
    with pytest.raises(ValueError, match="does not divide a canvas of 38x48"):
        JointNet(image, AttentionDenoiser(keypoints=3, size=(19, 24)))(canvas[:, :, :38])


def test_exports_as_one_graph(models, canvas):
    joint = JointNet(*models, weight=0.5).eval()
    program = torch.export.export(joint, (canvas,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    more = canvas.repeat(2, 1, 1, 1)
    found = program.module()(more)
    assert isinstance(found, KeypointOutput)
    torch.testing.assert_close(found.logits, joint(more).logits, rtol=1e-4, atol=1e-4)


def test_stands_where_an_image_model_would(models):
    image, denoiser = models
    joint = JointNet(image, denoiser)
    for name in ("stride", "keypoints", "branches", "reductions", "minimum_size", "choices", "preprocess"):
        assert getattr(joint, name) == getattr(image, name)
    assert isinstance(joint.preprocess, nn.Module)


def test_refusals(models):
    image, denoiser = models
    with pytest.raises(ValueError, match="4 points and the denoiser 5"):
        JointNet(image, AttentionDenoiser(keypoints=5))
    for weight, passes in ((-1, 1), (float("nan"), 1), (1, 0)):
        with pytest.raises(ValueError, match="not possible"):
            JointNet(image, denoiser, weight, passes=passes)
