"""Networks that turn a canvas into keypoint maps, a class, a label map or a gaze, and their registries."""

from snellen.models.attention_denoiser import AttentionDenoiser
from snellen.models.base import KeypointNet
from snellen.models.choices import UnknownChoiceError, UnknownModelError
from snellen.models.classifiers import ClassNet, classifier_choices, create_classifier, list_classifiers
from snellen.models.create import create_model, list_models, model_choices, model_task
from snellen.models.denoiser_presets import create_denoiser
from snellen.models.denoisers import ConvDenoiser, Denoiser
from snellen.models.gaze_nets import GazeNet, create_gaze_net, gaze_choices, list_gaze_nets
from snellen.models.joint import JointNet
from snellen.models.keypoint_models import create_keypoint_model, register_model
from snellen.models.label_net import LabelNet
from snellen.models.outputs import ClassOutput, GazeOutput, KeypointOutput, LabelOutput
from snellen.models.preprocess import Preprocess
from snellen.models.recombinator import RCN
from snellen.models.segmenters import create_segmenter, list_segmenters, segmenter_choices
from snellen.models.sumnet import SumNet
from snellen.models.superres import SuperResolver

__all__ = [
    "RCN",
    "AttentionDenoiser",
    "ClassNet",
    "ClassOutput",
    "ConvDenoiser",
    "Denoiser",
    "GazeNet",
    "GazeOutput",
    "JointNet",
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
    "create_denoiser",
    "create_gaze_net",
    "create_keypoint_model",
    "create_model",
    "create_segmenter",
    "gaze_choices",
    "list_classifiers",
    "list_gaze_nets",
    "list_models",
    "list_segmenters",
    "model_choices",
    "model_task",
    "register_model",
    "segmenter_choices",
]
