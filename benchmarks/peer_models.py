"""Other people's finders of 68 face points, behind one call: photos and boxes in, points in the library's convention out.

They are optional. `pip install --target` keeps what they need away from an environment whose versions they would change.
"""

import copy
import importlib.util
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float64, UInt8
from numpy.typing import NDArray

from snellen.geometry import Box
from snellen.inference import Localiser

__all__ = [
    "INSTALL", "MESH_TO_IBUG", "Dlib", "Mediapipe", "MissingPeerError", "Peer", "Trained",
    "cut", "eye_offsets", "from_mesh", "largest_in", "median_frame", "moved_by_eyes", "placed", "relative",
]  # fmt: skip

Photo = UInt8[NDArray[np.uint8], "h w 3"]
Points = Float64[NDArray[np.float64], "n 68 2"]

INSTALL = {
    "dlib": "pip install --target peers-extra --no-deps dlib-bin face-recognition-models",
    "mediapipe": "pip install --target peers-extra --no-deps mediapipe==0.10.21 'protobuf>=4.25.3,<5' "
    "opencv-python-headless sounddevice absl-py attrs flatbuffers",
}

#: For each point of iBUG's order the vertices of mediapipe's face mesh whose mean stands for it. The mesh was not made for
#: these points: its face oval follows the head's outline in 3D where iBUG's jaw is the visible contour, and brows, nostrils and
#: lips are marked elsewhere. Corners of eyes and mouth agree. Vertices were chosen along the mesh's contours, mirrored pairs
#: alike (our choice; such tables go around, and differ by a vertex here and there).
MESH_TO_IBUG: tuple[tuple[int, ...], ...] = (
    # jaw 1-17: from ear to ear
    (127,), (234,), (93,), (132, 58), (58, 172), (136,), (150,), (176,),
    (152,), (400,), (379,), (365,), (397, 288), (288, 361), (323,), (454,), (356,),
    # brows 18-22 and 23-27
    (70,), (63,), (105,), (66,), (107,),
    (336,), (296,), (334,), (293,), (300,),
    # bridge of the nose 28-31, its base 32-36
    (168, 6), (197, 195), (5,), (4,),
    (75,), (97,), (2,), (326,), (305,),
    # eyes 37-42 and 43-48
    (33,), (160,), (158,), (133,), (153,), (144,),
    (362,), (385,), (387,), (263,), (373,), (380,),
    # outer lips 49-60, inner lips 61-68
    (61,), (39,), (37,), (0,), (267,), (269,), (291,), (321,), (314,), (17,), (84,), (91,),
    (78,), (82,), (13,), (312,), (308,), (317,), (14,), (87,),
)  # fmt: skip
# The outer eye corners, positions in iBUG's order from 0.
_EYES = (36, 45)


class MissingPeerError(Exception):
    """A peer that cannot be asked on this machine; the message says what to do."""


class Peer(Protocol):
    """Something that finds 68 face points.

    Attributes:
        note: one sentence for the record.
        pretrained: whether its weights come from elsewhere.
        versions: of its packages.
    """

    note: str
    pretrained: bool
    versions: dict[str, str]

    def answer(self, photos: Sequence[Photo], boxes: Sequence[Box]) -> Points:
        """Points of the face in each photo's box, pixels of the photos, the corner at (0, 0); NaN where it finds no face."""
        ...


class Trained:
    """A network of this library.

    Args:
        localiser: the network.
        note: for the record.
    """

    pretrained = False

    def __init__(self, localiser: Localiser, note: str = "") -> None:
        self.localiser, self.note, self.versions = localiser, note, dict[str, str]()

    def answer(self, photos: Sequence[Photo], boxes: Sequence[Box]) -> Points:
        """See `Peer`; all photos are one batch."""
        found = self.localiser.predict(list(photos), list(boxes), batch_size=len(photos))
        return np.stack([keypoints.xy for keypoints in found])


