"""Time of MS-SAR beside other attention blocks, side by side: all forms take turns in one process.

    python benchmarks/recalibration_speed.py                            # records in results/ms-sar.json
    python benchmarks/recalibration_speed.py --clock cpu --results ''   # a busy machine: CPU time of one thread, only printed

Forward (no gradients) and a training step (forward and backward of a ones-like gradient) of a map after a relu; medians over
rounds, in each of which a form runs forward several times before it is timed, and ratios to timm's SE in eager form on the same
map. Run it on a machine that does nothing else. Hidden widths are C / 16 without rounding in all blocks but `ms-sar-r32`, which
has C / 32 and so as many parameters as SE. timm's gather-excite fails with parameters, so a small one stands here.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snellen.allocator import keep_freed_memory
from snellen.evaluation.results.records import Record, add_record, flags_given
from snellen.layers import MultiScaleRecalibration

WARM, CALLS = 3, 5
#: The map of ms-sar.md 6, and ResNet-50's at SE's place.
SHAPES = ((32, 64, 32, 32), (8, 256, 56, 56), (8, 512, 28, 28), (8, 1024, 14, 14), (8, 2048, 7, 7))
WIDTH: dict[str, Any] = {"rd_ratio": 1 / 16, "rd_divisor": 1}


class GatherExcite(nn.Module):
    """Gather-excite, with its MLP and without parameters of position (Hu et al. 2018).

    Args:
        channels: of the map.
        extent: e; boxes of side 2e - 1 and stride e.
    """

    def __init__(self, channels: int, extent: int = 8) -> None:
        super().__init__()
        self.extent, hidden = extent, max(1, channels // 16)
        self.reduce, self.restore = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The map times its gate."""
        e = min(self.extent, *x.shape[-2:])
        means = F.avg_pool2d(x, 2 * e - 1, e, e - 1, count_include_pad=False)
        gate = self.restore(F.relu(self.reduce(means)))
        return x * F.interpolate(gate, x.shape[-2:], mode="nearest").sigmoid()


