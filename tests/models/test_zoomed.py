"""Models behind a zoom: every kind, for every task, begins as a plain resize and answers in the original canvas."""

import pytest
import torch
import torch.nn.functional as F

from contracts import ModelContract, nonzero_gradients
from layers.test_zoom import random_saliency
from snellen import create_model
from snellen.layers.saliency import saliency_of_peak
from snellen.layers.zoom_back import zoom_boxes, zoom_points
from snellen.layers.zoom_grid import ZoomGrid, box_grid
from snellen.layers.zoom_saliency import saliency_to_grid
from snellen.models import KeypointOutput, UnknownChoiceError
from snellen.models.blur_curriculum import BlurCurriculum
from snellen.models.zoom_baselines import SplineZoom
from snellen.models.zoom_cam import _box
from snellen.models.zoom_names import ZOOMS
from snellen.models.zoomed import decode_output, source_probability
from snellen.models.zoomers import FixedZoom, SaliencySampler
from zooms import SIZE, awake, keypoint_model

LEARNED = ("saliency", "separable", "stn", "tps", "direct")


class TestZoomedModel(ModelContract):
    channels = 3
    size = (70, 90)
    sizes = ((70, 90), (33, 121))

    def make(self):
        return awake(keypoint_model(max_zoom=3.0, nodes=[9, 11]))

    @pytest.mark.parametrize("batch", [1, 3])
    def test_cells_of_the_logits_cover_the_canvas(self, batch):
        """The zoomed one, whatever the canvas's size."""
        for size in self.sizes:
            assert self.model()(self.canvases(batch, size)).logits.shape == (batch, 5, 32, 40)

    def test_too_small_a_canvas_is_told_the_size_that_works(self):
        with pytest.raises(ValueError, match="at least 2x2"):
            self.model()(torch.zeros(1, 3, 1, 64))


class TestSeparableModel(TestZoomedModel):
    def make(self):
        return awake(keypoint_model("separable", nodes=7))


class TestModelThatLooksThreeTimes(TestZoomedModel):
    def make(self):
        return awake(keypoint_model("separable", nodes=9, looks=3, mirror=True, peak=True))


@pytest.mark.parametrize(("options", "least", "most"), [({}, 3.4, 4.0), ({"alpha": 8, "max_zoom": 12}, 5.5, 6.7)])
def test_small_objects_need_a_larger_alpha(options, least, most):
    """The magnifications that docs/zoom.md names, of an object a twelfth of the picture wide."""
    picture, box = torch.zeros(1, 3, 768, 1024), torch.tensor([[[470.0, 352.0, 554.0, 415.0]]])
    zoomer = SaliencySampler((72, 96), (31, 41), separable=True, **options).train()
    left, top, right, bottom = zoom_boxes(box, zoomer(picture, box).grid, (768, 1024))[0, 0].tolist()
    across, down = (right - left) / (84 * 96 / 1024), (bottom - top) / (63 * 72 / 768)
    assert least < across < most
    assert least < down < most


@pytest.mark.parametrize(
    ("options", "middle", "border"),
    [({}, (2.7, 3.0), (0.85, 1.0)), ({"sigma": 0.105, "alpha": 30}, (1.9, 2.1), (1.5, 1.7))],
)
def test_a_narrow_kernel_magnifies_the_whole_object_alike(options, middle, border):
    """The magnifications that docs/zoom.md names, of an object a third of the picture wide."""
    picture, box = torch.zeros(1, 3, 192, 192), torch.tensor([[[63.0, 63.0, 129.0, 129.0]]])
    grid = SaliencySampler((48, 48), separable=True, max_zoom=4, **options).train()(picture, box).grid
    for at, (least, most) in ((96.0, middle), (63.0, border), (129.0, border)):
        left, _, right, _ = zoom_boxes(torch.tensor([[[at - 1, 90.0, at + 1, 92.0]]]), grid, (192, 192))[0, 0].tolist()
        assert least < (right - left) / (2 * 48 / 192) < most


def test_the_peak_alone_counts_in_evaluation_alone():
    torch.manual_seed(0)
    plain, peaked = (awake(keypoint_model("separable", peak=p)).zoomer for p in (False, True))
    peaked.load_state_dict(plain.state_dict())
    canvas = torch.rand(2, 3, 70, 90) * 255
    with torch.no_grad():
        expected = saliency_of_peak(plain.eval()(canvas).saliency)
        seen = peaked.eval()(canvas)
        assert torch.equal(seen.saliency, expected)
        assert torch.equal(seen.grid.nodes, plain.from_saliency(expected).nodes)
        assert torch.equal(peaked.train()(canvas).saliency, plain.train()(canvas).saliency)


