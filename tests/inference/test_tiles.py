"""Images of any size: tiles answer as the whole does."""

import itertools

import pytest
import torch
from torch import nn

from snellen.inference.tiles import segment, tile_starts, tiled_logits
from snellen.models.outputs import LabelOutput
from snellen.models.segmenters import create_segmenter


class Local(nn.Module):
    """Three classes, each pixel's logits from a window of 2 * reach + 1 pixels."""

    def __init__(self, reach=2, pooled=False):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.pooled, self.seen = nn.Conv2d(1, 3, 2 * reach + 1, padding=reach), pooled, []

    def forward(self, x):
        self.seen.append(tuple(x.shape[-2:]))
        size = x.shape[-2:]
        x = x / 255
        if self.pooled:
            x = nn.functional.interpolate(nn.functional.avg_pool2d(x, 4, ceil_mode=True), scale_factor=4.0)
            x = x[..., : size[0], : size[1]]
        return LabelOutput(self.conv(x))


def picture(h, w, channels=1):
    return torch.randint(0, 256, (channels, h, w), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [(100, 131), (64, 200), (33, 70), (64, 64)])
@pytest.mark.parametrize("pooled", [False, True])
def test_tiles_answer_as_the_whole_for_a_model_that_sees_little(size, pooled):
    model, image = Local(pooled=pooled).eval(), picture(*size).float()
    with torch.inference_mode():
        whole = model(image[None]).logits[0]
        # 2 pixels of reach, in pooled pixels of 4 up to 6: within a quarter of the overlap.
        tiled = tiled_logits(model, image, tile=(64, 64), overlap=24, step=8)
    torch.testing.assert_close(tiled, whole, rtol=1e-5, atol=1e-6)
    assert all(h <= 64 and w <= 64 for h, w in model.seen[1:])
    assert len(model.seen) > 2 or max(size) <= 64


def test_a_model_that_sees_far_differs_near_the_borders_of_tiles_alone():
    model, image = Local(reach=10).eval(), picture(64, 128).float()
    with torch.inference_mode():
        whole, tiled = model(image[None]).logits[0], tiled_logits(model, image, tile=(64, 80), overlap=16, step=16)
    # Tiles are columns 0..79, wrong from 70 on, and 64..127, wrong up to 73; only columns 68..75 are blended.
    differs = (whole - tiled).abs().amax((0, 1)) > 1e-4
    assert differs.any()
    assert not differs[:68].any()
    assert not differs[76:].any()


def test_every_pixel_is_covered_by_tiles_that_start_at_steps():
    for side in range(1, 300, 7):
        for tile, overlap, step in ((64, 16, 32), (50, 0, 8), (96, 40, 32)):
            starts = tile_starts(side, tile, overlap, step)
            assert starts[0] == 0
            assert all(start % step == 0 for start in starts)
            ends = [min(start + tile, side) for start in starts]
            assert ends[-1] == side
            assert all(end - start >= overlap for end, start in zip(ends, starts[1:], strict=False))
            # No tile lies inside the one before.
            assert all(b > a for a, b in itertools.pairwise(ends))
    with pytest.raises(ValueError, match="give at least 96"):
        tile_starts(200, 64, 64, 32)


def test_answers_have_the_images_own_size():
    net = create_segmenter("segnet-small", 5).eval()
    image = picture(75, 110, 3)
    for scale in (1.0, 0.5, 1.7):
        found = segment(net, image, scale=scale)
        assert found.labels.shape == found.confidence.shape == (75, 110)
        assert found.labels.dtype == torch.int64
        assert 0 <= found.labels.min() <= found.labels.max() < 5
        assert found.confidence.min() >= 1 / 5 - 1e-6
        assert found.confidence.max() <= 1 + 1e-6
    whole = net(image[None].float()).logits.softmax(1)[0]
    found = segment(net, image)
    assert torch.equal(found.labels, whole.argmax(0))
    torch.testing.assert_close(found.confidence, whole.amax(0).detach())
    # An image no larger than a tile is shown whole.
    assert torch.equal(segment(net, image, tile=(96, 128)).labels, found.labels)
    assert segment(net, picture(1, 1, 3), scale=0.1).labels.shape == (1, 1)


def test_scaled_answers_lie_where_the_image_has_them():
    class Bright(nn.Module):
        def forward(self, x):
            return LabelOutput(torch.cat((127.5 - x, x - 127.5), 1) / 20)

    image = torch.zeros(1, 60, 80, dtype=torch.uint8)
    image[:, 20:40, 30:] = 255
    for scale in (0.5, 2.0):
        assert torch.equal(segment(Bright(), image, scale=scale).labels, (image[0] > 0).long())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"scale": 0}, "scale=0"),
        ({"overlap": -1}, "overlap=-1"),
        ({"tile": (40, 40)}, "too small to overlap by 64"),
    ],
)
def test_impossible_sizes_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        segment(Local(), picture(100, 100), **options)
    with pytest.raises(ValueError, match=r"an image is \(c, h, w\)"):
        segment(Local(), torch.zeros(10, 10))
