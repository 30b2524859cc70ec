"""Where an annotation format counts pixels from, measured by mirror symmetry.

    python benchmarks/origin.py faces5/origin runs/faces5-rcn-10min-seed? --data ../shared/data/faces5

A network trained on images and their mirror images cannot learn a sideways offset of the annotations, so what remains as the
mean signed sideways error of its answers on held-out photos is the offset that the reader has not taken away: near 0 where
`data.origin` is right, one pixel where it is off by one. Scored on the validation photos, each as it is, averaged with the
answer on its mirror image, which takes away what asymmetry the network itself has left.
"""

import argparse
from pathlib import Path

import numpy as np

from snellen.config import KeypointConfig
from snellen.data import build_dataset
from snellen.evaluation.results.records import Record, add_record, mean_interval
from snellen.inference import load_localiser, predict_dataset
from snellen.training.runs import RunFolder


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record")
    parser.add_argument("runs", nargs="+", type=Path, help="run folders that differ in their seed alone")
    parser.add_argument("--data", required=True)
    parser.add_argument("--results", default="results")
    chosen = parser.parse_args()
    values, seeds, origin = [], [], None
    for run in chosen.runs:
        config = RunFolder(run).config()
        assert isinstance(config, KeypointConfig)
        if config.augment.flip != 0.5:
            parser.error(
                f"{run} was not trained on as many mirror images as images (augment.flip 0.5): nothing follows from it"
            )
        model = load_localiser(run)
        model.flip = True
        data = build_dataset(config.data, "val")
        answers = predict_dataset(model, data)
        values.append(float(np.nanmean(answers.pred[..., 0] - answers.true[..., 0])))
        seeds.append(config.seed)
        origin = config.data.origin
    info = RunFolder(chosen.runs[-1]).info()
    record = Record.here(
        name=chosen.record,
        metric="mean signed sideways error on validation photos",
        unit="px",
        values=values,
        interval=mean_interval(values),
        train_seconds=float(info["train_seconds"]),
        steps=int(info["steps"]),
        command=f"python benchmarks/origin.py {chosen.record} {' '.join(f'runs/{r.name}' for r in chosen.runs)} --data DATA",
        note=f"annotations read with data.origin {origin}; with 0 it would be one pixel",
        seeds=seeds,
    )
    add_record(Path(chosen.results) / f"{chosen.record.split('/')[0]}.json", record)
    print(f"{record.name}: {record.mean:+.2f} px {[round(v, 2) for v in values]}")


if __name__ == "__main__":
    main()
