"""CIFAR-100 by pooling: the same narrow VGG-13, the same steps, the pooling alone differs.

    python benchmarks/pools.py --data ../shared/data/cifar100

128,000 images a run at 14 MMAC each, a few minutes on 2 CPU cores; the records end in /cpu. Runs that are finished are not
repeated. Accuracy, error on corrupted images and consistency under shifts are measured on the test images.
"""

import rows

#: The paper's form of LiftPool (lift.md 2.1, 2.7): drawn weights, the sum of the bands, both regularisers.
PAPER = {"zero_init": False, "scale": 1}
REGULARISED = ["train.lift_predict=0.1", "train.lift_update=0.01"]

#: Row -> settings that differ from the recipe's.
TRAINED = {
    "pool-max": ["model.choices.pool=max"],
    "pool-avg": ["model.choices.pool=avg"],
    "pool-blur": ["model.choices.pool=blur"],
    "pool-lift": ["model.choices.pool=lift", f"model.choices.pool_options={PAPER}", *REGULARISED],
    "pool-lift-ll": [
        "model.choices.pool=lift",
        f"model.choices.pool_options={ {**PAPER, 'output': 'LL'} }",
        *REGULARISED,
    ],
    "pool-lift-noreg": ["model.choices.pool=lift", f"model.choices.pool_options={PAPER}"],
}


def main() -> None:
    """Run the command line."""
    chosen = rows.parser(__doc__, list(TRAINED), seeds=[0, 1, 2]).parse_args()
    metrics = ["--metrics", "top1", "corruption_error", "shift_consistency", "mean_flip_probability", "ece"]
    for row in chosen.rows:
        rows.record_row(chosen, f"cifar100/{row}/cpu", "cifar100-pool", TRAINED[row], metrics)


if __name__ == "__main__":
    main()
