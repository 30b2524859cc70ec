"""Gaze networks: shapes, gradients, compilation, export, and what iTracker shares."""

import pytest
import torch

from contracts import nonzero_gradients, state_survives_saving
from snellen import create_model
from snellen.models import (
    GazeNet,
    GazeOutput,
    UnknownChoiceError,
    UnknownModelError,
    list_models,
    model_choices,
    model_task,
)
from snellen.models.itracker import SMALLEST, Tracker

NOISE = torch.Generator()


def noise(*shape):
    return 255 * torch.rand(*shape, generator=NOISE.manual_seed(1))


class GazeContract:
    """Gaze networks: what `inputs` describes in, `GazeOutput` out."""

    def make(self) -> GazeNet:
        raise NotImplementedError

    def inputs(self, batch=2):
        return (noise(batch, 1, 48, 40),)

    def model(self):
        torch.manual_seed(0)
        return self.make().eval()

    def test_two_finite_numbers_a_picture(self):
        model = self.model()
        for batch in (1, 3):
            output = model(*self.inputs(batch))
            assert isinstance(output, GazeOutput)
            assert output.answer.shape == (batch, 2)
            assert output.answer.isfinite().all()
        blank = tuple(torch.zeros_like(x) for x in self.inputs())
        assert model(*blank).answer.isfinite().all()

    def test_pictures_do_not_see_each_other(self):
        model, inputs = self.model(), self.inputs(3)
        alone = model(*(x[1:2] for x in inputs)).answer
        torch.testing.assert_close(model(*inputs).answer[1:2], alone, rtol=1e-3, atol=1e-3)

    def test_every_parameter_gets_a_gradient(self):
        torch.manual_seed(0)
        model = self.make()
        (model(*self.inputs(4)).answer - 3).square().sum().backward()
        nonzero_gradients(model)

    def test_compile_fullgraph(self):
        torch.compiler.reset()
        model, inputs = self.model(), self.inputs()
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(*inputs).answer, model(*inputs).answer)

    def test_export_with_any_batch(self):
        model = self.model()
        shapes = tuple({0: torch.export.Dim("batch")} for _ in self.inputs())
        program = torch.export.export(model, self.inputs(), dynamic_shapes=shapes)
        inputs = self.inputs(4)
        torch.testing.assert_close(program.module()(*inputs).answer, model(*inputs).answer, rtol=1e-4, atol=1e-4)

    def test_state_and_choices_make_it_again(self):
        model = self.model()
        other = create_model(model.name, **model.choices).eval()
        state_survives_saving(model, other)
        assert torch.equal(model(*self.inputs()).answer, other(*self.inputs()).answer)
        assert model_choices(model.name, **model.choices) == model.choices
        assert model_task(model.name) == "gaze"


class TestSmall(GazeContract):
    def make(self):
        return create_model("gaze-small", width=8)

    def test_size_and_brightness(self):
        model = self.model()
        assert model(noise(1, 1, 16, 16)).answer.shape == (1, 2)
        with pytest.raises(ValueError, match="at least 16x16"):
            model(noise(1, 1, 15, 16))
        # Each picture's own mean and contrast are taken out.
        x = noise(2, 1, 48, 40)
        torch.testing.assert_close(model(0.5 * x + 20).answer, model(x).answer, rtol=1e-3, atol=1e-3)

    def test_number_of_parameters(self):
        """Counted by hand: stem, a block a stage, the last layer."""
        w = 8
        block = lambda a, b: 9 * a * b + 9 * b * b + 4 * b + (a * b + 2 * b if a != b else 0)  # noqa: E731
        expected = 25 * w + 2 * w + block(w, w) + block(w, 2 * w) + block(2 * w, 4 * w) + block(4 * w, 8 * w)
        assert sum(p.numel() for p in self.model().parameters()) == expected + 2 * 8 * w + 2


class TestTimm(GazeContract):
    def make(self):
        return create_model("gaze", backbone="timm:test_resnet")

    def test_every_parameter_gets_a_gradient(self):
        torch.manual_seed(0)
        model = self.make()
        for module in model.modules():  # timm starts residual branches at zero, which hides what is before
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
        (model(*self.inputs(4)).answer - 3).square().sum().backward()
        nonzero_gradients(model)


