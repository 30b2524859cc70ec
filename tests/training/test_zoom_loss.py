"""Losses of models that zoom: measured in the original frame, so no grid can fool them."""

import pytest
import torch

from layers.test_zoom import random_saliency
from snellen.keypoints.codecs import axis_targets
from snellen.layers.zoom_back import zoom_points
from snellen.layers.zoom_grid import ZoomGrid, box_grid, uniform_grid
from snellen.layers.zoom_saliency import saliency_to_grid
from snellen.models import KeypointOutput
from snellen.models.zoomed import source_probability
from snellen.training.losses import keypoint_loss
from snellen.training.zoom_diagnostics import object_magnification, zoom_diagnostics
from snellen.training.zoom_loss import FLOOR, jittered_boxes, original_frame_loss, point_boxes

CANVAS, SIZE = (128, 128), (32, 32)
POINTS = torch.tensor([[[70.3, 50.1], [80.9, 61.7], [66.0, 71.2], [90.2, 44.4]]])
MASK = torch.ones(1, 4, dtype=torch.bool)


def bump(x, y, width, floor):
    """A saliency of one bump at (x, y), fractions of the canvas."""
    t = torch.linspace(0, 1, 31)
    g = torch.exp(-0.5 * ((t[None] - x) ** 2 + (t[:, None] - y) ** 2) / width**2)
    return g[None] + floor


#: A bump at the object; and what shrinks it: a dent around it, or for separable grids a bump far away.
MAGNIFY = bump(0.6, 0.45, 0.12, 0.05)
SHRINK = {False: 1.001 - 0.98 * bump(0.6, 0.45, 0.2, 0.0), True: bump(0.05, 0.95, 0.15, 0.02)}


def blurred(grid, points, sigma=1.0):
    """What a network of finite precision answers: a Gaussian of one zoomed cell about the truth."""
    xy = zoom_points(points, grid, CANVAS).xy
    columns, rows = (axis_targets(xy[..., i], 32, "gauss", sigma) for i in (0, 1))
    return KeypointOutput((rows[..., :, None] * columns[..., None, :]).clamp(min=1e-12).log(), grid)


def ideal(grid, points):
    """What a network that knows answers: all mass on the zoomed cell that holds the truth."""
    xy = zoom_points(points, grid, CANVAS).xy.floor().long().clamp(0, 31)
    logits = torch.full((1, points.shape[1], 32, 32), -60.0)
    for i, (x, y) in enumerate(xy[0].tolist()):
        logits[0, i, y, x] = 60.0
    return KeypointOutput(logits, grid)


def loss_of(output, points=POINTS, target="hard"):
    return original_frame_loss(output, points, MASK, canvas=CANVAS, target=target).item()


def best_gauss(grid, points, steps=120):
    """The lowest loss against Gaussian targets that any answer on a grid has, by optimisation of its logits."""
    logits = torch.zeros(1, points.shape[1], 32, 32, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.5)
    for _ in range(steps):
        loss = original_frame_loss(KeypointOutput(logits, grid), points, MASK, canvas=CANVAS, target="gauss")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return loss.item()


@pytest.mark.parametrize("target", ["hard", "split", "gauss"])
@pytest.mark.parametrize("separable", [False, True])
def test_a_plain_resize_has_the_loss_of_no_zoom(target, separable):
    grid = ZoomGrid(uniform_grid(1, SIZE).nodes, SIZE, separable)
    logits = 3 * torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = keypoint_loss(logits, POINTS / 4, MASK, target=target).item()
    assert loss_of(KeypointOutput(logits, grid), target=target) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("separable", [False, True])
def test_with_an_ideal_predictor_no_grid_lowers_the_loss(separable):
    """Design: losses are measured in the original frame. The plain resize's ideal loss is 0, the lowest there is."""
    assert loss_of(ideal(uniform_grid(1, SIZE), POINTS)) == pytest.approx(0, abs=1e-4)
    grids = [saliency_to_grid(random_saliency(1, sd=sd, seed=s).float(), SIZE, separable=separable)
             for sd in (0.5, 2.0, 6.0) for s in range(3)]  # fmt: skip
    grids += [saliency_to_grid(s, SIZE, separable=separable) for s in (MAGNIFY, SHRINK[separable])]
    for grid in grids:
        assert loss_of(ideal(grid, POINTS)) >= -1e-4


def test_with_gaussian_targets_no_grid_lowers_the_best_loss():
    lowest = {name: best_gauss(grid, POINTS) for name, grid in (
        ("uniform", uniform_grid(1, SIZE)),
        ("magnified", saliency_to_grid(MAGNIFY, SIZE, separable=True)),
        ("shrunk", saliency_to_grid(SHRINK[True], SIZE, separable=True)),
    )}  # fmt: skip
    t = [axis_targets(POINTS[..., i] / 4, 32, "gauss") for i in (0, 1)]
    entropy = -sum((a * a.clamp(min=1e-30).log()).sum().item() for a in t)
    assert lowest["uniform"] == pytest.approx(entropy, rel=0.01)
    assert lowest["magnified"] > entropy - 0.01
    assert lowest["shrunk"] > lowest["uniform"] + 0.05


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("answer", [ideal, blurred])
def test_shrinking_the_object_costs(separable, answer):
    plain, shrunk = (g for g in (uniform_grid(1, SIZE), saliency_to_grid(SHRINK[separable], SIZE, separable=separable)))
    boxes = point_boxes(POINTS, MASK)
    assert object_magnification(shrunk, boxes, CANVAS).item() < 0.8
    assert loss_of(answer(shrunk, POINTS)) > loss_of(answer(plain, POINTS)) + 0.3


