"""Every data set keeps the data set contract."""

import pytest

from contracts import DatasetContract
from snellen.data import AnnotatedImages, InMemory, Wings
from snellen.keypoints.formats import read_csv
from tiny import write_discs


class TestWings(DatasetContract):
    def make(self):
        return Wings(3, seed=5)


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
