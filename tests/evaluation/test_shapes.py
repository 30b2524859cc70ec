"""The mean shape against shapes of known turn, size and mirror; the constant guess by hand."""

import dataclasses

import numpy as np
import pytest
from synthetic_record import make_record

from snellen.evaluation.figures.shapes import constant_guess_error, mean_shape

FACES = make_record("mtfl-5", 30, seed=1)


def test_mean_shape_undoes_turn_size_shift_and_mirror() -> None:
    rng = np.random.default_rng(2)
    shape = rng.normal(size=(7, 2))
    turned = []
    for i in range(20):
        a, s = rng.uniform(-1.5, 1.5), rng.uniform(0.5, 3)
        moved = s * shape @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) + rng.normal(0, 50, 2)
        turned.append(moved * [-1, 1] if i % 4 == 3 else moved)
    many = np.array(turned)
    many[3, 2] = np.nan
    found = mean_shape(many)
    # All distances between points agree up to one factor, so the shape is the same.
    ours, theirs = (np.linalg.norm(p[:, None] - p[None], axis=-1) for p in (found, shape))
    np.testing.assert_allclose(ours / ours.max(), theirs / theirs.max(), atol=1e-6)
    assert np.isnan(mean_shape(np.full((3, 5, 2), np.nan))).all()


def test_mean_shape_stands_as_the_shapes_do() -> None:
    """Upright faces give an upright mean: the eyes above the mouth, left at the left."""
    face = np.array([[30.0, 30], [70, 30], [50, 50], [35, 75], [65, 75]])
    found = mean_shape(face + np.random.default_rng(0).normal(0, 2, (30, 5, 2)))
    assert found[0, 0] < found[1, 0]
    assert found[0, 1] < found[3, 1]
    assert abs(found[0, 1] - found[1, 1]) < 0.1


def test_mirrored_shapes_do_not_turn_the_mean() -> None:
    """Half of the shapes mirrored left to right: the mean lies as flat as each of them."""
    rng = np.random.default_rng(4)
    flat = np.array([[0.0, 0], [90, 5], [100, 25], [60, 40], [20, 30]]) - 45
    many = np.array([flat * [1 if i % 2 else -1, 1] + rng.normal(0, 1, flat.shape) for i in range(40)])
    found = mean_shape(many)
    assert abs(found[0, 0] - found[2, 0]) > 3 * abs(found[0, 1] - found[2, 1])
    assert found[0, 1] < found[3, 1]


def test_constant_guess_is_the_mean_position() -> None:
    record = dataclasses.replace(FACES, pred_canvas=None)
    true = np.zeros((30, 5, 2))
    true[:, 1, 0] = 40.0
    true[:15, :, 1] = 10.0
    # The eyes are 40 apart; half of the faces lie 5 above the mean, half 5 below.
    assert constant_guess_error(dataclasses.replace(record, true_canvas=true)) == pytest.approx(5 / 40)
    assert constant_guess_error(dataclasses.replace(FACES, true_canvas=None)) is None
