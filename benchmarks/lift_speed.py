"""Time and memory of LiftPool beside other pooling layers, side by side: all forms take turns in one process.

    python benchmarks/lift_speed.py                            # records in results/lift.json
    python benchmarks/lift_speed.py --clock cpu --results ''   # a busy machine: CPU time of one thread, only printed

Forward (no gradients) and a training step (forward and backward of a ones-like gradient) of a map after a relu, in both
memory layouts; medians over rounds, and their ratios to max pooling and to the literal form of the same layout. Kept is what
autograd saves for the backward pass besides input and parameters, in numbers of the input's size. Run it on a machine that
does nothing else: many short parallel sections suffer most from company.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snellen.evaluation.results.records import Record, add_record, flags_given
from snellen.layers import LiftDown2d, lift_planes
from snellen.layers.lift_plain import NetWeights

WARM = 3


class Literal(nn.Module):
    """LiftPool as its text reads: rows are brought into a batch, and lifted by Conv1d."""

    def __init__(self, layer: LiftDown2d) -> None:
        super().__init__()
        self.layer = layer

    def net(self, z: Tensor, w: NetWeights) -> Tensor:
        """P or U along the last axis."""
        c, k = w.spatial.shape
        y = F.relu(F.conv1d(z, w.spatial[:, None], padding=k // 2, groups=c))
        return torch.tanh(F.conv1d(y, w.point[:, :, None], groups=c))

    def lift(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Along W."""
        b, c, h, w = x.shape
        pair = self.layer.weights()[0]
        rows = x.permute(0, 2, 1, 3).reshape(b * h, c, w)
        even, odd = rows[..., 0::2], rows[..., 1::2]
        d = odd - self.net(even, pair.predict)
        s = even + self.net(d, pair.update)
        s, d = (t.reshape(b, h, c, w // 2).permute(0, 2, 1, 3) for t in (s, d))
        return s, d

    def forward(self, x: Tensor) -> Tensor:
        """The sum of the bands."""
        bands = [band for half in self.lift(x) for band in self.lift(half.transpose(2, 3))]
        return sum(bands[1:], bands[0]).transpose(2, 3)


class Haar(nn.Module):
    """The Haar wavelet transform as one depthwise convolution; its low band goes on."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        signs = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
        self.register_buffer("filters", (signs / 2).view(4, 1, 2, 2).repeat(channels, 1, 1, 1), persistent=False)
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """LL."""
        return F.conv2d(x, self.get_buffer("filters"), stride=2, groups=self.channels)[:, ::4]


class Walk(nn.Module):
    """Ours as it is without numba, by torch's own operations."""

    def __init__(self, layer: LiftDown2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """The sum of the bands; the backward pass takes the same way."""
        with mock.patch.object(lift_planes, "_kernels", return_value=None):
            return self.layer(x)


def layers(channels: int, kernel_size: int) -> dict[str, nn.Module]:
    """All forms by name."""
    ours, plain = LiftDown2d(channels, kernel_size), LiftDown2d(channels, kernel_size, memory="autograd")
    plain.load_state_dict(ours.state_dict())
    found: dict[str, nn.Module] = {
        "max": nn.MaxPool2d(2),
        "avg": nn.AvgPool2d(2),
        "dwconv": nn.Conv2d(channels, channels, 3, 2, 1, groups=channels, bias=False),
        "strided": nn.Conv2d(channels, channels, 3, 2, 1, bias=False),
        "haar": Haar(channels),
        "lift-literal": Literal(ours),
        "lift-conv2d": plain,
        "lift-no-numba": Walk(ours),
        "lift": ours,
    }
    try:
        from timm.layers import BlurPool2d

        found["blur"] = BlurPool2d(channels, filt_size=4)
    except ImportError:
        print("timm is not installed; no blur")
    return found


def kept(run: Callable[[Tensor], Tensor], x: Tensor, weights: list[Tensor]) -> float:
    """What a forward pass leaves behind besides its weights, in numbers of the input's size."""
    own = {t.untyped_storage().data_ptr() for t in (x, *weights)}
    sizes: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        if t.untyped_storage().data_ptr() not in own:
            sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = run(x)
    total = sum(sizes.values()) / (x.numel() * x.element_size())
    del y
    return total


def once(run: Callable[[Tensor], Tensor], x: Tensor, clock: Callable[[], float]) -> tuple[float, float]:
    """Milliseconds of a forward pass and of a training step."""
    begin = clock()
    with torch.no_grad():
        run(x)
    middle = clock()
    y = run(x)
    y.backward(torch.ones_like(y))
    end = clock()
    x.grad = None
    return 1000 * (middle - begin), 1000 * (end - middle)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=4, default=[32, 64, 56, 56], metavar=("B", "C", "H", "W"))
    parser.add_argument("--kernel-size", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: one thread, its CPU time")
    parser.add_argument("--compile", action="store_true", help="time the compiled forms too (needs a C++ compiler)")
    parser.add_argument("--only", nargs="*", metavar="FORM", help="of the forms; max and lift-literal always run")
    parser.add_argument("--results", default="results", help="folder of the records; '' for none")
    chosen = parser.parse_args()
    torch.set_num_threads(1 if chosen.clock == "cpu" else chosen.threads)
    torch.manual_seed(0)
    tick = time.process_time if chosen.clock == "cpu" else time.perf_counter
    device = torch.device(chosen.device)

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return tick()

    forms = {name: form.to(device) for name, form in layers(chosen.shape[1], chosen.kernel_size).items()}
    if device.type != "cpu":
        del forms["lift-no-numba"]  # without numba's kernels, which are the CPU's
    if chosen.only:
        forms = {name: form for name, form in forms.items() if name in (*chosen.only, "max", "lift-literal")}
    runs: dict[tuple[str, str], Callable[[Tensor], Tensor]] = {("eager", name): form for name, form in forms.items()}
    if chosen.compile:
        # Beyond its limit of recompilations torch.compile would quietly time the eager form.
        torch._dynamo.config.recompile_limit = 64
        torch._dynamo.config.fail_on_recompile_limit_hit = True
        # The form without numba is made by a patch, which a graph cannot hold.
        graphs = {name: torch.compile(form, fullgraph=True) for name, form in forms.items() if name != "lift-no-numba"}
        runs |= {("compiled", name): graph for name, graph in graphs.items()}
    times: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    maps = {
        layout: torch.randn(chosen.shape, device=device).relu().contiguous(memory_format=memory_format).requires_grad_()
        for layout, memory_format in (("NCHW", torch.contiguous_format), ("channels_last", torch.channels_last))
    }
    for round_ in range(WARM + chosen.rounds):
        for layout, x in maps.items():
            for (mode, name), run in runs.items():
                taken = once(run, x, clock)
                if round_ >= WARM:
                    times.setdefault((mode, layout, name), []).append(taken)
    size = "x".join(map(str, chosen.shape))
    place = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{size} float32, {place}, {chosen.clock} time, medians of {chosen.rounds} rounds")
    print(f"{'':42}{'forward ms':>10}{'step ms':>9}{'/ max':>8}{'/ literal':>10}{'kept':>6}")
    for (mode, layout, name), rounds in times.items():
        forward, step = (statistics.median(t) for t in zip(*rounds, strict=True))
        ratios = {
            other: step / statistics.median(t[1] for t in times[mode, layout, other])
            for other in ("max", "lift-literal")
        }
        saved = kept(runs[mode, name], maps[layout], list(forms[name].state_dict().values()))
        print(
            f"{mode:10}{layout:15}{name:17}{forward:10.1f}{step:9.1f}"
            f"{ratios['max']:8.2f}{ratios['lift-literal']:10.2f}{saved:6.1f}"
        )
        steps = sorted(t[1] for t in rounds)
        if not chosen.results:
            continue
        add_record(
            Path(chosen.results) / "lift.json",
            Record.here(
                name=f"speed/lift/{name}",
                metric=f"training step, {mode}, {layout}, {size}, {chosen.clock} time"
                + f", {place}" * (device.type != "cpu" or chosen.threads != parser.get_default("threads")),
                unit="ms",
                values=[step],
                interval=[steps[len(steps) // 4], max(step, steps[3 * len(steps) // 4])],
                train_seconds=sum(steps) / 1000,
                steps=chosen.rounds,
                command=f"python benchmarks/lift_speed.py{flags_given(parser, chosen)}",
                device=torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
                note=f"median and quartiles; {ratios['max']:.2f} of max pooling, {ratios['lift-literal']:.2f} of the literal "
                f"form; forward {forward:.1f} ms; kept for the backward pass: {saved:.1f} times the input",
                extra={"forward_ms": forward, "ratios": ratios, "kept": saved, "times": rounds},
            ),
        )


if __name__ == "__main__":
    main()
