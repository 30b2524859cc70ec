"""The zoom's grid: against a float64 convolution, the paper's numbers, and what the maths says of it (zoom.md 8)."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from snellen.layers.zoom_grid import ZoomGrid, affine_grid, box_grid, jacobian, magnification, uniform_grid
from snellen.layers.zoom_saliency import SIGMA, bounded, clamped_share, saliency_to_grid, zoom_matrices
from snellen.layers.zoom_sample import zoom


def random_saliency(b=2, size=(31, 31), sd=1.0, seed=0, dtype=torch.float64):
    """Softmax of smooth logits, as a network makes it."""
    noise = torch.randn(b, 1, 14, 14, generator=torch.Generator().manual_seed(seed), dtype=dtype) * sd
    logits = F.interpolate(noise, size, mode="bilinear", align_corners=False)[:, 0]
    return logits.flatten(1).softmax(-1).view(b, *size)


def one_hots(g=31, dtype=torch.float32):
    return torch.eye(g * g, dtype=dtype).view(-1, g, g)


def convolution(saliency, padding):
    """zoom.md 2.1, steps 6 to 8, as written: a 61x61 convolution of the padded map, in float64."""
    g = saliency.shape[-1]
    p, fwhm = g - 1, 13 * g / 31
    d = torch.arange(-p, p + 1, dtype=torch.float64)
    k = torch.exp(-4 * math.log(2) * d**2 / fwhm**2)
    kernel = (k[:, None] * k[None])[None, None]
    padded = F.pad(saliency.double()[:, None], (p, p, p, p), mode=padding)
    x = (torch.arange(g + 2 * p, dtype=torch.float64) - p) / (g - 1)
    total = F.conv2d(padded, kernel)
    u, v = F.conv2d(padded * x, kernel) / total, F.conv2d(padded * x[:, None], kernel) / total
    return torch.cat((u, v), dim=1).permute(0, 2, 3, 1).clamp(0, 1)


@pytest.mark.parametrize("padding", ["reflect", "replicate"])
@pytest.mark.parametrize("sd", [0.5, 5.0])
def test_grid_equals_the_convolution(padding, sd):
    saliency = random_saliency(sd=sd)
    expected = convolution(saliency, padding)
    torch.testing.assert_close(saliency_to_grid(saliency, (8, 8), padding=padding).nodes, expected, rtol=0, atol=1e-12)
    single = saliency_to_grid(saliency.float(), (8, 8), padding=padding).nodes
    torch.testing.assert_close(single.double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("legacy", ["", "paper", "lzu"])
@pytest.mark.parametrize("separable", [False, True])
def test_uniform_saliency_is_the_identity(legacy, separable):
    line = torch.linspace(0, 1, 31, dtype=torch.float64)
    for dtype, close in ((torch.float64, 1e-12), (torch.float32, 5e-6)):
        grid = saliency_to_grid(torch.ones(1, 31, 31, dtype=dtype), (8, 8), legacy=legacy, separable=separable)
        torch.testing.assert_close(grid.nodes[0, 3, :, 0].double(), line, rtol=0, atol=close)
        torch.testing.assert_close(grid.nodes[0, :, 5, 1].double(), line, rtol=0, atol=close)


@pytest.mark.parametrize(
    ("legacy", "first", "step", "last"),
    [("paper", [0, 0, 0, 0, 3.27], 3.686, [799] * 4), ("lzu", [0, 3.583, 7.166], 3.583, [799])],
)
def test_legacy_reads_a_ramp_where_the_authors_do(legacy, first, step, last):
    """zoom.md 2.4, rows 1 and 3: uniform saliency, 800 pixels to 224."""
    ramp = torch.arange(800.0).expand(1, 1, 800, 800)
    grid = saliency_to_grid(torch.ones(1, 31, 31), (224, 224), legacy=legacy)
    read = zoom(ramp, grid)[0, 0, 100]
    torch.testing.assert_close(read[: len(first)], torch.tensor(first, dtype=torch.float32), rtol=0, atol=0.01)
    torch.testing.assert_close(read[-len(last) :], torch.tensor(last, dtype=torch.float32), rtol=0, atol=0.01)
    assert read[100:120].diff().mean().item() == pytest.approx(step, abs=0.002)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.1, 60), st.integers(0, 1000), st.floats(0, 1), st.sampled_from([(31, 31), (13, 31), (24, 9)]))
def test_reflect_padding_folds_nothing_and_keeps_the_edges(sd, seed, strength, size):
    for separable in (False, True):
        saliency = random_saliency(1, size, sd, seed)
        nodes = saliency_to_grid(saliency, (8, 8), strength=strength, separable=separable)
        assert torch.linalg.det(jacobian(nodes)).min() > -1e-6
        n = nodes.nodes[0]
        assert n[:, 0, 0].abs().max() < 1e-12
        assert (n[:, -1, 0] - 1).abs().max() < 1e-12
        assert n[0, :, 1].abs().max() < 1e-12
        assert (n[-1, :, 1] - 1).abs().max() < 1e-12


def test_one_hot_saliency_is_finite_everywhere_and_collapses():
    grid = saliency_to_grid(one_hots(), (8, 8))
    assert grid.nodes.isfinite().all()
    assert torch.linalg.det(jacobian(grid)).min() > -1e-6
    # Half of all cells show a thousandth of the source or less, that is, the source collapses (reported in docs/zoom.md).
    assert magnification(grid).flatten(1).median() > 30
    assert magnification(saliency_to_grid(one_hots()[480:481], (8, 8), max_zoom=4)).max() < 4.001


def test_replicate_padding_clamps_nodes_and_reports_it():
    saliency = random_saliency(8, sd=5.0)
    assert clamped_share(saliency_to_grid(saliency, (8, 8), padding="replicate")).mean() > 0.02
    assert clamped_share(saliency_to_grid(saliency, (8, 8))).max() == 0


def test_narrow_kernels_and_long_grids_never_divide_by_zero():
    """FOVEA's 4 cells: the sums of a peaked map would vanish in float32 (zoom.md 2.5)."""
    fovea = 4 / math.sqrt(8 * math.log(2)) / 31
    for separable in (False, True):
        assert saliency_to_grid(one_hots(), (8, 8), fovea, separable=separable).nodes.isfinite().all()
        long = torch.eye(7 * 40).view(-1, 7, 40)
        assert saliency_to_grid(long, (8, 8), separable=separable).nodes.isfinite().all()