@pytest.mark.parametrize("separable", [False, True])
def test_magnifying_pays_for_a_network_of_finite_precision(separable):
    grid = saliency_to_grid(MAGNIFY, SIZE, separable=separable)
    assert object_magnification(grid, point_boxes(POINTS, MASK), CANVAS).item() > 1.3
    assert loss_of(blurred(grid, POINTS)) < loss_of(blurred(uniform_grid(1, SIZE), POINTS)) - 0.3


def test_the_zoomed_frame_would_reward_shrinking():
    """Why this loss exists: the same answers scored in the zoomed frame, with the truth moved there, prefer to shrink."""
    logits = torch.zeros(1, 4, 32, 32)
    logits[..., 8:24, 8:24] = 2.0  # a network that only knows that the object is in the middle
    crop = box_grid(torch.tensor([[-1.0, -1.0, 2.0, 2.0]]), SIZE)
    inside = zoom_points(POINTS, crop, CANVAS).xy
    corner = torch.tensor([[[4.0, 4.0], [120.0, 8.0], [6.0, 120.0], [110.0, 120.0]]])
    moved = zoom_points(corner, crop, CANVAS).xy
    assert keypoint_loss(logits, moved, MASK) < keypoint_loss(logits, corner / 4, MASK)
    shrunk, plain = (
        original_frame_loss(KeypointOutput(logits, g), POINTS, MASK, canvas=CANVAS)
        for g in (crop, uniform_grid(1, SIZE))
    )
    assert inside.shape == POINTS.shape
    assert shrunk > plain


def test_gradient_of_the_saliency_points_towards_magnifying():
    saliency = torch.ones(1, 31, 31, requires_grad=True)
    grid = saliency_to_grid(saliency, SIZE, separable=True)
    loss = original_frame_loss(blurred(grid, POINTS), POINTS, MASK, canvas=CANVAS)
    loss.backward()
    at_points = saliency.grad[0, 10:18, 16:22].mean()
    assert at_points < saliency.grad.mean() - saliency.grad.std() / 2


def test_points_outside_a_crop_are_finite_and_masked_ones_nothing():
    crop = box_grid(torch.tensor([[0.0, 0.0, 0.25, 0.25]]), SIZE)
    output = KeypointOutput(torch.zeros(1, 4, 32, 32, requires_grad=True), crop)
    loss = original_frame_loss(output, POINTS, MASK, canvas=CANVAS)
    assert torch.isfinite(loss)
    assert original_frame_loss(output, POINTS, ~MASK, canvas=CANVAS).item() == 0


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize(("target", "sigma"), [("hard", 1.0), ("split", 1.0), ("gauss", 0.7), ("gauss", 3.0)])
def test_cells_without_a_target_do_not_matter(target, sigma, separable):
    """The loss brings back only cells that the targets give weight to; the sum over all cells is the same."""
    saliency = random_saliency(1, sd=2.0, seed=3).float().requires_grad_()
    grid = saliency_to_grid(saliency, SIZE, separable=separable)
    logits = 3 * torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    output = KeypointOutput(logits.requires_grad_(), grid)
    points = torch.tensor([[[70.3, 50.1], [0.2, 127.9], [-9.0, 64.0], [127.0, 3.0]]])
    columns, rows = (axis_targets(points[..., i] / 4, 32, target, sigma) for i in (0, 1))
    every = -torch.einsum("bkhw,bkw,bkh->", (source_probability(output) + FLOOR).log(), columns, rows)
    loss = original_frame_loss(output, points, MASK, canvas=CANVAS, target=target, sigma=sigma)
    torch.testing.assert_close(loss, every, rtol=1e-5, atol=1e-5)
    wanted = torch.autograd.grad(every, [logits, saliency], retain_graph=True)
    for ours, whole in zip(torch.autograd.grad(loss, [logits, saliency]), wanted, strict=True):
        torch.testing.assert_close(ours, whole, rtol=1e-4, atol=1e-5 * whole.abs().max().item())


def test_diagnostics_of_a_plain_resize_and_of_a_zoom():
    boxes = point_boxes(POINTS, MASK)
    uniform = torch.full((1, 31, 31), 1 / 961)
    values = zoom_diagnostics(saliency_to_grid(uniform, SIZE), uniform, CANVAS, boxes)
    assert {k: round(float(v), 3) for k, v in values.items()} == {
        "zoom/object": 1.0, "zoom/largest": 1.0, "zoom/entropy": 1.0, "zoom/clamped": 0.0,
    }  # fmt: skip
    peaked = MAGNIFY / MAGNIFY.sum()
    values = zoom_diagnostics(saliency_to_grid(peaked, SIZE), peaked, CANVAS, boxes)
    assert values["zoom/object"] > 1.3
    assert values["zoom/entropy"] < 0.99
    assert torch.isnan(point_boxes(POINTS, ~MASK)).all()


def test_jittered_boxes_are_moved_and_scaled_by_the_spread():
    boxes = torch.tensor([[[10.0, 20.0, 30.0, 30.0]]]).expand(20_000, 1, 4)
    found = jittered_boxes(boxes, 0.1, torch.Generator().manual_seed(0))[:, 0]
    sides, centre = found[:, 2:] - found[:, :2], (found[:, 2:] + found[:, :2]) / 2
    torch.testing.assert_close(centre.mean(0), torch.tensor([20.0, 25.0]), atol=0.05, rtol=0)
    torch.testing.assert_close(centre.std(0), torch.tensor([2.0, 1.0]), atol=0.03, rtol=0)
    torch.testing.assert_close(
        (sides / torch.tensor([20.0, 10.0])).log().std(0), torch.tensor([0.1, 0.1]), atol=0.003, rtol=0
    )
    unlabelled = torch.full((2, 1, 4), torch.nan)
    assert jittered_boxes(unlabelled, 0.1, torch.Generator()).isnan().all()
