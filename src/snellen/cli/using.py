"""The command line's verbs for trained models: evaluate, report, predict and export."""

import argparse
import json
import logging
import shlex
from pathlib import Path
from typing import Any

__all__ = ["OVERVIEW", "add_verbs"]

OVERVIEW = """\
  evaluate RUN [--split test] [--data PATH] [--json]                 score it
  report RUN                                                         write its HTML report
  predict RUN FILES... [--out FILE] [--draw FOLDER]                  find the points in pictures and videos
  export RUN [--format onnx|pt2]                                     write one file that needs no run"""


def add_verbs(verbs: Any) -> None:
    """Declare the verbs on argparse's subparsers."""
    evaluate = verbs.add_parser("evaluate", description="Score a run on a split of its data.")
    evaluate.add_argument("run", help="run folder that train wrote")
    evaluate.add_argument("--split", default="val", help="train, val (default) or test")
    evaluate.add_argument("--data", help="folder of the data, where it is not the one of the training")
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")
    evaluate.add_argument(
        "--on-error", choices=("raise", "skip"), help="what a broken file does; by default as in training"
    )
    evaluate.add_argument(
        "--no-robustness", action="store_true", help="skip the error at moved boxes, or on corrupted images"
    )
    evaluate.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        help="average with the mirror image's answer; by default as trained",
    )
    evaluate.add_argument("--decoder", help="local (sub-pixel) or argmax; by default as trained")
    evaluate.add_argument("--corrupted", help="classes: folder of KIND/SEVERITY/class/image, as ImageNet-C has it")
    evaluate.add_argument(
        "--baseline",
        metavar="RUN2",
        help="classes: scored run whose errors on corrupted images are divided by (mCE, mFR)",
    )
    evaluate.add_argument("--denoiser", metavar="RUN2", help="keypoints: run of a denoiser to join")
    evaluate.add_argument(
        "--denoiser-weight", metavar="W|fit", help="of its logits: a number (1), or fit on validation images"
    )
    evaluate.add_argument("--occlude", action="store_true", help="keypoints: hide a part of each image")
    report = verbs.add_parser("report", description="Write a run's report, one self-contained HTML file.")
    report.add_argument("run", help="run folder that train wrote")
    report.add_argument("--split", default="", help="split to report; by default the one evaluated last")

    predict = verbs.add_parser(
        "predict",
        description="Run a model over pictures, folders, patterns, lists (.txt) and videos; an interrupted call goes on where "
        "it was.",
    )
    predict.add_argument("run", help="run folder, exported file, or a name of `snellen models --pretrained`")
    predict.add_argument("files", nargs="+", help="pictures, folders, patterns, .txt lists, videos")
    predict.add_argument("--out", default="", help="what to write; by default predictions.csv, or as --to ends")
    predict.add_argument("--to", default="", help="csv, jsonl or an annotation format; by default what --out ends in")
    predict.add_argument("--draw", type=Path, metavar="FOLDER", help="also draw the points into copies of the pictures")
    predict.add_argument("--boxes", type=Path, metavar="CSV", help="rows of file, left, top, right, bottom")
    predict.add_argument("--locator", type=Path, metavar="RUN", help="model of whole pictures that finds the boxes")
    predict.add_argument("--denoiser", type=Path, metavar="RUN2", help="keypoints: run of a denoiser to join")
    predict.add_argument("--denoiser-weight", type=float, metavar="W", help="of its logits; by default the paper's 1")
    predict.add_argument("--flip", action=argparse.BooleanOptionalAction, help="average with the mirror image's answer")
    predict.add_argument("--min-confidence", type=float, default=0.0, help="points with less are not found; 0 to 1")
    predict.add_argument(
        "--origin", type=float, default=0.0, choices=(0.0, 0.5, 1.0),
        help="coordinate of the centre of the top-left pixel in CSV and JSON lines",
    )  # fmt: skip
    predict.add_argument(
        "--max-pixels", type=int, default=120_000_000, help="larger pictures are left out (default %(default)s)"
    )
    predict.add_argument("--every", type=int, default=1, help="of a video, take one frame in so many")
    predict.add_argument(
        "--batch-size", type=int, default=8, help="pictures at a time; 8 is quick on CPUs, give more on a GPU"
    )
    predict.add_argument("--workers", type=int, default=0, help="threads that decode; by default one a core")
    predict.add_argument("--device", help="cpu, cuda, ...; by default a GPU where there is one")
    predict.add_argument("--on-error", choices=("raise", "skip"), default="skip", help="what a broken file does")
    predict.add_argument("--restart", action="store_true", help="throw an interrupted call's progress away")
    predict.add_argument("--overwrite", action="store_true", help="replace --out and the drawings of an earlier call")
    predict.add_argument("--json", action="store_true", help="print one JSON object about what was done")

    export = verbs.add_parser(
        "export", description="Write a keypoint model as one file and compare its answers with PyTorch's."
    )
    export.add_argument("run", help="run folder, or a name of `snellen models --pretrained`")
    export.add_argument("--format", default="onnx", help="onnx (default) or pt2")
    export.add_argument("--out", help="file to write; by default model.onnx in the run folder")
    export.add_argument("--samples", nargs="+", default=[], metavar="FILE", help="pictures to compare on, shown whole")
    export.add_argument("--data", help="folder of the run's data, where it is not the one of the training")
    export.add_argument(
        "--flip", action=argparse.BooleanOptionalAction, help="mirror image in the graph; by default as trained"
    )
    export.add_argument("--opset", type=int, default=18, help="of ONNX")
    export.add_argument("--denoiser", metavar="RUN2", help="run of a denoiser to join: both models in one file")
    export.add_argument("--denoiser-weight", type=float, metavar="W", help="of its logits; by default the paper's 1")

    for parser, act in ((evaluate, _evaluate), (report, _report), (predict, _predict), (export, _export)):
        parser.set_defaults(act=act)