class TestITracker(GazeContract):
    def make(self):
        return create_model("itracker", canvas=[SMALLEST, SMALLEST + 8])

    def inputs(self, batch=2):
        torch.manual_seed(2)
        return noise(batch, 3, 3, SMALLEST, SMALLEST + 8), (torch.rand(batch, 25, 25) > 0.5).float()

    def test_eyes_share_their_convolutions_and_the_face_has_its_own(self):
        net = self.model().net
        found = []
        net.eye.register_forward_hook(lambda *_: found.append("eye"))
        net.face_trunk.register_forward_hook(lambda *_: found.append("face"))
        net(*self.inputs())
        assert found == ["eye", "eye", "face"]
        assert {id(p) for p in net.eye.parameters()}.isdisjoint({id(p) for p in net.face_trunk.parameters()})

    def test_every_part_changes_the_answer(self):
        model = self.model()
        parts, grid = self.inputs(1)
        before = model(parts, grid).answer
        for i in range(3):
            other = parts.clone()
            other[:, i] = 255 - other[:, i]
            assert not torch.equal(model(other, grid).answer, before)
        assert not torch.equal(model(parts, 1 - grid).answer, before)

    def test_convolutions_are_alexnets(self):
        """Widths and kernels of the description; the second has two groups."""
        kernels = [
            (m.out_channels, m.kernel_size[0], m.groups) for m in Tracker().eye if isinstance(m, torch.nn.Conv2d)
        ]
        assert kernels == [(96, 11, 1), (256, 5, 2), (384, 3, 1), (64, 1, 1)]
        assert Tracker().eyes[0].in_features == 2 * 64 * 12 * 12  # 224 -> 54 -> 26 -> 12

    def test_what_does_not_fit_is_refused(self):
        with pytest.raises(ValueError, match=r"\(b, 3, c, h, w\), not \(2, 3, 35, 43\)"):
            self.model()(noise(2, 3, SMALLEST, SMALLEST + 8), torch.zeros(2, 25, 25))
        with pytest.raises(ValueError, match="do not fit a network for 35x43"):
            self.model()(noise(2, 3, 3, 40, 43), torch.zeros(2, 25, 25))
        with pytest.raises(UnknownChoiceError, match="at least 35x35"):
            create_model("itracker", canvas=[34, 60])


#: Poolings exchanged and blocks put in: convolutions and shortcuts of three stages, four branches; a small ResNet of timm's;
#: iTracker's two trunks with two poolings each.
PLACES = {
    ("gaze-small", ()): (6, 4), ("gaze-small", (("width", 4), ("channels", 3))): (6, 4),
    ("gaze", (("backbone", "timm:test_resnet"),)): (4, 4), ("itracker", (("canvas", (64, 64)),)): (4, 0),
}  # fmt: skip


@pytest.mark.parametrize(("network", "places"), PLACES.items(), ids=str)
def test_poolings_and_blocks_are_choices(network, places):
    name, given = network
    changes = {"pool": "lift"} | ({"recalibrate": "se"} if places[1] else {})
    torch.manual_seed(0)
    plain = create_model(name, **dict(given))
    torch.manual_seed(0)
    model = create_model(name, **dict(given), **changes)
    kinds = [type(m).__name__ for m in model.modules()]
    assert (kinds.count("LiftDown2d"), kinds.count("MultiScaleRecalibration")) == places
    # The network's own weights are drawn alike.
    own = [p for n, p in model.named_parameters() if not any(w in n for w in ("pairs", "recalibration"))]
    assert all(torch.equal(a, b) for a, b in zip(own, plain.parameters(), strict=True))
    again = create_model(name, **model.choices)
    again.load_state_dict(model.state_dict())
    inputs = (noise(2, 3, 3, 64, 64), torch.ones(2, 25, 25)) if name == "itracker" else (noise(2, 1, 48, 40),)
    again(*inputs).answer.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in again.parameters())
    # Cards of older runs do not know them.
    old = {k: v for k, v in plain.choices.items() if not k.startswith(("pool", "recalibrate"))}
    assert create_model(name, **old).choices == plain.choices


def test_what_pools_and_blocks_refuse():
    for choices, says in (
        ({"pool": "lifts"}, "pool='lifts' is not possible; give one of own, max"),
        ({"pool_options": {"kernel_size": 3}}, "makes no sense with pool='own'"),
        ({"pool": "avg", "pool_options": {"kernel_size": 3}}, "does not take these options"),
        ({"recalibrate": "sar"}, "recalibrate='sar' is not possible"),
        ({"recalibrate_options": {"grids": [1]}}, "makes no sense with recalibrate='none'"),
    ):
        with pytest.raises(UnknownChoiceError, match=says):
            create_model("gaze-small", **choices)
    with pytest.raises(UnknownChoiceError, match="no choice 'recalibrate'"):
        create_model("itracker", recalibrate="se")


def test_names_and_refusals():
    assert {"gaze", "gaze-small", "itracker"} == set(list_models(task="gaze"))
    with pytest.raises(UnknownChoiceError, match="no choice 'wide'; nearest: width"):
        create_model("gaze-small", wide=3)
    with pytest.raises(UnknownChoiceError, match="answer='pixels' is not possible"):
        create_model("gaze-small", answer="pixels")
    with pytest.raises(UnknownChoiceError, match="timm:NAME"):
        create_model("gaze", backbone="resnet18")
    with pytest.raises(UnknownChoiceError, match="timm has no model 'resnet1'"):
        create_model("gaze", backbone="timm:resnet1")
    with pytest.raises(UnknownModelError, match="gaze-small"):
        create_model("gaze-smal")
