"""Crops of pictures: the same pixels as `warp`, from files as cheaply as they can be had."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from snellen.geometry import Box, box_map, rotation, warp
from snellen.images import ImageError, read_image
from snellen.inference.crops import crop, full_size, read_scaled


def noise(h, w, c, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (h, w, c)).astype(np.uint8)


def smooth(h, w):
    """Colour waves, two or three across the picture: what survives any reduction."""
    y, x = np.mgrid[:h, :w]
    waves = [np.sin(15 * x / w + 4 * y / h), np.cos(9 * x / w - 12 * y / h), np.sin(14 * y / h)]
    return (127.5 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


@settings(max_examples=150, deadline=None)
@given(
    size=st.tuples(st.integers(1, 120), st.integers(1, 120)),
    channels=st.sampled_from((1, 3)),
    canvas=st.tuples(st.integers(4, 40), st.integers(4, 40)),
    centre=st.tuples(st.floats(-20, 140), st.floats(-20, 140)),
    sides=st.tuples(st.floats(2, 800), st.floats(2, 800)),
    keep=st.booleans(),
)
# Its upper edge is 15 but for rounding, which says whose pixels are averaged together.
@example(size=(16, 1), channels=1, canvas=(13, 4), centre=(0.0, 30.0), sides=(2.0, 30.0), keep=False)
def test_a_crop_is_the_warp_by_the_same_map(size, channels, canvas, centre, sides, keep):
    picture = noise(*size, channels)
    box = Box(centre[0] - sides[0] / 2, centre[1] - sides[1] / 2, centre[0] + sides[0] / 2, centre[1] + sides[1] / 2)
    matrix = box_map(box, canvas, keep_aspect=keep)
    expected = warp(torch.from_numpy(picture).permute(2, 0, 1), matrix, canvas).numpy()
    # `warp` samples in float32: positions are rounded by up to 1e-5 of the picture, times neighbours 255 apart.
    np.testing.assert_allclose(crop(picture, matrix, canvas), expected, rtol=0, atol=0.05)


def test_a_map_that_turns_is_refused():
    with pytest.raises(ValueError, match="also turns"):
        crop(noise(8, 8, 1), rotation(10), (4, 4))


@pytest.mark.parametrize("size", [(400, 640), (401, 643), (97, 33)])
@pytest.mark.parametrize("shrink", [1, 2, 3.9, 4, 8, 40])
def test_reduced_jpegs_show_the_same_region(tmp_path, size, shrink):
    file = tmp_path / "waves.jpg"
    Image.fromarray(smooth(*size)).save(file, quality=95, subsampling=0)
    found = read_scaled(file, 3, lambda h, w: shrink)
    assert found.size == size
    assert found.scale == {1: 1, 2: 2, 3.9: 2, 4: 4, 8: 8, 40: 8}[shrink]
    assert found.pixels.shape[:2] == (-(-size[0] // found.scale), -(-size[1] // found.scale))
    canvas = (24, 32)
    box = Box(
        size[1] * 0.2, size[0] * 0.2, size[1] * 1.05, size[0] * 1.05
    )  # past the border, where sizes do not divide
    if box_map(box, canvas)[0, 0] > 1 / found.scale:
        return  # nobody asks for a reduction below the canvas's own size
    matrix = box_map(box, canvas)
    expected = warp(read_image(file), matrix, canvas).numpy()
    difference = np.abs(found.canvas(matrix, canvas) - expected)
    assert difference.mean() < 1.5  # grey levels: the two average over slightly different footprints
    assert difference.max() < 20  # at the border, where a reduced pixel is cut


def test_grey_of_a_jpeg_is_its_luma(tmp_path):
    file = tmp_path / "waves.jpg"
    Image.fromarray(smooth(64, 80)).save(file, quality=95, subsampling=0)
    grey = read_scaled(file, 1, lambda h, w: 1).pixels[..., 0].astype(int)
    assert (
        np.abs(grey - read_image(file, channels=1)[0].numpy()).max() <= 2
    )  # colours are rounded and clipped on the way


@pytest.mark.parametrize("kind", ["png", "turned", "cmyk", "palette"])
def test_other_pictures_are_read_as_everywhere(tmp_path, kind):
    picture, file = Image.fromarray(smooth(40, 60)), tmp_path / ("p.jpg" if kind in ("turned", "cmyk") else "p.png")
    if kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.save(file, exif=exif)
    else:
        modes = {"cmyk": "CMYK", "palette": "P", "png": "RGB"}
        picture.convert(modes[kind]).save(file)
    found = read_scaled(file, 3, lambda h, w: 8)
    assert found.scale == 1
    expected = full_size(read_image(file))
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert found.size == expected.size == ((60, 40) if kind == "turned" else (40, 60))


def test_broken_jpegs_are_refused_in_the_readers_words(tmp_path):
    whole, file = tmp_path / "whole.jpg", tmp_path / "cut.jpg"
    Image.fromarray(smooth(80, 80)).save(whole)
    file.write_bytes(whole.read_bytes()[:-300])
    with pytest.raises(ImageError, match=r"cut\.jpg cannot be decoded"):
        read_scaled(file, 3, lambda h, w: 2)