def test_mirrored_saliency_mirrors_with_the_picture():
    """As no network's own does, whatever its weights; training does not wait for a second glance."""
    torch.manual_seed(0)
    sampler = SaliencySampler((32, 32), (9, 11), mirror=True, backbone="tiny").eval()
    torch.nn.init.normal_(sampler.look.head.weight, std=300.0)
    picture = torch.rand(2, 3, 64, 80) * 255
    with torch.no_grad():
        found, mirrored = sampler(picture).saliency, sampler(picture.flip(-1)).saliency
        torch.testing.assert_close(mirrored, found.flip(-1))
        sampler.mirror = False
        assert (sampler(picture.flip(-1)).saliency - sampler(picture).saliency.flip(-1)).abs().max() > 1e-4
        trained = sampler.train()(picture).saliency
        sampler.mirror = True
        assert torch.equal(sampler(picture).saliency, trained)


@pytest.mark.parametrize("zoom", LEARNED)
def test_a_fresh_zoom_is_a_plain_resize(zoom):
    torch.manual_seed(0)
    model = keypoint_model(zoom, nodes=9).eval() if zoom != "stn" else keypoint_model(zoom).eval()
    picture = F.interpolate(torch.rand(2, 3, 8, 9) * 255, (70, 90), mode="bicubic").clamp(0, 255)
    seen = model.zoomer(picture).image
    resized = F.interpolate(picture, (32, 40), mode="bilinear", antialias=True)
    assert (seen - resized).abs().mean() < 1.0
    torch.manual_seed(0)
    plain = keypoint_model("uniform").eval()
    assert all(torch.equal(a, b) for a, b in zip(plain.net.parameters(), model.net.parameters(), strict=True))
    assert (plain.zoomer(picture).image - resized).abs().max() < 1e-2


@pytest.mark.parametrize("zoom", LEARNED)
def test_gradients_reach_every_weight_through_the_picture_alone(zoom):
    torch.manual_seed(0)
    model = awake(keypoint_model(zoom))
    model.train()
    output = model(torch.rand(2, 3, 70, 90) * 255)
    (output.logits * torch.randn_like(output.logits)).sum().backward()
    nonzero_gradients(model)


@pytest.mark.parametrize("zoom", [z for z in ZOOMS if z not in ("none", "cam")])
@pytest.mark.parametrize("name", ["rcn5", "resnet20", "segnet-small", "gaze-small"])
def test_every_zoom_before_every_task_is_built_again_from_its_choices(zoom, name):
    given = {"rcn5": {"keypoints": 5, "channels": 3, "branches": 4}, "gaze-small": {"channels": 3}}
    counts = given.get(name, {"classes": 3})
    if zoom == "boxes" and name != "rcn5":
        with pytest.raises(UnknownChoiceError, match="have no boxes"):
            create_model(name, zoom=zoom, zoom_options=SIZE, **counts)
        return
    model = create_model(name, zoom=zoom, zoom_options=SIZE, **counts).eval()
    again = create_model(name, **model.choices).eval()
    again.load_state_dict(model.state_dict())
    x = torch.rand(1, 3, 60, 80) * 255
    boxes = {"boxes": torch.tensor([[[10.0, 10, 30, 30]]])} if zoom == "boxes" else {}
    output = model(x, **boxes)
    found, other = (getattr(o, "answer" if "gaze" in name else "logits") for o in (output, again(x, **boxes)))
    assert torch.equal(found, other)
    shape = {"rcn5": (1, 5, 32, 40), "resnet20": (1, 3), "segnet-small": (1, 3, 60, 80), "gaze-small": (1, 2)}[name]
    assert found.shape == shape
    assert output.grid.size == (32, 40)


def test_segmentation_logits_come_back_to_where_the_picture_has_them():
    """A network that answers with the picture itself: unzoomed, it is the picture."""
    model = create_model("segnet-small", classes=3, zoom="fixed", zoom_options={"size": [96, 128]}).eval()
    saliency = torch.full((31, 31), 0.2)
    saliency[5:12, 18:25] = 1.0
    model.zoomer.set_saliency(saliency)

    class Echo(torch.nn.Module):
        def forward(self, x):
            return KeypointOutput(x)

    model.net = Echo()
    picture = F.interpolate(torch.rand(1, 3, 8, 10), (96, 128), mode="bicubic")
    output = model(picture)
    assert output.grid.nodes[0, 0, :, 0].diff().std() > 1e-4  # it does zoom
    assert (output.logits - picture).abs().mean() < 0.01


