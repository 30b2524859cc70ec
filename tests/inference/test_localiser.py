"""A loaded model: what its answers must obey."""

import pytest
import torch

from snellen.config import from_dict
from snellen.inference import load
from snellen.training.fit import fit
from tiny import recipe, write_discs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("discs")
    settings = recipe(write_discs(root / "data"), root / "runs", steps=2, validate_every=2)
    settings["data"]["swaps"] = [["bright", "dark"]]
    settings["evaluate"] = {"flip": True}
    return fit(from_dict(settings)).path


def test_flip_makes_the_answer_of_a_mirror_image_the_mirrored_answer(run):
    model = load(run)
    assert model.flip
    canvases = 255 * torch.rand(2, 1, *model.canvas, generator=torch.Generator().manual_seed(0))
    straight, mirrored = model.locate(canvases), model.locate(canvases.flip(-1))
    expected = straight.xy[:, [1, 0]]
    expected[..., 0] = model.canvas[1] - expected[..., 0]
    torch.testing.assert_close(mirrored.xy, expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(mirrored.confidence, straight.confidence[:, [1, 0]])
    model.flip = False
    assert (model.locate(canvases.flip(-1)).xy - expected).abs().max() > 1e-2
