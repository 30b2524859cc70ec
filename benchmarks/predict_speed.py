"""Faces a second, end to end: pictures on disk to a file of points, with PyTorch and onnxruntime side by side.

    python benchmarks/predict_speed.py --data ../shared/data/faces68 --threads 2 --json runs/predict-speed.json
    python benchmarks/predict_speed.py --run runs/faces68-rcn-seed0 --data ../shared/data/faces68 --record speed/predict
    python benchmarks/predict_speed.py --run wings-rcn --images my-pictures

Each round predicts every picture with each backend in turn, through `snellen.api.predict`: decode, crop, network, maps to
points, CSV. A rate is pictures over the wall time of the call; loading the model and starting Python are not part of it. Then
each stage is timed alone, on one thread but for the network, to say where the time goes: stages overlap in the whole, so
they add up to more than it. Without --run the network is that of the recipe with fresh weights, which take as long.
"""

import argparse
import json
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from snellen import api
from snellen.allocator import keep_freed_memory
from snellen.config import KeypointConfig
from snellen.data import build_dataset
from snellen.data.boxes import make_box
from snellen.data.files import AnnotatedImages
from snellen.data.views import spread
from snellen.evaluation.results.records import Record, add_record, mean_interval
from snellen.geometry import Box, box_map
from snellen.images import image_size
from snellen.inference import Localiser, PointFinder, load_finder, load_localiser
from snellen.inference.crops import Scaled, read_scaled
from snellen.inference.export import export_model
from snellen.inference.sharing import save_pretrained
from snellen.inference.sources import expand
from snellen.models import KeypointNet, create_model
from snellen.training.runs import environment

__all__ = ["fresh", "measure", "stages"]


def measure(
    models: dict[str, Path], files: list[Path], boxes: Path | None, *, rounds: int, batch: int, flip: bool | None = None
) -> dict[str, list[float]]:
    """Pictures a second of each model in each round, after one round that is not counted.

    `flip` is for runs; exported files have their own in the graph.
    """
    rates: dict[str, list[float]] = {name: [] for name in models}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds + 1):
            for name, model in models.items():
                out = Path(folder) / f"{name}-{turn}.csv"
                asked = {} if model.suffix == ".onnx" else {"flip": flip}
                done = api.predict(model, files, out, boxes=boxes, batch_size=batch, device="cpu", **asked)
                if done.skipped:
                    raise SystemExit(f"{len(done.skipped)} pictures cannot be read, the first: {done.skipped[0]}")
                if turn:
                    rates[name].append(done.answered / done.seconds)
    return rates


def stages(finder: PointFinder, files: list[Path], boxes: list[Box], *, batch: int) -> dict[str, float]:
    """Milliseconds a picture of each stage alone."""
    maps = [box_map(box, finder.canvas) for box in boxes]
    pictures: list[Scaled] = []
    spent = {"decode": 0.0, "crop": 0.0, "network": 0.0, "maps to points": 0.0}
    begin = time.perf_counter()
    for file, matrix in zip(files, maps, strict=True):
        shrink = float(1 / matrix[0, 0])
        pictures.append(read_scaled(file, finder.channels, partial(_constant, shrink)))
    spent["decode"] = time.perf_counter() - begin
    made: list[Any] = []
    begin = time.perf_counter()
    made += [picture.canvas(matrix, finder.canvas) for picture, matrix in zip(pictures, maps, strict=True)]
    spent["crop"] = time.perf_counter() - begin
    for start in range(0, len(made), batch):
        canvases = torch.from_numpy(np.stack(made[start : start + batch]))
        begin = time.perf_counter()
        if isinstance(finder, Localiser):
            with torch.inference_mode():
                finder.find(canvases)  # the mirror image too, where it is averaged
                whole = time.perf_counter() - begin
                output = finder.answer(canvases)
                begin = time.perf_counter()
                finder.read_off(output, canvases)
                reading = time.perf_counter() - begin
            spent["maps to points"] += reading
            spent["network"] += whole - reading
        else:  # decoding is inside the graph
            finder.locate(canvases)
            spent["network"] += time.perf_counter() - begin
    return {name: 1000 * seconds / len(files) for name, seconds in spent.items() if seconds}


def _constant(value: float, height: int, width: int) -> float:
    return value


def fresh(config: KeypointConfig) -> Localiser:
    """A recipe's network with drawn weights, which take as long as trained ones."""
    from snellen.keypoints import get_schema

    schema = get_schema(config.data.schema or "ibug-68")
    model = create_model(config.model.name, keypoints=len(schema), load_pretrained=False, **config.model.choices)
    assert isinstance(model, KeypointNet)
    card = {
        "task": "keypoints",
        "schema": schema.to_dict(),
        "canvas": list(config.data.canvas),
        "channels": config.data.channels,
        "box": {"rule": config.data.box, "scale": config.data.box_scale},
        "decoder": {"method": "local", "window": 2, "radius": 2.5, "flip": config.evaluate.flip},
    }
    return Localiser(model, card)


