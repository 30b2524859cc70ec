"""CIFAR-100 by recalibration: the same ResNet-20, the same steps, the block alone differs.

    python benchmarks/recalibrations.py --data ../shared/data/cifar100

128,000 images a run at 41 MMAC each; the records end in /cpu. Five seeds a row, since differences are expected to be tenths of
a point: read them with their intervals. Runs that are finished are not repeated. d is C / 16 without rounding in all rows.
"""

import rows

#: As in the table of ms-sar.md 6: on 16, 32 and 64 channels the usual floor of 8 would leave no bottleneck.
WIDTH = {"rd_ratio": 1 / 16, "rd_divisor": 1}


def _settings(kind: str, **options: object) -> list[str]:
    return [f"model.choices.recalibrate={kind}", f"model.choices.recalibrate_options={ {**WIDTH, **options} }"]


#: Row -> settings that differ from the recipe's.
TRAINED = {
    "recal-none": ["model.choices.recalibrate=none"],
    "recal-se": _settings("se"),
    "recal-ms-sar-1": _settings("ms-sar", grids=[4]),  # the finest scale alone
    "recal-ms-sar": _settings("ms-sar"),
    "recal-symmetric": _settings("ms-sar", symmetric=True),
    "recal-cell": _settings("ms-sar", share="cell"),
}


def main() -> None:
    """Run the command line."""
    chosen = rows.parser(__doc__, list(TRAINED), seeds=[0, 1, 2, 3, 4]).parse_args()
    for row in chosen.rows:
        rows.record_row(chosen, f"cifar100/{row}/cpu", "cifar100-recal", TRAINED[row], ["--metrics", "top1", "ece"])


if __name__ == "__main__":
    main()
