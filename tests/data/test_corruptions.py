"""Corruptions and perturbations."""

import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from snellen.config import ConfigError
from snellen.data import CORRUPTIONS, PERTURBATIONS, Corrupted, LabelledImage, corrupt, perturb, shift_pair
from snellen.data.corruptions import IMAGENET_KINDS

RANDOM = {"gaussian_noise", "shot_noise", "impulse_noise", "motion_blur", "fog", "elastic_transform"}


def scene(size=(32, 32), channels=3):
    """A smooth picture with an edge, in colour, away from black and white."""
    h, w = size
    y, x = torch.meshgrid(torch.linspace(0, 1, h), torch.linspace(0, 1, w), indexing="ij")
    planes = torch.stack([70 + 90 * x, 80 + 60 * y, 60 + 80 * (x > 0.5)])[:channels]
    return planes.round().to(torch.uint8)


def flat(value=120, size=(32, 32)):
    return torch.full((3, *size), value, dtype=torch.uint8)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_every_kind(kind):
    for size, channels in (((32, 32), 3), ((5, 3), 1), ((33, 47), 3), ((1, 1), 3)):
        image = scene(size, channels)
        before = image.clone()
        for severity in (1, 5):
            out = corrupt(image, kind, severity)
            assert out.dtype == torch.uint8
            assert out.shape == image.shape
            assert torch.equal(image, before)
    image = scene()
    outs = [corrupt(image, kind, s) for s in (1, 2, 3, 4, 5)]
    assert all(not torch.equal(o, image) for o in outs[1:])
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(outs))
    # Draws belong to (seed, index), not to the global generators.
    np.random.seed(1)
    assert torch.equal(corrupt(image, kind, 3, seed=1, index=2), corrupt(image, kind, 3, seed=1, index=2))
    others = [corrupt(image, kind, 3, seed=2, index=2), corrupt(image, kind, 3, seed=1, index=3)]
    assert all(torch.equal(o, corrupt(image, kind, 3, seed=1, index=2)) == (kind not in RANDOM) for o in others)


@pytest.mark.parametrize(
    "kind", [k for k in CORRUPTIONS if "blur" in k or k in ("pixelate", "elastic_transform", "contrast")]
)
def test_what_moves_or_blurs_keeps_a_flat_picture(kind):
    for severity in (1, 5):
        assert (corrupt(flat(), kind, severity).int() - 120).abs().max() <= 1


def test_noise_has_the_stated_strength():
    image = flat(size=(200, 200))
    for severity, deviation in enumerate((0.04, 0.06, 0.08, 0.09, 0.10), 1):
        noise = corrupt(image, "gaussian_noise", severity).float() - 120
        assert abs(noise.mean()) < 0.5
        assert abs(noise.std() / 255 - deviation) < 0.001
    # Poisson: the variance of a share p of white with n photons in white is p / n.
    for severity, photons in enumerate((500, 250, 100, 75, 50), 1):
        noise = corrupt(image, "shot_noise", severity).float() - 120
        assert abs(noise.std() / 255 - (120 / 255 / photons) ** 0.5) < 0.001
    for severity, share in enumerate((0.01, 0.02, 0.03, 0.05, 0.07), 1):
        out = corrupt(image, "impulse_noise", severity)
        assert set(out.unique().tolist()) == {0, 120, 255}
        for value in (0, 255):
            assert abs((out == value).float().mean() - share / 2) < 0.003


def test_colours_by_hand():
    image = torch.tensor([200, 100, 50], dtype=torch.uint8)[:, None, None].expand(3, 4, 4).contiguous()
    # Value 200/255 + 0.1 = 225.5/255 scales all three alike.
    assert corrupt(image, "brightness", 2)[:, 0, 0].tolist() == [226, 113, 56]
    assert corrupt(flat(0), "brightness", 5)[:, 0, 0].tolist() == [76, 76, 76]
    # Saturation 0.75 * 0.3 = 0.225: the lowest becomes 200 * (1 - 0.225), the middle keeps its place between.
    assert corrupt(image, "saturate", 1)[:, 0, 0].tolist() == [200, 170, 155]
    # ... and 0.75 * 1.5 is cut to 1.
    assert corrupt(image, "saturate", 3)[:, 0, 0].tolist() == [200, 67, 0]
    halves = torch.cat((flat(100, (4, 2)), flat(200, (4, 2))), dim=2)
    assert corrupt(halves, "contrast", 2)[0, 0].tolist() == [125, 125, 175, 175]


def test_blurs_spread_a_point_and_keep_its_light():
    point = torch.zeros(3, 33, 33, dtype=torch.uint8)
    point[:, 16, 16] = 255
    last = 256
    for severity in (1, 2, 3, 4, 5):
        out = corrupt(point, "gaussian_blur", severity)[0].float()
        assert abs(out.sum() - 255) < 10
        assert torch.equal(out, out.T)
        assert out[16, 16] < last
        last = out[16, 16]
    sigma = 1.0
    assert abs(last - 255 / (2 * np.pi * sigma**2)) < 1
    disc = corrupt(point, "defocus_blur", 5)[0].float()
    assert (disc > 20).sum() == 9  # a radius of 1.5 covers 3x3
    moved = corrupt(point, "motion_blur", 1, seed=3)[0]
    rows, columns = moved.nonzero()[:, 0], moved.nonzero()[:, 1]
    assert columns.max() == 16  # to one side
    assert (rows - 16).abs().max() <= (16 - columns).max()  # within 45 degrees