def test_transposing_and_mirroring_the_saliency_does_so_to_the_grid():
    saliency = random_saliency(size=(13, 31))
    nodes = saliency_to_grid(saliency, (8, 8)).nodes
    turned = saliency_to_grid(saliency.mT, (8, 8)).nodes
    torch.testing.assert_close(turned, nodes.transpose(1, 2).flip(-1), rtol=0, atol=1e-12)
    mirrored = saliency_to_grid(saliency.flip(-1), (8, 8)).nodes.flip(2)
    torch.testing.assert_close(mirrored[..., 0], 1 - nodes[..., 0], rtol=0, atol=1e-12)


def test_separable_equals_general_for_a_product():
    a, b = torch.rand(2, 31, dtype=torch.float64) + 0.1
    saliency = (a[:, None] * b)[None]
    general, separable = (saliency_to_grid(saliency, (8, 8), separable=s).nodes for s in (False, True))
    torch.testing.assert_close(general, separable, rtol=0, atol=1e-12)


def test_jacobian_is_the_covariance_over_the_variance():
    """zoom.md 2.2, by finite differences of the continuous map at a position between nodes; here through the cell's mean."""
    saliency = random_saliency(1, sd=2.0)[0]
    s = SIGMA * 31
    n = torch.arange(-30, 61, dtype=torch.float64)
    padded = F.pad(saliency[None, None], (30, 30, 30, 30), mode="reflect")[0, 0]

    def moments(i, j):
        w = padded * torch.exp(-0.5 * ((n[:, None] - i) ** 2 + (n[None] - j) ** 2) / s**2)
        w = w / w.sum()
        mean = torch.stack(((w * n).sum(), (w * n[:, None]).sum()))
        dx, dy = n - mean[0], (n - mean[1])[:, None]
        cov = torch.stack([(w * dx * dx).sum(), (w * dx * dy).sum(), (w * dy * dy).sum()])
        return mean, cov / s**2

    mean, ratio = moments(14.3, 11.7)
    step = 1e-4
    along = (moments(14.3, 11.7 + step)[0] - mean) / step
    down = (moments(14.3 + step, 11.7)[0] - mean) / step
    torch.testing.assert_close(torch.stack((along[0], along[1], down[1])), ratio, rtol=0, atol=1e-4)
    node = saliency_to_grid(saliency[None], (8, 8)).nodes[0, 14, 11] * 30
    torch.testing.assert_close(node, moments(14.0, 11.0)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_positions_are_read_with_all_digits_whatever_products_may_round(separable, precision):
    """Programs allow products of fewer bits; ten of them would be half a pixel of a picture of 800."""
    grid = saliency_to_grid(random_saliency(dtype=torch.float32), (96, 130), separable=separable)
    exact = ZoomGrid(grid.nodes.double(), grid.size, separable)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "highest"):
            found = [grid.positions(), grid.corners((7, 11)), (grid.sampling() + 1) / 2]
    finally:
        torch.set_float32_matmul_precision(before)
    for got, wanted in zip(found, (exact.positions(), exact.corners((7, 11)), exact.positions()), strict=True):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got.double(), wanted, rtol=0, atol=3e-7)


