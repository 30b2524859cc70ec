"""A second pair of eyes: annotated points that surprise a denoiser, given the object's other points.

Ours. A denoiser answers where a point should lie when it is taken away; how improbable the annotated place is, is its surprise.
Two questions are asked of every point:

* moved: the surprise of its place with the point taken away, over the *least* surprise it could have had there. The second
  term is the denoiser's own doubt about the place, so that points that vary freely do not head the list.
* swapped: for a left/right pair taken away together, the surprise of the two places as named minus that of the two names
  exchanged. Above 0 the exchange is the likelier annotation.

One wrong point makes its neighbours look wrong, through what they are told by it and through the box around the points. So an
object is gone through greedily: its most surprising finding is taken away, and the others are asked again without it. Where
that is an exchange, its two points are judged at each other's places from then on: an exchange is one mistake, not two more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from snellen.data.boxes import BoxRule, make_box
from snellen.geometry import Box, transform_points
from snellen.inference.structure import StructureModel
from snellen.keypoints import Keypoints

__all__ = ["Suspect", "rank_suspects"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Suspect:
    """A point, or a left/right pair, whose annotation surprises.

    Attributes:
        index: position of the object in what was ranked.
        name: of the object.
        kind: "moved" (the point lies where it hardly can) or "swapped" (the pair's names are likely exchanged).
        points: names of the point, or of the two.
        score: nats of evidence against the annotation; comparable within a kind, and roughly between the two. e^-score is how
            much less probable the annotated place is than the best one ("moved") or than the exchange ("swapped").
        annotated: (x, y) of each of `points`, pixels of the image.
        expected: where the denoiser would put each, likewise.
    """

    index: int
    name: str
    kind: Literal["moved", "swapped"]
    points: tuple[str, ...]
    score: float
    annotated: tuple[tuple[float, float], ...]
    expected: tuple[tuple[float, float], ...]

    def __str__(self) -> str:
        at = ", ".join(f"({x:.1f}, {y:.1f})" for x, y in self.expected)
        words = " and ".join(self.points)
        if self.kind == "swapped":
            return f"{self.name}: {words} are likely exchanged (left for right), {self.score:.1f} nats"
        return f"{self.name}: {words} lies where it hardly can; expected about {at}, {self.score:.1f} nats"


#: "moved" and a point, or "swapped" and two.
_Question = tuple[str, tuple[int, ...]]


@dataclass(frozen=True)
class _Finding:
    """The answer to a question.

    Attributes:
        score: see `Suspect`.
        expected: places, pixels of the image.
        explained: how much each point would still surprise were the finding right.
        rest: mean surprise of the points that were shown, without those asked for.
    """

    score: float
    expected: Array
    explained: tuple[float, ...]
    rest: float


@dataclass
class _Object:
    """An object while it is gone through: its points, the box as given, and which points still count."""

    keypoints: Keypoints
    box: Box
    size: tuple[int, int]
    trusted: Mask


def rank_suspects(
    keypoints: Sequence[Keypoints],
    denoiser: StructureModel,
    *,
    boxes: Sequence[Box],
    sizes: Sequence[tuple[int, int]],
    names: Sequence[str] | None = None,
    rounds: int = 3,
    alarm: float = 6.0,
) -> list[Suspect]:
    """Every labelled point and pair, the most surprising first.

    Args:
        keypoints: annotated objects of the denoiser's schema, pixels of their images. It should not have been trained on
            them, or their errors with them may have been learned; a few wrong ones in a large training set do little harm.
        denoiser: the judge.
        boxes: the region of each object, by the rule that the denoiser was trained with. For the rule "square" the box is
            made anew from the points that are still trusted.
        sizes: (height, width) of each object's image.
        names: of the objects; by default their numbers.
        rounds: how often findings of an object are taken away and the rest asked again.
        alarm: nats above which a finding is taken away; e^6 is 400 to 1.

    Returns:
        One "moved" entry a labelled point (NaN places are left out) and one "swapped" entry a pair with both labelled, sorted
        by score. A point's score is the one of the round that took it away, else of the last round.

    Raises:
        ConfigError: for points of another schema.
        ValueError: where numbers of objects, boxes, sizes and names differ, or rounds is not positive.
    """
    counts = {len(keypoints), len(boxes), len(sizes), len(keypoints if names is None else names)}
    if len(counts) != 1:
        raise ValueError(f"keypoints, boxes, sizes and names must be equally many, not {sorted(counts)}")
    if rounds < 1:
        raise ValueError(f"rounds={rounds} is not possible; give at least 1")
    objects = [_Object(k, b, s, k.labelled.copy()) for k, b, s in zip(keypoints, boxes, sizes, strict=True)]
    titles = [str(i) for i in range(len(objects))] if names is None else list(names)
    suspects = []
    for i, of in enumerate(objects):
        for (kind, points), finding in _go_through(denoiser, of, rounds, alarm).items():
            suspects.append(_suspect(i, titles[i], kind, points, of.keypoints, finding))
    return sorted(suspects, key=lambda s: (-s.score, s.index, s.kind, s.points))


def _go_through(denoiser: StructureModel, of: _Object, rounds: int, alarm: float) -> dict[_Question, _Finding]:
    """The findings of one object, each from the last round in which its points still counted."""
    found: dict[_Question, _Finding] = {}
    for remaining in reversed(range(rounds)):
        # A pair of which one point was taken away already is not asked again: what it would say is known.
        fresh = {q: f for q, f in _findings(denoiser, of).items() if of.trusted[list(q[1])].all()}
        found.update(fresh)
        # Scores end at the floor of the density: of several there, the culprit is the one without which the rest agrees.
        worst = max(fresh, key=lambda q: fresh[q].score - fresh[q].rest, default=None)
        # At least half of the points must stay, or there is nothing left to judge by.
        enough = of.trusted.sum() > 1 + of.keypoints.labelled.sum() / 2
        if worst is None or fresh[worst].score <= alarm or not enough or not remaining:
            break
        of.trusted[list(worst[1])] = False
        for point, score in zip(worst[1], fresh[worst].explained, strict=True):
            found["moved", (point,)] = replace(found["moved", (point,)], score=score)
    return found


def _suspect(index: int, title: str, kind: str, of: tuple[int, ...], points: Keypoints, finding: _Finding) -> Suspect:
    words = cast(Literal["moved", "swapped"], kind)
    places = [tuple((float(x), float(y)) for x, y in xy) for xy in (points.xy[list(of)], finding.expected)]
    names = tuple(points.schema.points[k] for k in of)
    return Suspect(index, title, words, names, finding.score, places[0], places[1])


def _findings(denoiser: StructureModel, of: _Object) -> dict[_Question, _Finding]:
    """The answer to each question about an object."""
    schema, labelled = denoiser.schema, of.keypoints.labelled
    questions: list[tuple[int, ...]] = [(k,) for k in np.flatnonzero(labelled).tolist()]
    for a, b in schema.swaps:
        pair = (schema.index(a), schema.index(b))
        questions += [pair] if labelled[list(pair)].all() else []
    if not questions:
        return {}
    given = np.repeat(of.trusted[None], len(questions), axis=0)
    for row, question in enumerate(questions):
        given[row, list(question)] = False
    boxes = [_box(denoiser, of, shown) for shown in given]
    places, maps = denoiser.framed([of.keypoints] * len(questions), boxes)
    expected, (as_named, exchanged) = denoiser.judge(places, given, places, places[:, list(schema.flip_order)])
    size = [denoiser.canvas[1], denoiser.canvas[0]]
    answers: dict[_Question, _Finding] = {}
    for row, question in enumerate(questions):
        points = list(question)
        at = transform_points(np.linalg.inv(maps[row]).astype(np.float64), expected[row, points] * size)
        named, other = as_named[row, points], exchanged[row, points]
        rest = float(as_named[row, given[row]].mean()) if given[row].any() else 0.0
        if len(points) == 1:
            answers["moved", question] = _Finding(float(named[0]), at, (float(named[0]),), rest)
        else:
            answers["swapped", question] = _Finding(float(named.sum() - other.sum()), at, tuple(other.tolist()), rest)
    return answers


def _box(denoiser: StructureModel, of: _Object, shown: Mask) -> Box:
    """The box of the points that are shown: one that lies astray would stretch it and make all the others look wrong."""
    rule = denoiser.card["box"]
    if rule["rule"] != "square" or shown.sum() < 2:
        return of.box
    kept = replace(of.keypoints, visibility=np.where(shown, of.keypoints.visibility, 0))
    return make_box(cast(BoxRule, rule["rule"]), kept, float(rule["scale"]), of.size[1], of.size[0])
