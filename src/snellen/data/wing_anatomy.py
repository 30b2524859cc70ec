"""The shape of a fruit fly's wing: knots, the splines through them, and how individuals differ.

Wing units: the hinge is the origin, x runs along the wing, y to the hind margin, and the blade is 1 long::

                       l1_end            l2_end
      costal_break  ______+------___________+___
           +-------  L1 __/           L2 __--    ---_
      hinge  ==+ l2_l3_fork  ___------------         --+ l3_end
             ==+-----------+-------------------- L3 ---
               \\     acv  +----------------+---- L4 ---+ l4_end
      l4_l5_fork \\--__                     | pcv     __/
                alula  ---__--------- L5 ---+___  __--
                            ---_____________    +-  l5_end

Every curve is a natural cubic spline *through* its knots, and every landmark is a knot of each curve it lies on. A
landmark is therefore a point of the drawn curves by construction, not by measurement. The spline's parameter is taken
from the mean shape, so that a curve is a constant matrix times the knots and a whole wing costs one small product.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from snellen.keypoints.built_in import WINGS_12

__all__ = [
    "CURVES",
    "MEAN_KNOTS",
    "WIDTHS",
    "curve_points",
    "curve_steps",
    "knot_position",
    "landmarks",
    "sample_knots",
]

#: The knots of the mean wing, in wing units; the twelve landmarks first, in the order of the schema.
MEAN_KNOTS: dict[str, tuple[float, float]] = {
    "costal_break": (0.135, -0.110),
    "l1_end": (0.395, -0.193),
    "l2_end": (0.810, -0.178),
    "l3_end": (0.992, -0.040),
    "l4_end": (0.966, 0.092),
    "l5_end": (0.725, 0.241),
    "l2_l3_fork": (0.190, -0.058),
    "anterior_crossvein_l3": (0.432, -0.062),
    "anterior_crossvein_l4": (0.440, -0.002),
    "posterior_crossvein_l4": (0.668, 0.040),
    "posterior_crossvein_l5": (0.622, 0.183),
    "l4_l5_fork": (0.150, 0.012),
    # margin, from the hinge along the costa, round the tip and back along the hind margin to the alula
    "m_hinge": (-0.005, -0.035),
    "m_base": (0.055, -0.078),
    "m_costa": (0.262, -0.160),
    "m_front": (0.600, -0.222),
    "m_subtip": (0.925, -0.112),
    "m_tip": (0.997, 0.022),
    "m_hind1": (0.850, 0.188),
    "m_hind2": (0.520, 0.272),
    "m_hind3": (0.340, 0.254),
    "m_notch": (0.205, 0.166),
    "m_alula": (0.150, 0.164),
    "m_alula2": (0.080, 0.138),
    "m_alula3": (0.030, 0.068),
    "m_end": (-0.005, 0.030),
    # veins
    "l1_a": (0.020, -0.030),
    "l1_b": (0.130, -0.072),
    "l1_c": (0.270, -0.125),
    "r_a": (0.010, -0.010),
    "r_b": (0.095, -0.028),
    "l2_a": (0.340, -0.102),
    "l2_b": (0.520, -0.135),
    "l2_c": (0.690, -0.153),
    "l3_a": (0.300, -0.055),
    "l3_b": (0.580, -0.072),
    "l3_c": (0.800, -0.068),
    "mc_a": (0.010, 0.005),
    "mc_b": (0.080, 0.002),
    "l4_a": (0.280, -0.008),
    "l4_b": (0.555, 0.016),
    "l4_c": (0.815, 0.072),
    "l5_a": (0.270, 0.060),
    "l5_b": (0.390, 0.104),
    "l5_c": (0.510, 0.143),
    "acv_a": (0.438, -0.032),
    "pcv_a": (0.652, 0.115),
    "l6_a": (0.100, 0.028),
    "l6_b": (0.175, 0.090),
    "l6_c": (0.235, 0.150),
}

#: The curves, each by the knots it passes through.
CURVES: dict[str, tuple[str, ...]] = {
    "margin": (
        "m_hinge", "m_base", "costal_break", "m_costa", "l1_end", "m_front", "l2_end", "m_subtip", "l3_end", "m_tip",
        "l4_end", "m_hind1", "l5_end", "m_hind2", "m_hind3", "m_notch", "m_alula", "m_alula2", "m_alula3", "m_end",
    ),
    "l1": ("l1_a", "l1_b", "l1_c", "l1_end"),
    "l2": ("l2_l3_fork", "l2_a", "l2_b", "l2_c", "l2_end"),
    "l3": ("r_a", "r_b", "l2_l3_fork", "l3_a", "anterior_crossvein_l3", "l3_b", "l3_c", "l3_end"),
    "l4": (
        "mc_a", "mc_b", "l4_l5_fork", "l4_a", "anterior_crossvein_l4", "l4_b", "posterior_crossvein_l4", "l4_c",
        "l4_end",
    ),
    "l5": ("l4_l5_fork", "l5_a", "l5_b", "l5_c", "posterior_crossvein_l5", "l5_end"),
    "humeral": ("costal_break", "l1_b"),
    "l6": ("l6_a", "l6_b", "l6_c"),
    "anterior_crossvein": ("anterior_crossvein_l3", "acv_a", "anterior_crossvein_l4"),
    "posterior_crossvein": ("posterior_crossvein_l4", "pcv_a", "posterior_crossvein_l5"),
}  # fmt: skip

#: Half the width of each curve at its knots, in thousandths of the wing's length: thick at the hinge, thin at the tip.
WIDTHS: dict[str, tuple[float, ...]] = {
    "margin": (9, 9, 8, 7.5, 7, 6, 5.5, 4.5, 3.5, 2.5, 2.2, 1.8, 1.8, 1.8, 1.8, 1.8, 1.8, 1.8, 2, 3),
    "l1": (8, 6.5, 5.5, 5),
    "l2": (5, 4.4, 4.2, 3.8, 3.2),
    "l3": (9, 8, 5.5, 4.6, 4.6, 4.3, 4, 3.2),
    "l4": (7, 6, 4.6, 4.2, 4.2, 4, 4, 3.4, 2.6),
    "l5": (4.6, 4.6, 4.4, 4.2, 4, 2.6),
    "humeral": (4, 4.5),
    "l6": (2.6, 2, 0.4),
    "anterior_crossvein": (3.8, 3.6, 3.8),
    "posterior_crossvein": (3.6, 3.4, 3.6),
}

_NAMES = tuple(MEAN_KNOTS)
_MEAN = np.array([MEAN_KNOTS[n] for n in _NAMES])


def _spline_matrix(knots: NDArray[np.float64], samples: int) -> NDArray[np.float64]:
    """The matrix (spans * samples + 1, knots) from knots to points of the natural cubic spline through them."""
    n = len(knots)
    t = np.concatenate([[0.0], np.cumsum(np.sqrt(np.linalg.norm(np.diff(knots, axis=0), axis=1)))])  # centripetal
    h = np.diff(t)
    # Second derivatives m solve A m = R y, with m = 0 at both ends (natural).
    A, R = np.eye(n), np.zeros((n, n))
    for i in range(1, n - 1):
        A[i, i - 1 : i + 2] = h[i - 1], 2 * (h[i - 1] + h[i]), h[i]
        R[i, i - 1 : i + 2] = 6 / h[i - 1], -6 / h[i - 1] - 6 / h[i], 6 / h[i]
    M = np.linalg.solve(A, R)
    eye = np.eye(n)
    rows = []
    for i in range(n - 1):
        b = (np.arange(samples) / samples)[:, None]
        a = 1 - b
        bend = ((a**3 - a) * M[i] + (b**3 - b) * M[i + 1]) * h[i] ** 2 / 6
        rows.append(a * eye[i] + b * eye[i + 1] + bend)
    return np.concatenate([*rows, eye[-1:]])


@cache
def _bases(samples: int) -> dict[str, NDArray[np.float64]]:
    """For each curve the matrix from *all* knots to its points."""
    bases = {}
    for name, knots in CURVES.items():
        columns = [_NAMES.index(k) for k in knots]
        basis = np.zeros((samples * (len(knots) - 1) + 1, len(_NAMES)))
        basis[:, columns] = _spline_matrix(_MEAN[columns], samples)
        bases[name] = basis
    return bases


def curve_points(knots: NDArray[np.float64], samples: int) -> dict[str, NDArray[np.float64]]:
    """Points along every curve.

    Args:
        knots: (N, 2) the wing's knots, in the order of `MEAN_KNOTS` and in any unit.
        samples: points in each span between two knots; point `samples * i` is knot i exactly.

    Returns:
        for each curve its points ((knots - 1) * samples + 1, 2), in the unit of `knots`.
    """
    return {name: basis @ knots for name, basis in _bases(samples).items()}


@cache
def _stacked(samples: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The bases of all curves one above the other, and the same for the steps between points (central differences)."""
    bases = _bases(samples).values()
    steps = [np.gradient(basis, axis=0) for basis in bases]
    # An end point has half a step, so that the steps of a curve add up to its length.
    for step in steps:
        step[[0, -1]] /= 2
    return np.concatenate(list(bases)), np.concatenate(steps)


