"""Readers and writers of annotation files, one format a module; each states its origin and axes and converts at the door."""

from snellen.keypoints.formats.annotations import Annotation, AnnotationError
from snellen.keypoints.formats.coco import read_coco
from snellen.keypoints.formats.cvat import read_cvat
from snellen.keypoints.formats.deeplabcut import read_deeplabcut
from snellen.keypoints.formats.label_studio import read_label_studio
from snellen.keypoints.formats.labelme import read_labelme
from snellen.keypoints.formats.labels import LabelledImage, LabelledObject, PointLabels
from snellen.keypoints.formats.library import (
    FORMATS,
    Format,
    find_format,
    place_of_format,
    read_points,
    recognise,
    write_points,
)
from snellen.keypoints.formats.long_table import read_long_csv
from snellen.keypoints.formats.mtfl import read_mtfl
from snellen.keypoints.formats.pts import read_pts, read_pts_folder
from snellen.keypoints.formats.table import read_csv
from snellen.keypoints.formats.tps import read_tps
from snellen.keypoints.formats.wflw import read_wflw
from snellen.keypoints.formats.yolo import read_yolo

__all__ = [
    "FORMATS",
    "Annotation",
    "AnnotationError",
    "Format",
    "LabelledImage",
    "LabelledObject",
    "PointLabels",
    "find_format",
    "place_of_format",
    "read_coco",
    "read_csv",
    "read_cvat",
    "read_deeplabcut",
    "read_label_studio",
    "read_labelme",
    "read_long_csv",
    "read_mtfl",
    "read_points",
    "read_pts",
    "read_pts_folder",
    "read_tps",
    "read_wflw",
    "read_yolo",
    "recognise",
    "write_points",
]
