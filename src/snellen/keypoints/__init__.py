"""Keypoints, schemas, codecs between heatmaps and coordinates, and file formats."""

from snellen.keypoints.built_in import get_schema, list_schemas
from snellen.keypoints.keypoints import OCCLUDED, UNLABELLED, VISIBLE, Keypoints
from snellen.keypoints.schema import Normaliser, Schema

__all__ = [
    "OCCLUDED",
    "UNLABELLED",
    "VISIBLE",
    "Keypoints",
    "Normaliser",
    "Schema",
    "get_schema",
    "list_schemas",
]