def test_jpeg_is_pillows():
    stored = io.BytesIO()
    Image.fromarray(scene().permute(1, 2, 0).numpy()).save(stored, "JPEG", quality=40)
    expected = np.asarray(Image.open(stored)).transpose(2, 0, 1)
    np.testing.assert_array_equal(corrupt(scene(), "jpeg_compression", 5).numpy(), expected)


def test_fog_hides_more_and_more():
    plain = scene((64, 64)).float()
    alike = []
    for severity in (1, 3, 5):
        out = corrupt(scene((64, 64)), "fog", severity).float()
        alike.append(np.corrcoef(out.flatten(), plain.flatten())[0, 1])
        # The same cloud in all colours: their differences shrink by a factor, and stay in place.
        ratio = (out[0] - out[1]).flatten() @ (plain[0] - plain[1]).flatten() / (plain[0] - plain[1]).square().sum()
        highest, amount = float(plain.max()) / 255, {1: 0.2, 3: 0.75, 5: 1.5}[severity]
        assert abs(ratio - highest / (highest + amount)) < 0.01
    assert alike[0] > alike[1] > alike[2]


def test_a_corrupted_data_set():
    class Data:
        classes, names = ("a",), ["x", "y"]

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return LabelledImage(scene(), 0, self.names[index])

    data = Corrupted(Data(), "gaussian_noise", 3, seed=5)
    assert (len(data), data.names, data.classes) == (2, ["x", "y"], ("a",))
    assert torch.equal(data[1].image, corrupt(scene(), "gaussian_noise", 3, seed=5, index=1))
    assert not torch.equal(data[0].image, data[1].image)


@pytest.mark.parametrize("kind", PERTURBATIONS)
def test_sequences_start_with_the_picture_and_change_little(kind):
    image = scene()
    frames = list(perturb(image, kind, 12, index=4))
    assert len(frames) == 12
    assert torch.equal(frames[0], image)
    assert all(torch.equal(a, b) for a, b in zip(frames, perturb(image, kind, 12, index=4), strict=True))
    steps = [float((b.float() - a.float()).abs().mean()) for a, b in itertools.pairwise(frames)]
    assert max(steps) < 12
    drift = [float((f.float() - image.float()).abs().mean()) for f in frames]
    if PERTURBATIONS[kind] == "previous":
        assert drift[-1] > 3 * drift[1]
    else:
        assert max(drift[1:]) < 1.2 * min(drift[1:])


def test_translation_moves_by_whole_pixels_where_it_should():
    image = scene((32, 64))
    frames = list(perturb(image, "translate", 9))  # a pixel a frame at 64
    left = torch.equal(frames[8][:, :, :-8], image[:, :, 8:])
    assert left or torch.equal(frames[8][:, :, 8:], image[:, :, :-8])


def test_pairs_of_shifts():
    image = scene()
    assert all(torch.equal(s, image) for s in shift_pair(image, 0))
    moves = set()
    for index in range(60):
        for shifted in shift_pair(image, 3, index=index):
            found = [
                (dx, dy)
                for dx in range(-3, 4)
                for dy in range(-3, 4)
                if torch.equal(shifted[:, 3 + dy : 29 + dy, 3 + dx : 29 + dx], image[:, 3:29, 3:29])
            ]
            assert len(found) == 1
            moves.add(found[0])
    assert len(moves) > 35  # of 49


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: corrupt(scene(), "gausian_noise", 1), ConfigError, "nearest: gaussian_noise"),
        (lambda: corrupt(scene(), "fog", 6), ConfigError, "give 1 .slight. to 5"),
        (lambda: corrupt(scene(), "snow", 1), ConfigError, "of cifar's severities"),
        (lambda: corrupt(scene().float(), "fog", 1), ValueError, "give uint8"),
        (lambda: perturb(scene(), "rotat"), ConfigError, "nearest: rotate"),
        (lambda: perturb(scene(), "rotate", 1), ConfigError, "at least 2"),
        (lambda: shift_pair(scene(), -1), ValueError, "0 or more"),
    ],
)
def test_refusals(call, error, says):
    with pytest.raises(error, match=says):
        call()


@pytest.mark.parametrize("kind", IMAGENET_KINDS)
def test_the_kinds_of_the_package(kind):
    pytest.importorskip("imagecorruptions")
    state = np.random.get_state()[1].copy()
    for channels in (3, 1):
        image = scene((40, 36), channels)
        out = corrupt(image, kind, 2, seed=1, index=3, severities="imagenet")
        assert out.shape == image.shape
        assert out.dtype == torch.uint8
        assert torch.equal(out, corrupt(image, kind, 2, seed=1, index=3, severities="imagenet"))
    assert np.array_equal(state, np.random.get_state()[1])
    with pytest.raises(ValueError, match="at least 32x32"):
        corrupt(scene((31, 40)), kind, 2, severities="imagenet")
