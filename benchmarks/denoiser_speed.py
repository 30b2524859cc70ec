"""What denoisers cost: the paper's convolutions tap by tap, the same through spectra, and attention over the points.

    python benchmarks/denoiser_speed.py --rounds 5

Parameters, multiply-adds a face (of the definition: what the tap by tap form has; spectra need fewer), milliseconds a face,
medians over rounds that go through all forms in turn. The error stands beside them for runs that were trained:

    python benchmarks/denoiser_speed.py --errors runs/small-exact-seed0 runs/small-attention-seed0

Where both can be trained, on 20x20 maps with 11x11 kernels, `snellen reproduce denoiser-forms-faces68` compares errors.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from snellen import api
from snellen.evaluation.results.records import Record, add_record
from snellen.models import ConvDenoiser, Denoiser, create_denoiser

__all__ = ["FORMS", "macs"]

#: Row -> preset and choices.
FORMS = {
    "exact-direct": ("denoiser-exact", {"fast": False}),
    "exact-fast": ("denoiser-exact", {"fast": True}),
    "attention": ("denoiser", {}),
}


def macs(model: Denoiser, points: Tensor, given: Tensor) -> int:
    """Multiply-adds of one object: half of what torch.utils.flop_counter counts, convolutions and matrix products.

    Of convolutions by their definition, tap by tap, on meta tensors: nothing is computed.
    """
    device = "cpu"
    if isinstance(model, ConvDenoiser):
        device, model = "meta", create_denoiser(model.name, **{**model.choices, "fast": False}).to("meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(*(t[:1].to(device) for t in (points, given)))
    return int(counter.get_total_flops() // 2)


def _flags(chosen: argparse.Namespace) -> str:
    """What repeats a measurement: the numbers that decide it."""
    height, width = chosen.size
    return (
        f" --keypoints {chosen.keypoints} --size {height} {width} --kernel {chosen.kernel} --batch {chosen.batch} "
        f"--rounds {chosen.rounds} --threads {chosen.threads} --results {chosen.results}"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keypoints", type=int, default=68)
    parser.add_argument("--size", type=int, nargs=2, default=[80, 80])
    parser.add_argument("--kernel", type=int, default=45)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument(
        "--errors", nargs="*", default=[], metavar="RUN", help="runs whose validation errors are shown beside"
    )
    parser.add_argument(
        "--results", default="", help="folder to store the records in, e.g. results; by default none are"
    )
    chosen = parser.parse_args(argv)
    torch.set_num_threads(chosen.threads)
    generator = torch.Generator().manual_seed(0)
    xy = torch.rand(chosen.batch, chosen.keypoints, 2, generator=generator)
    given = torch.ones(xy.shape[:2], dtype=torch.bool)
    models = {}
    for form in chosen.forms:
        preset, choices = FORMS[form]
        kernel = {"kernel": chosen.kernel} if preset == "denoiser-exact" else {}
        models[form] = create_denoiser(preset, keypoints=chosen.keypoints, size=chosen.size, **choices, **kernel).eval()
    times: dict[str, list[float]] = {form: [] for form in models}
    for round_ in range(chosen.rounds + 1):
        for form, model in models.items():
            begin = time.perf_counter()
            with torch.no_grad():
                model(xy, given)
            if round_:  # the first fills caches
                times[form].append(1000 * (time.perf_counter() - begin) / chosen.batch)
    for form, model in models.items():
        taken = sorted(times[form])
        cost, parameters = (
            macs(model, xy, given),
            sum(p.numel() for p in model.parameters()),
        )
        middle = statistics.median(taken)
        print(f"{form:14} {parameters:>12,} parameters {cost / 1e6:>12,.0f} MMAC {middle:>10.1f} ms a face")
        if chosen.results:
            size = f"{chosen.keypoints} points on {chosen.size[0]}x{chosen.size[1]}"
            record = Record.here(
                name=f"speed/denoiser-{form}",
                metric=f"a face, {size}, kernel {chosen.kernel}, {chosen.threads} threads",
                unit="ms",
                values=[middle],
                interval=[taken[0], taken[-1]],
                train_seconds=0.0,
                steps=chosen.rounds,
                command=f"python benchmarks/denoiser_speed.py{_flags(chosen)}",
                note=f"median and range; {parameters:,} parameters, {cost / 1e6:,.0f} MMAC by its definition",
                extra={"parameters": parameters, "macs": cost, "times": taken},
            )
            add_record(Path(chosen.results) / "speed.json", record)
    for run in chosen.errors:
        scores = api.evaluate(run)
        print(f"{run}: {100 * scores['nme']:.2f} % of {scores['normaliser']}, {scores['nats']:.2f} nats a point")


if __name__ == "__main__":
    main()
