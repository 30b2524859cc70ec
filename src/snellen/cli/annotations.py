"""The command line's verbs for annotations: check and convert."""

import argparse
import json
import shlex
from typing import Any

__all__ = ["OVERVIEW", "add_verbs"]

OVERVIEW = """\
  check PATH [--write my.yaml] [--json]                              look at annotations and images
  convert IN OUT --to FORMAT                                         change the format of annotations"""


def add_verbs(verbs: Any) -> None:
    """Declare the verbs on argparse's subparsers."""
    check = verbs.add_parser("check", description="Look at annotations and their images before training.")
    check.add_argument("path", help="annotation file, or the folder that holds it")
    check.add_argument("--test", help="annotations of a separate test, to look for leaks")
    check.add_argument("--sheet", default="check.png", help="contact sheet to draw (default check.png); '' for none")
    check.add_argument("--write", metavar="RECIPE.yaml", help="propose a recipe in a new file")
    check.add_argument(
        "--denoiser", metavar="RUN2", help="a run that knows where the points can be; names what surprises it"
    )
    check.add_argument(
        "--suspects", default="suspects", help="folder for pictures of that (default suspects); '' for none"
    )
    check.add_argument("--json", action="store_true", help="print one JSON object")
    check.add_argument(
        "--max-pixels", type=int, default=120_000_000, help="larger pictures are not read (default %(default)s)"
    )
    check.add_argument(
        "--grey-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="16-bit values of black and white; default 0 65535",
    )
    check.add_argument("--workers", type=int, default=0, help="processes; by default one a core")
    convert = verbs.add_parser("convert", description="Change the format of annotations; pictures are not copied.")
    convert.add_argument("source", metavar="IN", help="annotation file, or the folder that holds it")
    convert.add_argument("target", metavar="OUT", help="new file or folder")
    convert.add_argument("--to", required=True, help="format to write, e.g. coco")
    convert.add_argument("--to-origin", type=float, help="coordinate that OUT gives the centre of the top-left pixel")
    convert.add_argument(
        "--on-error", choices=("raise", "skip"), default="skip", help="what a picture does whose size cannot be read"
    )
    for verb in (check, convert):
        verb.add_argument("--format", default="auto", help="format to read; by default recognised")
        verb.add_argument("--schema", help="name of a built-in schema; by default the file names the points")
        verb.add_argument(
            "--origin", type=float, help="coordinate that the file gives the centre of the top-left pixel"
        )
        verb.add_argument("--root", help="folder of the images, where it is not the annotations'")
        verb.add_argument("--scale-unit", type=float, default=1.0, help="TPS: millimetres in the unit of SCALE")
    check.set_defaults(act=_check)
    convert.set_defaults(act=_convert)


def _check(chosen: argparse.Namespace) -> int:
    from snellen import api

    report = api.check(
        chosen.path,
        test=chosen.test,
        sheet=chosen.sheet or None,
        write=chosen.write,
        workers=chosen.workers,
        denoiser=chosen.denoiser,
        suspects=chosen.suspects or None,
        max_pixels=chosen.max_pixels,
        grey_range=(chosen.grey_range[0], chosen.grey_range[1]) if chosen.grey_range else None,
        **_reading(chosen),
    )
    if chosen.json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        print(report.in_words())
        if chosen.sheet:
            print(f"look at {chosen.sheet}")
        if chosen.write:
            print(f"next: snellen train {shlex.quote(chosen.write)}")
    return int(report.must_fix)


def _convert(chosen: argparse.Namespace) -> int:
    from snellen import api

    done = api.convert(
        chosen.source,
        chosen.target,
        chosen.to,
        target_origin=chosen.to_origin,
        on_error=chosen.on_error,
        **_reading(chosen),
    )
    print(
        f"{done['target']}: from {done['format']} to {done['to']}; {done['images']:,} images with {done['objects']:,} objects "
        "were read"
    )
    for sentence in done["lost"]:
        print(f"lost: {sentence}")
    print(f"the images stay in {done['root']}, which their names are relative to")
    return 0


def _reading(chosen: argparse.Namespace) -> dict[str, Any]:
    """How the annotations are to be read."""
    return {name: getattr(chosen, name) for name in ("format", "schema", "origin", "root", "scale_unit")}
