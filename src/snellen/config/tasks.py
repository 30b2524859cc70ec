"""The tasks, and a run's way into files and back."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from snellen.config.checks import ConfigError, nearest
from snellen.config.classification import ClassificationConfig
from snellen.config.denoising import DenoisingConfig
from snellen.config.gaze import GazeConfig
from snellen.config.keypoints import KeypointConfig
from snellen.config.run import RunConfig
from snellen.config.segmentation import SegmentationConfig
from snellen.config.superresolution import SuperResolutionConfig

__all__ = ["TASKS", "config_class", "from_dict", "override", "to_dict"]

#: The configuration class of each task.
TASKS: dict[str, type[RunConfig]] = {
    "keypoints": KeypointConfig,
    "classification": ClassificationConfig,
    "segmentation": SegmentationConfig,
    "super-resolution": SuperResolutionConfig,
    "gaze": GazeConfig,
    "denoising": DenoisingConfig,
}


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as plain dicts, lists and numbers, for JSON and YAML."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value

    return {k: plain(v) for k, v in dataclasses.asdict(config).items()}


def config_class(values: Mapping[str, Any]) -> type[RunConfig]:
    """The class of a run's configuration, by the `task` in its settings; keypoints where none is named."""
    task = values.get("task", "keypoints")
    if task not in TASKS:
        raise ConfigError(f"there is no task {task!r}{nearest(str(task), TASKS)}; the tasks are {', '.join(TASKS)}")
    return TASKS[task]


def from_dict(values: Mapping[str, Any]) -> Any:
    """The inverse of `to_dict`; an unknown key is a ConfigError that names the nearest ones."""
    return _section(values, config_class(values), "")


def _section(values: Mapping[str, Any], kind: type, prefix: str) -> Any:
    fields = {f.name: f for f in dataclasses.fields(kind)}
    arguments = {}
    for key, value in values.items():
        if key not in fields:
            raise ConfigError(f"there is no setting {prefix}{key}{nearest(key, fields)}")
        section = fields[key].type
        if dataclasses.is_dataclass(section) and isinstance(section, type):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{prefix}{key} is a group of settings, not {value!r}")
            value = _section(value, section, f"{prefix}{key}.")
        arguments[key] = value
    return kind(**arguments)


def override(values: Mapping[str, Any], settings: Mapping[str, Any]) -> RunConfig:
    """The configuration of nested `values` with some settings changed by dotted names; all are checked anew.

    >>> override(to_dict(KeypointConfig()), {"train.batch_size": 8}).train.batch_size
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
