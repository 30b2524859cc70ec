"""Label maps on canvases: image and labels move together, in an order that the seed decides."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from masks import write_segnet
from snellen.config import AugmentConfig
from snellen.data import StepBatches, evaluation_loader, training_loader
from snellen.data.augment import keyed_generator
from snellen.data.mask_canvas import LabelBatch, SegmentationCanvas, draw_view, move_labels, move_pair
from snellen.data.mask_formats import build_segmentation
from snellen.data.masks import LabelMap
from snellen.geometry import compose, hflip, scaling, transform_points, translation

MOVES = AugmentConfig(shift=0.1, scale=(0.4, 1.6), stretch=(0.8, 1.2), rotate=30, flip=0.5)


class Patches:
    """Images whose grey value is ten times their label: rectangles on a background."""

    classes = tuple("abcdefgh")

    def __init__(self, size=(90, 120), count=6, ignore=8):
        self.size, self.ignore, self.names = size, ignore, [f"patches {i}" for i in range(count)]

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        rng, (h, w) = np.random.default_rng(index), self.size
        labels = torch.full(self.size, 7, dtype=torch.uint8)
        for _ in range(6):
            top, left = int(rng.integers(0, h - 20)), int(rng.integers(0, w - 20))
            labels[top : top + 30, left : left + 30] = int(rng.integers(1, 8))
        return LabelMap(labels[None] * 10, labels, self.names[index])


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def away_from_edges(labels, margin):
    """Pixels around which, for `margin` pixels, there is one label alone; none at the canvas's border."""
    x = labels[None, None].float()
    window = {"kernel_size": 2 * margin + 1, "stride": 1}
    same_label = F.max_pool2d(x, **window) == -F.max_pool2d(-x, **window)
    return F.pad(same_label, [margin] * 4)[0, 0]


@pytest.mark.parametrize("crop", [False, True])
def test_image_and_labels_move_together(crop):
    data = SegmentationCanvas(Patches(), (64, 80), MOVES, seed=1, crop=crop)
    share, mirrored = [], 0
    for index in range(len(data)):
        for epoch in range(3):
            item = data[epoch, index]
            mirrored += bool(torch.linalg.det(item["matrix"]) < 0)
            labels = item["labels"]
            inside = away_from_edges(labels, 3) & (labels != data.ignore)
            share.append(inside.float().mean().item())
            assert (item["image"][0] - 10 * labels)[inside].abs().max() < 0.01
            # Outside the image both are empty.
            outside = away_from_edges(labels, 3) & (labels == data.ignore)
            assert (item["image"][0][outside] == 0).all()
    assert np.mean(share) > 0.3
    assert 0 < mirrored < 18


def test_every_label_lies_where_the_matrix_puts_it():
    """An oracle by points: each canvas pixel's centre, brought back, lies in an image pixel of that label."""
    sample, matrix = Patches()[2], draw_view((90, 120), (64, 80), MOVES, keyed_generator(5))
    _, labels = move_pair(sample.image, sample.labels, matrix, (64, 80), outside=99)
    back = np.linalg.inv(matrix)
    for y, x in np.random.default_rng(0).integers(0, (64, 80), (200, 2)):
        column, row = np.floor(transform_points(back, [x + 0.5, y + 0.5])).astype(int)
        seen = 0 <= column < 120 and 0 <= row < 90
        assert labels[y, x] == (sample.labels[row, column] if seen else 99)


def test_no_change_leaves_image_and_labels_exactly_as_they_are():
    rng = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, 33, 47), dtype=torch.uint8, generator=rng)
    labels = torch.randint(0, 12, (33, 47), dtype=torch.uint8, generator=rng)

    class One(Patches):
        def __getitem__(self, index):
            return LabelMap(image, labels, "one")

    for crop in (False, True):
        item = SegmentationCanvas(One(count=1), (33, 47), AugmentConfig(), crop=crop)[0]
        assert torch.equal(item["image"], image.float())
        assert torch.equal(item["labels"], labels.long())
        assert torch.equal(item["matrix"], torch.eye(3, dtype=torch.float64))
    mirror = SegmentationCanvas(One(count=1), (33, 47), AugmentConfig(flip=1.0))[0]
    assert torch.equal(mirror["image"], image.flip(-1).float())
    assert torch.equal(mirror["labels"], labels.flip(-1).long())