def curve_steps(knots: NDArray[np.float64], samples: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All points of all curves, for a drawing that does not care which is which.

    Args:
        knots: (N, 2), as in `curve_points`.
        samples: points in each span between two knots.

    Returns:
        the points (n, 2) in the order of `CURVES`, and the piece (dx, dy) of curve that each stands for (n, 2).
    """
    points, steps = _stacked(samples)
    return points @ knots, steps @ knots


def knot_position(curve: str, knot: str, samples: int) -> int:
    """Index of a knot among the points that `curve_points` gives for a curve.

    >>> knot_position("l2", "l2_end", 10)
    40
    """
    return CURVES[curve].index(knot) * samples


def landmarks(knots: NDArray[np.float64]) -> NDArray[np.float64]:
    """The landmarks (12, 2) among the knots (N, 2), in the order of the schema."""
    return knots[: len(WINGS_12)]


@cache
def _tangents() -> NDArray[np.float64]:
    """(N, 2) unit direction of the (first) curve at each knot of the mean wing."""
    result = np.zeros_like(_MEAN)
    for name, knots in reversed(CURVES.items()):
        points = _bases(32)[name] @ _MEAN
        slopes = np.gradient(points, axis=0)[::32]
        result[[_NAMES.index(k) for k in knots]] = slopes / np.linalg.norm(slopes, axis=1, keepdims=True)
    return result


def sample_knots(rng: np.random.Generator) -> NDArray[np.float64]:
    """The knots (N, 2) of one individual, in wing units.

    Individuals differ in three ways: the blade is broader or narrower and bent; a smooth random field shifts
    neighbouring veins together; and each junction or vein end slides along its own vein and a little across it.
    """
    x, y = _MEAN.T
    broad, bend, taper = np.clip(rng.standard_normal(3), -2, 2) * (0.05, 0.02, 0.06)
    warped = np.stack([x, y * (1 + broad) * (1 + taper * (x - 0.5)) + bend * (x - 0.5) ** 2], axis=1)
    for amplitude, frequency in ((0.006, 4.0), (0.004, 8.0)):
        wave = rng.uniform(-frequency, frequency, (2, 2))
        phase = rng.uniform(0, 2 * np.pi, 2)
        warped += amplitude * np.sin(_MEAN @ wave.T + phase)
    slide = np.clip(rng.standard_normal((len(_MEAN), 2)), -2, 2)
    is_landmark = np.arange(len(_MEAN)) < len(WINGS_12)
    along = np.where(is_landmark, 0.012, 0.004) * slide[:, 0]
    across = np.where(is_landmark, 0.003, 0.0015) * slide[:, 1]
    tangents = _tangents()
    normals = tangents[:, ::-1] * (-1, 1)
    warped += along[:, None] * tangents + across[:, None] * normals
    # A crossvein follows the two veins it joins; its middle knot only bows it.
    for name in ("anterior_crossvein", "posterior_crossvein"):
        start, middle, end = (_NAMES.index(k) for k in CURVES[name])
        bow = _MEAN[middle] - (_MEAN[start] + _MEAN[end]) / 2 + 0.003 * slide[middle]
        warped[middle] = (warped[start] + warped[end]) / 2 + bow
    return warped
