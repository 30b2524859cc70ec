import pytest
import torch

from snellen.layers.contrast import local_contrast_normalise
from snellen.models import Preprocess

CONTRASTS = ("lcn", "image", "fixed", "imagenet")


def canvas(channels, batch=2):
    return 255 * torch.rand(batch, channels, 12, 17, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("contrast", CONTRASTS)
@pytest.mark.parametrize("seen", [1, 3])
@pytest.mark.parametrize("given", [1, 3])
def test_channels_and_dtypes(contrast, seen, given):
    module, x = Preprocess(seen, contrast), canvas(given)
    y = module(x)
    assert y.shape == (2, seen, 12, 17)
    assert y.dtype == torch.float32
    assert module(x.double()).dtype == torch.float64
    assert torch.equal(module(x.to(torch.uint8)), module(x.to(torch.uint8).float()))
    assert module(x[:0]).shape == (0, seen, 12, 17)
    assert not module.state_dict()
    torch.testing.assert_close(module(x[1:]), y[1:])


def test_grey_of_pure_colours_is_their_luma():
    x = torch.zeros(3, 3, 2, 2)
    for i in range(3):
        x[i, i] = 255
    y = Preprocess(1, "fixed")(x)[:, 0, 0, 0]
    luma = (y * 0.25 + 0.5).tolist()
    assert luma == pytest.approx([0.299, 0.587, 0.114], abs=1e-6)


@pytest.mark.parametrize("contrast", ["lcn", "image", "fixed"])  # ImageNet's numbers differ by colour
def test_a_grey_picture_is_the_same_in_colour(contrast):
    grey = canvas(1)
    torch.testing.assert_close(Preprocess(1, contrast)(grey.repeat(1, 3, 1, 1)), Preprocess(1, contrast)(grey))
    colour = Preprocess(3, contrast)(grey)
    torch.testing.assert_close(colour, Preprocess(1, contrast)(grey).repeat(1, 3, 1, 1))


def test_contrasts_do_what_they_say():
    x = canvas(1)
    assert torch.equal(Preprocess(1, "lcn")(x), local_contrast_normalise(x))
    standard = Preprocess(1, "image")(x)
    torch.testing.assert_close(standard.mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(standard.std(dim=(1, 2, 3), correction=0), torch.ones(2))
    fixed = Preprocess(1, "fixed")(torch.tensor([0.0, 127.5, 255.0]).view(1, 1, 1, 3))
    assert fixed.flatten().tolist() == [-2.0, 0.0, 2.0]
    mean, deviation = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    for add, expected in ((0.0, 0.0), (deviation, 1.0)):
        colour = Preprocess(3, "imagenet")((mean + add).view(1, 3, 1, 1))
        torch.testing.assert_close(colour, torch.full((1, 3, 1, 1), expected), atol=1e-5, rtol=0)
    grey = Preprocess(1, "imagenet")(torch.full((1, 1, 1, 1), 255 * 0.449))
    assert grey.item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("contrast", ["lcn", "image"])
def test_blank_and_brightness(contrast):
    module, x = Preprocess(1, contrast), canvas(1)
    for value in (0.0, 77.0, 255.0):
        assert module(torch.full((1, 1, 10, 10), value)).isfinite().all()
    torch.testing.assert_close(module(x / 2), module(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_autocast_keeps_float32(contrast):
    module, x = Preprocess(1, contrast), canvas(3)
    expected = module(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(module(x), expected)


def test_refusals():
    with pytest.raises(ValueError, match="channels=2 is not possible; give 1"):
        Preprocess(2)
    with pytest.raises(ValueError, match="contrast='clahe' is not known; give one of lcn, image, fixed, imagenet"):
        Preprocess(1, "clahe")
    with pytest.raises(ValueError, match="the canvas has 4 channels"):
        Preprocess()(canvas(4))
