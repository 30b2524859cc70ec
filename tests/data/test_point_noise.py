"""Annotations without images, and what is done to them before a denoiser sees them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from real import DATA, needs
from snellen.config import AugmentConfig, ConfigError, KeypointDataConfig, NoiseConfig
from snellen.data import CanvasDataset, PointCanvas, PointSet, Wings, build_dataset, build_points
from snellen.data.point_noise import add_noise
from snellen.keypoints import Keypoints, Schema
from tiny import write_discs

PAIRS = np.array([1, 0, 3, 2, 4])


def noisy(noise, seed=0, k=68, partners=None, missing=()):
    true = np.random.default_rng(99).uniform(0.1, 0.9, (k, 2))
    true[list(missing)] = np.nan
    made = add_noise(true, noise, np.arange(k) if partners is None else partners, np.random.default_rng(seed))
    return true, made


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_exactly_35_of_68_are_drawn(seed):
    """rcn.md 8: 35 draws without replacement; the other 33 stay where they are."""
    true, made = noisy(NoiseConfig(), seed)
    assert made.changed.sum() == 35
    assert made.given.all()
    np.testing.assert_array_equal(made.xy[~made.changed], true[~made.changed])
    assert ((made.xy >= 0) & (made.xy <= 1)).all()


def test_moved_points_are_uniform_over_the_canvas():
    places = np.concatenate([(m := noisy(NoiseConfig(), seed)[1]).xy[m.changed] for seed in range(200)])
    counts, _, _ = np.histogram2d(*places.T, bins=4, range=((0, 1), (0, 1)))
    expected = len(places) / 16
    assert ((counts - expected) ** 2 / expected).sum() < 37.7  # chi squared, 15 degrees of freedom: 1 in 1000


def test_how_many_is_drawn_from_the_range():
    counts = {int(noisy(NoiseConfig(share=(0.2, 0.6)), seed, k=10)[1].changed.sum()) for seed in range(200)}
    assert counts == {2, 3, 4, 5, 6}


def test_blank_points_are_not_given():
    _, made = noisy(NoiseConfig(uniform=0, blank=1))
    np.testing.assert_array_equal(made.given, ~made.changed)
    assert not made.xy[made.changed].any()


def test_a_swap_exchanges_both_points_of_a_pair():
    swaps = 0
    for seed in range(50):
        true, made = noisy(NoiseConfig(share=(0.2, 0.2), uniform=0, swap=1), seed, k=5, partners=PAIRS)
        moved = np.flatnonzero((made.xy != true).any(axis=1))
        if made.changed[4]:  # it has no partner, and is moved instead
            np.testing.assert_array_equal(moved, [4])
            continue
        swaps += 1
        a, b = np.flatnonzero(made.changed)
        assert PAIRS[a] == b
        np.testing.assert_array_equal(made.xy[[a, b]], true[[b, a]])
    assert swaps > 30


def test_jitter_stays_near_and_is_round_on_a_wide_canvas():
    noise = NoiseConfig(share=(1, 1), uniform=0, jitter=1, jitter_size=0.05)
    true = np.full((4000, 2), 0.5)
    made = add_noise(true, noise, np.arange(4000), np.random.default_rng(0), canvas=(50, 100))
    deviations = ((made.xy - true) * [100, 50]).std(axis=0)
    np.testing.assert_allclose(deviations, 5, rtol=0.05)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sets(st.integers(0, 4)))
def test_unlabelled_points_are_neither_given_nor_changed(seed, missing):
    noise = NoiseConfig(share=(0.6, 0.6), blank=1, swap=1, jitter=1)
    _, made = noisy(noise, seed, k=5, partners=PAIRS, missing=missing)
    assert not made.given[list(missing)].any()
    assert not made.changed[list(missing)].any()
    assert made.changed.sum() >= round(0.6 * (5 - len(missing)))
    assert np.isfinite(made.xy).all()


def test_a_kind_of_noise_does_not_reshuffle_the_others():
    """The same points are drawn, and those moved go to the same places, whatever else there is."""
    _, moved = noisy(NoiseConfig(), 3)
    _, mixed = noisy(NoiseConfig(blank=0.5, jitter=0.5), 3)
    np.testing.assert_array_equal(moved.changed, mixed.changed)
    same = (moved.xy == mixed.xy).all(axis=1) & moved.changed
    assert 8 < same.sum() < 28


def test_noise_that_cannot_be_is_refused():
    for settings_, words in (
        ({"uniform": 0}, "all 0"), ({"blank": -1}, "0 or more"), ({"share": (0.5, 1.5)}, "between 0 and 1"),
        ({"jitter_size": 0}, "below 1"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            NoiseConfig(**settings_)


def test_points_move_as_the_images_points_do():
    """The same key draws the same map for pictures and for annotations, mirrored ones included."""
    config = KeypointDataConfig(train_images=6)
    augment = AugmentConfig(shift=0.1, scale=(0.8, 1.2), rotate=30, flip=0.5)
    pictures = CanvasDataset(build_dataset(config, "train"), (72, 96), augment, seed=5)
    points = PointCanvas(build_points(config, "train"), (72, 96), augment, NoiseConfig(), seed=5)
    for i in range(6):
        seen, alone = pictures[3, i], points[3, i]
        torch.testing.assert_close(alone["truth"] * torch.tensor([96.0, 72.0]), seen["xy"], rtol=0, atol=1e-3)
        assert torch.equal(alone["matrix"], seen["matrix"])
        inside = (alone["truth"] >= 0).all(-1) & (alone["truth"] <= 1).all(-1)
        assert not alone["mask"][~inside].any()
    assert torch.equal(points[3, 0]["xy"], points[3, 0]["xy"])
    assert not torch.equal(points[4, 0]["xy"], points[3, 0]["xy"])


def test_no_image_is_decoded_or_drawn(tmp_path, monkeypatch):
    root = write_discs(tmp_path, 16)
    config = KeypointDataConfig(format="csv", root=str(root), origin=0.5, box="square", box_scale=1.5, val_share=0.3)
    expected = [build_dataset(config, split) for split in ("train", "val")]

    def refuse(*_, **__):
        raise AssertionError("a picture was decoded")

    monkeypatch.setattr("snellen.images.read_image", refuse)
    monkeypatch.setattr(Wings, "__getitem__", refuse)
    monkeypatch.setattr(Image.Image, "load", refuse)
    for split, data in zip(("train", "val"), expected, strict=True):
        points = build_points(config, split)
        assert list(points.names) == list(data.names)
        assert list(points.boxes) == [data.box_of(i) for i in range(len(data))]
        assert set(points.sizes) == {(48, 48)}
    assert len(build_points(KeypointDataConfig(val_images=3), "val")) == 3


def test_boxes_are_those_of_the_samples(tmp_path):
    config = KeypointDataConfig(format="csv", root=str(write_discs(tmp_path, 8)), box="square", val_share=0.25)
    data = build_dataset(config, "train")
    assert [data.box_of(i) for i in range(len(data))] == [data[i].box for i in range(len(data))]


def test_a_set_of_points_fits_together():
    schema, other = Schema("a", ("p",)), Schema("b", ("q",))
    one = Keypoints.visible([[1, 2]], schema)
    with pytest.raises(ValueError, match="equally many"):
        PointSet([one], [], [(4, 4)], ["x"], schema)
    with pytest.raises(ValueError, match="annotated as 'a'"):
        PointSet([one], [(0, 0, 4, 4)], [(4, 4)], ["x"], other)


@needs("faces68")
def test_real_faces_without_their_photos():
    config = KeypointDataConfig(
        format="pts", root=str(DATA / "faces68"), train_folders=["helen/trainset"], box="square", box_scale=1.3
    )
    points = build_points(config, "val")
    drawn = PointCanvas(points, (96, 96), AugmentConfig(), NoiseConfig())[0]
    assert len(points.schema) == 68
    assert drawn["mask"].sum() == 35
    assert (drawn["truth"] > 0.1).all()
    assert (drawn["truth"] < 0.9).all()
