"""Which pictures are shown."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from synthetic_record import make_record

from snellen.config import AugmentConfig
from snellen.data import Wings
from snellen.evaluation.reports.pictures import where_they_differ


def scored(wings, worse):
    """An evaluation of `wings` that is 5 pixels off everywhere, and 25 on the images in `worse`."""
    true = np.stack([wings[i].keypoints.xy for i in range(len(wings))])
    off = np.where(np.isin(np.arange(len(wings)), worse), 25.0, 5.0)[:, None]
    pred = true + np.stack([off, 0 * off], axis=-1)
    return dataclasses.replace(
        make_record(n=len(wings)), names=list(wings.names), true=true, pred=pred, true_canvas=true, pred_canvas=pred
    )


def test_the_images_that_differ_most_are_shown_for_both_runs():
    wings = Wings(6, seed=3)
    first, second = scored(wings, [4]), scored(wings, [1])
    model = SimpleNamespace(canvas=(48, 64))
    shown = where_they_differ(("A", first), ("B", second), model, wings, AugmentConfig(), count=2)
    assert [s.kind for s in shown] == ["A", "A", "B", "B"]
    # Image 1 is where A is better, image 4 where B is: one each.
    assert [s.name for s in shown] == [wings.names[i] for i in (1, 4, 1, 4)]
    assert shown[1].error > shown[0].error
    assert shown[2].error > shown[3].error


def test_evaluations_of_different_images_are_refused():
    a, b = scored(Wings(3, seed=3), []), scored(Wings(4, seed=3), [])
    with pytest.raises(ValueError, match="different images"):
        where_they_differ(("A", a), ("B", b), SimpleNamespace(canvas=(48, 64)), Wings(3, seed=3), AugmentConfig())
