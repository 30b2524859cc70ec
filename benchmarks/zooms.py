"""What a zoom is worth: the same network and steps, what it sees of the full picture alone differs.

    python benchmarks/zooms.py faces68 --data ../shared/data/faces68
    python benchmarks/zooms.py camvid --data ../shared/data/camvid
    python benchmarks/zooms.py wings-species

Faces: 68 points straight from photos with the face somewhere in 400 pixels, network at 96 pixels. CamVid: 480x360 labels
through a network at 160x120. Wing species: ten classes told by one vein junction of drawn 1024x768 pictures, network at 96x72.
Rows share seeds and steps, so their differences are paired (docs/results.md); the records end in /cpu. Runs that are finished
are not repeated.
"""

import argparse
import sys
from collections.abc import Sequence

import rows

#: A learned zoom's network looks at a thumbnail too: 11 MMAC beside 390, which a plain resize may spend on 98 pixels.
EQUAL = ["model.choices.zoom_options={size: [98, 98]}"]
SIZE = "size: [96, 96], max_zoom: 4"
#: Row -> recipe, and settings that differ from it.
TRAINED: dict[str, dict[str, tuple[str, list[str]]]] = {
    "faces68": {
        "full-uniform": ("faces68-full-uniform", []),
        "full-zoom": ("faces68-full-zoom", []),
        "full-oracle": ("faces68-full-oracle", []),
        "full-crop": ("faces68-full-crop", []),
        "full-uniform-equal-macs": ("faces68-full-uniform", EQUAL),
        "full-zoom-supervised": ("faces68-full-zoom", ["train.zoom_boxes=0.5"]),
        "full-zoom-general": ("faces68-full-zoom", ["model.choices.zoom=saliency"]),
        "full-fixed": (
            "faces68-full-zoom",
            ["model.choices.zoom=fixed", f"model.choices.zoom_options={{separable: true, {SIZE}}}"],
        ),
        "full-centre": (
            "faces68-full-uniform",
            ["model.choices.zoom=crop", "model.choices.zoom_options={size: [96, 96], share: 0.7}"],
        ),
        **{
            f"full-{kind}": ("faces68-full-uniform", [f"model.choices.zoom={kind}"])
            for kind in ("stn", "tps", "direct")
        },
    },
    "camvid": {
        "uniform-160": ("camvid-uniform-160", []),
        "zoom-160": ("camvid-zoom-160", []),
        "zoom-160-general": ("camvid-zoom-160", ["model.choices.zoom=saliency"]),
    },
    "wings-species": {row: (f"wings-species-{row}", []) for row in ("uniform", "zoom", "crop")},
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    given = list(sys.argv[1:] if argv is None else argv)
    first = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    first.add_argument("data_set", choices=list(TRAINED))
    data_set = first.parse_args(given[:1]).data_set
    table = TRAINED[data_set]
    drawn = data_set == "wings-species"
    chosen = rows.parser(__doc__, list(table), seeds=[0, 1, 2], data=not drawn).parse_args(given[1:])
    for row in chosen.rows:
        recipe, settings = table[row]
        how = [] if data_set == "camvid" else ["--no-robustness"]
        rows.record_row(chosen, f"{data_set}/{row}/cpu", recipe, settings, how)


if __name__ == "__main__":
    main()
