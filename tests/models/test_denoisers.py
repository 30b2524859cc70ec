"""Denoisers: the published network's counts, one density in several forms, refusals."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from contracts import nonzero_gradients, state_survives_saving
from snellen import create_model
from snellen.models import AttentionDenoiser, ConvDenoiser, Denoiser, UnknownChoiceError, list_models, model_task
from snellen.models.attention_denoiser import Mixture
from snellen.models.denoisers import MapDensity, cells_of, peaks


class DenoiserContract:
    """What every denoiser must do."""

    def make(self) -> Denoiser:
        raise NotImplementedError

    def model(self) -> Denoiser:
        torch.manual_seed(0)
        return self.make().eval()

    def points(self, batch=2):
        generator = torch.Generator().manual_seed(1)
        k = self.make().keypoints
        given = torch.rand(batch, k, generator=generator) > 0.2
        return torch.rand(batch, k, 2, generator=generator), given

    @pytest.mark.parametrize("batch", [0, 1, 3])
    def test_maps_of_its_size(self, batch):
        model = self.model()
        xy, given = self.points(batch)
        logits = model(xy, given).logits
        assert logits.shape == (batch, model.keypoints, *model.size)
        assert logits.isfinite().all()

    def test_what_is_not_given_is_not_seen(self):
        model = self.model()
        xy, given = self.points()
        other = torch.where(given[..., None], xy, torch.nan)
        assert torch.equal(model(xy, given).logits, model(other, given).logits)
        assert not torch.equal(model(xy, given).logits, model(xy, torch.ones_like(given)).logits)

    def test_objects_do_not_see_each_other(self):
        model = self.model()
        xy, given = self.points(3)
        torch.testing.assert_close(
            model(xy, given).logits[1:2], model(xy[1:2], given[1:2]).logits, rtol=1e-4, atol=1e-5
        )

    def test_every_parameter_gets_a_gradient(self):
        model = self.model().train()
        xy, given = self.points(6)
        assert not given.all()
        model.surprise(xy, given, xy.flip(1)).mean().backward()
        nonzero_gradients(model)

    def test_surprise_is_that_of_the_maps(self):
        """A map's softmax at the cell, for centres of cells: the density's own measure of them agrees where cells are fine."""
        model = self.model()
        xy, given = self.points()
        h, w = model.size
        truth = (
            torch.stack((torch.full(given.shape, w // 2), torch.full(given.shape, h // 3)), -1) + 0.5
        ) / torch.tensor([w, h])
        logits = model(xy, given).logits
        wanted = -torch.log_softmax(logits.flatten(2), -1).gather(-1, cells_of(truth, (h, w))[..., None])[..., 0]
        found = model.surprise(xy, given, truth)
        # A continuous density also has mass outside the canvas: up to a fifth of a nat before training.
        torch.testing.assert_close(found, wanted, rtol=0, atol=0.35)

    def test_likeliest_place_is_the_maps_maximum(self):
        model = self.model()
        density = model.density(*self.points())
        fine = density.maps((8 * model.size[0], 8 * model.size[1]))
        if isinstance(density, MapDensity):
            assert torch.equal(density.likeliest(), peaks(density.logits))
            return
        # The best of the Gaussians' means: never above the true maximum, and hardly below it.
        best = fine.flatten(2).max(dim=-1).values
        at = -density.surprise(density.likeliest()) + 2 * math.log(max(model.size))
        assert (at > best - 0.3).all()

    def test_export(self):
        model = self.model()
        example = self.points()
        shapes = ({0: torch.export.Dim("batch")},) * 2
        program = torch.export.export(model, example, dynamic_shapes=shapes)
        again = self.points(5)
        torch.testing.assert_close(program.module()(*again).logits, model(*again).logits, rtol=1e-4, atol=1e-4)

    def test_bf16_autocast_is_close(self):
        model = self.model()
        example = self.points()
        expected = model(*example).logits
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = model(*example).logits.float()
        assert (found - expected).std() < 0.1 * expected.std() + 0.02

    def test_state_survives_saving(self):
        state_survives_saving(self.model(), self.make().eval())

    def test_copies_are_independent(self):
        model = self.model()
        expected = model(*self.points()).logits
        other = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
        assert torch.equal(model(*self.points()).logits, expected)

    def test_other_points_are_refused(self):
        with pytest.raises(ValueError, match=r"needs xy \(b, 5, 2\)"):
            self.model()(torch.rand(2, 4, 2), torch.ones(2, 4, dtype=torch.bool))

    def test_choices_build_it_again(self):
        name = "denoiser" if isinstance(self.make(), AttentionDenoiser) else "denoiser-exact"
        choices = {"kernel": 5} if name == "denoiser-exact" else {"features": 16}
        made = create_model(name, keypoints=3, size=(12, 16), **choices)
        again = create_model(made.name, **made.choices)
        assert model_task(name) == "denoising"
        assert {n: p.shape for n, p in made.named_parameters()} == {n: p.shape for n, p in again.named_parameters()}
        assert made.penalised() == [p for p in made.parameters() if p.ndim > 1]


class TestConv(DenoiserContract):
    def make(self):
        return ConvDenoiser(keypoints=5, size=(20, 16), kernel=11, features=6)


class TestConvTapByTap(DenoiserContract):
    def make(self):
        return ConvDenoiser(keypoints=5, size=(12, 16), kernel=7, features=6, layers=2, fast=False)


class TestAttention(DenoiserContract):
    def make(self):
        return AttentionDenoiser(keypoints=5, size=(24, 32), features=16, heads=2, blocks=2, components=3)


def test_the_papers_network():
    """rcn.md 2.7, 6: 25,406,212 parameters for 68 points, three 45x45 convolutions and a 1x1."""
    with torch.device("meta"):
        model = ConvDenoiser(keypoints=68)
    assert sum(p.numel() for p in model.parameters()) == 25_406_212
    shapes = [tuple(m.weight.shape) for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert shapes == [(64, 68, 45, 45), (64, 64, 45, 45), (64, 64, 45, 45), (68, 64, 1, 1)]


def test_initial_surprise_of_a_blind_network():
    """rcn.md 8: ln(6400) = 8.764 a point once logits are near zero."""
    torch.manual_seed(0)
    model = ConvDenoiser(keypoints=3, size=(80, 80), kernel=3, features=4)
    nn.init.zeros_(model.head.weight)
    xy, given = torch.rand(2, 3, 2), torch.ones(2, 3, dtype=torch.bool)
    torch.testing.assert_close(model.surprise(xy, given, xy), torch.full((2, 3), 8.764), rtol=0, atol=1e-3)


def test_fast_form_is_the_published_one():
    torch.manual_seed(0)
    fast = ConvDenoiser(keypoints=6, size=(20, 20), kernel=11, features=8).double()
    plain = ConvDenoiser(keypoints=6, size=(20, 20), kernel=11, features=8, fast=False).double()
    plain.load_state_dict(fast.state_dict())
    xy, given = torch.rand(3, 6, 2).double(), torch.rand(3, 6) > 0.3
    torch.testing.assert_close(fast(xy, given).logits, plain(xy, given).logits, rtol=0, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(40, 60), (60, 40), (50, 50)]))
def test_a_density_has_mass_one(seed, size):
    """Narrow Gaussians well inside the canvas and the uniform floor: cells of the map sum to 1, at every resolution."""
    generator = torch.Generator().manual_seed(seed)
    h, w = size
    sides = torch.tensor([w, h]) / max(h, w)
    mean = (0.4 + 0.2 * torch.rand(1, 2, 3, 2, generator=generator)) * sides
    l11, l22 = 15 + 15 * torch.rand(2, 1, 2, 3, generator=generator)
    l21 = 10 * torch.randn(1, 2, 3, generator=generator).clamp(-1, 1)
    log_weight = torch.log_softmax(torch.randn(1, 2, 4, generator=generator), -1)
    mixture = Mixture(log_weight, mean, torch.stack((l11, l21, l22), -1), size)
    for grid in (size, (2 * h, 2 * w)):
        area = sides.prod() / (grid[0] * grid[1])
        mass = mixture.maps(grid).exp().sum(dim=(-2, -1)) * area
        torch.testing.assert_close(mass, torch.ones(1, 2), rtol=0, atol=0.01)
    # The density at a point is what the maps read at a cell's centre.
    centre = torch.tensor([(w // 2 + 0.5) / w, (h // 2 + 0.5) / h]).expand(1, 2, 2)
    at = mixture.maps(size)[..., h // 2, w // 2]
    torch.testing.assert_close(2 * math.log(max(size)) - mixture.surprise(centre), at, rtol=0, atol=1e-4)


def test_what_cannot_be_is_refused():
    for choices, words in (
        ({"kernel": 4}, "no centre"), ({"kernel": 45, "size": [20, 20]}, "reaches past"), ({"kernels": 5}, "nearest: kernel"),
        ({"features": 0}, "at least 1"), ({"fast": 1}, "true or false"), ({"size": "x"}, "height, width"),
        ({"keypoints": 0}, "at least one point"), ({"layers": 2.5}, "whole number"), ({"size": [1, 9]}, "at least 2 cells"),
    ):  # fmt: skip
        with pytest.raises(UnknownChoiceError, match=words):
            create_model("denoiser-exact", **choices)
    with pytest.raises(UnknownChoiceError, match="multiple of heads"):
        create_model("denoiser", features=10, heads=4)
    assert list_models("*", task="denoising") == ["denoiser", "denoiser-exact"]
