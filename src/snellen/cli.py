"""The command line: the verbs of `snellen.api`, with every setting of a recipe as a flag."""

import argparse
import dataclasses
import fnmatch
import json
import logging
import re
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from snellen import __version__, cli_models
from snellen.config import ConfigError, KeypointConfig, RunConfig, config_class, nearest, to_dict

__all__ = ["main"]

_OVERVIEW = f"""\
verbs:
  train RECIPE [--data.root PATH] [--seed N] [--SETTING VALUE ...]   train a model
  train RECIPE --folds 5 | --init RUN|NAME                           cross-validate | begin with trained weights
  train --resume RUN                                                 go on with an interrupted run
  evaluate RUN [--split test] [--data PATH] [--json]                 score it
  check PATH [--write my.yaml] [--json]                              look at annotations and images
  convert IN OUT --to FORMAT                                         change the format of annotations
  report RUN                                                         write its HTML report
  compare RECIPE --vary KEY=VALUE,VALUE [--seeds N] [--SETTING VALUE ...]   train it in several ways, compare
  compare RUN RUN ...                                                compare finished runs image by image
  reproduce [NAME --data PATH [--quick]]                             run a paper's claim, or list them
{cli_models.OVERVIEW}
  models [PATTERN] [--pretrained]                                    list models, or trained weights
  recipes [PATTERN]                                                  list recipes

`snellen train RECIPE --help` lists every setting of the recipe's task; `--print_config` prints the resolved ones."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status (0 done, 1 refused with one sentence, 2 wrong usage, 130 interrupted)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)
    try:
        if arguments[:1] == ["train"]:
            return _train(arguments[1:])
        if arguments[:1] in (["compare"], ["reproduce"]):
            from snellen import cli_compare

            return getattr(cli_compare, arguments[0])(arguments[1:])
        return _other(arguments)
    except (ValueError, FloatingPointError) as error:
        # All errors of this library that a user can mend are ValueErrors of one sentence.
        print(f"snellen: {_last_sentence(str(error))}", file=sys.stderr)
        return 1
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        print(
            f"snellen: cannot read or write{where}: {error.strerror or error}; mend that and try again", file=sys.stderr
        )
        return 1
    except ImportError as error:
        print(f"snellen: {error}; install the tool's packages with: pip install 'snellen[train]'", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("snellen: interrupted", file=sys.stderr)
        return 130


def _last_sentence(message: str) -> str:
    """Of an error that a data worker passed on with its traceback, the sentence alone."""
    if not message.startswith("Caught "):
        return message
    return message.strip().splitlines()[-1].partition(": ")[2]


class _Parser(argparse.ArgumentParser):
    """argparse that names the nearest verb instead of listing all of them."""

    def error(self, message: str) -> Any:
        match = re.search(r"argument VERB: invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if match:
            known = re.findall(r"[a-z]+", match[2])
            message = f"there is no verb {match[1]!r}{nearest(match[1], known)}; the verbs are {', '.join(known)}"
        print(f"snellen: {message}", file=sys.stderr)
        raise SystemExit(2)


def _other(arguments: list[str]) -> int:
    parser = _Parser(
        prog="snellen",
        description="Vision models that must know where things are.",
        epilog=_OVERVIEW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="snellen VERB ...",
    )
    parser.add_argument("--version", action="version", version=f"snellen {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", help=argparse.SUPPRESS)
    for verb in ("train", "compare", "reproduce"):
        verbs.add_parser(verb, add_help=False)
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
    evaluate.add_argument("--denoiser", metavar="RUN2", help="keypoints: run of a denoiser to join")
    evaluate.add_argument(
        "--denoiser-weight", metavar="W|fit", help="of its logits: a number (1), or fit on validation images"
    )
    evaluate.add_argument("--occlude", action="store_true", help="keypoints: hide a part of each image")
    report = verbs.add_parser("report", description="Write a run's report, one self-contained HTML file.")
    report.add_argument("run", help="run folder that train wrote")
    report.add_argument("--split", default="", help="split to report; by default the one evaluated last")
    for verb, what in (("models", "registered models"), ("recipes", "built-in recipes")):
        listing = verbs.add_parser(verb, description=f"List the {what}.")
        listing.add_argument("pattern", nargs="?", default="*", help="shell pattern, e.g. 'rcn*'")
        if verb == "models":
            listing.add_argument(
                "--pretrained", action="store_true", help="list trained weights that can be loaded by name"
            )
    _data_verbs(verbs)
    cli_models.add_verbs(verbs)
    chosen = parser.parse_args(arguments)

    status = cli_models.run_verb(chosen)
    if status is not None:
        return status
    from snellen import api

    if chosen.verb in ("check", "convert"):
        return _run_data_verb(chosen)

    if chosen.verb == "evaluate":
        scores = api.evaluate(
            chosen.run,
            split=chosen.split,
            data=chosen.data,
            on_error=chosen.on_error,
            robustness=not chosen.no_robustness,
            flip=chosen.flip,
            decoder=chosen.decoder,
            corrupted=chosen.corrupted,
            denoiser=chosen.denoiser,
            denoiser_weight=chosen.denoiser_weight,
            occlude=chosen.occlude,
        )
        if chosen.json:
            print(json.dumps(scores, indent=2))
        else:
            from snellen.evaluation.sentences import in_words

            print(in_words(scores))
    elif chosen.verb == "report":
        print(api.report(chosen.run, split=chosen.split))
    elif chosen.verb == "models" and chosen.pretrained:
        lines = [line for line in cli_models.list_weights() if fnmatch.fnmatch(line.split()[0], chosen.pattern)]
        _print_or_refuse(lines, chosen.pattern, [line.split()[0] for line in cli_models.list_weights()])
    elif chosen.verb == "models":
        from snellen.models import model_task

        names = api.models(chosen.pattern)
        width = max(map(len, names), default=0)
        _print_or_refuse([f"{name:<{width}}  {model_task(name)}" for name in names], chosen.pattern, api.models())
    else:
        found = api.recipes(chosen.pattern)
        width = max(map(len, found), default=0)
        _print_or_refuse([f"{name:<{width}}  {line}" for name, line in found.items()], chosen.pattern, api.recipes())
    return 0


def _data_verbs(verbs: Any) -> None:
    """The arguments of `check` and `convert`."""
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


def _run_data_verb(chosen: argparse.Namespace) -> int:
    from snellen import api

    common = {name: getattr(chosen, name) for name in ("format", "schema", "origin", "root", "scale_unit")}
    if chosen.verb == "convert":
        done = api.convert(
            chosen.source,
            chosen.target,
            chosen.to,
            target_origin=chosen.to_origin,
            on_error=chosen.on_error,
            **common,
        )
        print(
            f"{done['target']}: {done['images']:,} images, {done['objects']:,} objects, from {done['format']} to {done['to']}"
        )
        for sentence in done["lost"]:
            print(f"lost: {sentence}")
        print(f"the images stay in {done['root']}, which their names are relative to")
        return 0
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
        **common,
    )
    if chosen.json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        print(report.in_words())
        if chosen.sheet:
            print(f"look at {chosen.sheet}")
        if chosen.write:
            print(f"next: snellen train {chosen.write}")
    return int(report.must_fix)


def _print_or_refuse(lines: list[str], pattern: str, known: Any) -> None:
    if not lines:
        raise ConfigError(
            f"nothing is called {pattern!r}{nearest(pattern, known)}; patterns may hold * and ?, and * lists all"
        )
    print("\n".join(lines))


def _train(arguments: list[str]) -> int:
    if arguments[:1] == ["--resume"]:
        if len(arguments) != 2:
            raise ConfigError("--resume takes one run folder and no settings; the run's own are used")
        from snellen import api

        return _finish(api.resume(arguments[1]))
    command = "snellen train " + shlex.join(arguments)
    arguments, folds = _take_folds(arguments)
    config, show = _parse_train(arguments)
    if show:
        return 0
    from snellen import api

    if folds:
        return _print_folds(api.cross_validate(config, folds, command=command))
    return _finish(api.train_config(config, command=command))


def _take_folds(arguments: list[str]) -> tuple[list[str], int]:
    """The arguments without --folds N, and N; 0 where it is not there."""
    if "--folds" not in arguments:
        return arguments, 0
    i = arguments.index("--folds")
    if i + 1 >= len(arguments) or not arguments[i + 1].isdigit():
        raise ConfigError("--folds takes a number of parts, e.g. --folds 5")
    return [*arguments[:i], *arguments[i + 2 :]], int(arguments[i + 1])


def _print_folds(found: dict[str, Any]) -> int:
    if not found:
        return 130
    low, high = (100 * v for v in found["interval"])
    print("\n".join(found["runs"]))
    print(
        f"{found['images']} images, each when held out: mean error {100 * found['nme']:.2f} % of {found['normaliser']} "
        f"(95 % interval {low:.2f} % to {high:.2f} %); parts: {', '.join(f'{100 * v:.2f} %' for v in found['folds'])}"
    )
    return 0


def _finish(path: Any) -> int:
    from snellen.training.runs import RunFolder

    if not RunFolder(path).finished:
        return 130
    print(f"{path}\nnext: snellen evaluate {path} && snellen report {path}")
    return 0


def _parse_train(arguments: list[str]) -> tuple[RunConfig, bool]:
    """The configuration of a `train` command, and whether it was only printed."""
    from jsonargparse import ActionConfigFile, ArgumentParser

    from snellen.recipes import find_recipe, read_recipe

    if not arguments:
        raise ConfigError("name a recipe, e.g. snellen train wings-rcn; list all with: snellen recipes")
    # The short spelling that error messages name.
    arguments = [re.sub(r"^--on-error(?==|$)", "--data.on_error", a) for a in arguments]
    arguments = [re.sub(r"^--init(?==|$)", "--train.init", a) for a in arguments]
    kind: type[RunConfig] = KeypointConfig
    if not arguments[0].startswith("-"):
        file, values = find_recipe(arguments[0]), read_recipe(arguments[0])
        _known_settings(values, str(file))
        kind = config_class(values)
        arguments = ["--recipe", file.stem, "--config", str(file), *arguments[1:]]
    parser = ArgumentParser(
        prog="snellen train RECIPE",
        description="Train a model by a recipe; every setting is a flag. Without a recipe, the settings of keypoints.",
        exit_on_error=False, allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("--config", action=ActionConfigFile, help="a YAML file of settings, applied in order")
    parser.add_class_arguments(kind, None)
    _check_values(arguments, kind)
    try:
        parsed = parser.parse_args([a for a in arguments if a != "--print_config"])
        settings = parser.instantiate(parsed) if hasattr(parser, "instantiate") else parser.instantiate_classes(parsed)
    except argparse.ArgumentError as error:
        raise ConfigError(_explain(str(error), kind)) from None
    config = kind(**{name: value for name, value in vars(settings).items() if name != "config"})
    show = "--print_config" in arguments
    if show:
        import yaml

        print(yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True), end="")
    return config, show


def _check_values(arguments: Sequence[str], kind: type[RunConfig]) -> None:
    """Refuse a flag's value of the wrong kind in the words that recipes and Python get, before jsonargparse in its own."""
    import yaml

    from snellen.config.values import coerce, setting_types

    groups = setting_types(kind)
    for i, argument in enumerate(arguments):
        flag, given, value = argument.partition("=")
        if not flag.startswith("--"):
            continue
        group, _, key = flag[2:].rpartition(".")
        hints = (
            setting_types(groups[group]) if dataclasses.is_dataclass(groups.get(group)) else groups if not group else {}
        )
        following = arguments[i + 1] if i + 1 < len(arguments) else ""
        if key not in hints or dataclasses.is_dataclass(hints[key]) or not (given or following):
            continue
        try:
            parsed = yaml.safe_load(value if given else following)
        except yaml.YAMLError:
            continue  # a word such as "[": jsonargparse says what is wrong with it
        coerce(flag[2:], parsed, hints[key])


def _known_settings(values: dict[str, Any], file: str) -> None:
    """Refuse unknown keys of a recipe with the nearest ones, before jsonargparse says it at length."""
    from snellen.config import from_dict

    try:
        from_dict(values)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def _explain(message: str, kind: type[RunConfig]) -> str:
    """jsonargparse's message as one sentence, with the nearest settings where a name is unknown."""
    known = []
    for field in dataclasses.fields(kind):
        inner = dataclasses.fields(field.type) if dataclasses.is_dataclass(field.type) else ()
        known += [f"{field.name}.{sub.name}" for sub in inner] or [field.name]
    match = re.search(r"unrecognized arguments: --([\w.\-]+)", message)
    if match:
        return f"there is no setting --{match[1]}{nearest(match[1], known)}; list all with: snellen train RECIPE --help"
    match = re.search(r"unrecognized arguments: (\S+)", message)
    if match:
        return f"{match[1]!r} stands where no value is expected; the recipe comes first: snellen train RECIPE --SETTING VALUE"
    match = re.search(r'key "([\w.]+)":\s*(.*)', message, re.S)
    if match:
        return f"--{match[1]}: {' '.join(match[2].split())}"
    return " ".join(message.split())


if __name__ == "__main__":
    raise SystemExit(main())