class Plain(nn.Module):
    """MS-SAR as its text reads: means enlarged to the map's size, concatenated, two 1x1 convolutions there."""

    def __init__(self, channels: int, grids: tuple[int, ...] = (1, 2, 4)) -> None:
        super().__init__()
        self.grids, hidden = grids, max(1, channels // 16)
        self.reduce, self.restore = nn.Conv2d(len(grids) * channels, hidden, 1), nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The map times its gate."""
        means = [F.interpolate(F.adaptive_avg_pool2d(x, k), x.shape[-2:], mode="nearest") for k in self.grids]
        return x * self.restore(F.relu(self.reduce(torch.cat(means, dim=1)))).sigmoid()


def blocks(channels: int) -> dict[str, nn.Module]:
    """All forms by name."""
    from timm.layers import create_attn

    return {
        "se": create_attn("se", channels, **WIDTH),
        "eca": create_attn("eca", channels),
        "gc": create_attn("gc", channels, **WIDTH),
        "cbam": create_attn("cbam", channels, **WIDTH),
        "gather-excite": GatherExcite(channels),
        "ms-sar-plain": Plain(channels),
        "ms-sar": MultiScaleRecalibration(channels, **WIDTH),
        # Three scales have three W1, so half SE's hidden width makes as many parameters as SE has.
        "ms-sar-r32": MultiScaleRecalibration(channels, **WIDTH | {"rd_ratio": 1 / 32}),
    }


def once(run: Callable[[Tensor], Tensor], x: Tensor, clock: Callable[[], float]) -> tuple[float, float]:
    """Milliseconds of a forward pass, the median of `CALLS` after as many, and of a training step."""

    def now() -> float:
        if x.is_cuda:
            torch.cuda.synchronize()
        return clock()

    forward = []
    with torch.no_grad():
        # The form before filled the caches with its own: the first calls of one that follows a large one pay for that.
        for _ in range(2 * CALLS):
            begin = now()
            run(x)
            forward.append(now() - begin)
    begin = now()
    y = run(x)
    y.backward(torch.ones_like(y))
    step = now() - begin
    x.grad = None
    return 1000 * statistics.median(forward[CALLS:]), 1000 * step


def measure(shape: tuple[int, ...], chosen: argparse.Namespace) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Times of every mode and block on one map, round by round."""
    forms = {n: f.to(chosen.device) for n, f in blocks(shape[1]).items() if n in (*(chosen.only or [n]), "se")}
    runs: dict[tuple[str, str], Callable[[Tensor], Tensor]] = {("eager", name): form for name, form in forms.items()}
    if chosen.compile:
        torch.compiler.reset()  # else an earlier map's size makes this one's a symbol, in code that is not for this size
        runs |= {("compiled", name): torch.compile(form, fullgraph=True) for name, form in forms.items()}
    x = torch.randn(shape, device=chosen.device).relu()
    x = x.contiguous(memory_format=torch.channels_last if chosen.channels_last else torch.contiguous_format)
    x.requires_grad_()
    clock = time.process_time if chosen.clock == "cpu" else time.perf_counter
    times: dict[tuple[str, str], list[tuple[float, float]]] = {key: [] for key in runs}
    for round_ in range(WARM + chosen.rounds):
        for key, run in runs.items():
            taken = once(run, x, clock)
            if round_ >= WARM:
                times[key].append(taken)
    return times


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=4, action="append", metavar=("B", "C", "H", "W"))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: one thread, its CPU time")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true", help="time the compiled forms too (needs a C++ compiler)")
    parser.add_argument("--only", nargs="*", metavar="BLOCK", help="of the blocks; se always runs")
    parser.add_argument("--results", default="results", help="folder of the records; '' for none")
    chosen = parser.parse_args()
    torch.set_num_threads(1 if chosen.clock == "cpu" else chosen.threads)
    torch.manual_seed(0)
    keep_freed_memory()  # as the command line does; otherwise large maps are timed by whose pages happen to be fresh
    # Beyond its limit of recompilations torch.compile would quietly time the eager form.
    torch._dynamo.config.recompile_limit = 64
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    layout = "channels_last" if chosen.channels_last else "NCHW"
    gpu = torch.cuda.get_device_name() if chosen.device.startswith("cuda") else None
    place = gpu or f"{torch.get_num_threads()} threads"
    for shape in chosen.shape or SHAPES:
        size = "x".join(map(str, shape))
        print(f"{size} float32 {layout}, {place}, {chosen.clock} time, medians of {chosen.rounds} rounds")
        print(f"{'':24}{'forward ms':>11}{'/ SE':>7}{'step ms':>9}{'/ SE':>7}")
        times = measure(tuple(shape), chosen)
        base = [statistics.median(t) for t in zip(*times["eager", "se"], strict=True)]
        for (mode, name), rounds in times.items():
            forward, step = (statistics.median(t) for t in zip(*rounds, strict=True))
            ratios = forward / base[0], step / base[1]
            print(f"{mode:10}{name:14}{forward:11.2f}{ratios[0]:7.2f}{step:9.2f}{ratios[1]:7.2f}")
            if not chosen.results:
                continue
            ordered = sorted(t[0] for t in rounds)
            add_record(
                Path(chosen.results) / "ms-sar.json",
                Record.here(
                    name=f"speed/ms-sar/{name}",
                    metric=f"forward, {mode}, {layout}, {size}, {place}, {chosen.clock} time",
                    unit="ms",
                    values=[forward],
                    interval=[min(forward, ordered[len(ordered) // 4]), max(forward, ordered[3 * len(ordered) // 4])],
                    train_seconds=sum(sum(t) for t in rounds) / 1000,
                    steps=chosen.rounds,
                    command=f"python benchmarks/recalibration_speed.py{flags_given(parser, chosen)}",
                    device=gpu or "cpu",
                    note=f"median and quartiles; {ratios[0]:.2f} of eager SE; a step {step:.2f} ms, {ratios[1]:.2f} of its",
                    extra={"step_ms": step, "ratios": ratios, "times": rounds},
                ),
            )


if __name__ == "__main__":
    main()
