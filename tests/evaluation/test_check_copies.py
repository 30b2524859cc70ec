"""Pictures that look alike: the same answers as comparing all pairs, in far less time where a camera stands still."""

import time

import numpy as np
import pytest

from snellen.evaluation.check.copies import look_alikes
from snellen.evaluation.check.pictures import Picture


def pictures(thumbnails, sizes=((480, 640),)):
    cells = np.clip(np.rint(thumbnails), 0, 255).astype(np.uint8)
    return [Picture(size=sizes[i % len(sizes)], thumbnail=c.tobytes()) for i, c in enumerate(cells)]


def still(count, rng, *, noise, light=0.0, thing=0.0):
    """What a camera sees that stands still: noise, drifting light, and a thing that moves about."""
    seen = rng.integers(0, 256, (16, 16, 3)) + rng.normal(0, noise, (count, 16, 16, 3))
    seen += rng.normal(0, light, (count, 1, 1, 1))
    for picture in seen:
        y, x = rng.integers(0, 13, 2)
        picture[y : y + 3, x : x + 3] += thing
    return seen


def by_all_pairs(found):
    """Groups by the definition: mean and largest difference of thumbnails, and the ratio of the sides."""
    small = np.array([np.frombuffer(p.thumbnail, np.uint8) for p in found]).astype(int)
    shape = np.log([p.size[0] / p.size[1] for p in found])
    group = list(range(len(small)))
    for i in range(len(small)):
        for j in range(i):
            apart = np.abs(small[i] - small[j])
            alike = apart.mean() <= 2.5 and apart.max() <= 16 and abs(shape[i] - shape[j]) <= np.log(1.02)
            if alike and min(small[i].std(), small[j].std()) >= 4:
                group = [group[i] if g == group[j] else g for g in group]
    members = [[i for i, g in enumerate(group) if g == label] for label in set(group)]
    return sorted(m for m in members if len(m) > 1)


@pytest.mark.parametrize("kind", ["strangers", "noise", "light", "thing", "edge"])
def test_groups_are_those_of_all_pairs(kind, monkeypatch):
    monkeypatch.setattr("snellen.evaluation.check.copies._ROWS", 64)
    monkeypatch.setattr("snellen.evaluation.check.copies._COLUMNS", 96)
    rng = np.random.default_rng(0)
    seen = {
        "strangers": lambda: rng.integers(0, 256, (240, 16, 16, 3)),
        "noise": lambda: still(240, rng, noise=1.0),
        "light": lambda: still(240, rng, noise=0.5, light=30),
        "thing": lambda: still(240, rng, noise=1.0, thing=60),
        "edge": lambda: still(240, rng, noise=2.2),  # differences of about what is allowed
    }[kind]()
    planted = seen[::7] + rng.normal(0, 1, seen[::7].shape)
    planted[3] = 99  # with no contrast, as another one
    planted[4] = 99
    found = pictures(np.concatenate((seen, planted)), sizes=((480, 640), (480, 640), (640, 480)))
    groups = look_alikes(found)
    assert groups == by_all_pairs(found)
    assert groups


@pytest.mark.parametrize("options", [{"noise": 0.5}, {"noise": 0.7, "thing": 60}, {"noise": 0.7, "light": 3}])
def test_ten_thousand_pictures_of_a_camera_that_stands_still_take_seconds(options):
    found = pictures(still(10_000, np.random.default_rng(0), **options))
    begin = time.process_time()
    assert look_alikes(found)
    assert time.process_time() - begin < 10
