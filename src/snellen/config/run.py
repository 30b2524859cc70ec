"""A whole run, and its way into files and back."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from snellen.config.checks import ConfigError, nearest, require
from snellen.config.data import AugmentConfig, DataConfig
from snellen.config.training import EvaluateConfig, ModelConfig, TrainConfig
from snellen.config.values import coerce_fields

__all__ = ["RunConfig", "from_dict", "override", "to_dict"]


@dataclass(frozen=True)
class RunConfig:
    """Everything that defines a run.

    Attributes:
        recipe: name of the recipe this came from.
        seed: seeds the weights, the order of the images and every augmentation draw.
        out: folder that holds run folders.
        name: name of the run folder; empty makes `RECIPE-seedN`.
        data: images, points, canvas.
        augment: changes to training images.
        validation: changes to validation images, drawn once an image; lets validation mimic a harder test.
        model: network and choices.
        train: optimisation.
        evaluate: scoring.
    """

    recipe: str = "custom"
    seed: int = 0
    out: str = "runs"
    name: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    validation: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)

    def __post_init__(self) -> None:
        coerce_fields(self, "")
        require(self.seed >= 0, f"seed must be 0 or more, not {self.seed}")

    @property
    def run_name(self) -> str:
        """The run folder's name."""
        return self.name or f"{self.recipe}-seed{self.seed}"


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as plain dicts, lists and numbers, for JSON and YAML."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value

    return {k: plain(v) for k, v in dataclasses.asdict(config).items()}


def from_dict(values: Mapping[str, Any], kind: type = RunConfig, prefix: str = "") -> Any:
    """The inverse of `to_dict`; an unknown key is a ConfigError that names the nearest ones."""
    fields = {f.name: f for f in dataclasses.fields(kind)}
    arguments = {}
    for key, value in values.items():
        if key not in fields:
            raise ConfigError(f"there is no setting {prefix}{key}{nearest(key, fields)}")
        section = fields[key].type
        if dataclasses.is_dataclass(section) and isinstance(section, type):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{prefix}{key} is a group of settings, not {value!r}")
            value = from_dict(value, section, f"{prefix}{key}.")
        arguments[key] = value
    return kind(**arguments)


def override(values: Mapping[str, Any], settings: Mapping[str, Any]) -> RunConfig:
    """The configuration of nested `values` with some settings changed by dotted names; all are checked anew.

    >>> override(to_dict(RunConfig()), {"train.batch_size": 8}).train.batch_size
    8
    """
    changed = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    for dotted, value in settings.items():
        *groups, key = dotted.split(".")
        section: Any = changed
        for group in groups:
            section = section.setdefault(group, {})
            if not isinstance(section, dict):
                raise ConfigError(f"there is no group of settings {group!r} in {dotted!r}")
        section[key] = value
    config: RunConfig = from_dict(changed)
    return config
