"""Time of the zoom's grid against the direct convolution of the authors' code, and of the whole path in front of a network.

    python benchmarks/zoom_speed.py                            # records in results/zoom.json
    python benchmarks/zoom_speed.py --device cuda
    python benchmarks/zoom_speed.py --clock cpu --results ''   # a busy machine: CPU time of one thread, only printed

Sums: a saliency (b, 31, 31) to its Gaussian sums, by one 61x61 convolution of three maps (zoom.md 2.1, as the authors have
it) and by the two constant matrices an axis; ten calls a round. Path, batch 1, 800x800 to 224x224: a ResNet-18 forward (timm),
grid and plain sampling, grid and anti-aliased sampling, and the sampler with its thumbnail and its ResNet-18 prefix. All forms
take turns in one process; medians over rounds.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from snellen.allocator import keep_freed_memory
from snellen.evaluation.results.records import Record, add_record, flags_given
from snellen.layers import zoom
from snellen.layers.zoom_saliency import position_sums, zoom_matrices
from snellen.models.zoomers import SaliencySampler

WARM = 3
NODES, SIZE, SOURCE = 31, (224, 224), (800, 800)


def direct(device: torch.device) -> Callable[[Tensor], Tensor]:
    """The three sums of zoom.md 2.1 as one convolution of the padded saliency and its products with the positions."""
    g, pad = NODES, NODES - 1
    d = torch.arange(-pad, pad + 1, dtype=torch.float64)
    k = torch.exp(-4 * math.log(2) * d**2 / 13**2)
    kernel = (k[:, None] * k)[None, None].float().to(device)
    x = ((torch.arange(g + 2 * pad) - pad) / (g - 1)).float().to(device)

    def run(saliency: Tensor) -> Tensor:
        padded = F.pad(saliency[:, None], (pad, pad, pad, pad), mode="replicate")
        maps = torch.cat((padded, padded * x, padded * x[:, None]))
        return F.conv2d(maps, kernel)[:, 0]

    return run


def sums(device: torch.device) -> Callable[[Tensor], Tensor]:
    """The same by the constant matrices of a module, the sums in the corners of one product."""
    made = zoom_matrices((NODES, NODES), padding="replicate")
    rows, columns = (m.float().to(device) for m in made[:2])
    return lambda saliency: position_sums(saliency, rows, columns)


def path(device: torch.device) -> dict[str, Callable[[], Tensor]]:
    """The parts of the path by name, batch 1."""
    import timm

    image = torch.rand(1, 3, *SOURCE, device=device) * 255
    small = torch.rand(1, 3, *SIZE, device=device)
    saliency = torch.rand(1, NODES, NODES, device=device).softmax(-1)
    network = timm.create_model("resnet18").eval().to(device)
    sampler = SaliencySampler(SIZE, (NODES, NODES), backbone="timm:resnet18").eval().to(device)
    straight = SaliencySampler(SIZE, (NODES, NODES), backbone="timm:resnet18", separable=True).eval().to(device)

    def read(antialias: bool, separable: bool) -> Callable[[], Tensor]:
        layer = straight if separable else sampler
        return lambda: zoom(image, layer.from_saliency(saliency), antialias=antialias)

    return {
        "resnet18-forward": lambda: network(small),
        "grid-and-plain-sampling": read(antialias=False, separable=False),
        "grid-and-antialiased-general": read(antialias=True, separable=False),
        "grid-and-antialiased-separable": read(antialias=True, separable=True),
        "whole-general": lambda: sampler(image).image,
        "whole-separable": lambda: straight(image).image,
    }


def measure(
    forms: dict[str, Callable[[], Tensor]], rounds: int, clock: Callable[[], float], calls: int = 1
) -> dict[str, list[float]]:
    """Milliseconds of a call of each form in each round, the mean of `calls` in a row."""
    times: dict[str, list[float]] = {name: [] for name in forms}
    for round_ in range(WARM + rounds):
        for name, run in forms.items():
            begin = clock()
            with torch.inference_mode():  # as `predict`
                for _ in range(calls):
                    run()
            taken = 1000 * (clock() - begin) / calls
            if round_ >= WARM:
                times[name].append(taken)
    return times


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: one thread, its CPU time")
    parser.add_argument("--results", default="results", help="folder of the records; '' for none")
    chosen = parser.parse_args()
    torch.set_num_threads(1 if chosen.clock == "cpu" else chosen.threads)
    torch.manual_seed(0)
    keep_freed_memory()  # as the command line does; otherwise forms are timed by whose pages happen to be fresh
    device = torch.device(chosen.device)
    tick = time.process_time if chosen.clock == "cpu" else time.perf_counter

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return tick()

    ours, theirs = sums(device), direct(device)
    tables: list[tuple[str, str, dict[str, list[float]]]] = []
    for batch in chosen.batches:
        saliency = torch.randn(batch, NODES * NODES, device=device).softmax(-1).view(batch, NODES, NODES)
        found = ours(saliency)
        corners = (found[:, :NODES, :NODES], found[:, :NODES, NODES:], found[:, NODES:, :NODES])
        expected = theirs(saliency)
        difference = ((torch.cat(corners) - expected).abs().max() / expected.abs().max()).item()
        forms: dict[str, Callable[[], Tensor]] = {
            "sums-convolution": partial(theirs, saliency), "sums": partial(ours, saliency),
        }  # fmt: skip
        print(f"batch {batch}: largest difference of the two {difference:.1e} of the largest sum")
        tables.append((f"batch {batch}", "sums-convolution", measure(forms, chosen.rounds, clock, calls=10)))
    tables.append(("batch 1, 800x800 to 224x224", "resnet18-forward", measure(path(device), chosen.rounds, clock)))
    for what, base, times in tables:
        reference = statistics.median(times[base])
        for name, rounds in times.items():
            median, ordered = statistics.median(rounds), sorted(rounds)
            print(f"{what:30}{name:34}{median:9.3f} ms   {reference / median:8.1f} times as fast as {base}")
            if not chosen.results:
                continue
            add_record(
                Path(chosen.results) / "zoom.json",
                Record.here(
                    name=f"speed/zoom/{name}",
                    metric=f"forward, {what}, {chosen.device}, {chosen.clock} time"
                    + f", {chosen.threads} threads" * (chosen.threads != parser.get_default("threads")),
                    unit="ms",
                    values=[median],
                    interval=[ordered[len(ordered) // 4], max(median, ordered[3 * len(ordered) // 4])],
                    train_seconds=sum(rounds) / 1000,
                    steps=chosen.rounds,
                    command=f"python benchmarks/zoom_speed.py{flags_given(parser, chosen)}",
                    device=torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
                    note=f"median and quartiles; {reference / median:.2f} times as fast as {base}",
                    extra={"ratio": reference / median, "share": median / reference, "times": rounds},
                ),
            )


if __name__ == "__main__":
    main()
