"""Data sets, augmentation and batches."""

from snellen.data.base import KeypointDataset, Sample
from snellen.data.batches import Batch, CanvasDataset, Canvases, StepBatches, evaluation_loader, training_loader
from snellen.data.build import Split, as_split, build_dataset
from snellen.data.class_build import CLASS_FORMATS, ClassFormat, build_classification
from snellen.data.class_canvas import ClassBatch, ClassificationCanvas
from snellen.data.class_readers import ClassFolders, ParquetImages, TorchvisionCIFAR
from snellen.data.classes import ClassificationDataset, LabelledImage
from snellen.data.corruptions import CORRUPTIONS, PERTURBATIONS, Corrupted, corrupt, perturb, shift_pair
from snellen.data.files import AnnotatedImages, DataError
from snellen.data.gaze import GazeDataset, GazeImages, GazeSample
from snellen.data.gaze_build import build_gaze
from snellen.data.gaze_canvas import GazeBatch, GazeCanvas, GazePartsBatch, GazePartsCanvas
from snellen.data.gaze_scene import GazeScenes
from snellen.data.mask_canvas import LabelBatch, SegmentationCanvas
from snellen.data.mask_formats import MASK_FORMATS, MaskFormat, build_segmentation
from snellen.data.masks import LabelMap, MaskImages, SegmentationDataset
from snellen.data.point_noise import PointBatch, PointCanvas
from snellen.data.point_sets import PointSet, build_points
from snellen.data.views import InMemory, Perturbed, Spread
from snellen.data.wing_species import WingSpecies
from snellen.data.wings import Wings

__all__ = [
    "CLASS_FORMATS",
    "CORRUPTIONS",
    "MASK_FORMATS",
    "PERTURBATIONS",
    "AnnotatedImages",
    "Batch",
    "CanvasDataset",
    "Canvases",
    "ClassBatch",
    "ClassFolders",
    "ClassFormat",
    "ClassificationCanvas",
    "ClassificationDataset",
    "Corrupted",
    "DataError",
    "GazeBatch",
    "GazeCanvas",
    "GazeDataset",
    "GazeImages",
    "GazePartsBatch",
    "GazePartsCanvas",
    "GazeSample",
    "GazeScenes",
    "InMemory",
    "KeypointDataset",
    "LabelBatch",
    "LabelMap",
    "LabelledImage",
    "MaskFormat",
    "MaskImages",
    "ParquetImages",
    "Perturbed",
    "PointBatch",
    "PointCanvas",
    "PointSet",
    "Sample",
    "SegmentationCanvas",
    "SegmentationDataset",
    "Split",
    "Spread",
    "StepBatches",
    "TorchvisionCIFAR",
    "WingSpecies",
    "Wings",
    "as_split",
    "build_classification",
    "build_dataset",
    "build_gaze",
    "build_points",
    "build_segmentation",
    "corrupt",
    "evaluation_loader",
    "perturb",
    "shift_pair",
    "training_loader",
]
