"""A loaded model: what its answers must obey."""

import numpy as np
import pytest
import torch
from PIL import Image

from snellen.config import from_dict
from snellen.geometry import Box
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


def test_images_that_are_no_bytes_are_refused(run):
    model = load(run)
    with pytest.raises(ValueError, match=r"uint8.*not float32"):
        model.predict(torch.rand(1, 40, 40))
    assert len(model.predict([torch.zeros(1, 40, 40, dtype=torch.uint8), np.zeros((30, 50, 3), np.uint8)])) == 2


@pytest.mark.parametrize("wrong", [None, 5, [None], [3], [object()], [np.zeros(4, np.uint8)]])
def test_what_is_no_image_is_refused_in_a_sentence(run, wrong):
    with pytest.raises(ValueError, match="an image is "):
        load(run).predict(wrong)


def test_the_bytes_of_a_file_are_an_image(run, tmp_path):
    Image.fromarray(np.arange(2400, dtype=np.uint8).reshape(40, 60)).save(tmp_path / "a.png")
    model, data = load(run), (tmp_path / "a.png").read_bytes()
    for given in (data, [data]):
        np.testing.assert_array_equal(model.predict(given)[0].xy, model.predict(tmp_path / "a.png")[0].xy)
    with pytest.raises(ValueError, match="an image in memory is not a picture"):
        model.predict(b"no picture")


def test_a_picture_in_memory_is_turned_as_its_file_is(run, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (4, 6), dtype=np.uint8).repeat(10, 0).repeat(10, 1)
    picture, exif = Image.fromarray(noise), Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.png", exif=exif)
    by_path = load(run).predict(tmp_path / "a.png")[0].xy
    with Image.open(tmp_path / "a.png") as opened:
        np.testing.assert_array_equal(load(run).predict(opened)[0].xy, by_path)
        assert opened.size == (60, 40)  # it is the caller's own
    assert np.abs(load(run).predict(picture)[0].xy - by_path).max() > 1


def test_boxes_may_be_plain_numbers(run):
    model, picture = load(run), torch.zeros(1, 40, 40, dtype=torch.uint8)
    expected = model.predict(picture, [Box(5, 5, 30, 31)])[0].xy
    for box in ((5, 5, 30, 31), [5.0, 5, 30, 31], np.array([5, 5, 30, 31])):
        np.testing.assert_array_equal(model.predict(picture, [box])[0].xy, expected)
    np.testing.assert_array_equal(model.predict(picture, np.array([[5, 5, 30, 31]]))[0].xy, expected)
    for wrong, says in (((1, 2, 3), "box 0 is .* four numbers"), (7, "four numbers"), ((9, 1, 3, 4), "is empty")):
        with pytest.raises(ValueError, match=says):
            model.predict(picture, [wrong])


def test_a_model_of_close_crops_says_so_when_it_sees_whole_images(run, caplog):
    model = load(run)
    picture = torch.zeros(1, 40, 40, dtype=torch.uint8)
    model.predict(picture)
    assert "give boxes=" not in caplog.text
    model.card["box"] = {"rule": "square", "scale": 1.3}
    model.predict(picture, [Box(5, 5, 30, 30)])
    assert "give boxes=" not in caplog.text
    model.predict(picture)
    assert "give boxes=" in caplog.text
