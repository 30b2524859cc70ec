"""Networks that turn a canvas into keypoint maps, a class or a label map, and their registries."""

from snellen.models.base import KeypointNet
from snellen.models.choices import UnknownChoiceError, UnknownModelError
from snellen.models.classifiers import ClassNet, classifier_choices, create_classifier, list_classifiers
from snellen.models.create import create_model, list_models, model_choices, model_task
from snellen.models.keypoint_models import create_keypoint_model, register_model
from snellen.models.label_net import LabelNet
from snellen.models.outputs import ClassOutput, KeypointOutput, LabelOutput
from snellen.models.preprocess import Preprocess
from snellen.models.recombinator import RCN
from snellen.models.segmenters import create_segmenter, list_segmenters, segmenter_choices
from snellen.models.sumnet import SumNet
from snellen.models.superres import SuperResolver

__all__ = [
    "RCN",
    "ClassNet",
    "ClassOutput",
    "KeypointNet",
    "KeypointOutput",
    "LabelNet",
    "LabelOutput",
    "Preprocess",
    "SumNet",
    "SuperResolver",
    "UnknownChoiceError",
    "UnknownModelError",
    "classifier_choices",
    "create_classifier",
    "create_keypoint_model",
    "create_model",
    "create_segmenter",
    "list_classifiers",
    "list_models",
    "list_segmenters",
    "model_choices",
    "model_task",
    "register_model",
    "segmenter_choices",
]
