"""What a comparison trains: rows that differ in named settings, each with the same seeds.

Rows share the order of the images and every random change of them: these are keyed by seed, epoch and image alone, whatever
the model is (data/batches.py).
"""

import itertools
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from snellen.config import ConfigError, RunConfig, config_class, nearest, override
from snellen.models import model_choices
from snellen.recipes import read_recipe
from snellen.training.runs import RunFolder

__all__ = ["Plan", "Row", "grid", "read_rows", "row_of", "scoring_name", "setting_name"]

#: Settings that the comparison decides itself, and what to write instead.
_OWN = {
    "seed": "give --seeds",
    "name": "runs are named by row and seed",
    "out": "give --out",
    "recipe": "name the recipe first, or in a row of --rows",
    "task": "the recipe decides it",
}
#: How runs may be scored beside the usual.
_SCORINGS = ("flip", "decoder", "denoiser", "denoiser_weight", "occlude")


def setting_name(key: str) -> str:
    """The dotted name of a setting; a key without a dot is a choice of the model.

    >>> setting_name("pool"), setting_name("train.lr")
    ('model.choices.pool', 'train.lr')
    """
    if key in _OWN:
        raise ConfigError(f"{key} cannot be set in a comparison; {_OWN[key]}")
    return key if "." in key else f"model.choices.{key}"


@dataclass(frozen=True)
class Row:
    """One line of a comparison's table.

    Attributes:
        name: unique among the rows.
        settings: what differs from the recipe, by dotted names.
        recipe: a recipe of its own; empty for the comparison's.
        runs: its run folders are called RUNS-seedN; empty makes it of the name. Rows that train the same and are scored in
            different ways may share them.
        scoring: how its runs are scored beside the usual, for keypoints: flip, decoder, denoiser (a recipe, trained with each
            seed), denoiser_weight, occlude; as for `snellen evaluate`.
        needs: scores that a finished run must have; empty for the plan's.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = ""
    runs: str = ""
    scoring: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """The beginning of its run folders' names."""
        return self.runs or _file_name(self.name) or "row"


def _file_name(words: str) -> str:
    return re.sub(r"[^A-Za-z0-9._=+,-]+", "-", words).strip("-.")


def scoring_name(scoring: Mapping[str, Any]) -> str:
    """What stands after the split in the names of files of runs that are scored in another way than usual.

    >>> scoring_name({}), scoring_name({"decoder": "argmax", "occlude": True})
    ('', '-decoder=argmax,occlude=true')
    """
    return "-" + _file_name(",".join(f"{k}={_word(v)}" for k, v in scoring.items())) if scoring else ""


def row_of(
    name: str,
    settings: Mapping[str, Any],
    *,
    runs: str = "",
    scoring: Mapping[str, Any] | None = None,
    needs: Sequence[str] = (),
) -> Row:
    """A row of settings as a file has them: by dotted names, as nested groups, or model choices by their bare names.

    >>> row_of("lift", {"pool": "lift", "train": {"lift_predict": 0.1}}).settings
    {'model.choices.pool': 'lift', 'train.lift_predict': 0.1}
    """
    rest = dict(settings)
    recipe = str(rest.pop("recipe", "") or "")
    return Row(name, _flat(rest), recipe, runs, scoring or {}, tuple(needs))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    groups = [*(f.name for f in fields(RunConfig) if is_dataclass(f.type)), "augment", "validation", "model.choices"]
    found: dict[str, Any] = {}
    for key, value in settings.items():
        dotted = f"{prefix}{key}"
        if dotted in groups and isinstance(value, Mapping):
            found |= _flat(value, f"{dotted}.")
        else:
            found[dotted if prefix else setting_name(dotted)] = value
    return found


def read_rows(file: str | Path) -> list[Row]:
    """Rows of a YAML file that maps their names to settings, see `row_of`; a row may name a `recipe` of its own.

    Raises:
        ConfigError: where the file is missing or is no such mapping.
    """
    import yaml

    path = Path(file)
    if not path.is_file():
        raise ConfigError(f"the file of rows {path} does not exist; give a YAML file such as `max: {{pool: max}}`")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a YAML file ({str(error).splitlines()[0]}); correct it") from None
    if not isinstance(values, dict) or not values:
        raise ConfigError(f"{path} holds no rows; it maps names to settings, such as `max: {{pool: max}}`")
    for name, settings in values.items():
        if settings is not None and not isinstance(settings, dict):
            raise ConfigError(f"row {name!r} of {path} is {settings!r}, not settings such as {{pool: max}}")
    return [row_of(str(name), settings or {}) for name, settings in values.items()]


