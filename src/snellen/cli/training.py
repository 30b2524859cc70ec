"""The command line of `snellen train`: every setting of a recipe is a flag."""

import argparse
import dataclasses
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from snellen.config import ConfigError, KeypointConfig, RunConfig, config_class, nearest, to_dict

__all__ = ["parse_train", "train"]


def train(arguments: list[str]) -> int:
    """`snellen train`; returns the exit status."""
    arguments = [
        word for a in arguments for word in (a.split("=", 1) if a.startswith(("--resume=", "--folds=")) else [a])
    ]
    if "--resume" in arguments:
        if arguments[0] != "--resume" or len(arguments) != 2:
            raise ConfigError("--resume takes one run folder, no recipe and no settings: snellen train --resume RUN")
        from snellen import api

        return _finish(api.resume(arguments[1]))
    command = "snellen train " + shlex.join(arguments)
    arguments, folds = _take_folds(arguments)
    config, show = parse_train(arguments)
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
    run = shlex.quote(str(path))
    print(f"{path}\nnext: snellen evaluate {run} && snellen report {run}")
    return 0


def parse_train(arguments: list[str]) -> tuple[RunConfig, bool]:
    """The configuration of a `train` command, and whether it was only printed."""
    from jsonargparse import ActionConfigFile, ArgumentParser

    from snellen.recipes import find_recipe, read_recipe

    if not arguments:
        raise ConfigError("name a recipe, e.g. snellen train wings-rcn; list all with: snellen recipes")
    # The short spelling that error messages name.
    arguments = [re.sub(r"^--on-error(?==|$)", "--data.on_error", a) for a in arguments]
    arguments = [re.sub(r"^--init(?==|$)", "--train.init", a) for a in arguments]
    kind: type[RunConfig] = KeypointConfig
    arguments, options = _take_options(arguments)
    if arguments and not arguments[0].startswith("-"):
        file, values = find_recipe(arguments[0]), read_recipe(arguments[0])
        _known_settings(values, str(file))
        kind = config_class(values)
        arguments = ["--recipe", file.stem, "--config", str(file), *arguments[1:]]
    parser = ArgumentParser(
        prog="snellen train RECIPE",
        description="Train a model by a recipe; every setting is a flag. Without a recipe, the settings of keypoints. "
        "Besides: --folds N trains N times, each part of the data held out once; snellen train --resume RUN goes on with a run "
        "that was stopped.",
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
    config = _with_choices(config, {**_changed_options(config, options), **_digits_of_mask(arguments, config)})
    show = "--print_config" in arguments
    if show:
        import yaml

        print(yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True), end="")
    return config, show


#: A flag of one option of a choice, e.g. --model.choices.zoom_options.size.
_OPTION = re.compile(r"--model\.choices\.(\w+)\.(\w+)(?:=(.*))?", re.DOTALL)


def _take_options(arguments: Sequence[str]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """The arguments without flags of one option of a choice, and these: jsonargparse would drop the choice's other options.

    A later flag of the whole choice, or of all choices, replaces them, as flags do.
    """
    import yaml

    rest: list[str] = []
    options: dict[str, dict[str, Any]] = {}
    following = iter(arguments)
    for argument in following:
        match = _OPTION.fullmatch(argument)
        if match is None:
            whole = re.match(r"--model\.choices(?:\.(\w+))?(?:=|$)", argument)
            if whole is not None:
                options = {choice: o for choice, o in options.items() if whole[1] and choice != whole[1]}
            rest.append(argument)
            continue
        choice, option, value = match.groups()
        flag = argument.partition("=")[0]
        value = next(following, "--") if value is None else value
        if value.startswith("--"):
            raise ConfigError(f"{flag} needs a value")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"{flag}: {value!r} is no value; quote it as YAML") from None
        if isinstance(parsed, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", parsed):
            parsed = float(parsed)  # which YAML 1.1 takes for a word
        options.setdefault(choice, {})[option] = parsed
    return rest, options


def _digits_of_mask(arguments: Sequence[str], config: RunConfig) -> dict[str, str]:
    """The branch mask as it was typed, where it was read as a number: 0011 has lost its zeros, and its length is checked."""
    read = config.model.choices.get("branch_mask")
    typed = re.findall(r"--model\.choices\.branch_mask[= ](\d+)", " ".join(arguments))
    fits = bool(typed) and isinstance(read, int) and int(typed[-1]) == read
    return {"branch_mask": typed[-1]} if fits else {}


def _changed_options(config: RunConfig, options: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The choices of which single options were given, with the recipe's other options."""
    changed = {}
    for choice, given in options.items():
        known = config.model.choices.get(choice, {})
        if not isinstance(known, Mapping):
            raise ConfigError(f"model.choices.{choice} is {known!r}, which has no {next(iter(given))}")
        changed[choice] = {**known, **given}
    return changed


def _with_choices(config: RunConfig, choices: Mapping[str, Any]) -> RunConfig:
    """The configuration with some of its choices replaced."""
    model = dataclasses.replace(config.model, choices={**config.model.choices, **choices})
    return dataclasses.replace(config, model=model)


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
