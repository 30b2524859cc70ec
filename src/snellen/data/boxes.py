"""The region of an image that is shown to the network."""

from typing import Literal

import numpy as np

from snellen.geometry import Box, box_of_points
from snellen.keypoints import Keypoints

__all__ = ["BoxRule", "face5_box", "make_box", "square_box"]

BoxRule = Literal["image", "mtfl", "square", "given"]


def square_box(keypoints: Keypoints, factor: float) -> Box:
    """The tight square of the labelled points, `factor` times as large (rcn.md 3.4: 1.3 for 68 points)."""
    box = box_of_points(keypoints.xy)
    cx, cy = box.centre
    half = max(box.width, box.height, 1.0) * factor / 2
    return Box(cx - half, cy - half, cx + half, cy + half)


def face5_box(keypoints: Keypoints, margin: float, width: int, height: int) -> Box:
    """The face box of the 5-point protocol (rcn.md 3.4).

    A square about the eye and mouth points with their larger extent as its side, grown on each side by `margin` times the
    larger of the eye distance and the distance between the eyes' centre and the mouth's centre, kept inside the image.
    """
    names = ("left_eye", "right_eye", "left_mouth", "right_mouth")
    points = keypoints.xy[[keypoints.schema.index(n) for n in names]]
    if np.isnan(points).any():
        raise ValueError("the 5-point face box needs both eyes and both mouth corners; use box: square for such images")
    box = box_of_points(points)
    eyes = np.linalg.norm(points[1] - points[0])
    face = np.linalg.norm(points[2:].mean(axis=0) - points[:2].mean(axis=0))
    half = max(box.width, box.height) / 2 + margin * float(max(eyes, face))
    if not half > 0:
        raise ValueError("eyes and mouth corners are one and the same place, which makes no face box; correct the row")
    cx, cy = box.centre
    return Box(cx - half, cy - half, cx + half, cy + half).inside(width, height)


def make_box(
    rule: BoxRule, keypoints: Keypoints, scale: float, width: int, height: int, given: Box | None = None
) -> Box:
    """The box of an annotated object by the data configuration's `box` and `box_scale`.

    Args:
        rule: "image", "mtfl", "square", or "given" for the box that the annotations or a detector gave.
        keypoints: the object's points.
        scale: the rule's scale or margin.
        width: of the image.
        height: of the image.
        given: the box of rule "given".

    Raises:
        ValueError: where the rule has nothing to go by.
    """
    if rule == "given":
        if given is None:
            raise ValueError(
                "the object has no box; give every row one (in the annotations or with data.boxes), or set data.box to square"
            )
        if not (given.width > 0 and given.height > 0):
            raise ValueError(f"its box {tuple(given)} is empty; right must exceed left and bottom must exceed top")
        return given.scaled(scale)
    if rule == "mtfl":
        return face5_box(keypoints, scale, width, height)
    if rule == "square":
        return square_box(keypoints, scale)
    return Box(0.0, 0.0, float(width), float(height)).scaled(scale)