def test_a_crop_is_a_window_of_the_image():
    data, seen = SegmentationCanvas(Patches(), (40, 50), AugmentConfig(), crop=True), set()
    source = Patches()[3]
    for epoch in range(60):
        item = data[epoch, 3]
        left, top = (int(v) for v in -item["matrix"][:2, 2])
        assert 0 <= top <= 50
        assert 0 <= left <= 70
        assert torch.equal(item["labels"], source.labels[top : top + 40, left : left + 50].long())
        assert torch.equal(item["image"], source.image[:, top : top + 40, left : left + 50].float())
        seen.add((top, left))
    tops, lefts = zip(*seen, strict=True)
    # Every place can be drawn, up to the borders.
    assert min(tops) < 6 < 44 < max(tops)
    assert min(lefts) < 8 < 62 < max(lefts)


def test_a_small_image_lies_inside_a_larger_crop():
    data = SegmentationCanvas(Patches((40, 40), ignore=None), (64, 100), AugmentConfig(), crop=True)
    assert data.ignore == 255
    for epoch in range(5):
        labels = data[epoch, 0]["labels"]
        assert (labels != 255).sum() == 40 * 40


def test_the_whole_image_fits():
    item = SegmentationCanvas(Patches((90, 120)), (64, 64), AugmentConfig())[0]
    shown = item["labels"] != 8
    assert shown.sum() == 48 * 64
    assert shown[8:56].all()


def test_shrunk_labels_are_labels_of_the_image_and_shrunk_images_are_averages():
    stripes = (torch.arange(64) % 2).to(torch.uint8).expand(64, 64)
    image, labels = move_pair(stripes[None] * 200, stripes, scaling(0.25), (16, 16), outside=9)
    assert set(labels.unique().tolist()) <= {0, 1}
    torch.testing.assert_close(image, torch.full((1, 16, 16), 100.0))


def test_moving_by_whole_pixels_is_undone_exactly():
    labels = Patches()[1].labels
    there = compose(translation(7, -4), hflip(120))
    moved = move_labels(labels, there, (90, 120), outside=9)
    back = move_labels(moved, np.linalg.inv(there), (90, 120), outside=9)
    assert torch.equal(back[4:, :113], labels[4:, :113])
    assert (back[:4] == 9).all()


def test_a_draw_depends_on_seed_epoch_and_index_alone():
    changes = AugmentConfig(**{**vars(MOVES), "brightness": 0.2, "noise": 5, "blur_probability": 0.5})
    one, other = (SegmentationCanvas(Patches(), (32, 40), changes, seed=3, crop=True) for _ in range(2))
    first = one[2, 5]
    for key in ((0, 5), (7, 1)):
        other[key]
    assert same(first, other[2, 5])
    assert not same(first, one[3, 5])
    assert not same(first, SegmentationCanvas(Patches(), (32, 40), changes, seed=4, crop=True)[2, 5])
    assert same(one[4], one[4])
    # Photometric changes touch the image alone.
    plain = SegmentationCanvas(Patches(), (32, 40), MOVES, seed=3, crop=True)[2, 5]
    assert torch.equal(plain["labels"], first["labels"])
    assert not torch.equal(plain["image"], first["image"])


def test_batches_and_workers():
    data, batches = SegmentationCanvas(Patches(), (16, 20), MOVES), StepBatches(6, 4, 3)
    alone, helped = (list(training_loader(data, batches, workers=n)) for n in (0, 1))
    assert len(alone) == 3
    assert all(same(vars(a), vars(b)) for a, b in zip(alone, helped, strict=True))
    assert isinstance(alone[0], LabelBatch)
    assert alone[0].image.shape == (4, 1, 16, 20)
    assert alone[0].labels.dtype == torch.int64
    moved = alone[0].to(torch.device("cpu"))
    assert same(vars(moved), vars(alone[0]))
    in_order = torch.cat([batch.index for batch in evaluation_loader(data, 4)])
    assert in_order.tolist() == list(range(6))


def test_files_become_batches(tmp_path):
    data = build_segmentation("segnet", write_segnet(tmp_path, {"train": 3, "val": 1}), "train")
    batch = next(iter(evaluation_loader(SegmentationCanvas(data, (6, 8), AugmentConfig()), 3)))
    assert torch.equal(batch.labels, torch.stack([data[i].labels for i in range(3)]).long())


def test_impossible_canvases_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        SegmentationCanvas(Patches(), (0, 8), AugmentConfig())
    with pytest.raises(ValueError, match="keypoints"):
        SegmentationCanvas(Patches(), (8, 8), AugmentConfig(tight_probability=0.5))
