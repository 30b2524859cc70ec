"""What a trained zoom does where there is nothing to see: its magnification on blank and noise pictures.

    python benchmarks/zoom_blank.py runs/faces68-full-zoom-seed0
    python benchmarks/zoom_blank.py runs/faces68-full-zoom-cpu-seed? --record faces68/full-zoom/cpu   # in results/zoom.json

The paper reports that the sampler degrades to a plain resize under uncertainty; the bar is a magnification of the middle
half of the picture within 1 +- 0.2. Runs that differ in their seeds may be given together.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import torch

from snellen.evaluation.results.records import Record, add_record, mean_interval
from snellen.inference import load
from snellen.training.zoom_diagnostics import object_magnification, zoom_diagnostics


def pictures(canvas: tuple[int, int], channels: int) -> dict[str, torch.Tensor]:
    """Pictures by name, (4, channels, h, w), 0..255."""
    generator = torch.Generator().manual_seed(0)
    shape = (4, channels, *canvas)
    return {
        "black": torch.zeros(shape),
        "grey": torch.full(shape, 128.0),
        "white": torch.full(shape, 255.0),
        "noise": 255 * torch.rand(shape, generator=generator),
        "dim noise": 128 + 16 * torch.randn(shape, generator=generator),
    }


def magnifications(run: str) -> dict[str, tuple[float, float]]:
    """What the zoom of a run does to each kind of picture: magnification of the middle half, and the largest.

    Raises:
        ValueError: for a run that predicts no zoom.
    """
    loaded: Any = load(run, device="cpu")
    zoomer = getattr(loaded.model, "zoomer", None)
    if zoomer is None or zoomer.needs_boxes:
        raise ValueError(f"{run} predicts no zoom; give a run trained with model.choices.zoom saliency or separable")
    h, w = (int(side) for side in loaded.card["canvas"])
    middle = torch.tensor([w / 4, h / 4, 3 * w / 4, 3 * h / 4]).expand(4, 1, 4)
    found = {}
    for name, picture in pictures((h, w), loaded.card["channels"]).items():
        with torch.inference_mode():
            seen = zoomer(picture)
        largest = zoom_diagnostics(seen.grid, seen.saliency, (h, w))["zoom/largest"].item()
        found[name] = (object_magnification(seen.grid, middle, (h, w)).mean().item(), largest)
    return found


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="run", help="folder of a run that zooms")
    parser.add_argument("--record", default="", help="record of these runs; results/zoom.json gets zoom/blank/RECORD")
    chosen = parser.parse_args()
    try:
        found = [magnifications(run) for run in chosen.runs]
    except ValueError as error:
        parser.error(str(error))
    for name in found[0]:
        middle = [of_run[name][0] for of_run in found]
        mean, largest = statistics.mean(middle), statistics.mean(of_run[name][1] for of_run in found)
        verdict = "within" if abs(mean - 1) <= 0.2 else "NOT within"
        print(f"{name:10} middle {mean:.3f}, largest {largest:.3f}, {verdict} 1 +- 0.2")
        if chosen.record:
            add_record(
                Path("results/zoom.json"),
                Record.here(
                    name=f"zoom/blank/{chosen.record}",
                    metric=f"magnification of the middle half of {name} pictures",
                    unit="times",
                    values=middle,
                    interval=mean_interval(middle),
                    train_seconds=0.0,
                    steps=0,
                    command=f"python benchmarks/zoom_blank.py {' '.join(chosen.runs)} --record {chosen.record}",
                    note=f"the largest magnification anywhere {largest:.2f}",
                ),
            )


if __name__ == "__main__":
    main()