def spike(grid, point, source, size):
    """Logits with all mass on the cell of the zoomed map that holds a point of the source."""
    x, y = zoom_points(torch.tensor([[point]], dtype=torch.float32), grid, source).xy[0, 0].floor().long().tolist()
    logits = torch.full((1, 1, *size), -100.0)
    logits[0, 0, y, x] = 100.0
    return logits


@pytest.mark.parametrize("separable", [False, True])
def test_decoded_points_and_confidences_lie_in_the_canvas(separable):
    crop = box_grid(torch.tensor([[0.25, 0.5, 0.75, 1.0]]), (32, 32))
    grid = ZoomGrid(crop.nodes, crop.size, separable)
    output = KeypointOutput(spike(grid, (50.0, 80.0), (100, 100), (32, 32)), grid)
    found = decode_output(output, "local", canvas=(100, 100), stride=1)
    assert (found.xy[0, 0] - torch.tensor([50.0, 80.0])).abs().max() < 50 / 32
    assert found.confidence.item() == pytest.approx(1, abs=1e-4)
    assert source_probability(output).sum().item() == pytest.approx(1, abs=1e-4)
    plain = KeypointOutput(output.logits)
    torch.testing.assert_close(source_probability(plain).flatten(1).sum(1), torch.ones(1))


def test_cell_is_what_a_plain_resize_would_have():
    assert keypoint_model("uniform").cell((320, 400)) == 10


def test_boxes_draw_the_zoom_to_them():
    model = keypoint_model("boxes", beta=0.1)
    box = torch.tensor([[[60.0, 20.0, 80.0, 40.0]], [[torch.nan] * 4]])
    seen = model.zoomer(torch.zeros(2, 3, 100, 100), box)
    assert seen.saliency[0].argmax() % 31 == pytest.approx(21, abs=1)
    torch.testing.assert_close(seen.saliency[1], torch.full((31, 31), 1 / 961))
    with pytest.raises(ValueError, match="give boxes"):
        model(torch.zeros(1, 3, 100, 100))


def test_fixed_saliency_is_kept_with_the_weights():
    zoom, other = FixedZoom((8, 8), (5, 5)), FixedZoom((8, 8), (5, 5))
    zoom.set_saliency(torch.rand(5, 5))
    other.load_state_dict(zoom.state_dict())
    assert torch.equal(zoom.saliency, other.saliency)
    assert zoom.saliency.sum().item() == pytest.approx(1)
    assert set(zoom.state_dict()) == {"saliency"}  # the matrices are constants
    with pytest.raises(ValueError, match="nodes"):
        zoom.set_saliency(torch.rand(4, 4))


def test_temperature_divides_the_logits():
    """So the logarithms of the saliency differ by a tenth as much at a temperature of ten, and hardly at one of a million."""
    torch.manual_seed(0)
    hot, warm, cold = (SaliencySampler((64, 64), temperature=t).eval() for t in (1.0, 10.0, 1e6))
    torch.nn.init.normal_(hot.look.head.weight, std=300.0)
    picture = torch.rand(1, 3, 40, 40) * 255
    logs = []
    for sampler in (hot, warm, cold):
        sampler.load_state_dict(hot.state_dict())
        found = sampler(picture).saliency.log()
        logs.append(found - found.mean())
    assert logs[0].std() > 0.1
    torch.testing.assert_close(logs[1], logs[0] / 10, rtol=1e-3, atol=1e-4)
    assert logs[2].std() < 1e-5


def test_the_papers_sampling_takes_the_papers_padding():
    """A layer and `saliency_to_grid` of the same saliency are the same grid, whatever is left to the defaults."""
    saliency = random_saliency(sd=5.0, dtype=torch.float32)
    for legacy in ("", "paper", "lzu"):
        found = FixedZoom((16, 16), legacy=legacy).from_saliency(saliency)
        assert torch.equal(found.nodes, saliency_to_grid(saliency, (16, 16), legacy=legacy).nodes)


def test_spline_moves_its_control_points_exactly():
    """A node on a control point goes where the point goes; an affine motion of all is that motion everywhere."""
    spline = SplineZoom((8, 8), (7, 7), points=3, channels=3)
    moved = torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
    nodes = (spline.nodes_of_points @ moved).view(7, 7, 2)
    torch.testing.assert_close(nodes[::3, ::3].reshape(9, 2), moved, rtol=0, atol=1e-5)
    line = torch.linspace(0, 1, 3)
    lattice = torch.cartesian_prod(line, line).flip(-1)
    turned = lattice @ torch.tensor([[0.5, 0.2], [-0.1, 0.8]]) + 0.1
    fine = torch.cartesian_prod(torch.linspace(0, 1, 7), torch.linspace(0, 1, 7)).flip(-1)
    expected = fine @ torch.tensor([[0.5, 0.2], [-0.1, 0.8]]) + 0.1
    torch.testing.assert_close(spline.nodes_of_points @ turned, expected, rtol=0, atol=1e-5)


