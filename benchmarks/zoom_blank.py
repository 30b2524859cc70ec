"""What a trained zoom does where there is nothing to see: its magnification on blank and noise pictures.

    python benchmarks/zoom_blank.py runs/faces68-full-zoom-seed0

The paper reports that the sampler degrades to a plain resize under uncertainty; the bar is a magnification of the middle
half of the picture within 1 +- 0.2.
"""

import argparse
from typing import Any

import torch

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


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a run that zooms")
    loaded: Any = load(parser.parse_args().run, device="cpu")
    zoomer = getattr(loaded.model, "zoomer", None)
    if zoomer is None or zoomer.needs_boxes:
        parser.error("this run predicts no zoom; give one trained with model.choices.zoom saliency or separable")
    canvas = (int(loaded.card["canvas"][0]), int(loaded.card["canvas"][1]))
    h, w = canvas
    middle = torch.tensor([w / 4, h / 4, 3 * w / 4, 3 * h / 4]).expand(4, 1, 4)
    for name, picture in pictures(canvas, loaded.card["channels"]).items():
        with torch.inference_mode():
            seen = zoomer(picture)
        found = object_magnification(seen.grid, middle, canvas).mean().item()
        values = zoom_diagnostics(seen.grid, seen.saliency, canvas)
        largest = values["zoom/largest"].item()
        verdict = "within" if abs(found - 1) <= 0.2 else "NOT within"
        print(f"{name:10} middle {found:.3f}, largest {largest:.3f}, {verdict} 1 +- 0.2")


if __name__ == "__main__":
    main()