def _evaluate(chosen: argparse.Namespace) -> int:
    from snellen import api

    scores = api.evaluate(
        chosen.run,
        split=chosen.split,
        data=chosen.data,
        on_error=chosen.on_error,
        robustness=not chosen.no_robustness,
        flip=chosen.flip,
        decoder=chosen.decoder,
        corrupted=chosen.corrupted,
        baseline=chosen.baseline,
        denoiser=chosen.denoiser,
        denoiser_weight=chosen.denoiser_weight,
        occlude=chosen.occlude,
    )
    if chosen.json:
        print(json.dumps(scores, indent=2))
    else:
        from snellen.evaluation.sentences import in_words

        print(in_words(scores))
    return 0


def _report(chosen: argparse.Namespace) -> int:
    from snellen import api

    print(api.report(chosen.run, split=chosen.split))
    return 0


def _predict(chosen: argparse.Namespace) -> int:
    from snellen import api

    to = chosen.to or _format_of(Path(chosen.out))
    out = chosen.out or _default_out(to)
    names = ("draw", "boxes", "locator", "denoiser", "denoiser_weight", "flip", "min_confidence", "origin", "max_pixels",
             "every", "batch_size", "workers", "device", "on_error", "restart", "overwrite")  # fmt: skip
    done = api.predict(chosen.run, chosen.files, out, to=to, **{name: getattr(chosen, name) for name in names})
    new = done.answered + len(done.skipped) - done.resumed
    rate = new / done.seconds if done.seconds > 0 else 0.0
    if chosen.json:
        values = {
            "out": str(done.out),
            "answered": done.answered,
            "skipped": len(done.skipped),
            "resumed": done.resumed,
        }
        print(
            json.dumps(
                values | {"seconds": round(done.seconds, 3), "errors": done.skipped, "notes": done.notes}, indent=2
            )
        )
        return 0 if done.answered else 1
    for note in done.notes:
        print(f"note: {note}")
    for sentence in done.skipped[:3]:
        print(f"skipped: {sentence}")
    if done.skipped:
        from snellen.inference.command import skipped_list

        print(f"skipped {len(done.skipped)} in all, listed in {skipped_list(done.out)}")
    print(f"{done.out}: {done.answered} answers, {rate:.1f} a second")
    return 0 if done.answered else 1


def _format_of(out: Path) -> str:
    """What the ending of an output says, else CSV."""
    ending = out.suffix.lower()
    if ending == ".json":
        from snellen.config import ConfigError

        raise ConfigError(f"{out} may be of several formats; pass --to coco or --to label-studio, or call it .jsonl")
    return {".jsonl": "jsonl", ".tps": "tps", ".xml": "cvat"}.get(ending, "csv")


def _default_out(to: str) -> str:
    """predictions.csv, predictions.json, ..., or the folder predictions."""
    from snellen.keypoints.formats import FORMATS

    return f"predictions{FORMATS[to].ending if to in FORMATS else f'.{to}'}"


def _export(chosen: argparse.Namespace) -> int:
    from snellen import api

    for name in ("onnxscript", "onnx_ir"):  # which tell of every step of theirs
        logging.getLogger(name).setLevel(logging.WARNING)
    made = api.export(
        chosen.run,
        chosen.out,
        format=chosen.format,
        samples=chosen.samples,
        data=chosen.data,
        flip=chosen.flip,
        opset=chosen.opset,
        denoiser=chosen.denoiser,
        denoiser_weight=chosen.denoiser_weight,
    )
    print(
        f"{made.path}: {made.points} points in {made.samples} images differ from PyTorch's by at most {made.difference:.2g} "
        f"px, confidences by {made.confidence_difference:.2g}\nnext: snellen predict "
        f"{shlex.quote(str(made.path))} FILES..."
    )
    return 0
