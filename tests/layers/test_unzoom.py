"""There and back through a zoom: pictures, points, boxes, maps and mass move together."""

import pytest
import torch
import torch.nn.functional as F

from layers.test_zoom import random_saliency
from snellen.layers.saliency import follow_saliency, mean_saliency, saliency_from_boxes
from snellen.layers.zoom_back import unzoom, unzoom_boxes, unzoom_points, zoom_boxes, zoom_points
from snellen.layers.zoom_grid import ZoomGrid, box_grid, uniform_grid
from snellen.layers.zoom_mass import unzoom_mass
from snellen.layers.zoom_saliency import saliency_to_grid
from snellen.layers.zoom_sample import zoom

KINDS = pytest.mark.parametrize("separable", [False, True])
SOURCE, SIZE = (300, 400), (96, 128)


def grid_of(separable, b=2, sd=2.0, size=SIZE, seed=0):
    return saliency_to_grid(random_saliency(b, sd=sd, seed=seed), size, separable=separable)


def smooth_picture(h, w, c=1):
    """A natural picture's spectrum: a sum of waves, none shorter than 12 pixels, in 0..1."""
    noise = torch.randn(1, c, h // 12, w // 12, generator=torch.Generator().manual_seed(3))
    return F.interpolate(noise, (h, w), mode="bicubic", align_corners=False).mul(0.15).add(0.5).clamp(0, 1)


def uniform_as(separable, size, dtype=torch.float32):
    grid = uniform_grid(1, size, dtype=dtype)
    return ZoomGrid(grid.nodes, size, separable)


@KINDS
@pytest.mark.parametrize("source", [(300, 400), (120, 161), (60, 70)])
def test_uniform_equals_an_antialiased_resize(separable, source):
    noise = torch.rand(1, 3, *source, generator=torch.Generator().manual_seed(0))
    for picture in (smooth_picture(*source, 3), *([noise] if separable else [])):
        expected = F.interpolate(picture, (96, 96), mode="bilinear", antialias=True, align_corners=False)
        difference = (zoom(picture, uniform_as(separable, (96, 96))) - expected).abs()
        assert (difference.max() if separable else difference.mean()) < (1 if separable else 3) / 255


@KINDS
def test_fine_stripes_turn_grey_where_the_grid_shrinks(separable):
    """Lines of one pixel, shrunk four times and more: plain sampling shows stripes, anti-aliasing their mean."""
    stripes = torch.arange(400).remainder(2).float().expand(1, 1, 400, 400)
    grid = ZoomGrid(uniform_grid(1, (90, 90)).nodes, (90, 90), separable)
    assert zoom(stripes, grid, antialias=False).std() > 0.2
    shown = zoom(stripes, grid)[..., 2:-2, 2:-2]
    assert (shown - 0.5).abs().max() < 0.15
    assert shown.std() < 0.05


@KINDS
@pytest.mark.parametrize("sd", [0.5, 2.0, 5.0])
def test_points_there_and_back(separable, sd):
    grid = grid_of(separable, sd=sd)
    points = torch.rand(2, 500, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    source = points * torch.tensor([400.0, 300.0])
    placed = zoom_points(source, grid, SOURCE)
    assert placed.inside.all()
    assert (unzoom_points(placed.xy, grid, SOURCE) - source).abs().max() < 1e-3
    shown = points * torch.tensor([128.0, 96.0])
    again = zoom_points(unzoom_points(shown, grid, SOURCE), grid, SOURCE).xy
    assert (again - shown).abs().max() < 1e-3


@KINDS
@pytest.mark.parametrize("nowhere", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("count", [3, 5000])
def test_a_point_that_is_nowhere_stays_nowhere_and_moves_no_other(separable, nowhere, count):
    grid = grid_of(separable)
    points = torch.rand(2, count, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 90
    wanted = zoom_points(points, grid, SOURCE), unzoom_points(points, grid, SOURCE)
    points[0, 1] = nowhere
    placed, back = zoom_points(points, grid, SOURCE), unzoom_points(points, grid, SOURCE)
    assert not placed.inside[0, 1]
    assert not placed.xy[0, 1].isfinite().any()
    assert not back[0, 1].isfinite().any()
    others = torch.ones(2, count, dtype=torch.bool)
    others[0, 1] = False
    torch.testing.assert_close(placed.xy[others], wanted[0].xy[others], rtol=0, atol=1e-9)
    torch.testing.assert_close(back[others], wanted[1][others], rtol=0, atol=0)
    boxes = torch.cat((points[:, :2], points[:, :2] + 5), dim=-1)
    assert not zoom_boxes(boxes, grid, SOURCE)[0, 1].isfinite().all()
    assert zoom_boxes(boxes, grid, SOURCE)[0, 0].isfinite().all()


def test_bisection_equals_newton():
    grid = grid_of(True)
    general = ZoomGrid(grid.nodes, grid.size, separable=False)
    points = torch.rand(2, 300, 2, dtype=torch.float64) * 300
    torch.testing.assert_close(zoom_points(points, grid, SOURCE).xy, zoom_points(points, general, SOURCE).xy)


@pytest.mark.parametrize("sd", [0.5, 5.0, 10.0])
def test_a_raster_is_inverted_as_its_points_are(sd):
    """Many targets share their starts, few have one each: the same answers, on strongly bent grids too."""
    grid = grid_of(False, sd=sd)
    rows, columns = torch.meshgrid(torch.linspace(-3, 303, 90), torch.linspace(-4, 404, 120), indexing="ij")
    raster = torch.stack((columns, rows), dim=-1).reshape(1, -1, 2).expand(2, -1, -1).double()
    whole = zoom_points(raster, grid, SOURCE)
    parts = [zoom_points(part, grid, SOURCE) for part in raster.split(1000, dim=1)]
    torch.testing.assert_close(whole.xy, torch.cat([part.xy for part in parts], dim=1), rtol=0, atol=1e-3)
    assert torch.equal(whole.inside, torch.cat([part.inside for part in parts], dim=1))


@KINDS
def test_points_lie_where_the_picture_shows_them(separable):
    """A blob's centre of mass in the zoomed picture, against the blob's centre moved as a point."""
    centre = torch.tensor([[[231.0, 140.0]]], dtype=torch.float64)
    x, y = torch.arange(400) + 0.5, torch.arange(300) + 0.5
    blob = torch.exp(-0.5 * ((x - 231) ** 2 + (y[:, None] - 140) ** 2) / 4**2)[None, None]
    grid = grid_of(separable, b=1, sd=0.7)
    shown = zoom(blob, grid)[0, 0].double()
    columns, rows = torch.arange(128) + 0.5, torch.arange(96) + 0.5
    mean = torch.stack(((shown * columns).sum(), (shown * rows[:, None]).sum())) / shown.sum()
    # The warp bends within the blob, by less than a tenth of a pixel here.
    assert (mean - zoom_points(centre, grid, SOURCE).xy[0, 0]).norm() < 0.1


def test_boxes_are_exact_for_separable_grids_and_hulls_for_others():
    boxes = torch.tensor([[[30.0, 40, 100, 90], [200, 100, 380, 290]]], dtype=torch.float64)
    straight = grid_of(True, b=1)
    moved = zoom_boxes(boxes, straight, SOURCE)
    torch.testing.assert_close(unzoom_boxes(moved, straight, SOURCE), boxes)
    corners = zoom_points(boxes[..., :2], straight, SOURCE).xy
    torch.testing.assert_close(moved[..., :2], corners)
    bent = grid_of(False, b=1)
    around = zoom_boxes(boxes, bent, SOURCE)
    inner = torch.rand(1, 200, 2, dtype=torch.float64) * torch.tensor([70.0, 50]) + torch.tensor([30.0, 40])
    found = zoom_points(inner, bent, SOURCE).xy
    assert (found >= around[:, :1, :2] - 0.1).all()
    assert (found <= around[:, :1, 2:] + 0.1).all()


@KINDS
def test_crops_flag_what_they_do_not_show(separable):
    crop = box_grid(torch.tensor([[0.25, 0.25, 0.75, 0.75]], dtype=torch.float64), (10, 10))
    grid = ZoomGrid(crop.nodes, crop.size, separable)
    placed = zoom_points(torch.tensor([[[50.0, 50.0], [10.0, 50.0], [50.0, 99.0]]]), grid, (100, 100))
    assert placed.inside.tolist() == [[True, False, False]]
    assert placed.xy[0, 1, 0] < 0
    assert placed.xy[0, 2, 1] > 10
    inside = unzoom(torch.ones(1, 1, 10, 10), grid, (8, 8)).inside[0]
    assert inside.sum() == 16
    assert inside[2:6, 2:6].all()


@KINDS
def test_maps_there_and_back(separable):
    picture = smooth_picture(120, 160)
    grid = grid_of(separable, b=1, sd=1.0, size=(240, 320))
    back = unzoom(zoom(picture, grid), grid, (120, 160))
    assert back.inside.all()
    assert (back.maps - picture).abs().mean() < 0.01
    labels = (picture * 5).long()
    again = unzoom(zoom(labels, grid, mode="nearest"), grid, (120, 160), mode="nearest").maps
    assert again.dtype == labels.dtype
    assert (again == labels).float().mean() > 0.97


@KINDS
def test_gradcheck_of_the_way_back(separable):
    saliency = random_saliency(1, (4, 5)).requires_grad_()
    points = (torch.rand(1, 3, 2, dtype=torch.float64) * 8 + 1).requires_grad_()
    mass = torch.rand(1, 1, 3, 4, dtype=torch.float64, requires_grad=True)

    def ways(s, xy, m):
        grid = saliency_to_grid(s, (10, 11), separable=separable)
        return (
            unzoom_points(xy, grid, (20, 30)),
            zoom_points(xy * 2, grid, (20, 30)).xy,
            unzoom(m, grid, (5, 4)).maps,
            unzoom_mass(m, grid, (5, 4)),
        )

    assert torch.autograd.gradcheck(ways, (saliency, points, mass), atol=1e-4)


@KINDS
def test_mass_is_kept_and_a_plain_resize_changes_nothing(separable):
    mass = torch.rand(2, 3, 24, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    back = unzoom_mass(mass, grid_of(separable, sd=4.0), (17, 23))
    torch.testing.assert_close(back.sum(dim=(2, 3)), mass.sum(dim=(2, 3)), rtol=1e-6 if separable else 1e-3, atol=0)
    plain = ZoomGrid(uniform_grid(2, (96, 96), dtype=torch.float64).nodes, (96, 96), separable)
    torch.testing.assert_close(unzoom_mass(mass, plain, (24, 20)), mass, rtol=0, atol=1e-6)


def test_mass_of_both_forms_agrees_on_a_separable_grid():
    grid = grid_of(True, sd=3.0)
    general = ZoomGrid(grid.nodes, grid.size, separable=False)
    mass = torch.rand(2, 2, 24, 24, dtype=torch.float64)
    exact, near = (unzoom_mass(mass, g, (24, 24)) for g in (grid, general))
    assert (exact - near).abs().sum() < 0.1 * exact.sum()


def test_mass_of_what_the_grid_shrinks_is_spread():
    """A cell that shows the whole source puts its mass everywhere."""
    grid = box_grid(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), (8, 8))
    back = unzoom_mass(torch.ones(1, 1, 1, 1), grid, (4, 4))
    torch.testing.assert_close(back, torch.full((1, 1, 4, 4), 1 / 16))


def test_saliency_from_boxes_is_the_formula():
    """FOVEA's S for one box, by hand at two nodes (zoom.md 7.1)."""
    box = torch.tensor([[[40.0, 20.0, 60.0, 40.0]]], dtype=torch.float64)
    s = saliency_from_boxes(box, (5, 5), (100, 100), beta=10.0)[0]
    assert s.sum().item() == pytest.approx(1)
    x = torch.linspace(0, 100, 5, dtype=torch.float64)
    e = torch.exp(-0.5 * ((x[None] - 50) ** 2 + (x[:, None] - 30) ** 2) / 200)
    raw = e / (1e-5 + e.sum()) + 1 / 81
    torch.testing.assert_close(s, raw / raw.sum())
    none = saliency_from_boxes(box, (5, 5), (100, 100), labelled=torch.zeros(1, 1, dtype=torch.bool))
    torch.testing.assert_close(none, torch.full_like(none, 1 / 25))


def test_saliency_of_a_data_set_and_of_the_frame_before():
    one = saliency_from_boxes(torch.tensor([[[10.0, 10, 30, 30]], [[70.0, 70, 90, 90]]]), (9, 9), (100, 100))
    mean = mean_saliency(one * torch.tensor([1.0, 7.0])[:, None, None])
    torch.testing.assert_close(mean, mean.flip(0).flip(1))
    torch.testing.assert_close(follow_saliency(one[:1], one[1:], 0.5)[0], mean)
    with pytest.raises(ValueError, match="share=2"):
        follow_saliency(one, one, 2)


def test_legacy_grids_are_not_inverted():
    grid = saliency_to_grid(torch.ones(1, 31, 31), (8, 8), legacy="paper")
    with pytest.raises(ValueError, match="can only be sampled"):
        zoom_points(torch.zeros(1, 1, 2), grid, (8, 8))