def grid(vary: Mapping[str, Sequence[Any]]) -> list[Row]:
    """Every combination of the values of some settings, the first values first.

    >>> [row.name for row in grid({"pool": ["max", "lift"], "train.ema": [0, 0.9]})]
    ['pool=max ema=0', 'pool=max ema=0.9', 'pool=lift ema=0', 'pool=lift ema=0.9']
    >>> [row.name for row in grid({"pool": ["max", "lift"]})]
    ['max', 'lift']
    """
    for key, values in vary.items():
        if not values:
            raise ConfigError(f"--vary {key} has no values; give them as --vary {key}=FIRST,SECOND")
    # A word that is the only thing that varies says enough; a number or a flag does not.
    alone = len(vary) == 1 and all(isinstance(v, str) for values in vary.values() for v in values)
    rows = []
    for values in itertools.product(*vary.values()):
        pairs = dict(zip(vary, values, strict=True))
        name = str(values[0]) if alone else " ".join(f"{k.rpartition('.')[2]}={_word(v)}" for k, v in pairs.items())
        rows.append(Row(name, {setting_name(k): v for k, v in pairs.items()}))
    return rows


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@dataclass(frozen=True)
class Plan:
    """Everything that a comparison trains and scores.

    Attributes:
        recipe: of all rows but those with one of their own.
        rows: at least two; the first is what the others are compared with.
        seeds: of every row.
        out: folder of the outcome.
        settings: of all rows, by dotted names.
        runs: folder of the run folders; by default `runs` below `out`.
        split: that is scored.
        robustness: whether the scoring measures corruptions, shifts and the like too.
        needs: scores that a finished run must have, by their names in evaluation/results/recording.py.
        judge_settings: of the denoisers that rows are scored with, by dotted names.

    Raises:
        ConfigError: for fewer than two rows, two of one name, no seed, a setting that does not exist.
    """

    recipe: str
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    out: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    runs: Path | None = None
    split: str = "val"
    robustness: bool = False
    needs: tuple[str, ...] = ()
    judge_settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.rows) < 2:
            raise ConfigError("a comparison needs at least two rows; give --vary KEY=FIRST,SECOND or a file of --rows")
        for what, names in (
            ("named", [r.name for r in self.rows]),
            ("kept in folders", [self._kept(r) for r in self.rows]),
        ):
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ConfigError(f"two rows are {what} {sorted(twice)[0]!r}; give every row a name of its own")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(
                f"seeds {list(self.seeds)} must be one or more different numbers; give --seeds 3 or 0,1,2"
            )
        refusals = []
        for row in self.rows:
            for seed in self.seeds:
                config = self.config(row, seed)
                model = config.model
            try:
                model_choices(model.name, **model.choices)
            except ValueError as error:
                refusals.append(error)  # one row may be impossible while others are compared
            for key in row.scoring:
                if key not in _SCORINGS:
                    raise ConfigError(f"row {row.name!r} cannot be scored with {key}{nearest(key, _SCORINGS)}")
            if row.scoring and config.task != "keypoints":
                raise ConfigError(
                    f"row {row.name!r} is of the task {config.task}, and only keypoints are scored in other ways"
                )
        if len(refusals) == len(self.rows):
            raise ConfigError(f"no row is possible: {refusals[0]}")
        of_folder: dict[str, Row] = {}
        for row in self.rows:
            other = of_folder.setdefault(row.folder, row)
            if other is not row and self.config(other, self.seeds[0]) != self.config(row, self.seeds[0]):
                raise ConfigError(
                    f"rows {other.name!r} and {row.name!r} share the runs {row.folder!r} but are trained in different ways; "
                    "give one of them runs of its own"
                )

    def _kept(self, row: Row) -> str:
        """Where a row's runs and scores are kept."""
        return row.folder + scoring_name(row.scoring)

    @property
    def judges(self) -> tuple[Row, ...]:
        """The denoisers that rows are scored with: trained before them, not compared."""
        recipes = dict.fromkeys(row.scoring["denoiser"] for row in self.rows if "denoiser" in row.scoring)
        return tuple(Row(recipe, {}, recipe, runs=Path(recipe).stem) for recipe in recipes)

    def judge_of(self, row: Row) -> Row | None:
        """The denoiser that a row is scored with."""
        return next((judge for judge in self.judges if judge.recipe == row.scoring.get("denoiser")), None)

    def asked(self, row: Row, seed: int) -> dict[str, Any]:
        """How a row's run of a seed is scored beside the usual, as `evaluate_run` takes it."""
        judge = self.judge_of(row)
        return {**row.scoring, **({"denoiser": str(self.folder(judge, seed).path)} if judge else {})}

    def recipe_of(self, row: Row) -> str:
        """The recipe that a row is trained by."""
        return row.recipe or self.recipe

    def folder(self, row: Row, seed: int) -> RunFolder:
        """Where a row's run of a seed is."""
        return RunFolder((self.runs or self.out / "runs") / f"{row.folder}-seed{seed}")

    def config(self, row: Row, seed: int) -> RunConfig:
        """The run of a row and a seed."""
        values = read_recipe(self.recipe_of(row))
        known = {f.name for f in fields(config_class(values))}
        settings = self.settings_of(row)
        for name in settings:
            group = name.partition(".")[0]
            if group not in known:
                raise ConfigError(f"there is no setting {name}{nearest(group, known)}")
        path = self.folder(row, seed).path
        config = override(values, {**settings, "seed": seed, "out": str(path.parent), "name": path.name})
        if config.train.minutes is not None:
            raise ConfigError(
                f"{self.recipe_of(row)} trains for {config.train.minutes:g} minutes, but rows are compared after equal steps; "
                "give --train.minutes null --train.steps N"
            )
        return config

    def settings_of(self, row: Row) -> dict[str, Any]:
        """What differs from its recipe, by dotted names."""
        return {**(self.judge_settings if row in self.judges else self.settings), **row.settings}

    def command(self, row: Row, seed: int | str, *, data: str = "") -> str:
        """What trains the row's run of a seed by itself; `seed` and `data` may be words that stand for them."""
        settings = self.settings_of(row)
        if data and "data.root" in settings:
            settings["data.root"] = data
        flags = [f"--{key} {shlex.quote(_word(value))}" for key, value in settings.items()]
        return " ".join(["snellen train", self.recipe_of(row), *flags, f"--seed {seed} --name {row.folder}-seed{seed}"])
