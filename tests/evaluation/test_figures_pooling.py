"""What poolings keep of a network's maps."""

import numpy as np
import pytest
import torch

from snellen.evaluation.figures.pooling import (
    figure_bands,
    figure_put_back,
    keep_poolings,
    poolings_seen,
    put_back,
    stored_poolings,
)
from snellen.models import create_model


@pytest.fixture
def seen():
    torch.manual_seed(0)
    options = {"zero_init": False, "scale": 1}
    net = create_model("rcn5", branches=4, pool="lift", pool_options=options, norm="batch")
    return poolings_seen(net, 255 * torch.rand(1, 45, 64, generator=torch.Generator().manual_seed(1)))


def test_every_pooling_is_seen_with_its_input_and_bands(seen):
    assert [p.x.shape[-2:] for p in seen] == [(44, 64), (22, 32), (10, 16)]
    for pooled in seen:
        assert pooled.bands["HH"].shape[-2:] == tuple(side // 2 for side in pooled.x.shape[-2:])
        variances = pooled.x.flatten(1).var(dim=1)
        assert variances[pooled.channel] == variances.max()


def test_only_liftup_puts_everything_back(seen):
    for pooled in seen:
        found = put_back(pooled)
        x = pooled.x[:, : found["LiftUp"].shape[1], : found["LiftUp"].shape[2]]
        torch.testing.assert_close(found["LiftUp"], x, rtol=0, atol=4e-6 * max(1.0, x.abs().max().item()))
        # Max unpooling keeps one value of four where it was; the others are zeros.
        kept = found["max unpooling"]
        assert ((kept == 0) | (kept == x)).all()
        assert all((found[name] - x).square().sum() > 0.01 * x.square().sum() for name in ("nearest", "bilinear"))


def test_figures_show_their_maps(seen):
    for draw in (figure_bands, figure_put_back):
        figure = draw(seen)
        pictures = [axes.images[0].get_array() for axes in figure.axes]
        assert len(pictures) == 5 * len(seen)
        assert torch.equal(torch.as_tensor(pictures[0].data), seen[0].x[seen[0].channel, : pictures[0].shape[0]])
    titles = [axes.get_title(loc="left") for axes in figure_put_back(seen).axes]
    assert "LiftUp, 0 % lost" in titles


def test_what_is_kept_for_the_report_is_what_was_seen(tmp_path):
    torch.manual_seed(0)
    net = create_model("resnet20", classes=3, pool="lift", pool_options={"zero_init": False})
    canvas = 255 * torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1))
    keep_poolings(net, canvas, tmp_path / "kept.npz")
    kept, seen = stored_poolings(tmp_path / "kept.npz"), poolings_seen(net, canvas)
    assert list(kept) == ["bands", "put back"]
    for kind, (row, *_) in kept.items():
        assert len(kept[kind]) == len(seen)
        assert np.array_equal(row[0][1], seen[0].x[seen[0].channel].numpy())
    assert [words.split(",")[0] for words, _ in kept["bands"][0]] == ["map", "LL", "LH", "HL", "HH"]
    keep_poolings(create_model("resnet20", classes=3), canvas, tmp_path / "none.npz")
    assert stored_poolings(tmp_path / "none.npz") == {}


def test_a_network_without_lift_is_refused():
    with pytest.raises(ValueError, match="has no LiftPool"):
        poolings_seen(create_model("rcn5", branches=4), torch.zeros(1, 32, 32))
