"""Labelled pictures on canvases."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snellen.config import ClassAugmentConfig
from snellen.data import (
    ClassificationCanvas,
    LabelledImage,
    StepBatches,
    evaluation_loader,
    training_loader,
)
from snellen.data.class_canvas import sample
from snellen.geometry import compose, hflip, transform_points, translation, warp

EVERYTHING = ClassAugmentConfig(
    shift=0.1, area=(0.3, 1), scale=(0.9, 1.1), rotate=20, flip=0.5, brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1,
    erase=0.5,
)  # fmt: skip


class Noise:
    """Pictures of noise, label = index modulo 3."""

    classes = ("a", "b", "c")

    def __init__(self, count=12, size=(32, 32), channels=3):
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randint(0, 256, (count, channels, *size), dtype=torch.uint8, generator=generator)
        self.names = [str(i) for i in range(count)]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return LabelledImage(self.images[index], index % 3, self.names[index])


def same(a, b):
    return all(torch.equal(a[name].nan_to_num(-1), b[name].nan_to_num(-1)) for name in a)


def test_without_changes_the_picture_comes_out_exactly():
    for fit in ("crop", "pad", "stretch"):
        data = Noise()
        item = ClassificationCanvas(data, (32, 32), fit=fit)[3]
        assert torch.equal(item["image"], data.images[3].float())
        assert item["label"] == 0
        assert item["index"] == 3


@settings(max_examples=30, deadline=None)
@given(dx=st.integers(-40, 40), dy=st.integers(-40, 40), flip=st.booleans(), h=st.integers(1, 9), w=st.integers(1, 9))
def test_whole_pixels_are_copied_as_the_warp_would_move_them(dx, dy, flip, h, w):
    image = torch.randint(0, 256, (3, 7, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    matrix = compose(translation(dx % 13 - 6, dy % 13 - 6), hflip(w)) if flip else translation(dx % 13 - 6, dy % 13 - 6)
    got = sample(image, matrix, (h, w))
    torch.testing.assert_close(got, warp(image, matrix, (h, w)), atol=2e-2, rtol=0)
    assert torch.equal(got, got.round())


def test_the_cifar_recipe_is_a_padded_crop_and_a_flip():
    data = Noise(1)
    canvases = ClassificationCanvas(data, (32, 32), ClassAugmentConfig(shift=4 / 32, flip=0.5))
    padded = torch.nn.functional.pad(data.images[0].float(), (4, 4, 4, 4))
    wanted = {}
    for y in range(9):
        for x in range(9):
            crop = padded[:, y : y + 32, x : x + 32]
            wanted[crop.numpy().tobytes()] = (y, x, False)
            wanted[crop.flip(-1).contiguous().numpy().tobytes()] = (y, x, True)
    seen = [wanted[canvases[epoch, 0]["image"].numpy().tobytes()] for epoch in range(400)]
    for axis in (0, 1):
        counts = np.bincount([s[axis] for s in seen], minlength=9)
        assert counts.min() > 20  # 44 expected of each
    assert 150 < sum(s[2] for s in seen) < 250


def test_a_draw_depends_on_seed_epoch_and_index_alone():
    one, other = (ClassificationCanvas(Noise(), (24, 20), EVERYTHING, seed=3) for _ in range(2))
    first = one[2, 5]
    for key in ((0, 5), (7, 1), (2, 4)):
        other[key]
    torch.manual_seed(9)
    assert same(first, other[2, 5])
    assert not same(first, one[3, 5])
    assert not same(first, ClassificationCanvas(Noise(), (24, 20), EVERYTHING, seed=4)[2, 5])
    assert same(one[5], one[5])


def test_fits():
    wide = (10, 30)
    shown = {}
    for fit in ("crop", "pad", "stretch"):
        matrix = ClassificationCanvas(Noise(1, wide), (20, 20), fit=fit).draw_map(*wide, np.random.default_rng(0))
        shown[fit] = transform_points(matrix, [[0, 0], [30, 10]]).round(6).tolist()
    assert shown["crop"] == [[-20, 0], [40, 20]]
    np.testing.assert_allclose(shown["pad"], [[0, 20 / 3], [20, 40 / 3]], atol=1e-6)
    assert shown["stretch"] == [[0, 0], [20, 20]]
    # The usual test of ImageNet networks: 224 of the 256 pixels of the shorter side.
    matrix = ClassificationCanvas(Noise(1), (224, 224), zoom=0.875).draw_map(256, 320, np.random.default_rng(0))
    np.testing.assert_allclose(matrix, translation(-48, -16), atol=1e-9)


def test_parts_of_the_picture_have_the_area_and_shape_asked_for():
    augment = ClassAugmentConfig(area=(0.2, 0.5), aspect=(0.75, 4 / 3))
    canvases = ClassificationCanvas(Noise(1), (16, 32), augment)
    areas, ratios = [], []
    for i in range(300):
        matrix = canvases.draw_map(60, 120, np.random.default_rng(i))
        (left, top), (right, bottom) = transform_points(np.linalg.inv(matrix), [[0, 0], [32, 16]])
        assert left > -1e-6
        assert top > -1e-6
        assert right < 120 + 1e-6
        assert bottom < 60 + 1e-6
        areas.append((right - left) * (bottom - top) / 7200)
        ratios.append((right - left) / (bottom - top) / 2)
    assert 0.2 - 1e-9 < min(areas) < 0.22
    assert 0.48 < max(areas) < 0.5 + 1e-9
    assert 0.75 - 1e-9 < min(ratios) < 0.77
    assert 1.3 < max(ratios) < 4 / 3 + 1e-9


def test_colours_stay_in_range_and_move_nothing():
    flat = Noise(1)
    flat.images[0] = torch.tensor([200, 100, 50], dtype=torch.uint8)[:, None, None]
    canvases = ClassificationCanvas(flat, (32, 32), ClassAugmentConfig(brightness=1, contrast=1, saturation=1, hue=0.5))
    for epoch in range(10):
        image = canvases[epoch, 0]["image"]
        assert image.min() >= 0
        assert image.max() <= 255
        assert (image - image[:, :1, :1]).abs().max() < 1e-3  # a flat picture stays flat
    bright = ClassificationCanvas(flat, (32, 32), ClassAugmentConfig(brightness=0.2))
    values = torch.stack([bright[e, 0]["image"][:, 0, 0] for e in range(200)])
    factors = values / torch.tensor([200.0, 100.0, 50.0])
    assert (factors - factors[:, :1]).abs().max() < 1e-4
    assert 0.8 <= factors.min() < 0.82
    assert 1.18 < factors.max() <= 1.2 + 1e-6
    # Grey pictures have no saturation and no hue.
    grey = Noise(1, channels=1)
    item = ClassificationCanvas(grey, (32, 32), ClassAugmentConfig(hue=0.5))[0, 0]
    assert torch.equal(item["image"], grey.images[0].float())


def test_the_erased_rectangle():
    data = Noise(1)
    canvases = ClassificationCanvas(
        data, (32, 32), ClassAugmentConfig(erase=1, erase_area=(0.1, 0.2), erase_aspect=(0.5, 2))
    )
    mean = data.images[0].float().mean(dim=(1, 2))
    for epoch in range(60):
        image = canvases[epoch, 0]["image"]
        covered = (image != data.images[0].float()).any(0)
        rows, columns = covered.any(1).nonzero()[:, 0], covered.any(0).nonzero()[:, 0]
        h, w = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
        assert covered.sum() == h * w
        assert 0.08 < h * w / 1024 < 0.23
        assert 0.4 < h / w < 2.5
        torch.testing.assert_close(image[:, rows[0], columns[0]], mean)


def test_batches_of_both_loaders():
    canvases = ClassificationCanvas(Noise(), (16, 16), EVERYTHING)
    batches = list(training_loader(canvases, StepBatches(12, 4, 3)))
    assert sorted(torch.cat([b.index for b in batches]).tolist()) == list(range(12))
    for batch in batches:
        assert batch.image.shape == (4, 3, 16, 16)
        assert batch.image.dtype == torch.float32
        assert torch.equal(batch.label, batch.index % 3)
    last = list(evaluation_loader(canvases, 5))[-1].to(torch.device("cpu"))
    assert last.index.tolist() == [10, 11]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"shift": -0.1}, "shift"), ({"flip": 1.5}, "flip"), ({"hue": 0.6}, "hue"), ({"area": (0.5, 1.2)}, "area"),
        ({"aspect": (2, 1)}, "aspect"), ({"rotate": math.nan}, "rotate"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense(values, says):
    with pytest.raises(ValueError, match=says):
        ClassAugmentConfig(**values)


def test_canvases_that_make_no_sense():
    for options in ({"canvas": (0, 3)}, {"canvas": (3, 3), "fit": "cut"}, {"canvas": (3, 3), "zoom": 1.5}):
        with pytest.raises(ValueError, match="give"):
            ClassificationCanvas(Noise(), **options)