class Dlib:
    """dlib's regression trees for 68 points (Kazemi and Sullivan, CVPR 2014), with the model of face-recognition-models.

    They start from the rectangle of dlib's own detector, which is no box of ours: on photos that nothing is scored by, the
    detector shows how its rectangles lie in our boxes, and the median of that is applied to every box.

    Args:
        photos: training photos.
        boxes: of their faces.

    Raises:
        MissingPeerError: where a package is missing.
    """

    pretrained = True

    def __init__(self, photos: Sequence[Photo], boxes: Sequence[Box]) -> None:
        try:
            import dlib
        except ImportError as error:
            raise MissingPeerError(
                f"{error}: install it by `{INSTALL['dlib']}` and put peers-extra on PYTHONPATH"
            ) from None
        # Found without being imported: its __init__ needs pkg_resources, which setuptools no longer has.
        spec = importlib.util.find_spec("face_recognition_models")
        if spec is None or not spec.submodule_search_locations:
            raise MissingPeerError(
                f"face_recognition_models is missing: install it by `{INSTALL['dlib']}` and put peers-extra on PYTHONPATH"
            )
        model = Path(spec.submodule_search_locations[0]) / "models" / "shape_predictor_68_face_landmarks.dat"
        self._rectangle, self._predict = dlib.rectangle, dlib.shape_predictor(str(model))
        self._detect, self._own = dlib.get_frontal_face_detector(), False
        self.frame = median_frame(boxes, [self._rectangles(photo) for photo in photos])
        self.versions = _versions("dlib-bin", "face-recognition-models")
        self.note = (
            "trained by its authors on iBUG 300-W, which holds Helen: test photos may be among what it learned from; "
            "rectangles laid into the boxes as its own detector lays them, by the median over training photos: shifted by "
            f"{self.frame[0]:.3f}, {self.frame[1]:.3f} sides and scaled by {self.frame[2]:.3f}; answers whole pixels"
        )

    def answer(self, photos: Sequence[Photo], boxes: Sequence[Box]) -> Points:
        """See `Peer`; one photo after the other, there are no batches."""
        return np.stack([self._one(photo, box) for photo, box in zip(photos, boxes, strict=True)])

    def detecting(self) -> "Dlib":
        """The same with its own detector's rectangle where that finds the face of the box, as its users run it."""
        other = copy.copy(self)
        other._own = True
        other.note += "; its own detector's rectangle where it finds the face"
        return other

    def _rectangles(self, photo: Photo) -> list[Box]:
        return [_box_of(r) for r in self._detect(photo, 1)]

    def _one(self, photo: Photo, box: Box) -> NDArray[np.float64]:
        rectangle = largest_in(box, self._rectangles(photo)) if self._own else None
        left, top, right, bottom = (round(v) for v in rectangle or placed(box, self.frame))
        shape = self._predict(photo, self._rectangle(left, top, right - 1, bottom - 1))
        # dlib counts pixels, whose centres are whole numbers.
        return np.array([(p.x + 0.5, p.y + 0.5) for p in shape.parts()])


def _box_of(rectangle: Any) -> Box:
    """dlib's rectangles name their last pixels."""
    return Box(rectangle.left(), rectangle.top(), rectangle.right() + 1.0, rectangle.bottom() + 1.0)


class Mediapipe:
    """mediapipe's Face Mesh, 478 vertices, by `MESH_TO_IBUG`.

    It takes no boxes: it sees the photo's part about the box and looks for the face in it, which is part of its time.

    Args:
        scale: side of that part, in sides of the box: its detector wants some surroundings (our choice).

    Raises:
        MissingPeerError: where a package is missing, or is of a version without Face Mesh.
    """

    pretrained = True
    note = (
        "the 68 points are picked from 478 mesh vertices by a table (benchmarks/peer_models.py), a known weakness of such "
        "comparisons: part of the error is that the two mark different places; finds the face in the box's surroundings itself"
    )

    def __init__(self, scale: float = 1.5) -> None:
        try:
            from mediapipe import solutions

            face_mesh = solutions.face_mesh.FaceMesh
        except (ImportError, AttributeError) as error:
            raise MissingPeerError(
                f"{error}: install it by `{INSTALL['mediapipe']}` and put peers-extra on PYTHONPATH"
            ) from None
        # Each photo for itself; that there is a face is known.
        self._mesh = face_mesh(static_image_mode=True, refine_landmarks=True, min_detection_confidence=0.1)
        self.scale, self.versions = scale, _versions("mediapipe")

    def answer(self, photos: Sequence[Photo], boxes: Sequence[Box]) -> Points:
        """See `Peer`; one photo after the other, there are no batches."""
        return np.stack([self._one(photo, box) for photo, box in zip(photos, boxes, strict=True)])

    def _one(self, photo: Photo, box: Box) -> NDArray[np.float64]:
        part, corner = cut(photo, box.scaled(self.scale))
        faces = self._mesh.process(part).multi_face_landmarks
        if not faces:
            return np.full((len(MESH_TO_IBUG), 2), np.nan)
        shares = np.array([(v.x, v.y) for v in faces[0].landmark])
        return from_mesh(shares * [part.shape[1], part.shape[0]] + corner)


