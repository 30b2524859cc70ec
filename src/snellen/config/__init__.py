"""The configuration of a run: frozen dataclasses, checked at construction, standard library only.

A recipe is a YAML file of these fields; the command line and Python override them by dotted names
(`--data.root PATH`, `snellen.train("wings-rcn", **{"data.root": ...})`). A run folder keeps the resolved configuration.
"""

from snellen.config.checks import ConfigError, nearest
from snellen.config.data import AugmentConfig, DataConfig
from snellen.config.run import RunConfig, from_dict, override, to_dict
from snellen.config.training import EvaluateConfig, ModelConfig, TrainConfig

__all__ = [
    "AugmentConfig",
    "ConfigError",
    "DataConfig",
    "EvaluateConfig",
    "ModelConfig",
    "RunConfig",
    "TrainConfig",
    "from_dict",
    "nearest",
    "override",
    "to_dict",
]
