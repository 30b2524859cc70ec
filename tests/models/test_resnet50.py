"""LiftPool in timm's ResNets, by surgery and as the `aa_layer` that timm asks for; MS-SAR beside it."""

import pytest
import torch

from contracts import stirred
from snellen.layers import LiftDown1d, LiftDown2d, LiftUp2d, auxiliary_losses
from snellen.models.recalibration import Recalibrated, add_recalibration
from snellen.models.surgery import replace_pooling

timm = pytest.importorskip("timm")


def resnet(name, how, **options):
    torch.manual_seed(0)
    if how == "aa_layer":
        return timm.create_model(name, num_classes=7, aa_layer=LiftDown2d, **options)
    net = timm.create_model(name, num_classes=7, **options)
    replace_pooling(net, "lift", example=torch.zeros(1, 3, 64, 64), verbose=False, zero_init=False)
    return net


def lifts(net):
    return [m for m in net.modules() if isinstance(m, LiftDown2d)]


def train_a_step(net, x):
    """One step on the classes and the regularisers; how far each weight moved."""
    before = [p.detach().clone() for p in net.parameters()]
    optimiser = torch.optim.SGD(net.train().parameters(), lr=0.01)
    with auxiliary_losses(net) as aux:
        loss = torch.nn.functional.cross_entropy(net(x), torch.arange(len(x)))
    (loss + aux.total({"lift/update": 0.01, "lift/predict": 0.1})).backward()
    optimiser.step()
    return [(p - b).abs().max().item() for p, b in zip(net.parameters(), before, strict=True)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_resnet50_trains_a_step_and_gives_the_same_numbers_in_onnxruntime(tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    net = resnet("resnet50", "surgery")  # the same layers as by aa_layer, and the shortcuts'
    # Gates of two blocks, one whose map the grids divide: exporting each costs seconds, and the others are alike.
    add_recalibration(net, "ms-sar", ["layer[24].0.bn2"], example=torch.zeros(1, 3, 64, 64), verbose=False)
    assert sum(isinstance(m, Recalibrated) for m in net.modules()) == 2
    stirred(net)
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(2, 3, 64, 64, generator=generator)
    moved = train_a_step(net, x)
    assert all(0 < m < 10 for m in moved)
    net.eval()
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(net, (x,), dynamo=True, dynamic_shapes=({0: batch},), verbose=False)
    program.save(tmp_path / "resnet50.onnx")
    session = runtime.InferenceSession(tmp_path / "resnet50.onnx", providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for images in (x, torch.rand(3, 3, 64, 64, generator=generator)):
        found = torch.from_numpy(session.run(None, {name: images.numpy()})[0])
        expected = net(images).detach()
        assert expected.std() > 1e-3
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize("how", ["surgery", "aa_layer"])
def test_a_resnet18_trains_a_step_with_every_weight(how):
    net = stirred(resnet("resnet18", how))
    moved = train_a_step(net, torch.rand(2, 3, 64, 64))
    assert all(0 < m < 10 for m in moved)


def test_as_aa_layer_it_stands_where_timm_blurs():
    """The stem's pooling and the strided convolutions of three stages (shortcuts stay strided); every map of its old size."""
    for name in ("resnet18", "resnet50"):
        net = resnet(name, "aa_layer").eval()
        assert [m.channels for m in lifts(net)] == [64, 128, 256, 512]
    plain = timm.create_model("resnet18", features_only=True).eval()
    net = timm.create_model("resnet18", features_only=True, aa_layer=LiftDown2d).eval()
    for size in ((64, 64), (65, 95), (38, 43)):
        x = torch.rand(1, 3, *size)
        assert [m.shape for m in net(x)] == [m.shape for m in plain(x)]


def test_where_timm_dilates_instead_the_map_goes_through():
    net = timm.create_model("resnet18", features_only=True, output_stride=8, aa_layer=LiftDown2d).eval()
    assert [m.stride for m in lifts(net)] == [2, 2, 1, 1]
    assert net.feature_info.reduction() == [2, 4, 8, 8, 8]
    assert [m.shape[-1] for m in net(torch.rand(1, 3, 64, 64))] == [32, 16, 8, 8, 8]


def test_stride_1_keeps_the_map_and_has_no_weights():
    layer, x = LiftDown2d(3, stride=1), torch.rand(2, 3, 5, 4)
    assert torch.equal(layer(x), x)
    assert not list(layer.parameters())
    with auxiliary_losses(layer.train()) as aux:
        layer(x)
    assert not aux.means()
    with pytest.raises(ValueError, match=r"it takes \(batch, 3, H, W\)"):
        layer(x[:, :2])
    with pytest.raises(ValueError, match="has no bands; give stride=2"):
        layer.bands(x)
    with pytest.raises(ValueError, match="halves nothing; give one of stride 2"):
        LiftUp2d(layer)
    with pytest.raises(ValueError, match="does not exist with stride=1; give output='sum'"):
        LiftDown2d(3, stride=1, output="LL")
    with pytest.raises(ValueError, match="stride=3 is not known; give one of 1, 2"):
        LiftDown2d(3, stride=3)


def test_device_and_dtype_of_the_weights():
    layer = LiftDown1d(4, bias=True, device="meta", dtype=torch.float16)
    assert {(p.device.type, p.dtype) for p in layer.parameters()} == {("meta", torch.float16)}


def test_what_an_encoder_keeps_gives_what_it_hands_on():
    torch.manual_seed(0)
    x = torch.rand(1, 3, 7, 8)
    for output in ("sum", "HL"):
        layer = LiftDown2d(3, output=output, scale=0.5)
        torch.testing.assert_close(layer.select(layer.bands(x)), layer(x))
    some = LiftDown2d(3, output=("LL", "HH"))
    assert list(some.select(some.bands(x)).tensors) == ["LL", "HH"]
    everything = LiftDown2d(3, output="all")
    bands = everything.bands(x)
    assert everything.select(bands) is bands