def _versions(*packages: str) -> dict[str, str]:
    return {package: metadata.version(package) for package in packages}


def from_mesh(vertices: Float64[NDArray[np.float64], "v 2"]) -> Float64[NDArray[np.float64], "68 2"]:
    """The 68 points of a mesh with at least 468 vertices, by `MESH_TO_IBUG`."""
    return np.stack([vertices[list(which)].mean(axis=0) for which in MESH_TO_IBUG])


def cut(photo: Photo, box: Box) -> tuple[Photo, tuple[int, int]]:
    """The whole pixels that a box touches, black outside of the photo, and their corner (x, y) in the photo.

    >>> part, corner = cut(np.ones((4, 4, 3), np.uint8), Box(-1.5, 2.0, 2.0, 3.0))
    >>> part.shape, corner, part[0, :, 0]
    ((1, 4, 3), (-2, 2), array([0, 0, 1, 1], dtype=uint8))
    """
    left, top = int(np.floor(box.left)), int(np.floor(box.top))
    right, bottom = int(np.ceil(box.right)), int(np.ceil(box.bottom))
    part = np.zeros((bottom - top, right - left, 3), np.uint8)
    height, width = photo.shape[:2]
    inside = photo[max(top, 0) : max(min(bottom, height), 0), max(left, 0) : max(min(right, width), 0)]
    y, x = max(-top, 0), max(-left, 0)
    part[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return part, (left, top)


def relative(box: Box, rectangle: Box) -> tuple[float, float, float]:
    """Where a rectangle lies in a box: shift of the centre in x and y, and size, in sides of the box."""
    (cx, cy), (rx, ry) = box.centre, rectangle.centre
    return (rx - cx) / box.width, (ry - cy) / box.width, rectangle.width / box.width


def placed(box: Box, frame: tuple[float, float, float]) -> Box:
    """The square that lies in a square box as `relative` says.

    >>> placed(Box(0, 0, 10, 10), (0.1, 0.0, 0.5))
    Box(left=3.5, top=2.5, right=8.5, bottom=7.5)
    """
    dx, dy, scale = frame
    return box.scaled(scale).shifted(dx * box.width, dy * box.width)


def largest_in(box: Box, rectangles: Sequence[Box]) -> Box | None:
    """The largest rectangle whose centre lies in a box; None where there is none."""
    inside = [
        r for r in rectangles
        if box.left <= r.centre[0] <= box.right and box.top <= r.centre[1] <= box.bottom
    ]  # fmt: skip
    return max(inside, key=lambda r: r.width, default=None)


def median_frame(boxes: Sequence[Box], rectangles: Sequence[Sequence[Box]]) -> tuple[float, float, float]:
    """The median of `relative` over boxes, each with `largest_in` of its photo's rectangles.

    Raises:
        ValueError: where no rectangle's centre lies in its box.
    """
    pairs = ((box, largest_in(box, candidates)) for box, candidates in zip(boxes, rectangles, strict=True))
    found = [relative(box, rectangle) for box, rectangle in pairs if rectangle is not None]
    if not found:
        raise ValueError(f"the detector finds none of {len(boxes)} faces; give more photos to place its rectangles by")
    dx, dy, scale = np.median(np.array(found), axis=0)
    return float(dx), float(dy), float(scale)


def eye_offsets(pred: Points, true: Points) -> NDArray[np.complex128]:
    """How far each point is off on average, in a frame whose unit is the vector between the answered outer eye corners.

    Args:
        pred: answers to photos that nothing is scored by; those that are NaN do not count.
        true: their points.

    Returns:
        (68,) complex, for `moved_by_eyes`: x is the real part.
    """
    answered = np.isfinite(pred).all(axis=(1, 2))
    p, t = _complex(pred[answered]), _complex(true[answered])
    return np.asarray(np.nanmean((t - p) / _eyes(p), axis=0))


def moved_by_eyes(pred: Points, offsets: NDArray[np.complex128]) -> Points:
    """Answers moved by `eye_offsets`: what is left of an error once the two mark the same places on average."""
    p = _complex(pred)
    moved = p + offsets * _eyes(p)
    return np.stack((moved.real, moved.imag), axis=-1)


def _complex(points: NDArray[np.float64]) -> NDArray[np.complex128]:
    return np.asarray(points[..., 0] + 1j * points[..., 1], dtype=np.complex128)


def _eyes(points: NDArray[np.complex128]) -> NDArray[np.complex128]:
    return points[:, _EYES[1], None] - points[:, _EYES[0], None]
