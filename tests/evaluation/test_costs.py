"""What networks cost: multiply-adds and times of those that are told boxes too."""

import pytest
import torch

from snellen.evaluation.costs import macs, milliseconds
from snellen.models import create_model


def test_a_zoom_by_given_boxes_is_counted_and_timed_as_its_network():
    options = {"size": [32, 32], "nodes": [9, 9], "separable": True}
    told = create_model("rcn5", keypoints=3, zoom="boxes", zoom_options=options)
    plain = create_model("rcn5", keypoints=3)
    assert told.needs_boxes
    assert macs(told, 1, (48, 64)) == pytest.approx(macs(plain, 1, (32, 32)), rel=0.05)
    times = milliseconds([told.eval(), plain.eval()], [torch.rand(2, 1, 48, 64), torch.rand(2, 1, 32, 32)], rounds=3)
    assert [len(t) for t in times] == [3, 3]
    assert min(map(min, times)) > 0
