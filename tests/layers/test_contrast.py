import pytest
import torch

from contracts import LayerContract
from snellen.layers.contrast import LocalContrastNorm, gaussian_taps, local_contrast_normalise


class TestLocalContrastNorm(LayerContract):
    def make(self):
        return LocalContrastNorm()


def photo(batch=2, channels=1, size=(30, 41)):
    noise = torch.rand(batch, channels, *size, generator=torch.Generator().manual_seed(0))
    return noise + torch.linspace(0, 1, size[1])


def test_gaussian_of_the_paper():
    """rcn.md section 8: centre and corner of the 9x9 kernel."""
    taps = gaussian_taps(torch.float64)
    assert taps.sum().item() == pytest.approx(1)
    assert (taps[4] ** 2).item() == pytest.approx(0.0633860, abs=1e-6)
    assert (taps[0] ** 2).item() == pytest.approx(0.000113987, abs=1e-8)


def test_impulse():
    """rcn.md section 8: the response to one bright pixel."""
    x = torch.zeros(1, 1, 80, 80)
    x[0, 0, 40, 40] = 1
    y = local_contrast_normalise(x)[0, 0]
    assert y[40, 40].item() == pytest.approx(1.286678, abs=2e-6)
    for beside in (y[40, 41], y[40, 39], y[39, 40], y[41, 40]):
        assert beside.item() == pytest.approx(0.451807, abs=2e-6)
    assert y[5, 5].item() == pytest.approx(0.5, abs=1e-7)


def test_separable_is_the_9x9_filter():
    x = photo().double()
    taps = gaussian_taps(torch.float64)
    kernel = torch.outer(taps, taps)[None, None]
    v = x - torch.conv2d(x, kernel, padding=4)
    s = torch.conv2d(v * v, kernel, padding=4).sqrt()
    for i in range(2):
        expected = (v[i] / s[i].clamp(min=s[i].mean().item()) + 2.5) / 5
        torch.testing.assert_close(local_contrast_normalise(x)[i], expected)
    batch = (v / s.clamp(min=s.mean().item()) + 2.5) / 5
    torch.testing.assert_close(local_contrast_normalise(x, statistics="batch"), batch)


@pytest.mark.parametrize("statistics", ["image", "batch"])
def test_scale_of_the_input_does_not_matter(statistics):
    x = photo()
    y, z = (local_contrast_normalise(s * x, statistics=statistics) for s in (1, 255))
    assert (y - z).abs().max() <= 1e-6


def test_only_batch_statistics_couple_images():
    x = photo()
    x[1] *= 20
    alone = x[:1]
    torch.testing.assert_close(local_contrast_normalise(x)[:1], local_contrast_normalise(alone))
    coupled = local_contrast_normalise(x, statistics="batch")[:1]
    assert (coupled - local_contrast_normalise(alone, statistics="batch")).abs().max() > 0.01


@pytest.mark.parametrize("statistics", ["image", "batch"])
@pytest.mark.parametrize("value", [0.0, 1.0, 255.0])
def test_blank_image_is_finite_and_so_are_its_gradients(statistics, value):
    x = torch.full((2, 3, 12, 12), value, requires_grad=True)
    y = local_contrast_normalise(x, statistics=statistics)
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()


def test_autocast_does_not_lower_the_precision():
    x = photo() * 255
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = LocalContrastNorm()(x)
    assert y.dtype == torch.float32
    assert torch.equal(y, LocalContrastNorm()(x))


def test_half_precision_input_comes_back_in_its_dtype():
    x = photo()
    y = local_contrast_normalise(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert (y.float() - local_contrast_normalise(x)).abs().max() < 0.05


def test_module_is_the_function_and_keeps_no_state():
    x = photo(3, 2)
    for statistics in ("image", "batch"):
        layer = LocalContrastNorm(statistics)
        torch.testing.assert_close(layer(x), local_contrast_normalise(x, statistics=statistics))
        assert not layer.state_dict()
    assert repr(layer) == "LocalContrastNorm(statistics='batch')"


def test_unknown_statistics():
    for make in (lambda: LocalContrastNorm("row"), lambda: local_contrast_normalise(photo(), statistics="row")):
        with pytest.raises(ValueError, match="statistics='row' is not known; 'image'"):
            make()
