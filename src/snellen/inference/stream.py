"""Many pictures through a keypoint model, in order: decoding in threads while the network works, bounded memory."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from snellen.config import ConfigError
from snellen.data.boxes import make_box, square_box
from snellen.geometry import Box, Matrix, box_map, transform_points
from snellen.inference.crops import Scaled, full_size, read_scaled
from snellen.inference.pictures import Picture, image_tensor
from snellen.keypoints import Keypoints

if TYPE_CHECKING:
    from snellen.inference.point_finder import PointFinder

__all__ = ["DIVERGED", "Found", "Request", "find_points", "locator_box"]

#: What is said of answers that are NaN or infinite, behind whose they are.
DIVERGED = "answer is no number, so its training diverged; train it again with a lower --train.lr"

#: Batches that are decoded ahead of the network: bounds the memory, whatever the number of pictures.
_AHEAD = 2
_NOWHERE = Box(0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Request:
    """A picture to look at.

    Attributes:
        name: what answers and messages call it.
        picture: a path, a PIL image, an array or a tensor; or the error with which it could not be had.
        box: the region that holds the object, pixels of the picture; None for the whole picture.
    """

    name: str
    picture: Picture | Exception
    box: Box | None = None


@dataclass(frozen=True)
class Found:
    """The answer to a request.

    Attributes:
        name: the request's.
        keypoints: in pixels of the original picture; None where the picture could not be read.
        size: (height, width) of the picture; (0, 0) where it could not be read.
        box: what the network was shown.
        error: one sentence where the picture could not be read, else empty.
    """

    name: str
    keypoints: Keypoints | None
    size: tuple[int, int] = (0, 0)
    box: Box = _NOWHERE
    error: str = ""


@dataclass
class _Prepared:
    """A decoded picture on its way to the network."""

    picture: Scaled
    box: Box
    matrix: Matrix
    canvas: NDArray[np.float32]


def find_points(
    finder: "PointFinder",
    requests: Iterable[Request],
    *,
    locator: "PointFinder | None" = None,
    batch_size: int = 8,
    workers: int | None = None,
    on_error: Literal["raise", "skip"] = "raise",
) -> Iterator[Found]:
    """Answer requests one by one, in their order.

    At most three batches of pictures are in memory at a time. They are decoded and cropped by threads (Pillow's and NumPy's
    loops run side by side), while the network works on the batch before.

    Args:
        finder: the model.
        requests: pictures; asked for as they are needed.
        locator: a model of whole pictures that finds the box first, see `locator_box`; requests' own boxes say where it looks.
        batch_size: pictures at a time.
        workers: threads that decode; by default one a core, at most 8.
        on_error: "skip" answers a picture that cannot be read with a sentence instead of raising.

    Raises:
        ImageError, ValueError: for a picture that cannot be read, where `on_error` is "raise".
        ConfigError: for a locator that reads 16-bit grey otherwise than the model.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} is not possible; give at least 1")
    if locator is not None and locator.reader.grey_range != finder.reader.grey_range:
        own, other = (list(f.reader.grey_range or (0, 65535)) for f in (finder, locator))
        raise ConfigError(
            f"the locator was trained with data.grey_range {other} and the model with {own}, but a picture is read once for "
            "both; train them with the same"
        )
    workers = workers or min(8, os.cpu_count() or 1)
    first = locator or finder
    waiting: deque[tuple[Request, Future[_Prepared]]] = deque()
    source = iter(requests)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="snellen-decode")
    try:
        while True:
            _fill(waiting, source, pool, first, batch_size * (1 + _AHEAD), whole=locator is not None)
            if not waiting:
                return
            batch = [waiting.popleft() for _ in range(min(batch_size, len(waiting)))]
            ready = [(request, _result(future, on_error)) for request, future in batch]
            # Before the network starts, so that the threads have work meanwhile.
            _fill(waiting, source, pool, first, batch_size * _AHEAD, whole=locator is not None)
            yield from _answer(ready, finder, locator, pool, on_error)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def locator_box(points: Keypoints, finder: "PointFinder", size: tuple[int, int], margin: float = 1.3) -> Box:
    """Where a model of close crops should look, given a locator's points.

    Where both models know the same points, the box is made as in the crop model's training (`card["box"]`); else it is the
    square about the points, `margin` times as large.

    Args:
        points: of the locator, pixels of the picture.
        finder: the model of close crops.
        size: (height, width) of the picture.
        margin: see above; 1.3 is the papers' for faces (rcn.md 3.4).
    """
    rule = finder.card.get("box", {"rule": "image", "scale": 1.0})
    if rule["rule"] != "image" and points.schema.points == finder.schema.points:
        return make_box(rule["rule"], points, float(rule["scale"]), size[1], size[0])
    return square_box(points, margin)