def _fresh(recipe: str, folder: Path) -> Path:
    """A folder as `train` leaves it, with drawn weights."""
    config = api.resolve(recipe)
    assert isinstance(config, KeypointConfig)
    return save_pretrained(fresh(config), folder)


def _boxed(recipe: str, root: str, folder: Path) -> tuple[list[Path], Path]:
    """The test pictures of a recipe's data, one object each, and a CSV of their boxes."""
    config = api.resolve(recipe, {"data.root": root})
    assert isinstance(config, KeypointConfig)
    data = build_dataset(config.data, "test")
    assert isinstance(data, AnnotatedImages)
    files, rows = [], ["file,left,top,right,bottom"]
    for annotation in data.annotations:
        file = (data.root / annotation.file).resolve()
        height, width = image_size(file)
        box = make_box(config.data.box, annotation.keypoints, config.data.box_scale, width, height)
        files.append(file)
        rows.append(f"{file},{','.join(f'{v:.3f}' for v in box)}")
    table = folder / "boxes.csv"
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return files, table


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--run", help="run folder or shipped weights; by default the recipe's network with fresh weights"
    )
    parser.add_argument(
        "--recipe", default="faces68-rcn", help="whose test pictures, boxes and fresh network are taken"
    )
    parser.add_argument("--data", help="folder of the recipe's data")
    parser.add_argument("--images", nargs="+", help="pictures in place of --data, shown whole")
    parser.add_argument("--count", type=int, help="at most so many of the pictures, spread over them")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--flip", action=argparse.BooleanOptionalAction, help="average with the mirror image's answer")
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch; 0 takes what it picks")
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--record", help="name of a record to add to --results, e.g. speed/predict")
    parser.add_argument("--results", type=Path, default=Path("results"))
    chosen = parser.parse_args()
    keep_freed_memory()  # as the command line does
    if bool(chosen.data) == bool(chosen.images):
        parser.error("give --data, or --images")
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run = Path(chosen.run) if chosen.run else _fresh(chosen.recipe, folder / "fresh")
        table: Path | None = None
        if chosen.data:
            files, table = _boxed(chosen.recipe, chosen.data, folder)
            from snellen.inference.box_table import BoxTable

            listed = BoxTable(table)
            boxes = [listed.of(file)[0] for file in files]
        else:
            files = [source.path for source in expand(chosen.images)]
            boxes = [Box(0, 0, w, h) for h, w in map(image_size, files)]
        kept = spread(len(files), chosen.count or len(files))
        files, boxes = [files[i] for i in kept], [boxes[i] for i in kept]
        localiser = load_localiser(run, "cpu")
        localiser.flip = localiser.flip if chosen.flip is None else chosen.flip
        # Noise suffices: the comparison with PyTorch is `snellen export`'s, not this script's.
        noise = 255 * torch.rand(4, localiser.channels, *localiser.canvas)
        models = {"pytorch": run}
        models["onnxruntime"] = export_model(localiser, folder / "model.onnx", samples=noise, tolerance=1e9).path
        rates = measure(models, files, table, rounds=chosen.rounds, batch=chosen.batch, flip=localiser.flip)
        parts = {
            "pytorch": stages(localiser, files, boxes, batch=chosen.batch),
            "onnxruntime": stages(load_finder(models["onnxruntime"], "cpu"), files, boxes, batch=chosen.batch),
        }
    where = environment()
    print(
        f"{len(files)} pictures, batch {chosen.batch}, {chosen.rounds} rounds, {where['threads']} threads, {where['hardware']}"
    )
    for name, values in rates.items():
        low, high = min(values), max(values)
        times = ", ".join(f"{stage} {ms:.2f}" for stage, ms in parts[name].items())
        print(
            f"{name:<12} {statistics.median(values):7.1f} a second ({low:.1f} to {high:.1f}); ms of each stage alone: {times}"
        )
    if chosen.json:
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps({"rates": rates, "stages": parts, **where}, indent=1) + "\n")
    if chosen.record:
        flags = f"--run {Path(chosen.run).name} " if chosen.run else f"--recipe {chosen.recipe} "
        flags += {None: "", True: "--flip ", False: "--no-flip "}[chosen.flip]
        for name, values in rates.items():
            times = ", ".join(f"{stage} {ms:.2f}" for stage, ms in parts[name].items())
            record = Record.here(
                name=chosen.record, metric=f"end to end with {name}", unit="1/s", values=values,
                interval=mean_interval(values), train_seconds=0.0, steps=0,
                command=f"python benchmarks/predict_speed.py {flags}--data DATA --record {chosen.record}",
                note=f"{len(files)} pictures on disk, batch {chosen.batch}; ms of each stage alone: {times}",
                seeds=list(range(len(values))),
            )  # fmt: skip
            add_record(chosen.results / f"{chosen.record.split('/')[0]}.json", record)


if __name__ == "__main__":
    main()
