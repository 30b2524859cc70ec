"""`snellen check` and points that are where no point can be."""

import numpy as np
import pytest

from evaluation.test_check import HEIGHT, faces, kinds, moved


@pytest.mark.parametrize("upwards", [False, True])
def test_coordinates_too_small_for_their_pictures_are_said(tmp_path, upwards):
    """Millimetres of pictures that have twenty pixels a millimetre: above 2, so they are no shares, and inside the picture."""
    labels = faces(tmp_path)
    for i in range(len(labels.images)):
        labels = moved(labels, i, lambda xy: xy * 0.1)
        if upwards:
            labels = moved(labels, i, lambda xy: xy * [1, -1] + [0, HEIGHT])
    found = kinds(labels)
    assert found["unit"].severity == "error"
    assert "another unit" in found["unit"].sentence
    assert len(found["unit"].files) == 24


def test_a_point_that_is_always_in_one_place_is_said(tmp_path):
    labels = faces(tmp_path)
    for i in range(6):
        labels = moved(labels, i, lambda xy: np.concatenate((xy[:3], [[-0.5, -0.5]])))
    found = kinds(labels)["constant"]
    assert found.severity == "warning"
    assert "chin lies at exactly (-0.5, -0.5) in 6 of 24 objects" in found.sentence
