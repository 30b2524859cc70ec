"""Measures of label maps against what was worked out by hand, and the colours they are drawn in."""

import numpy as np
import pytest
import torch

from snellen.data.masks import LabelMap
from snellen.evaluation.figures.palette import COLOURS, NO_CLASS, colour, coloured
from snellen.evaluation.label_record import thumbnail
from snellen.evaluation.labels import measure, shifted
from snellen.inference import Segmenter
from snellen.models import LabelOutput
from snellen.training.segmentation import mean_iou_interval

# --- measures by hand


class Brightness(torch.nn.Module):
    """Says class 1 where the canvas is brighter than 127; a pixel of the answer sees its own pixel alone."""

    step = 1

    def __init__(self):
        super().__init__()
        self.zero = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x):
        bright = x[:, :1] - 127.5 + self.zero
        return LabelOutput(torch.cat((-bright, bright), dim=1))


class Toy:
    """Two images of 4x6 pixels, halves dark and bright; in the second a column is called bright though it is dark."""

    classes, ignore, names, source = ("dark", "bright"), 2, ("right", "wrong"), "toy"

    def __len__(self):
        return 2

    def __getitem__(self, index):
        labels = torch.zeros(4, 6, dtype=torch.uint8)
        labels[:, 3:] = 1
        image = 255 * labels[None].clone()
        if index:
            labels[:, 2] = 1
            labels[0, 0] = 2
        return LabelMap(image, labels, self.names[index])


CARD = {"classes": ["dark", "bright"], "canvas": [4, 6], "channels": 1, "flip": False, "crop": True}


def test_two_images_by_hand():
    found = measure(Segmenter(Brightness(), CARD), Toy())
    assert found.confusion.tolist() == [[[12, 0], [0, 12]], [[7, 0], [4, 12]]]
    assert found.image_iou == pytest.approx([1, (7 / 11 + 12 / 16) / 2])
    # The tolerance, 0.75 % of 7.2 pixels, is less than a pixel: in the second image the true boundary lies between columns 1
    # and 2, the answered one between 2 and 3, and no pixel of one is of the other.
    np.testing.assert_allclose(found.boundary, [[1, 1], [0, 0]])
    # A model that sees single pixels gives a moved image the moved labels; the first column is repeated, not moved in.
    np.testing.assert_allclose(found.same, [1, 1])
    assert found.shifted.tolist() == [[[9, 0], [0, 6]], [[5, 0], [3, 6]]]
    assert measure(Segmenter(Brightness(), CARD), Toy(), robustness=False).shifted.sum() == 0
    # A step between two halves of 3 columns: phases of even and odd columns hold 1 and 2 bright ones of three.
    assert found.checkerboard[0, 0] == pytest.approx((1 / 6) ** 2 / 0.25)


def test_a_model_that_follows_the_grid_is_not_consistent_under_shifts():
    class Grid(Brightness):
        def forward(self, x):
            rows = torch.arange(x.shape[-2])[:, None] % 2 - 0.5
            return LabelOutput(torch.stack((-rows, rows)).expand(1, 2, *x.shape[-2:]) + self.zero)

    found = measure(Segmenter(Grid(), CARD), Toy())
    np.testing.assert_array_equal(found.same, [0, 0])
    assert found.checkerboard[0].tolist() == [1, 0]


def test_shifted_moves_to_the_right_and_down():
    image = torch.arange(12, dtype=torch.uint8).view(1, 3, 4)
    moved = shifted(image)
    assert torch.equal(moved[:, 1:, 1:], image[:, :-1, :-1])
    assert torch.equal(moved[:, 0, 1:], image[:, 0, :-1])


def test_interval_of_the_mean_iou():
    right, wrong = torch.tensor([[3, 0], [0, 3]]), torch.tensor([[0, 3], [3, 0]])
    assert mean_iou_interval(torch.stack([right] * 5)) == (1, 1)
    # Of two images, one right and one wrong, a resample has 0, 1 or 2 right ones: IoU 0, 1/3, 1.
    assert mean_iou_interval(torch.stack([right, wrong])) == (0, 1)
    low, high = mean_iou_interval(torch.stack([right, wrong] * 50))
    assert 0.2 < low < 1 / 3 < high < 0.5
    # An image without labelled pixels is none of those that are drawn.
    assert mean_iou_interval(torch.stack([right, 0 * right])) == (1, 1)
    with pytest.raises(ValueError, match="without pixels"):
        mean_iou_interval(torch.zeros(3, 2, 2, dtype=torch.int64))


# --- colours


def test_thumbnails_keep_labels():
    image = torch.randint(0, 256, (1, 90, 60), dtype=torch.uint8)
    labels = torch.arange(60).expand(90, 60) // 20
    picture, truth, answer = thumbnail(image, labels, labels + 1, side=30)
    assert picture.shape == (30, 20, 1)
    assert truth.shape == answer.shape == (30, 20)
    assert set(np.unique(truth)) == {0, 1, 2}
    np.testing.assert_array_equal(answer, truth + 1)


def test_label_maps_are_coloured_by_class_and_grey_without_one():
    picture = coloured(np.array([[0, 1, 255]], np.uint8), 2)
    assert ["#" + bytes(pixel).hex() for pixel in picture[0]] == [colour(0), colour(1), NO_CLASS]


#: Machado, Oliveira, Fernandes, "A physiologically-based model", 2009: severity 1, on linear RGB.
DICHROMACY = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def oklab(linear):
    """Ottosson's OKLab of linear sRGB."""
    cones = np.array([
        [0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ])  # fmt: skip
    mixed = np.array([
        [0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ])  # fmt: skip
    return np.cbrt(np.clip(linear, 0, 1) @ cones.T) @ mixed.T


@pytest.mark.parametrize("vision", DICHROMACY)
def test_colours_are_told_apart_by_every_kind_of_eye(vision):
    rgb = np.array([list(bytes.fromhex(c[1:])) for c in (NO_CLASS, *COLOURS)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = oklab(linear @ np.array(DICHROMACY[vision]).T)
    apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1) + 9 * np.eye(len(seen))
    # A difference that is just noticed is about 0.02.
    assert apart[:12, :12].min() > 0.085
    assert apart.min() > 0.065
