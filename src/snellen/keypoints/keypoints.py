"""`Keypoints`: the points of one object, in the library's pixel convention."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snellen.geometry import Matrix, transform_points
from snellen.keypoints.schema import Schema

__all__ = ["OCCLUDED", "UNLABELLED", "VISIBLE", "Keypoints"]

UNLABELLED, OCCLUDED, VISIBLE = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Keypoints:
    """The points of one object.

    Attributes:
        xy: (K, 2) float64, continuous pixels, top-left corner of the image at (0, 0); NaN where unlabelled.
        visibility: (K,) int64, COCO's codes: 0 unlabelled, 1 occluded, 2 visible.
        schema: names and structure of the points.
        score: (K,) float64 in [0, 1], a prediction's confidence; None for annotations.

    Raises:
        ValueError: at construction, where shapes or codes do not fit the schema.
    """

    xy: NDArray[np.float64]
    visibility: NDArray[np.int64]
    schema: Schema
    score: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        k = len(self.schema)
        xy = np.array(self.xy, dtype=np.float64)
        visibility = np.array(self.visibility, dtype=np.int64)
        if xy.shape != (k, 2):
            raise ValueError(f"schema {self.schema.name!r} has {k} points, so xy must be ({k}, 2), not {xy.shape}")
        if visibility.shape != (k,) or not np.isin(visibility, (0, 1, 2)).all():
            raise ValueError(f"visibility must be {k} codes of 0 (unlabelled), 1 (occluded) or 2 (visible)")
        unlabelled = ~np.isfinite(xy).all(axis=1) | (visibility == UNLABELLED)
        xy[unlabelled] = np.nan
        visibility[unlabelled] = UNLABELLED
        object.__setattr__(self, "xy", xy)
        object.__setattr__(self, "visibility", visibility)
        if self.score is not None:
            score = np.array(self.score, dtype=np.float64)
            if score.shape != (k,):
                raise ValueError(f"score must be {k} numbers, not shape {score.shape}")
            object.__setattr__(self, "score", score)

    @classmethod
    def visible(cls, xy: ArrayLike, schema: Schema) -> "Keypoints":
        """All finite points of `xy` (K, 2) visible, NaN ones unlabelled."""
        return cls(np.asarray(xy, dtype=np.float64), np.full(len(schema), VISIBLE), schema)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """(K,) True where the point is annotated (visible or occluded)."""
        return self.visibility > UNLABELLED

    def transformed(self, matrix: Matrix) -> "Keypoints":
        """The points moved by a 3x3 map; names stay with their points (see `mirrored` for flips)."""
        return Keypoints(transform_points(matrix, self.xy), self.visibility, self.schema, self.score)

    def confident(self, minimum: float) -> "Keypoints":
        """The points whose `score` is at least `minimum`; the others not found: NaN, visibility 0, their score kept.

        Raises:
            ValueError: for annotations, which have no score, and for a minimum outside 0..1.
        """
        if self.score is None:
            raise ValueError(
                "these points are annotations without scores; only predictions can be asked for confident ones"
            )
        if not 0 <= minimum <= 1:
            raise ValueError(f"a confidence lies between 0 and 1; {minimum} does not")
        visibility = np.where(self.score >= minimum, self.visibility, UNLABELLED)
        return Keypoints(self.xy, visibility, self.schema, self.score)

    def to_supervision(self) -> Any:
        """The points of this object as `supervision.KeyPoints` with one skeleton.

        supervision draws at the whole part of a coordinate, which in this library's convention is the pixel that holds the
        point, so nothing is added. Points that are not found lie at (0, 0), where its annotators leave them out.

        Raises:
            ImportError: where the package supervision is not installed.
        """
        try:
            import supervision
        except ImportError:
            raise ImportError(
                "to_supervision needs the package supervision; install it with: pip install supervision"
            ) from None
        xy = np.where(self.labelled[:, None], self.xy, 0.0).astype(np.float32)
        confidence = None if self.score is None else self.score.astype(np.float32)[None]
        return supervision.KeyPoints(xy=xy[None], keypoint_confidence=confidence, class_id=np.zeros(1, dtype=int))

    def mirrored(self, width: float) -> "Keypoints":
        """The points in the image mirrored left to right, left and right names exchanged as the schema says."""
        order = list(self.schema.flip_order)
        xy = self.xy[order] * [-1.0, 1.0] + [width, 0.0]
        score = None if self.score is None else self.score[order]
        return Keypoints(xy, self.visibility[order], self.schema, score)
