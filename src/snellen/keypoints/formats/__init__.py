"""Readers of annotation files, one format a module; each states its origin and axes and converts at the door."""

from snellen.keypoints.formats.annotations import Annotation, AnnotationError
from snellen.keypoints.formats.mtfl import read_mtfl
from snellen.keypoints.formats.table import read_csv

__all__ = ["Annotation", "AnnotationError", "read_csv", "read_mtfl"]