@pytest.mark.parametrize("separable", [False, True])
def test_reading_a_grid_is_bilinear_between_its_nodes(separable):
    """torch's own bilinear reading, for positions that lie elsewhere between the nodes."""
    nodes = saliency_to_grid(random_saliency(size=(9, 13)), (20, 30), separable=separable).nodes
    grid = ZoomGrid(nodes, (20, 30), separable)
    y, x = (torch.arange(n, dtype=torch.float64) + 0.5 for n in (20, 30))
    places = torch.stack(torch.meshgrid(2 * x / 30 - 1, 2 * y / 20 - 1, indexing="xy"), dim=-1)
    read = F.grid_sample(nodes.permute(0, 3, 1, 2), places.expand(2, -1, -1, -1), align_corners=True).permute(
        0, 2, 3, 1
    )
    torch.testing.assert_close(grid.positions(), read, rtol=0, atol=1e-12)
    torch.testing.assert_close(grid.corners((8, 12)), nodes, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_changes_no_bit_of_the_grid(dtype):
    saliency = random_saliency(sd=5.0, dtype=torch.float32)
    expected = saliency_to_grid(saliency, (16, 16), max_zoom=3)
    picture = torch.rand(2, 3, 40, 40)
    with torch.autocast("cpu", dtype=dtype):
        grid = saliency_to_grid(saliency, (16, 16), max_zoom=3)
        shown = zoom(picture, grid)
    assert torch.equal(grid.nodes, expected.nodes)
    assert torch.equal(shown, zoom(picture, expected))


@pytest.mark.parametrize("separable", [False, True])
def test_gradcheck_of_grid_and_picture(separable):
    saliency = random_saliency(1, (4, 5)).requires_grad_()
    picture = torch.rand(1, 1, 9, 8, dtype=torch.float64, requires_grad=True)

    def both(s, x):
        grid = saliency_to_grid(s, (3, 4), separable=separable)
        return grid.nodes, zoom(x, grid)

    assert torch.autograd.gradcheck(both, (saliency, picture), atol=1e-4)


def test_gradient_of_a_peaked_map_is_finite():
    logits = (60 * torch.randn(1, 31, 31, generator=torch.Generator().manual_seed(0))).requires_grad_()
    saliency = logits.flatten(1).softmax(-1).view(1, 31, 31)
    saliency_to_grid(saliency, (8, 8), max_zoom=4).nodes.square().sum().backward()
    assert logits.grad.isfinite().all()
    assert logits.grad.any()


@pytest.fixture
def threads():
    """Sets the number of torch's threads, and puts it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("legacy", ["", "paper"])
def test_a_picture_read_by_several_threads_is_the_same(threads, antialias, legacy):
    picture = torch.rand(1, 3, 61, 90, generator=torch.Generator().manual_seed(0))
    grid = saliency_to_grid(random_saliency(1, sd=3.0).float(), (24, 31), legacy=legacy)
    outcomes = []
    for count in (1, 2, 5):  # of 24 rows five equal bands cannot be made
        threads(count)
        outcomes.append(zoom(picture, grid, antialias=antialias))
        assert torch.equal(outcomes[-1], outcomes[0])
        assert torch.equal(zoom(picture.clone().requires_grad_(), grid, antialias=antialias), outcomes[0])


@pytest.mark.parametrize("separable", [False, True])
def test_max_zoom_bounds_the_magnification_along_every_direction(separable):
    saliency = random_saliency(4, sd=8.0)
    free = saliency_to_grid(saliency, (8, 8), separable=separable)
    held = saliency_to_grid(saliency, (8, 8), separable=separable, max_zoom=3)
    assert (1 / torch.linalg.svdvals(jacobian(free))[..., 1]).max() > 3
    assert (1 / torch.linalg.svdvals(jacobian(held))[..., 1]).max() <= 3 + 1e-4
    gentle = saliency_to_grid(saliency, (8, 8), strength=0.05, separable=separable)
    torch.testing.assert_close(bounded(gentle, 3).nodes, gentle.nodes, rtol=0, atol=1e-9)


def test_strength_nothing_is_a_plain_resize():
    line = torch.linspace(0, 1, 31, dtype=torch.float64)
    nodes = saliency_to_grid(random_saliency(sd=9.0), (8, 8), strength=0).nodes
    torch.testing.assert_close(nodes[0, 0, :, 0], line, rtol=0, atol=1e-12)


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize(("strength", "sigma"), [(0.3, SIGMA), (0.8, 0.01), (1.0, 0.01)])
def test_strength_is_a_share_beside_a_uniform_saliency_of_any_sum(strength, sigma, separable):
    s = random_saliency(sd=1.5)
    mixed = strength * s / s.mean(dim=(1, 2), keepdim=True) + 1 - strength
    expected = saliency_to_grid(mixed, (40, 40), sigma, separable=separable).nodes
    for scale in (1.0, 1000.0):
        found = saliency_to_grid(scale * s, (40, 40), sigma, separable=separable, strength=strength).nodes
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_magnification_of_crops_and_of_the_whole():
    """Cells' areas divide the source among them: the mean of 1 / magnification^2 is 1 wherever nothing is cropped."""
    assert magnification(box_grid(torch.tensor([[0.25, 0.5, 0.5, 0.75]]), (9, 9))).item() == pytest.approx(4)
    whole = saliency_to_grid(random_saliency(3, sd=1.0), (8, 8))
    torch.testing.assert_close(magnification(whole).pow(-2).mean(dim=(1, 2)), torch.ones(3).double(), rtol=0, atol=1e-6)


def test_affine_grid_is_torchs():
    theta = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(0))
    expected = F.affine_grid(theta, [2, 3, 7, 9], align_corners=False)
    torch.testing.assert_close(affine_grid(theta, (7, 9)).sampling(), expected, rtol=0, atol=1e-5)


def test_matrices_are_small_constants():
    matrices = zoom_matrices((9, 31))
    assert [tuple(m.shape) for m in matrices[:2]] == [(18, 9), (31, 62)]
    assert all(m.dtype == torch.float64 for m in matrices[:2])


def test_mistakes_are_said_in_a_sentence():
    ones = torch.ones(1, 31, 31)
    for change, words in (
        ({"sigma": 0}, "sigma=0"),
        ({"padding": "zeros"}, "'zeros'"),
        ({"strength": 1.5}, "strength=1.5"),
        ({"max_zoom": 1.0}, "max_zoom=1.0"),
        ({"legacy": "new"}, "legacy='new'"),
    ):
        with pytest.raises(ValueError, match=words):
            saliency_to_grid(ones, (8, 8), **change)
    with pytest.raises(ValueError, match=r"out_size=\(0, 8\)"):
        saliency_to_grid(ones, (0, 8))
    with pytest.raises(ValueError, match="1x31"):
        saliency_to_grid(torch.ones(1, 1, 31), (8, 8))
    with pytest.raises(ValueError, match="2 pictures but 1 grids"):
        zoom(torch.zeros(2, 1, 8, 8), uniform_grid(1, (4, 4)))
