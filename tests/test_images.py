"""Reading pictures: colour modes, EXIF rotation, and one sentence for everything that cannot be read."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from snellen.config import KeypointDataConfig
from snellen.images import MAX_PIXELS, ImageError, PictureReader, image_size, read_image, to_bytes
from snellen.inference.crops import read_scaled
from tiny import write_claiming

ORIENTATION = 0x0112


def gradient(height=6, width=9):
    """A grey picture in which every pixel differs from its neighbours."""
    return (np.arange(height)[:, None] * 20 + np.arange(width) * 7).astype(np.uint8)


def test_grey(tmp_path):
    Image.fromarray(gradient()).save(tmp_path / "l.png")
    image = read_image(tmp_path / "l.png", channels=1)
    assert image.dtype == torch.uint8
    np.testing.assert_array_equal(image.numpy(), gradient()[None])
    np.testing.assert_array_equal(read_image(tmp_path / "l.png").numpy(), np.stack([gradient()] * 3))
    assert image_size(tmp_path / "l.png") == (6, 9)


def test_colour_is_channels_first_and_greyed_by_luma(tmp_path):
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 1] = (250, 100, 50)
    Image.fromarray(pixels).save(tmp_path / "rgb.png")
    image = read_image(tmp_path / "rgb.png")
    assert image.shape == (3, 2, 3)
    assert image[:, 0, 1].tolist() == [250, 100, 50]
    # ITU-R 601: 0.299 R + 0.587 G + 0.114 B.
    grey = read_image(tmp_path / "rgb.png", channels=1)
    assert grey.shape == (1, 2, 3)
    assert grey[0, 0, 1].item() == pytest.approx(0.299 * 250 + 0.587 * 100 + 0.114 * 50, abs=1)


def test_palette(tmp_path):
    picture = Image.new("P", (4, 3), 1)
    picture.putpalette([0, 0, 0, 10, 200, 30])
    picture.save(tmp_path / "p.png")
    # The palette's colours, not its indices.
    assert read_image(tmp_path / "p.png")[:, 2, 3].tolist() == [10, 200, 30]


def test_palette_with_a_transparent_colour(tmp_path):
    picture = Image.new("P", (4, 3), 1)
    picture.putpalette([0, 0, 0, 10, 200, 30])
    picture.putpixel((0, 0), 0)
    picture.save(tmp_path / "p.gif", transparency=0)
    image = read_image(tmp_path / "p.gif")
    assert image[:, 0, 0].tolist() == [255, 255, 255]
    assert image[:, 1, 1].tolist() == [10, 200, 30]


def test_cmyk(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg", quality=95)
    red, green, blue = read_image(tmp_path / "cmyk.jpg")[:, 4, 4].tolist()
    assert red > 240
    assert green < 15
    assert blue < 15


def test_lab(tmp_path):
    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    colours = np.array([[[200, 60, 40], [90, 140, 100], [90, 90, 90]]], np.uint8)
    picture = ImageCms.profileToProfile(Image.fromarray(colours), rgb, lab, outputMode="LAB")
    picture.save(tmp_path / "a.tif")
    found = read_image(tmp_path / "a.tif").permute(1, 2, 0).numpy()
    assert np.abs(found.astype(int) - colours).max() <= 4  # 8 bits of a and b
    grey = read_image(tmp_path / "a.tif", channels=1).numpy()[0]
    assert np.abs(grey.astype(int) - np.array(Image.fromarray(found).convert("L"))).max() <= 1


def test_colours_that_cannot_be_converted_are_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(ImageError, match=r"a PIL image has mode La and cannot be converted .*; save it as RGB"):
        to_bytes(Image.new("La", (2, 2)), 3)
    Image.new("LAB", (2, 2)).save(tmp_path / "a.tif")

    def missing(*_, **__):
        raise ImportError("no littlecms")

    monkeypatch.setattr(ImageCms, "createProfile", missing)
    for channels in (1, 3):
        with pytest.raises(ImageError, match=r"a\.tif has mode LAB and cannot be converted \(no littlecms\); save"):
            read_image(tmp_path / "a.tif", channels=channels)


def test_transparency_is_laid_over_white(tmp_path):
    picture = Image.new("RGBA", (2, 1), (200, 0, 0, 0))
    picture.putpixel((1, 0), (200, 0, 0, 128))
    picture.save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image[:, 0, 0].tolist() == [255, 255, 255]
    # Half of (200, 0, 0) and half of white.
    np.testing.assert_allclose(image[:, 0, 1], [227, 127, 127], atol=1)
    assert read_image(tmp_path / "a.png", channels=1)[0, 0, 0] == 255


def test_16_bit_grey_keeps_its_range(tmp_path):
    Image.fromarray(np.array([[0, 257, 51400, 65535]], dtype=np.uint16)).save(tmp_path / "deep.png")
    # Pillow's own conversion to 8 bits clips everything above 255 to white.
    assert read_image(tmp_path / "deep.png", channels=1).tolist() == [[[0, 1, 200, 255]]]
    assert read_image(tmp_path / "deep.png")[:, 0, 2].tolist() == [200, 200, 200]


def test_a_stated_range_of_deep_grey_becomes_black_to_white(tmp_path):
    values = np.array([[0, 1000, 1819, 4095, 60000]], dtype=np.uint16)
    picture = Image.fromarray(values)
    for name in ("deep.png", "deep.tif"):
        picture.save(tmp_path / name)
        # (v - 1000) / 3095 * 255: 1819 is 67.5, and what lies beyond is black or white.
        reader = PictureReader(grey_range=(1000, 4095))
        read = reader.image(tmp_path / name, channels=1)[0, 0].tolist()
        assert read in ([0, 0, 67, 255, 255], [0, 0, 68, 255, 255])
        assert reader.image(tmp_path / name).shape == (3, 1, 5)
    # Pictures of 8 bits are left as they are, and a PIL image is read as its file.
    Image.fromarray(gradient()).save(tmp_path / "l.png")
    np.testing.assert_array_equal(reader.image(tmp_path / "l.png", channels=1)[0], gradient())
    np.testing.assert_array_equal(to_bytes(picture, 1, (1000, 4095))[0, 0], read)


@pytest.mark.parametrize("wrong", [{"grey_range": (5, 5)}, {"grey_range": (9, 1)}, {"max_pixels": 0}])
def test_limits_and_ranges_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PictureReader(**wrong)


def test_exif_orientation_turns_pixels_and_size_alike(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # stored on its side: to be turned a quarter clockwise
    Image.fromarray(gradient()).save(tmp_path / "turned.png", exif=exif)
    image = read_image(tmp_path / "turned.png", channels=1)
    np.testing.assert_array_equal(image[0].numpy(), np.rot90(gradient(), -1))
    assert image_size(tmp_path / "turned.png") == (9, 6) == tuple(image.shape[1:])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_agrees_with_the_pixels_for_every_orientation(tmp_path, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(gradient()).save(tmp_path / "o.jpg", exif=exif)
    assert image_size(tmp_path / "o.jpg") == tuple(read_image(tmp_path / "o.jpg").shape[1:])


def test_names_with_spaces_and_other_letters(tmp_path):
    file = tmp_path / "Flügel 翅 no. 1 é" / "mein Bild #1 (%20).png"
    file.parent.mkdir()
    Image.fromarray(gradient()).save(file)
    assert read_image(str(file)).shape == (3, 6, 9)
    assert image_size(file) == (6, 9)


def _missing(path):
    return path / "nowhere.png"


def _folder(path):
    (path / "folder.png").mkdir()
    return path / "folder.png"


def _empty(path):
    (path / "empty.png").touch()
    return path / "empty.png"


def _text(path):
    (path / "notes.jpg").write_text("not a picture\nat all\n")
    return path / "notes.jpg"


@pytest.mark.parametrize("read", [read_image, image_size])
@pytest.mark.parametrize(
    ("make", "says"),
    [(_missing, "does not exist"), (_folder, "is a folder"), (_empty, "is empty"), (_text, "not a picture")],
)
def test_what_cannot_be_opened_is_one_sentence_with_the_path(tmp_path, read, make, says):
    file = make(tmp_path)
    with pytest.raises(ImageError, match=says) as error:
        read(file)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_truncated_picture_is_refused_when_decoded(tmp_path, suffix):
    whole, part = tmp_path / f"whole.{suffix}", tmp_path / f"part.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(whole)
    part.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    # The header is whole, so the size is known; the pixels are not.
    assert image_size(part) == (64, 64)
    with pytest.raises(ImageError, match="cannot be decoded") as error:
        read_image(part)
    assert str(part) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", [read_image, image_size])
def test_too_many_pixels_are_refused_before_decoding(tmp_path, read):
    Image.new("L", (100, 50)).save(tmp_path / "big.png")
    with pytest.raises(ImageError, match=r"100 x 50 pixels, over the limit of 4,999") as error:
        read(tmp_path / "big.png", max_pixels=4999)
    assert str(tmp_path / "big.png") in str(error.value)
    assert read(tmp_path / "big.png", max_pixels=5000) is not None


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_20000_by_20000_pixels_are_refused_by_the_header_and_the_sentence_says_how_to_raise_the_limit(tmp_path, suffix):
    file = write_claiming(tmp_path / f"huge.{suffix}", 20_000)
    for read in (read_image, image_size, lambda path: read_scaled(path, 1, lambda h, w: 8.0)):
        with pytest.raises(ImageError, match=r"20000 x 20000 pixels, over the limit of 120,000,000") as error:
            read(file)
        for way in ("400000000", "data.max_pixels", "--max-pixels", "\n"):
            assert (way in str(error.value)) == (way != "\n")
    # Raised, the limit is this library's alone: Pillow's own, which is lower, does not step in, and stays as it was.
    before = Image.MAX_IMAGE_PIXELS
    assert PictureReader(400_000_000).size(file) == (20_000, 20_000)
    assert before == Image.MAX_IMAGE_PIXELS


def test_the_configuration_has_the_same_limit():
    assert KeypointDataConfig().max_pixels == PictureReader().max_pixels == MAX_PIXELS


def test_a_decompression_bomb_is_refused_from_its_header(tmp_path):
    # A header that claims 30000 x 30000 pixels, over this library's limit and Pillow's own alike.
    file = tmp_path / "bomb.bmp"
    Image.new("L", (4, 4)).save(file)
    header = bytearray(file.read_bytes())
    header[18:26] = (30000).to_bytes(4, "little") * 2
    file.write_bytes(header)
    assert MAX_PIXELS < 30000 * 30000
    with pytest.raises(ImageError, match=r"too large|over the limit"):
        read_image(file)


def test_floating_point_pixels_have_no_known_range(tmp_path):
    Image.fromarray(np.zeros((3, 3), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(ImageError, match="floating-point"):
        read_image(tmp_path / "f.tif")


def test_channels_are_one_or_three(tmp_path):
    Image.fromarray(gradient()).save(tmp_path / "l.png")
    with pytest.raises(ValueError, match="channels must be 1"):
        read_image(tmp_path / "l.png", channels=4)
