"""Networks that turn a canvas into keypoint maps or a class, and their registries."""

from snellen.models.base import KeypointNet
from snellen.models.classifiers import ClassNet, classifier_choices, create_classifier, list_classifiers
from snellen.models.create import create_model, list_models, model_choices, model_task
from snellen.models.outputs import ClassOutput, KeypointOutput
from snellen.models.preprocess import Preprocess
from snellen.models.recombinator import RCN
from snellen.models.registry import UnknownChoiceError, UnknownModelError, register_model
from snellen.models.sumnet import SumNet

__all__ = [
    "RCN",
    "ClassNet",
    "ClassOutput",
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
    "model_task",
    "register_model",
]
