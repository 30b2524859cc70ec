"""MS-SAR in graphs: compiled, exported, in onnxruntime."""

import subprocess
import sys

import pytest
import torch

from recalibrations import images, layer


@pytest.mark.parametrize(
    "options",
    [{"fuse": "mul_gate", "grids": (1, 2, 3)}, {"region": "strided", "pool": "avg+max"}, {"upsample": "bilinear"}],
)
def test_readings_in_graphs(options):
    """Beside the contract's, which are of the defaults and of weights that differ between cells."""
    made = layer(**options)
    torch.compiler.reset()
    torch.testing.assert_close(torch.compile(made, fullgraph=True, backend="eager")(images(6, 7)), made(images(6, 7)))
    program = torch.export.export(made, (images(6, 7),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.testing.assert_close(program.module()(images(6, 7, batch=5)), made(images(6, 7, batch=5)))


@pytest.mark.parametrize("options", [{"grids": (1, 2)}, {"region": "strided", "pool": "avg+max"}])
def test_compiled_where_sides_are_symbols(options):
    """As they are from the second image size on."""
    made = layer(**options)
    torch.compiler.reset()
    compiled = torch.compile(made, fullgraph=True, backend="eager", dynamic=True)
    torch.testing.assert_close(compiled(images(33, 17)), made(images(33, 17)))


@pytest.mark.parametrize(
    "size", [(7, 7), (14, 9), (28, 28), (32, 32), (40, 12), (30, 41), (32, 32, "last"), (9, 5, "last")]
)
def test_a_compiled_layer_learns_as_an_eager_one(size):
    """A compiled graph takes other forms than eager mode, by the size and where the channels are."""
    layout = torch.channels_last if "last" in size else torch.contiguous_format
    made, x = layer(), images(*size[:2], batch=3).contiguous(memory_format=layout)
    torch.compiler.reset()
    compiled = torch.compile(made, fullgraph=True, backend="aot_eager")
    found = []
    for form in (made, compiled):
        given = x.clone().requires_grad_()
        y = form(given)
        gradients = torch.autograd.grad(
            (y * torch.linspace(-1, 1, x.numel()).view(x.shape)).sum(), [given, *made.parameters()]
        )
        found.append((y, *gradients))
    torch.testing.assert_close(found[1], found[0])
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), found[0][0])
        torch.testing.assert_close(compiled(x[:, :, :, 1:]), made(x[:, :, :, 1:]))  # a second size


def test_export_of_any_size():
    any_size = {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    made = layer(grids=(2, 3), share="cell")  # test_onnx has the others
    program = torch.export.export(made, (images(10, 12),), dynamic_shapes=(any_size,))
    for size in ((10, 12), (7, 30), (33, 8), (16, 16)):
        torch.testing.assert_close(program.module()(images(*size)), made(images(*size)))


@pytest.mark.filterwarnings("ignore")
def test_onnx(tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    made, file, auto = layer(), tmp_path / "recalibration.onnx", torch.export.Dim.AUTO
    any_size = ({0: auto, 2: auto, 3: auto},)
    torch.onnx.export(made, (images(10, 12),), dynamo=True, dynamic_shapes=any_size, verbose=False).save(file)
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for size in ((10, 12), (7, 30), (32, 32)):
        x = images(*size, batch=3)
        found = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])
        torch.testing.assert_close(found, made(x), rtol=1e-5, atol=1e-5)


def test_what_compiles_is_imported_by_who_compiles():
    """torch._dynamo takes a second to import, every time a command starts."""
    lines = (
        "import sys, torch",
        "before = 'torch._dynamo' in sys.modules",
        "from snellen.layers import MultiScaleRecalibration",
    )
    code = "; ".join((*lines, "print(before or 'torch._dynamo' not in sys.modules)"))
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"
