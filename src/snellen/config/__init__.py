"""The configuration of a run: frozen dataclasses, checked at construction, standard library only.

A recipe is a YAML file of these fields; the command line and Python override them by dotted names
(`--data.root PATH`, `snellen.train("wings-rcn", **{"data.root": ...})`). A run folder keeps the resolved configuration.
Its `task` says which class reads it: each task has its own images, losses and scores.
"""

from snellen.config.augment import AugmentConfig
from snellen.config.checks import ConfigError, nearest
from snellen.config.classification import (
    ClassAugmentConfig,
    ClassDataConfig,
    ClassEvaluateConfig,
    ClassificationConfig,
    ClassTrainConfig,
)
from snellen.config.denoising import (
    DenoisingConfig,
    DenoisingEvaluateConfig,
    DenoisingTrainConfig,
    NoiseConfig,
)
from snellen.config.gaze import GazeAugmentConfig, GazeConfig, GazeDataConfig, GazeTrainConfig
from snellen.config.images import DataConfig
from snellen.config.keypoints import (
    KeypointConfig,
    KeypointDataConfig,
    KeypointEvaluateConfig,
    KeypointTrainConfig,
)
from snellen.config.run import RunConfig
from snellen.config.segmentation import (
    SegmentationConfig,
    SegmentationDataConfig,
    SegmentationEvaluateConfig,
    SegmentationTrainConfig,
)
from snellen.config.superresolution import SuperResolutionConfig, SuperResolutionDataConfig
from snellen.config.tasks import TASKS, config_class, from_dict, override, to_dict
from snellen.config.training import EvaluateConfig, ModelConfig, TrainConfig, ZoomTrainConfig

__all__ = [
    "TASKS",
    "AugmentConfig",
    "ClassAugmentConfig",
    "ClassDataConfig",
    "ClassEvaluateConfig",
    "ClassTrainConfig",
    "ClassificationConfig",
    "ConfigError",
    "DataConfig",
    "DenoisingConfig",
    "DenoisingEvaluateConfig",
    "DenoisingTrainConfig",
    "EvaluateConfig",
    "GazeAugmentConfig",
    "GazeConfig",
    "GazeDataConfig",
    "GazeTrainConfig",
    "KeypointConfig",
    "KeypointDataConfig",
    "KeypointEvaluateConfig",
    "KeypointTrainConfig",
    "ModelConfig",
    "NoiseConfig",
    "RunConfig",
    "SegmentationConfig",
    "SegmentationDataConfig",
    "SegmentationEvaluateConfig",
    "SegmentationTrainConfig",
    "SuperResolutionConfig",
    "SuperResolutionDataConfig",
    "TrainConfig",
    "ZoomTrainConfig",
    "config_class",
    "from_dict",
    "nearest",
    "override",
    "to_dict",
]
