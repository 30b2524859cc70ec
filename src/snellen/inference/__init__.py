"""Using trained models: load a run, predict on images and on data sets."""

from snellen.inference.classifier import ClassAnswer, Classifier
from snellen.inference.enlarger import Enlarger
from snellen.inference.gazer import GazeAnswer, Gazer
from snellen.inference.loading import load, load_denoiser, load_joint, load_localiser
from snellen.inference.localiser import Localiser
from snellen.inference.predictions import Predictions, predict_dataset
from snellen.inference.segmenter import Segmenter
from snellen.inference.structure import StructureModel
from snellen.inference.tiles import Segmentation

__all__ = [
    "ClassAnswer",
    "Classifier",
    "Enlarger",
    "GazeAnswer",
    "Gazer",
    "Localiser",
    "Predictions",
    "Segmentation",
    "Segmenter",
    "StructureModel",
    "load",
    "load_denoiser",
    "load_joint",
    "load_localiser",
    "predict_dataset",
]
