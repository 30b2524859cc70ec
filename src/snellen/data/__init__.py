"""Data sets, augmentation and batches."""

from snellen.data.base import KeypointDataset, Sample
from snellen.data.batches import Batch, CanvasDataset, Canvases, StepBatches, evaluation_loader, training_loader
from snellen.data.build import SPLITS, Split, build_dataset
from snellen.data.files import AnnotatedImages, DataError
from snellen.data.views import InMemory, Perturbed, Spread
from snellen.data.wings import Wings

__all__ = [
    "SPLITS",
    "AnnotatedImages",
    "Batch",
    "CanvasDataset",
    "Canvases",
    "DataError",
    "InMemory",
    "KeypointDataset",
    "Perturbed",
    "Sample",
    "Split",
    "Spread",
    "StepBatches",
    "Wings",
    "build_dataset",
    "evaluation_loader",
    "training_loader",
]
