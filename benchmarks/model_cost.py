"""What models cost: parameters, multiply-adds and milliseconds an image, side by side in one run.

    python benchmarks/model_cost.py rcn5 sumnet5 rcn:aggregate=fpn "rcn:backbone=timm:mobilenetv3_small_100,stride=8" \\
        --canvas 96 96 --batch 8 --threads 2 --json runs/model-cost.json
    python benchmarks/model_cost.py rcn5 rcn68 --record speed/cost/rcn5 speed/cost/rcn68

A model is a registered name, with choices behind a colon. The rounds of measurement go through all models in turn, so that
a machine that slows down does so for all of them; times are medians over the rounds. Weights are drawn, never
downloaded: they change no cost.
"""

import argparse
import json
import re
import shlex
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from snellen.evaluation.costs import macs, milliseconds
from snellen.evaluation.results.records import Record, add_record
from snellen.models import KeypointNet, create_model
from snellen.training.runs import environment

__all__ = ["Cost", "measure"]


@dataclass(frozen=True)
class Cost:
    """What one model costs on one canvas.

    Attributes:
        model: as it was asked for.
        parameters: numbers in its parameters, frozen ones included.
        macs: multiply-adds of one image, half of what torch.utils.flop_counter counts: convolutions and matrix products.
        milliseconds: of one image in a batch, the median over the rounds.
        spread: lower and upper quartile of the same.
        stride: canvas pixels a heatmap cell.
        choices: as resolved.
    """

    model: str
    parameters: int
    macs: int
    milliseconds: float
    spread: tuple[float, float]
    stride: int
    choices: dict[str, Any]


def measure(
    names: Sequence[str],
    canvas: tuple[int, int],
    *,
    batch: int = 1,
    rounds: int = 20,
    device: str = "cpu",
    shared: dict[str, Any] | None = None,
) -> list[Cost]:
    """Costs of several models, timed in turn.

    Args:
        names: models, as on the command line.
        canvas: (height, width) in pixels.
        batch: images at a time.
        rounds: measurements of each model, after two that are not counted.
        device: "cpu" or "cuda".
        shared: choices of all models, e.g. ``{"keypoints": 68}``.
    """
    # In two steps: torch's types know no `to` of a device and a memory format together.
    models = [build(name, shared or {}).eval().to(device) for name in names]
    models = [model.to(memory_format=torch.channels_last) for model in models]
    images = [
        torch.rand(batch, m.preprocess.channels, *canvas, device=device).contiguous(memory_format=torch.channels_last)
        for m in models
    ]
    times = milliseconds(models, images, rounds=rounds)
    costs = []
    for name, model, measured in zip(names, models, times, strict=True):
        low, middle, high = statistics.quantiles(measured, n=4)
        parameters = sum(p.numel() for p in model.parameters())
        work = macs(model, model.preprocess.channels, canvas)
        costs.append(Cost(name, parameters, work, middle, (low, high), model.stride, model.choices))
    return costs


def build(name: str, shared: dict[str, Any]) -> KeypointNet:
    """A model from ``NAME:choice=value,choice=value``; values as in YAML."""
    model, _, text = name.partition(":")
    # A comma parts choices only where another "choice=" follows: values may be lists.
    pairs = [pair.partition("=") for pair in re.split(r",(?=\w+=)", text)] if text else []
    choices = {key: yaml.safe_load(value) for key, _, value in pairs}
    made = create_model(model, load_pretrained=False, **(shared | choices))
    if not isinstance(made, KeypointNet):
        raise SystemExit(f"{model} finds no keypoints; this benchmark compares models that do")
    return made


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME[:CHOICE=VALUE,...]")
    parser.add_argument("--canvas", type=int, nargs=2, default=(80, 80), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--keypoints", type=int, help="of all models; by default each model's own")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 takes what torch picks")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--record", nargs="+", metavar="NAME", help="of records to add to --results, one a model")
    parser.add_argument("--results", type=Path, default=Path("results"))
    chosen = parser.parse_args()
    if chosen.record and len(chosen.record) != len(chosen.models):
        parser.error(f"--record names {len(chosen.record)} records of {len(chosen.models)} models; give one a model")
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    canvas = (chosen.canvas[0], chosen.canvas[1])
    shared = {"keypoints": chosen.keypoints} if chosen.keypoints else {}
    costs = measure(
        chosen.models, canvas, batch=chosen.batch, rounds=chosen.rounds, device=chosen.device, shared=shared
    )
    where = environment() | {"device": torch.cuda.get_device_name() if chosen.device == "cuda" else "cpu"}
    width = max(len(c.model) for c in costs)
    print(f"{'model':<{width}}  {'parameters':>11}  {'MMAC':>9}  {'ms/image':>9}  {'quartiles':>15}  stride")
    for c in costs:
        quartiles = f"{c.spread[0]:.2f} to {c.spread[1]:.2f}"
        line = f"{c.parameters:>11,}  {c.macs / 1e6:>9,.1f}  {c.milliseconds:>9.2f}  {quartiles:>15}  {c.stride:>6}"
        print(f"{c.model:<{width}}  {line}")
    print(
        f"canvas {canvas[0]}x{canvas[1]}, batch {chosen.batch}, median of {chosen.rounds} rounds in turn, float32, "
        f"{where['threads']} threads, {where['device']}, {where['hardware']}"
    )
    if chosen.json:
        record = {"canvas": canvas, "batch": chosen.batch, "rounds": chosen.rounds, **where}
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps(record | {"costs": [asdict(c) for c in costs]}, indent=1) + "\n")
    flags = (
        f"--canvas {canvas[0]} {canvas[1]} --batch {chosen.batch} --rounds {chosen.rounds} --threads {chosen.threads}"
    )
    flags += f" --keypoints {chosen.keypoints}" * bool(chosen.keypoints) + f" --device {chosen.device}" * (
        chosen.device != "cpu"
    )
    for name, cost in zip(chosen.record or (), costs, strict=False):
        made = Record.here(
            name=name,
            metric=f"time of an image, canvas {canvas[0]}x{canvas[1]}, batch {chosen.batch}",
            unit="ms",
            values=[cost.milliseconds],
            interval=list(cost.spread),
            train_seconds=0.0,
            steps=chosen.rounds,
            command=f"python benchmarks/model_cost.py {shlex.join(chosen.models)} {flags} --record {' '.join(chosen.record)}",
            device=where["device"],
            note=f"median and quartiles; {cost.parameters:,} parameters, {cost.macs / 1e6:,.0f} million multiply-adds an image",
            extra={"parameters": cost.parameters, "macs": cost.macs, "model": cost.model},
        )
        add_record(chosen.results / f"{name.split('/')[0]}.json", made)


if __name__ == "__main__":
    main()
