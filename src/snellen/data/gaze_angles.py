"""Directions of gaze: pitch and yaw in degrees, unit vectors, and what mirroring and turning a picture does to them.

The picture says what is positive, not the person: a positive yaw looks to the picture's right, a positive pitch up, and
(0, 0) looks into the camera. A direction is a unit vector (x, y, z): x to the picture's right, y *down* as pixels have it, z
out of the picture towards the camera::

    x = cos(pitch) sin(yaw)      y = -sin(pitch)      z = cos(pitch) cos(yaw)

In these axes a picture that is turned turns the direction's (x, y) by the same matrix. Columbia Gaze has these signs (checked
on its pictures: the iris moves to the right as the yaw grows, up as the pitch does); readers of other data convert at the door.
"""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

__all__ = ["Answer", "angles_of", "angular_error", "angular_loss", "direction", "mirrored", "rotated"]

#: What a gaze is told by: "angles", pitch and yaw in degrees, or "point", x and y in centimetres from the camera.
Answer = Literal["angles", "point"]


def direction(angles: ArrayLike) -> NDArray[np.float64]:
    """Pitch and yaw (..., 2) in degrees as unit vectors (..., 3).

    >>> direction([0.0, 90.0]).round(6) + 0
    array([1., 0., 0.])
    """
    pitch, yaw = np.moveaxis(np.radians(np.asarray(angles, dtype=np.float64)), -1, 0)
    return np.stack((np.cos(pitch) * np.sin(yaw), -np.sin(pitch), np.cos(pitch) * np.cos(yaw)), axis=-1)


def angles_of(vectors: ArrayLike) -> NDArray[np.float64]:
    """Pitch and yaw (..., 2) in degrees of vectors (..., 3) of any length but 0; the inverse of `direction`."""
    x, y, z = np.moveaxis(np.asarray(vectors, dtype=np.float64), -1, 0)
    return np.degrees(np.stack((np.arctan2(-y, np.hypot(x, z)), np.arctan2(x, z)), axis=-1))


def angular_error(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """The angle between two directions, each pitch and yaw (..., 2) in degrees: (...) degrees, 0 to 180.

    By the arctangent of cross and dot product, since the arccosine loses small angles.

    >>> angular_error([10.0, 0.0], [-10.0, 0.0]).round(6)
    np.float64(20.0)
    """
    a, b = direction(first), direction(second)
    across = np.linalg.norm(np.cross(a, b), axis=-1)
    return np.asarray(np.degrees(np.arctan2(across, (a * b).sum(axis=-1))))[()]


def mirrored(answers: ArrayLike, answer: Answer = "angles") -> NDArray[np.float64]:
    """What a mirrored picture's gaze is: the yaw, or a point's x, changes its sign.

    Args:
        answers: (..., 2), pitch and yaw, or x and y.
        answer: which of the two.

    >>> mirrored([[5.0, -15.0]])
    array([[ 5., 15.]])
    """
    return np.asarray(answers, dtype=np.float64) * np.array([1.0, -1.0] if answer == "angles" else [-1.0, 1.0])


def rotated(angles: ArrayLike, degrees: float) -> NDArray[np.float64]:
    """Pitch and yaw (..., 2) in degrees after the picture turned by `degrees` (clockwise, `snellen.geometry.rotation`).

    >>> rotated([10.0, 0.0], 90.0).round(6) + 0  # who looked up looks to the right
    array([ 0., 10.])
    """
    vectors = direction(angles)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    return angles_of(vectors @ turn.T)


def angular_loss(found: Float[Tensor, "b 2"], true: Float[Tensor, "b 2"]) -> Float[Tensor, " b"]:
    """`angular_error` of tensors, with a finite gradient where both directions are the same."""

    def unit(angles: Tensor) -> Tensor:
        pitch, yaw = torch.deg2rad(angles).unbind(dim=-1)
        return torch.stack((pitch.cos() * yaw.sin(), -pitch.sin(), pitch.cos() * yaw.cos()), dim=-1)

    a, b = unit(found), unit(true)
    # The root of 0 has no slope: a ten-thousandth of a degree is added where the directions meet.
    across = (torch.linalg.cross(a, b).square().sum(dim=-1) + 3e-12).sqrt()
    return torch.rad2deg(torch.atan2(across, (a * b).sum(dim=-1)))
