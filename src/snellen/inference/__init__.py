"""Using trained models: loading, predicting on images and on data sets, exporting, sharing."""

from snellen.inference.classifier import ClassAnswer, Classifier
from snellen.inference.enlarger import Enlarger
from snellen.inference.exported import ExportedFinder
from snellen.inference.gazer import GazeAnswer, Gazer
from snellen.inference.loading import Loaded, load, load_denoiser, load_finder, load_joint, load_localiser
from snellen.inference.localiser import Localiser
from snellen.inference.point_finder import PointFinder
from snellen.inference.predictions import Predictions, predict_dataset
from snellen.inference.segmenter import Segmenter
from snellen.inference.structure import StructureModel
from snellen.inference.tiles import Segmentation

__all__ = [
    "ClassAnswer",
    "Classifier",
    "Enlarger",
    "ExportedFinder",
    "GazeAnswer",
    "Gazer",
    "Loaded",
    "Localiser",
    "PointFinder",
    "Predictions",
    "Segmentation",
    "Segmenter",
    "StructureModel",
    "load",
    "load_denoiser",
    "load_finder",
    "load_joint",
    "load_localiser",
    "predict_dataset",
]
