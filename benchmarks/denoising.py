"""What a denoiser is worth to a keypoint model: error overall, on the hardest tenth, and behind black rectangles.

    python benchmarks/denoising.py faces68 --data ../shared/data/faces68 --seeds 0 1 2
    python benchmarks/denoising.py wings --seeds 0 1 2

Trains the keypoint recipe and the denoiser's with each seed (finished runs are not repeated), scores the test split with and
without the denoiser on the same images, and stores DATA/plain, /denoised (the paper's weight 1), /denoised-fitted (the best on
validation images), and the same /occluded. Differences are paired, image by image. The hardest tenth is that of the mean of
both models' errors (evaluation/joint.py says why).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from snellen import api
from snellen.evaluation.results import Record, add_record, mean_interval
from snellen.training.runs import RunFolder

#: Data -> recipe of the keypoint model and of the denoiser.
RECIPES = {
    "wings": ("wings-rcn", "wings-denoiser"),
    "faces5": ("faces5-rcn", "faces5-denoiser"),
    "faces68": ("faces68-rcn", "faces68-denoiser"),
}
#: End of a row's name -> weight of the denoiser.
WEIGHTS: dict[str, float | str] = {"denoised": 1.0, "denoised-fitted": "fit"}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=RECIPES, help="which data")
    parser.add_argument("--data", help="folder of the data; none for wings")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--split", default="test")
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--results", default="results")
    parser.add_argument("--set", nargs="*", default=[], metavar="SETTING=VALUE", help="of the keypoint model")
    parser.add_argument("--set-denoiser", nargs="*", default=[], metavar="SETTING=VALUE", help="of the denoiser")
    chosen = parser.parse_args(argv)
    rows: dict[str, list[dict[str, Any]]] = {}
    infos = []
    for seed in chosen.seeds:
        image, judge = (
            _trained(chosen, recipe, settings, seed)
            for recipe, settings in zip(RECIPES[chosen.name], (chosen.set, chosen.set_denoiser), strict=True)
        )
        infos.append(image.info())
        for occlude in (False, True):
            for row, weight in WEIGHTS.items():
                scores = api.evaluate(
                    image.path,
                    split=chosen.split,
                    robustness=False,
                    denoiser=judge.path,
                    denoiser_weight=weight,
                    occlude=occlude,
                )
                rows.setdefault(f"{row}-occluded" if occlude else row, []).append(scores)
    for row, scores_of_seeds in rows.items():
        occluded = row.endswith("-occluded")
        weight = WEIGHTS[row.removesuffix("-occluded")]
        if weight == 1.0:
            _store(chosen, "occluded" if occluded else "plain", "first", scores_of_seeds, infos, weight, occluded)
        _store(chosen, row, "second", scores_of_seeds, infos, weight, occluded)


def _trained(chosen: argparse.Namespace, recipe: str, settings: Sequence[str], seed: int) -> RunFolder:
    """The finished run of a recipe, trained or resumed where it is not."""
    folder = RunFolder(Path(chosen.runs) / f"{_name(recipe)}-seed{seed}")
    if folder.finished:
        return folder
    if folder.last_checkpoint.exists():
        api.resume(folder.path)
        return folder
    given = {key: yaml.safe_load(value) for key, value in (s.split("=", 1) for s in settings)}
    root = {} if chosen.data is None else {"data.root": chosen.data}
    api.train(recipe, seed=seed, out=chosen.runs, name=folder.path.name, **{**root, **given})
    return folder


def _name(recipe: str) -> str:
    """Of a recipe's runs; a recipe may be a file."""
    return Path(recipe).stem


def _store(
    chosen: argparse.Namespace,
    row: str,
    side: str,
    scores: list[dict[str, Any]],
    infos: list[dict[str, Any]],
    weight: float | str,
    occluded: bool,
) -> None:
    """A row's records: the error of all images and of the hardest tenth, and the paired differences where it is denoised."""
    image, judge = (_name(recipe) for recipe in RECIPES[chosen.name])
    flags = " --data DATA" if chosen.data else ""
    of = f" --denoiser runs/{judge}-seedN --denoiser-weight {weight}" if side == "second" else ""
    command = (
        f"python benchmarks/denoising.py {chosen.name}{flags}, or snellen evaluate runs/{image}-seedN "
        f"--split {chosen.split}{of}{' --occlude' if occluded else ''}"
    )
    for part in ("all", "hardest tenth"):
        gains = [s["denoiser"]["gains"][part] for s in scores]
        metrics = {"nme" if part == "all" else f"nme, {part}": [100 * g[side] for g in gains]}
        if side == "second":
            metrics[f"change of nme, {part}"] = [100 * g["difference"] for g in gains]
        for metric, values in metrics.items():
            # One seed has an interval over images, of the paired differences alone.
            single = [100 * v for v in gains[0]["interval"]] if metric.startswith("change") else [values[0], values[0]]
            record = Record.here(
                name=f"{chosen.name}/{row}",
                metric=metric,
                unit="%",
                normaliser=scores[0]["normaliser"],
                values=values,
                interval=mean_interval(values) if len(values) > 1 else single,
                train_seconds=sum(i["train_seconds"] for i in infos) / len(infos),
                steps=infos[-1]["steps"],
                command=command,
                note=f"{gains[0]['images']} images; weights {', '.join(_weight(s) for s in scores)}"
                if side == "second"
                else f"{gains[0]['images']} images",
                seeds=chosen.seeds,
                extra={"over_images": [g["interval"] for g in gains]} if metric.startswith("change") else {},
            )
            add_record(Path(chosen.results) / f"{chosen.name}.json", record)
            print(f"{record.name} {metric}: {record.mean:.3f} {[round(v, 3) for v in values]}")


def _weight(scores: dict[str, Any]) -> str:
    return f"{scores['denoiser']['weight']:g}"


if __name__ == "__main__":
    main()
