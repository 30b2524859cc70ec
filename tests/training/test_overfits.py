"""The papers' networks learn eight images by heart (rcn.md 8): from pixels to points nothing is broken."""

import numpy as np
import pytest
import torch

from real import DATA, needs
from snellen.config import KeypointDataConfig
from snellen.data.build import build_dataset
from snellen.data.wings import Wings
from snellen.geometry import box_map, transform_points, warp
from snellen.keypoints.codecs import decode
from snellen.models import create_model
from snellen.training.losses import keypoint_loss

SIZE = (48, 64)


def overfits(name, images, points):
    """Mean error in pixels of the canvas after sixty steps on all images."""
    torch.manual_seed(0)
    model = create_model(name, keypoints=points.shape[1], norm="batch")
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.005)
    mask = torch.ones(points.shape[:2], dtype=torch.bool)
    for _ in range(60):
        optimiser.zero_grad()
        keypoint_loss(model(images).logits, points, mask).backward()
        optimiser.step()
    with torch.no_grad():
        return (decode(model.eval()(images).logits).xy - points).norm(dim=-1).mean().item()


@pytest.mark.parametrize("name", ["rcn5", "sumnet5"])
def test_eight_wings_are_learned_by_heart(name):
    samples = [Wings(8, seed=7, size=SIZE)[i] for i in range(8)]
    images = torch.stack([sample.image.float().mean(0, keepdim=True) for sample in samples])
    points = torch.as_tensor(np.stack([sample.keypoints.xy for sample in samples])).float()
    assert overfits(name, images, points) < 1


@needs("faces5")
def test_eight_faces_are_learned_by_heart():
    data = build_dataset(
        KeypointDataConfig(format="mtfl", root=str(DATA / "faces5"), channels=1, box="mtfl", cache_mb=0),
        "val",
        decode=False,
    )
    samples = [data[i] for i in range(8)]
    maps = [box_map(sample.box, SIZE) for sample in samples]
    images = torch.stack([warp(s.image.float(), m, SIZE) for s, m in zip(samples, maps, strict=True)])
    points = np.stack([transform_points(m, s.keypoints.xy) for s, m in zip(samples, maps, strict=True)])
    assert overfits("rcn5", images, torch.as_tensor(points).float()) < 1
