"""MS-SAR in graphs: compiled, exported, in onnxruntime."""

import subprocess
import sys

import pytest
import torch

from recalibrations import images, layer
from snellen.layers import LiftDown2d


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


OPEN = (dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC),)


@pytest.mark.parametrize("size", [(4, 4), (9, 9), (16, 16), (40, 36)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"grids": (1, 2, 3)},
        {"share": "cell"},
        {"grids": (1,)},
        {"region": "window", "extents": (9, 5, 3)},
        {"region": "window"},
    ],
    ids=str,
)
def test_a_graph_of_open_sizes_is_for_all_that_have_room_for_the_grid(size, options):
    """Whatever the example's: sides that equal a number of cells, odd ones, such that the cells divide."""
    made = layer(**options).eval()
    program = torch.export.export(made, (images(*size),), dynamic_shapes=OPEN).module()
    for other in ((4, 4), (5, 9), (16, 16), (33, 64)):
        for batch in (1, 3):
            x = images(*other, batch=batch)
            torch.testing.assert_close(program(x), made(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [{"pool": "max"}, {"pool": "avg+max"}, {"region": "strided", "extents": (8, 4, 2)}],
    ids=str,
)
def test_readings_without_a_graph_of_open_sizes_refuse_it_and_have_one_of_a_size(options):
    made = layer(**options).eval()
    with pytest.raises(ValueError, match="has no graph of open height and width; export it for one size"):
        torch.export.export(made, (images(40, 36),), dynamic_shapes=OPEN)
    x = images(40, 36)
    torch.testing.assert_close(torch.export.export(made, (x,)).module()(x), made(x), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", [(8, 8), (7, 9), (32, 32)])
def test_traces_and_the_older_exporter(size, tmp_path):
    made, x = layer(), images(*size)
    traced = torch.jit.trace(made, x)
    traced.save(tmp_path / "layer.pt")
    torch.testing.assert_close(torch.jit.load(tmp_path / "layer.pt")(x), made(x), rtol=0, atol=1e-6)
    runtime = pytest.importorskip("onnxruntime")
    torch.onnx.export(made, (x,), tmp_path / "layer.onnx", dynamo=False, input_names=["x"])
    session = runtime.InferenceSession(tmp_path / "layer.onnx", providers=["CPUExecutionProvider"])
    torch.testing.assert_close(torch.from_numpy(session.run(None, {"x": x.numpy()})[0]), made(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("make", [layer, lambda: LiftDown2d(3)], ids=["ms-sar", "lift"])
@pytest.mark.parametrize("size", [(8, 8), (7, 9), (32, 32)])
def test_gradients_of_each_image_by_torch_func(make, size):
    """Per-sample gradients add up to the batch's."""
    made, x = make(), images(*size, batch=3)
    weights = dict(made.named_parameters())

    def loss(weights, image):
        return torch.func.functional_call(made, weights, (image[None],)).square().mean()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, x)
    (3 * made(x).square().mean()).backward()
    for name, weight in made.named_parameters():
        torch.testing.assert_close(each[name].sum(0), weight.grad, rtol=1e-4, atol=1e-5)


def test_maps_of_whole_numbers_are_refused():
    with pytest.raises(ValueError, match=r"a map of torch\.int64 was given"):
        layer()(torch.full((1, 3, 4, 4), 7))
