"""Readers of annotation files, one format a module; each states its origin and axes and converts at the door."""

from snellen.keypoints.formats.annotations import Annotation, AnnotationError
from snellen.keypoints.formats.mtfl import read_mtfl
from snellen.keypoints.formats.pts import read_pts, read_pts_folder
from snellen.keypoints.formats.table import read_csv
from snellen.keypoints.formats.wflw import read_wflw

__all__ = ["Annotation", "AnnotationError", "read_csv", "read_mtfl", "read_pts", "read_pts_folder", "read_wflw"]