def _fill(
    waiting: deque[tuple[Request, "Future[_Prepared]"]],
    source: Iterator[Request],
    pool: ThreadPoolExecutor,
    finder: "PointFinder",
    count: int,
    *,
    whole: bool,
) -> None:
    while len(waiting) < count:
        request = next(source, None)
        if request is None:
            return
        waiting.append((request, pool.submit(_prepare, request, finder, whole)))


def _prepare(request: Request, finder: "PointFinder", whole: bool) -> _Prepared:
    """Decode a picture (`whole`: at full size, since it is needed again) and draw it on the canvas."""
    size = finder.canvas

    def shrink(height: int, width: int) -> float:
        box = request.box or Box(0, 0, width, height)
        return 1.0 if whole else float(1 / box_map(box, size)[0, 0])

    if isinstance(request.picture, Exception):
        raise request.picture
    if isinstance(request.picture, str | os.PathLike):
        picture = read_scaled(request.picture, finder.channels, shrink, finder.reader)
    else:
        picture = full_size(image_tensor(request.picture, finder.channels, finder.reader))
    height, width = picture.size
    box = request.box or Box(0.0, 0.0, float(width), float(height))
    matrix = box_map(box, size)
    return _Prepared(picture, box, matrix, picture.canvas(matrix, size))


def _result(future: "Future[_Prepared]", on_error: str) -> _Prepared | str:
    try:
        return future.result()
    except (ValueError, OSError) as error:
        if on_error == "raise":
            raise
        return " ".join(str(error).split())


def _answer(
    batch: Sequence[tuple[Request, _Prepared | str]],
    finder: "PointFinder",
    locator: "PointFinder | None",
    pool: ThreadPoolExecutor,
    on_error: str,
) -> list[Found]:
    prepared = [item for _, item in batch if not isinstance(item, str)]
    if locator is not None and prepared:
        places = _points(locator, prepared)
        if not all(map(_is_answer, places)):
            raise ConfigError(f"the locator's {DIVERGED}")
        boxes = [locator_box(p, finder, i.picture.size) for p, i in zip(places, prepared, strict=True)]
        prepared = list(pool.map(_refined, prepared, boxes, [finder] * len(boxes)))
    points = iter(_points(finder, prepared) if prepared else ())
    parts = iter(prepared)
    answers = []
    for request, item in batch:
        if isinstance(item, str):
            answers.append(Found(request.name, None, error=item))
        else:
            shown, found = next(parts), next(points)
            if _is_answer(found):
                answers.append(Found(request.name, found, shown.picture.size, shown.box))
            elif on_error == "raise":
                raise ValueError(f"the network's {DIVERGED}")
            else:
                answers.append(Found(request.name, None, error=f"{request.name}: the network's {DIVERGED}"))
    return answers


def _is_answer(points: Keypoints) -> bool:
    return bool(np.isfinite(points.xy).all())


def _refined(item: _Prepared, box: Box, finder: "PointFinder") -> _Prepared:
    matrix = box_map(box, finder.canvas)
    pixels = item.picture.pixels
    if pixels.shape[2] != finder.channels:
        picture = full_size(image_tensor(torch.from_numpy(pixels).permute(2, 0, 1), finder.channels))
    else:
        picture = item.picture
    return _Prepared(picture, box, matrix, picture.canvas(matrix, finder.canvas))


def _points(finder: "PointFinder", batch: Sequence[_Prepared]) -> list[Keypoints]:
    """The network's answers, in pixels of the original pictures."""
    found = finder.locate(torch.from_numpy(np.stack([item.canvas for item in batch])))
    xy, score = found.xy.double().numpy(), found.confidence.double().numpy()
    visible = np.full(len(finder.schema), 2)
    return [
        Keypoints(
            transform_points(np.linalg.inv(item.matrix).astype(np.float64), points),
            visible,
            finder.schema,
            score=confidence,
        )
        for item, points, confidence in zip(batch, xy, score, strict=True)
    ]
