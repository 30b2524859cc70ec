"""LiftPool in compiled and exported graphs."""

import pytest
import torch

from snellen.layers import Bands, LiftDown1d, LiftDown2d, LiftDown3d, LiftUp2d, auxiliary_losses


class Encoder(torch.nn.Module):
    """Sum, bands and back: everything a segmentation network uses."""

    def __init__(self, **choices):
        super().__init__()
        self.down = LiftDown2d(3, **choices)
        self.up = LiftUp2d(self.down)

    def forward(self, x):
        bands = self.down.bands(x)
        return self.down(x), bands["LH"], self.up(bands, low=2 * bands["LL"])


def image(h=9, w=12, batch=2):
    return torch.randn(batch, 3, h, w, generator=torch.Generator().manual_seed(0))


def build(**choices):
    torch.manual_seed(0)
    return Encoder(**choices).eval()


@pytest.mark.parametrize("choices", [{}, {"ceil_mode": False}, {"groups": 1, "padding": "replicate", "shared": False}])
def test_compiled_fullgraph(choices):
    torch.compiler.reset()
    model = build(**choices)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for size in ((9, 12), (8, 8)):
        for got, expected in zip(compiled(image(*size)), model(image(*size)), strict=True):
            torch.testing.assert_close(got, expected)


def test_compiled_with_gradients():
    torch.compiler.reset()
    model = build().train()
    gradients = []
    for run in (model, torch.compile(model, fullgraph=True, backend="aot_eager")):
        model.zero_grad()
        sum(t.square().sum() for t in run(image())).backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for compiled, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_kernels_stand_in_a_compiled_graph(layout):
    """With numba the graph holds them whole: the eager layer's numbers, regularisers too, and nothing kept but the input."""
    pytest.importorskip("numba")
    torch.compiler.reset()
    layer = LiftDown2d(3, zero_init=False).train()

    def run(x):
        with auxiliary_losses(layer) as aux:
            y = layer(x)
        return y, aux.total({"lift/update": 1.0, "lift/predict": 1.0})

    found = []
    for form in (run, torch.compile(run, fullgraph=True, backend="aot_eager")):
        x = image(9, 12).to(memory_format=layout).requires_grad_()
        own, kept = {t.untyped_storage().data_ptr() for t in (x, *layer.parameters())}, []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, kept=kept: kept.append(t) or t, lambda t: t):
            y, loss = form(x)
        assert sum(t.numel() for t in kept if t.untyped_storage().data_ptr() not in own) < x.numel() / 10
        found.append([y, *torch.autograd.grad(y.square().sum() + loss, [x, *layer.parameters()])])
    for eager, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, eager)


@pytest.mark.parametrize("layer", [LiftDown1d(3, output="all"), LiftDown3d(3, output="all")])
def test_bands_leave_an_exported_graph_whole(layer):
    x = torch.randn(2, 3, *(6, 5, 4)[: layer.dims])
    program = torch.export.export(layer.eval(), (x,))
    bands = program.module()(x)
    assert isinstance(bands, Bands)
    assert bands.size == tuple(x.shape[2:])
    for name, band in layer(x).tensors.items():
        torch.testing.assert_close(bands[name], band)


def test_export_of_any_size():
    """One graph for odd and even sides."""
    any_size = {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    layer = LiftDown2d(3).eval()
    program = torch.export.export(layer, (image(10, 12),), dynamic_shapes=(any_size,))
    for size in ((10, 12), (7, 30), (33, 5)):
        torch.testing.assert_close(program.module()(image(*size)), layer(image(*size)))


def test_exports_hold_no_regularisers():
    layer = LiftDown2d(3).train()
    with auxiliary_losses(layer) as aux:
        program = torch.export.export(layer, (image(),))
    assert not aux.means()
    assert len(program.graph_signature.user_outputs) == 1


@pytest.mark.filterwarnings("ignore")
def test_onnx(tmp_path):
    """lift.md 9: ONNX with any batch and size."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    down, file = build().down, tmp_path / "lift.onnx"
    auto = torch.export.Dim.AUTO
    program = torch.onnx.export(
        down, (image(10, 12),), dynamo=True, dynamic_shapes=({0: auto, 2: auto, 3: auto},), verbose=False
    )
    program.save(file)
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for x in (image(10, 12), image(7, 30, 1), image(33, 5, 4)):
        got = torch.from_numpy(session.run(None, {name: x.numpy()})[0])
        torch.testing.assert_close(got, down(x), rtol=1e-5, atol=1e-5)
