"""What each choice of the 68-point recipe is worth: one setting changed at a time, scored on validation photos.

    python benchmarks/accuracy.py --data ../shared/data/faces68

Every row is trained from the same seeds on the same images as the base, so differences are paired (docs/results.md shows
them). The base is the exact small network, `rcn5` with 68 maps and batch norm, at 80 x 80 grey: 173 MMAC a face, 18,000
images a run, about five minutes on 2 CPU cores; the records end in /cpu. Runs that are finished are not repeated.
"""

import rows

BASE = {
    "augment.rotate": "30",
    "train.target": "gauss",
    "train.sigma": "1.0",
    "data.canvas": "[80, 80]",
    "data.channels": "1",
    "model.choices.width": "1.0",
    "train.steps": "1125",
    "train.batch_size": "16",
    "train.ema": "0.99",
    "train.keep": "last",
    "train.validate_every": "1125",
}
#: Row -> settings that differ from the base.
TRAINED = {
    "base": {},
    "no-norm": {"model.choices.norm": "none", "train.lr": "0.002"},
    "hard-targets": {"train.target": "hard"},
    "split-targets": {"train.target": "split"},
    "no-ema": {"train.ema": "0"},
    "no-mirror": {"augment.flip": "0"},
    "no-rectangle": {"augment.rectangle_probability": "0"},
    "no-photometric": {
        "augment.brightness": "0",
        "augment.contrast": "0",
        "augment.blur_probability": "0",
        "augment.noise": "0",
    },
    "less-rotation": {"augment.rotate": "15"},
    "colour": {"data.channels": "3"},
    "64x64": {"data.canvas": "[64, 64]"},
    "96x96": {"data.canvas": "[96, 96]"},
    "width-1.5": {"model.choices.width": "1.5"},
    "big-batches": {"train.batch_size": "64", "train.steps": "281", "train.ema": "0.97", "train.validate_every": "281"},
}
#: Row -> how the base's runs are scored again.
SCORED = {"argmax": ["--decoder", "argmax"], "mirrored-too": ["--flip"]}


def main() -> None:
    """Run the command line."""
    settings = {row: [f"{k}={v}" for k, v in (BASE | changes).items()] for row, changes in TRAINED.items()}
    again = {row: ["--runs-of", _name("base"), *how] for row, how in SCORED.items()}
    parser = rows.parser(__doc__, [*TRAINED, *SCORED], seeds=[0])
    chosen = parser.parse_args()
    for row in chosen.rows:
        how = ["--split", "val", "--no-robustness", *again.get(row, [])]
        rows.record_row(chosen, _name(row), "faces68-rcn", settings.get(row, settings["base"]), how)


def _name(row: str) -> str:
    return f"faces68/paired/{row}/cpu"


if __name__ == "__main__":
    main()
