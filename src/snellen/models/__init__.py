"""Networks that turn a canvas into keypoint maps, and their registry."""

from snellen.models.base import KeypointNet
from snellen.models.outputs import KeypointOutput
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
    "KeypointNet",
    "KeypointOutput",
    "Preprocess",
    "SumNet",
    "UnknownChoiceError",
    "UnknownModelError",
    "create_model",
    "list_models",
    "model_choices",
    "register_model",
]