def test_blur_is_drawn_by_seed_and_step_and_ends():
    picture = torch.rand(1, 3, 32, 32)
    first, second = BlurCurriculum(3, seed=5), BlurCurriculum(3, seed=5)
    rng = torch.get_rng_state()
    shown = [first(picture) for _ in range(4)]
    assert torch.equal(torch.get_rng_state(), rng)
    assert torch.equal(shown[3], picture)
    assert not torch.equal(shown[0], shown[1])
    second.load_state_dict({"step": torch.tensor(2)})
    assert torch.equal(second(picture), shown[2])  # as after a resume
    for wrong in ({"steps": -1}, {"steps": 1, "smallest": 0.0}):
        with pytest.raises(ValueError, match="not possible"):
            BlurCurriculum(**wrong)


def test_cam_crops_to_what_is_active():
    activation = torch.zeros(1, 8, 8)
    activation[0, 2:4, 5:8] = 1.0
    x, y = _box(activation, 0.5, (4, 4)).axes()
    assert (x.tolist(), y.tolist()) == ([[0.625, 1.0]], [[0.25, 0.5]])
    model = create_model("timm:test_resnet", classes=4, zoom="cam", zoom_options={"size": 32})
    output = model(torch.rand(2, 3, 64, 64) * 255)
    assert output.logits.shape == (2, 4)
    output.logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    with pytest.raises(UnknownChoiceError, match="linear classifier"):
        create_model("vgg13", classes=4, zoom="cam", zoom_options={"size": 32})


def test_paper_prefix_on_a_timm_backbone():
    """zoom.md 6: ResNet-18 up to layer3 has 2.78 million parameters; the head 257 with a bias, which its softmax ignores."""
    sampler = SaliencySampler((64, 64), backbone="timm:resnet18")
    assert sum(p.numel() for p in sampler.look.backbone.parameters()) == pytest.approx(2.78e6, rel=0.01)
    assert sum(p.numel() for p in sampler.look.head.parameters()) == 257 - 1
    assert sampler.eval()(torch.rand(1, 3, 80, 80) * 255).saliency.shape == (1, 31, 31)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"zoom": "salience", "zoom_options": SIZE}, "saliency"),
        ({"zoom": "saliency"}, "needs zoom_options.size"),
        ({"zoom": "uniform", "zoom_options": {**SIZE, "sigma": 1}}, "no option 'sigma'"),
        ({"zoom": "none", "zoom_options": SIZE}, "no option 'size'"),
        ({"zoom": "uniform", "zoom_options": {"size": [1, 40]}}, "above 1"),
        ({"zoom": "uniform", "zoom_options": {"size": [8, 8]}}, "too small for the network"),
        ({"zoom": "saliency", "zoom_options": {**SIZE, "legacy": "paper"}}, "leave legacy out"),
        ({"zoom": "saliency", "zoom_options": {**SIZE, "temperature": 0}}, "temperature=0"),
        ({"zoom": "saliency", "zoom_options": {**SIZE, "backbone": "big"}}, "'tiny'"),
        ({"zoom": "crop", "zoom_options": {**SIZE, "share": 2}}, "share=2"),
        ({"zoom": "cam", "zoom_options": SIZE}, "makes no sense for keypoints"),
        ({"zoom": "saliency", "zoom_options": {**SIZE, "looks": 0}}, "looks=0"),
        ({"zoom": "uniform", "zoom_options": {**SIZE, "looks": 2}}, "no option 'looks'"),
    ],
)
def test_mistakes_are_said_in_a_sentence(change, words):
    with pytest.raises(UnknownChoiceError, match=words):
        create_model("rcn5", **change)


def test_a_zoomed_picture_ends_where_a_cell_does():
    """Losses and confidences cut it into whole cells, positions count the network's stride."""
    with pytest.raises(UnknownChoiceError, match=r"zoom_options.size=\[64, 50\] .* give multiples of 4"):
        create_model("rcn", keypoints=3, zoom="uniform", zoom_options={"size": [64, 50]})
    model = create_model("rcn", keypoints=3, zoom="uniform", zoom_options={"size": [64, 52]}).eval()
    assert model.stride == 4
    assert model(torch.zeros(1, 1, 100, 90)).logits.shape[-2:] == (16, 13)
