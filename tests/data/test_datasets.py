"""Every data set keeps the data set contract."""

import numpy as np
import pytest
import torch

from contracts import DatasetContract
from snellen.data import AnnotatedImages, InMemory, Perturbed, Spread, Wings
from snellen.keypoints.formats import read_csv
from tiny import write_discs


class TestWings(DatasetContract):
    def make(self):
        return Wings(3, seed=5)


class TestSpreadWings(DatasetContract):
    def make(self):
        return Spread(Wings(5, seed=5), 2)

    def test_samples_are_spread_and_never_more_than_there_are(self):
        wings = Wings(5, seed=5)
        assert list(Spread(wings, 2).names) == [wings.names[0], wings.names[2]]
        assert list(Spread(wings, 9).names) == list(wings.names)


class TestMovedBoxes(DatasetContract):
    def make(self):
        return Perturbed(Wings(2, seed=5), shift=0.2, scale=0.5)

    def test_boxes_move_by_the_share_and_nothing_else_changes(self, data):
        plain = Wings(2, seed=5)[0]
        moved = data[0]
        assert moved.box.width == pytest.approx(plain.box.width / 2)
        (x, y), (px, py) = moved.box.centre, plain.box.centre
        # A wing's box is not square: each axis moves by a share of its own side.
        share = np.hypot((x - px) / moved.box.width, (y - py) / moved.box.height)
        assert share == pytest.approx(0.2)
        assert torch.equal(moved.image, plain.image)


class TestGreyWingsInMemory(DatasetContract):
    def make(self):
        return InMemory(Wings(3, seed=5), channels=1)

    def test_grey_is_luma_and_kept(self, data):
        red, green, blue = Wings(3, seed=5)[1].image.float()
        grey = data[1].image[0].float()
        assert (grey - (0.299 * red + 0.587 * green + 0.114 * blue)).abs().max() <= 0.5 + 1e-3
        assert data[1] is data[1]


class TestAnnotatedImages(DatasetContract):
    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        self.root = write_discs(tmp_path / "with space", 3)

    def make(self):
        file = self.root / "annotations.csv"
        return AnnotatedImages(read_csv(file, origin=0.5), self.root, source=file)
