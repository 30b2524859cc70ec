"""Figures of the paper, from runs that were evaluated.

    python benchmarks/figures.py coarse-to-fine runs/wings-rcn-seed0 docs/coarse-to-fine.png
    python benchmarks/figures.py bands runs/wings-rcn-lift-seed0 docs/lift-bands.png
    python benchmarks/figures.py put-back runs/wings-rcn-lift-seed0 docs/lift-put-back.png
    python benchmarks/figures.py beside SumNet=runs/wings-sumnet-seed0 RCN=runs/wings-rcn-seed0 docs/sumnet-beside-rcn.png

Those of docs/understand, three of them from drawn wings alone:

    python benchmarks/figures.py zoom docs/images/zoom.png
    python benchmarks/figures.py lift docs/images/lift.png
    python benchmarks/figures.py surroundings docs/images/ms-sar.png
    python benchmarks/figures.py coarse-to-fine --index 1 runs/wings-rcn-seed0 docs/images/rcn.png

Of real data they show its photos: look at them, and mind the data's terms before you publish them.
"""

import argparse
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from snellen.config import AugmentConfig, KeypointConfig
from snellen.data import Split, build_dataset
from snellen.evaluation.figures.ideas import figure_lift, figure_surroundings, figure_zoom
from snellen.evaluation.figures.images import figure_coarse_to_fine, figure_gallery
from snellen.evaluation.figures.pooling import Pooled, figure_bands, figure_put_back, poolings_seen
from snellen.evaluation.record import EvaluationRecord
from snellen.evaluation.reports.pictures import canvas_picture, where_they_differ
from snellen.inference import load_localiser
from snellen.training.runs import RunFolder

#: Figures that need no run.
DRAWN = {"zoom": figure_zoom, "lift": figure_lift, "surroundings": figure_surroundings}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", choices=("coarse-to-fine", "beside", "bands", "put-back", *DRAWN))
    parser.add_argument("runs", nargs="*", help="run folders, for `beside` two of the form NAME=FOLDER")
    parser.add_argument("out", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--index", type=int, default=0, help="of the images kept for coarse-to-fine")
    chosen = parser.parse_intermixed_args()
    if (chosen.figure in DRAWN) == bool(chosen.runs):
        parser.error(f"`{chosen.figure}` is drawn {'without runs' if chosen.runs else 'from a run: name its folder'}")
    if chosen.figure in DRAWN:
        _save(DRAWN[chosen.figure](), chosen.out, colours=64)
        return
    if chosen.figure == "coarse-to-fine":
        kept = EvaluationRecord.load(Path(chosen.runs[0]) / f"predictions-{chosen.split}.npz")
        _save(figure_coarse_to_fine(kept, chosen.index), chosen.out)
        return
    if chosen.figure in ("bands", "put-back"):
        seen = _poolings(chosen.runs[0], chosen.split)
        _save(figure_bands(seen) if chosen.figure == "bands" else figure_put_back(seen), chosen.out)
        return
    named = [tuple(r.split("=", 1)) for r in chosen.runs]
    if len(named) != 2 or any(len(pair) != 2 for pair in named):
        parser.error("`beside` takes two runs as NAME=FOLDER")
    first, second = (
        (name, EvaluationRecord.load(Path(run) / f"predictions-{chosen.split}.npz")) for name, run in named
    )
    config = RunFolder(named[0][1]).config()
    assert isinstance(config, KeypointConfig)
    samples = build_dataset(config.data, chosen.split)
    changes = config.validation if chosen.split == "val" else AugmentConfig()
    entries = where_they_differ(first, second, load_localiser(named[0][1]), samples, changes)
    _save(figure_gallery(first[1], entries), chosen.out)


def _poolings(run: str, split: Split) -> list[Pooled]:
    """What the LiftPools of a run see of the first image of a split."""
    localiser, config = load_localiser(run), RunFolder(run).config()
    assert isinstance(config, KeypointConfig)
    _, canvas = canvas_picture(localiser, build_dataset(config.data, split), 0, AugmentConfig())
    return poolings_seen(localiser.model, canvas.to(next(localiser.model.parameters()).device))


def _save(figure: Figure, out: Path, colours: int = 0) -> None:
    """Write a figure on white; in few colours, which keeps a large grey one small, where `colours` says how many."""
    figure.patch.set(facecolor="white", alpha=1.0)
    figure.savefig(out, dpi=110)
    if colours:
        with Image.open(out) as picture:
            few = picture.convert("RGB").quantize(colours, dither=Image.Dither.NONE)
        few.save(out, optimize=True)


if __name__ == "__main__":
    main()
