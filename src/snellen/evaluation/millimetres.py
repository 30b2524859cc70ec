"""Errors in millimetres, where the scale of the images is known."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from snellen.training.metrics import bootstrap_interval, image_errors, point_errors

__all__ = ["LIMITS_MM", "millimetre_scores"]

#: Radii in millimetres of the success detection rate, as in the cephalometric challenges of ISBI 2014 and 2015.
LIMITS_MM = (2.0, 2.5, 3.0, 4.0)


def millimetre_scores(pred: ArrayLike, true: ArrayLike, scales: ArrayLike) -> dict[str, Any]:
    """Mean radial error and success rates of the images whose scale is known.

    Args:
        pred: (n, k, 2) pixels of the original images.
        true: (n, k, 2) likewise, NaN where unlabelled.
        scales: (n,) millimetres a pixel, NaN where unknown.

    Returns:
        {"millimetres": {mean_radial_error (mean over labelled points), deviation (standard deviation over them), interval (95 %
        bootstrap over images, of the mean over images of their points' mean error), success (limit in mm: share of labelled
        points at most that far off), images, points}}; empty where no scale is known.

    >>> millimetre_scores([[[3.0, 4.0]]], [[[0.0, 0.0]]], [0.5])["millimetres"]["mean_radial_error"]
    2.5
    """
    errors = point_errors(pred, true) * np.asarray(scales, dtype=np.float64)[:, None]
    known = errors[np.isfinite(errors)]
    if not known.size:
        return {}
    of_images = image_errors(errors)
    return {
        "millimetres": {
            "mean_radial_error": float(known.mean()),
            "deviation": float(known.std()),
            "interval": list(bootstrap_interval(of_images)),
            "success": {f"{limit:g}": float((known <= limit).mean()) for limit in LIMITS_MM},
            "images": int(np.isfinite(of_images).sum()),
            "points": int(known.size),
        }
    }
