"""Networks that turn a canvas into keypoint maps or a class, and their registries."""

from snellen.models.base import KeypointNet
from snellen.models.classifiers import Classifier, classifier_choices, create_classifier, list_classifiers
from snellen.models.outputs import ClassOutput, KeypointOutput
from snellen.models.preprocess import Preprocess
from snellen.models.recombinator import RCN
from snellen.models.registry import (
    UnknownChoiceError,
    UnknownModelError,
    create_model,
    list_models,
    model_choices,
    register_model,
)
from snellen.models.sumnet import SumNet

__all__ = [
    "RCN",
    "ClassOutput",
    "Classifier",
    "KeypointNet",
    "KeypointOutput",
    "Preprocess",
    "SumNet",
    "UnknownChoiceError",
    "UnknownModelError",
    "classifier_choices",
    "create_classifier",
    "create_model",
    "list_classifiers",
    "list_models",
    "model_choices",
    "register_model",
]
