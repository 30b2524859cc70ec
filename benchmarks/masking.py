"""The paper's branch-masking table: nine sets of branches, SumNet and RCN, trained and tested with the rest taken away.

    python benchmarks/masking.py --data ../shared/data/faces5

Runs that are finished are not repeated. Source: Honari et al. 2016, branch masking (rcn.md 4); 48 x 48 pixels and few steps,
so that eighteen runs fit a CPU: the records end in /cpu.
"""

import argparse

import record

MASKS = ("1000", "0100", "0010", "0001", "1100", "0011", "0111", "1001", "1111")
MODELS = {"rcn": "rcn5", "sumnet": "sumnet5"}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of the MTFL layout")
    parser.add_argument("--seeds", nargs="+", default=["0"])
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--results", default="results")
    parser.add_argument("--set", nargs="*", default=[], metavar="SETTING=VALUE", help="settings by dotted names")
    chosen = parser.parse_args()
    for mask in MASKS:
        for net, model in MODELS.items():
            # In quotes, or YAML would read 0111 as an octal number.
            settings = [f"data.root={chosen.data}", f"model.choices.branch_mask='{mask}'", *chosen.set]
            if net != "rcn":
                settings.append(f"model.name={model}")
            record.main(
                [
                    f"faces5/masking/{net}-{mask}/cpu", "faces5-masking", "--seeds", *chosen.seeds, "--no-robustness",
                    "--runs", chosen.runs, "--results", chosen.results, "--note", "48 x 48 pixels", "--set", *settings,
                ]
            )  # fmt: skip


if __name__ == "__main__":
    main()
