"""The share of a training step that preparing the images takes, timed alternately in one process.

    python benchmarks/pipeline_share.py faces5/pipeline faces5-rcn --set data.root=../shared/data/faces5

Reading, augmenting and stacking a batch in the training process (no workers), against forward, backward and update. Images
are decoded beforehand, as they are in all epochs but the first. Run it on a machine that does nothing else.
"""

import argparse
import statistics
from pathlib import Path

import yaml

from snellen import api
from snellen.evaluation.results.records import Record, add_record
from snellen.training.jobs import prepare
from snellen.training.pace import time_steps


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", help="record name, e.g. faces5/pipeline")
    parser.add_argument("recipe")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--set", nargs="*", default=[], metavar="SETTING=VALUE", help="settings by dotted names")
    parser.add_argument("--results", default="results")
    chosen = parser.parse_args()
    config = api.resolve(chosen.recipe, {k: yaml.safe_load(v) for k, v in (s.split("=", 1) for s in chosen.set)})
    job = prepare(config)
    for i in range(len(job.train_set)):
        job.train_set[i]  # decoded once, as in a training's first epoch, and kept
    preparing, updating = time_steps(job.task, job.train_set, chosen.steps)
    size = config.train.batch_size
    images, update = (statistics.median(t) for t in (preparing, updating))
    share = 100 * images / (images + update)
    print(f"{1000 * images:.0f} ms to prepare, {1000 * update:.0f} ms to update a batch of {size}: {share:.1f} %")
    # The path of the data is the user's own.
    settings = ["data.root=DATA" if s.startswith("data.root=") else s for s in chosen.set]
    flags = f" --set {' '.join(settings)}" if settings else ""
    add_record(
        Path(chosen.results) / f"{chosen.record.split('/')[0]}.json",
        Record.here(
            name=chosen.record,
            metric="share of a training step spent on the images",
            unit="%",
            values=[share],
            interval=[share, share],
            train_seconds=sum(preparing) + sum(updating),
            steps=chosen.steps,
            command=f"python benchmarks/pipeline_share.py {chosen.record} {chosen.recipe}{flags}",
            note=f"medians over {chosen.steps} steps of {size}: {1000 * images:.0f} ms of images, {1000 * update:.0f} ms of "
            "forward, backward and update; no workers",
            extra={"prepare_seconds": preparing, "update_seconds": updating},
        ),
    )


if __name__ == "__main__":
    main()
