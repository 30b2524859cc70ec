"""`EvaluationRecord`: everything a report needs, as plain arrays and text, so that a run is predicted once and shown often."""

import hashlib
import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from snellen.keypoints.schema import Schema
from snellen.training.calibration import Reliability, reliability
from snellen.training.metrics import (
    KeypointScores,
    grid80_error,
    grid80_normaliser,
    image_errors,
    normalised_errors,
    summarise,
)
from snellen.training.runs import packed, write_atomically

__all__ = ["CoarseToFine", "EvaluationRecord", "JitterPoint", "SampleEntry"]

FORMAT = "snellen-evaluation/1"


@dataclass(frozen=True, eq=False)
class SampleEntry:
    """One picture of the gallery.

    Attributes:
        kind: "best", "median" or "worst" (shown in that order), or any other word.
        canvas: (h, w, 3) uint8, what the network saw.
        pred: (k, 2) canvas pixels.
        true: (k, 2) canvas pixels, NaN where unlabelled.
        error: mean error of the image, a fraction of the record's normaliser.
        name: of the image.
    """

    kind: str
    canvas: NDArray[np.uint8]
    pred: NDArray[np.float64]
    true: NDArray[np.float64]
    error: float
    name: str


@dataclass(frozen=True, eq=False)
class CoarseToFine:
    """Heatmaps of one image, stage by stage.

    Attributes:
        name: of the image.
        canvas: (h, w, 3) uint8.
        stages: S labels, coarsest first, e.g. "5 x 5", ..., "80 x 80".
        heatmaps: (S, k, hh, ww) probabilities, stretched over the canvas; saved in half precision.
        note: how a stage was made, in one sentence.
    """

    name: str
    canvas: NDArray[np.uint8]
    stages: list[str]
    heatmaps: NDArray[np.floating[Any]]
    note: str = ""


@dataclass(frozen=True)
class JitterPoint:
    """The error at boxes that are off.

    Attributes:
        kind: "shift" or "scale".
        amount: for "shift" the distance as a fraction of the box's side (0 is none), for "scale" the factor on the side
            (1 is none).
        nme: the normalised mean error there, a fraction of the record's normaliser.
    """

    kind: Literal["shift", "scale"]
    amount: float
    nme: float


@dataclass(frozen=True, eq=False)
class EvaluationRecord:
    """Predictions of a run on a split, and the circumstances. What is unknown stays None or empty and is left out.

    Attributes:
        run: name of the run.
        dataset: name of the data.
        split: "train", "val" or "test".
        schema: the k points.
        normaliser: one of `schema.normaliser_names`.
        names: n names of images.
        pred: (n, k, 2) pixels of the original images.
        true: (n, k, 2) likewise, NaN where unlabelled.
        pred_canvas: (n, k, 2) canvas pixels.
        true_canvas: (n, k, 2) canvas pixels.
        canvas_size: (height, width).
        confidence: (n, k) in [0, 1], the probability mass within `radius_cells` of the prediction.
        correct: (n, k) whether the truth lies within that radius.
        radius_cells: the radius, in cells of the heatmap.
        threshold: error of an image above which it counts as a failure, a fraction.
        pck_thresholds: fractions.
        box_jitter: errors at shifted and scaled boxes.
        groups: positions of the images of each named subset.
        samples: pictures for the gallery.
        coarse_to_fine: heatmaps of one or two images.
        config: the resolved configuration.
        command: what was typed.
        versions: package to version, and whatever else names the circumstances ("device", "commit").
        train_seconds: time of training.
        steps: updates.
        parameters: trained numbers of the model.
        history: rows of metrics.csv: "step", "train/loss", "val/loss", "val/nme" (a fraction), "seconds"; a row may lack keys.
        denoiser: of a joint model: "run", "weight", "fitted", "gains" over the image model alone (evaluation/joint.py).
        occluded: whether a black rectangle hid a part of each image.
        scales: (n,) millimetres a pixel of the original images, NaN where not known.

    Raises:
        ValueError: at construction, for shapes that do not fit together.
    """

    run: str
    dataset: str
    split: str
    schema: Schema
    normaliser: str
    names: list[str]
    pred: NDArray[np.float64]
    true: NDArray[np.float64]
    pred_canvas: NDArray[np.float64] | None = None
    true_canvas: NDArray[np.float64] | None = None
    canvas_size: tuple[int, int] | None = None
    confidence: NDArray[np.float64] | None = None
    correct: NDArray[np.bool_] | None = None
    radius_cells: float = 2.5
    threshold: float = 0.1
    pck_thresholds: tuple[float, ...] = (0.02, 0.05, 0.1)
    box_jitter: list[JitterPoint] = field(default_factory=list)
    groups: dict[str, list[int]] = field(default_factory=dict)
    samples: list[SampleEntry] = field(default_factory=list)
    coarse_to_fine: list[CoarseToFine] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    train_seconds: float | None = None
    steps: int | None = None
    parameters: int | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    denoiser: dict[str, Any] = field(default_factory=dict)
    occluded: bool = False
    scales: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        n, k = len(self.names), len(self.schema)
        for name in ("pred", "true", "pred_canvas", "true_canvas", "confidence", "correct"):
            shape = (n, k) if name in ("confidence", "correct") else (n, k, 2)
            value = getattr(self, name)
            if value is not None and np.shape(value) != shape:
                raise ValueError(f"{name} is {np.shape(value)}, but {n} names and {k} points make it {shape}")
        if self.scales is not None and np.shape(self.scales) != (n,):
            raise ValueError(f"scales is {np.shape(self.scales)}, but {n} names make it {(n,)}")
        if self.normaliser not in self.schema.normaliser_names:
            names = ", ".join(self.schema.normaliser_names)
            raise ValueError(f"schema {self.schema.name!r} has no normaliser {self.normaliser!r}; it has {names}")
        for sample in self.samples:
            if sample.pred.shape != (k, 2) or sample.true.shape != (k, 2) or sample.canvas.shape[2:] != (3,):
                raise ValueError(f"sample {sample.name!r} needs a canvas (h, w, 3) and points ({k}, 2)")
        for view in self.coarse_to_fine:
            if view.heatmaps.shape[:2] != (len(view.stages), k) or view.heatmaps.ndim != 4:
                raise ValueError(
                    f"heatmaps {view.heatmaps.shape} must be ({len(view.stages)} stages, {k} points, h, w)"
                )

    def errors(self) -> NDArray[np.float64]:
        """(n, k) errors as fractions of the normaliser; NaN where unlabelled."""
        return normalised_errors(self.pred, self.true, self.schema, self.normaliser)

    def errors_of_images(self) -> NDArray[np.float64]:
        """(n,) mean errors of the images, fractions; NaN where an image has no labelled point."""
        return image_errors(self.errors())

    def scores(self, normaliser: str | None = None) -> KeypointScores:
        """All numbers, by the record's normaliser or another one of the schema."""
        return summarise(
            self.pred,
            self.true,
            self.schema,
            normaliser or self.normaliser,
            threshold=self.threshold,
            pck_thresholds=self.pck_thresholds,
        )

    def grid80(self) -> float | None:
        """The paper's own metric (`grid80_error`), a fraction by `grid80_normaliser`; None without canvas coordinates."""
        if self.pred_canvas is None or self.true_canvas is None or self.canvas_size is None:
            return None
        normaliser = grid80_normaliser(self.schema, self.normaliser)
        return grid80_error(self.pred_canvas, self.true_canvas, self.schema, normaliser, self.canvas_size)

    def reliability(self, bins: int = 15, *, equal_mass: bool = False) -> Reliability | None:
        """Calibration over the labelled points; None where there are no confidences."""
        if self.confidence is None or self.correct is None:
            return None
        judged = ~np.isnan(self.true).any(axis=-1) & np.isfinite(self.confidence)
        return (
            reliability(self.confidence[judged], self.correct[judged], bins, equal_mass=equal_mass)
            if judged.any()
            else None
        )

    def save(self, path: str | Path) -> Path:
        """Write `path`.npz and `path`.json, each under a temporary name first; returns the path of the JSON file."""
        array_file, text_file = _files(path)
        arrays: dict[str, NDArray[Any]] = {}
        for name in ("pred", "true", "pred_canvas", "true_canvas", "confidence", "correct", "scales"):
            if getattr(self, name) is not None:
                arrays[name] = np.asarray(getattr(self, name))
        for i, sample in enumerate(self.samples):
            arrays |= {f"sample{i}_{name}": getattr(sample, name) for name in ("canvas", "pred", "true")}
        for i, view in enumerate(self.coarse_to_fine):
            arrays |= {f"view{i}_canvas": view.canvas, f"view{i}_heatmaps": view.heatmaps.astype(np.float16)}
        content = packed(arrays)
        text = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in arrays}
        text |= {
            "format": FORMAT,
            "arrays_sha256": hashlib.sha256(content).hexdigest(),
            "schema": self.schema.to_dict(),
            "box_jitter": [asdict(point) for point in self.box_jitter],
            "samples": [{"kind": s.kind, "error": s.error, "name": s.name} for s in self.samples],
            "coarse_to_fine": [{"name": v.name, "stages": v.stages, "note": v.note} for v in self.coarse_to_fine],
        }
        write_atomically(array_file, content)
        write_atomically(text_file, json.dumps(_plain(text), indent=1, allow_nan=False) + "\n")
        return text_file

    @classmethod
    def load(cls, path: str | Path) -> "EvaluationRecord":
        """Read what `save` wrote; `path` with or without its ending.

        Raises:
            FileNotFoundError: where one of the two files is missing.
            ValueError: where the two do not belong together or are of another format.
        """
        array_file, text_file = _files(path)
        text = json.loads(text_file.read_text(encoding="utf-8"))
        content = array_file.read_bytes()
        if text.pop("format", None) != FORMAT:
            raise ValueError(f"{text_file} is not a record of format {FORMAT}; evaluate the run again")
        if hashlib.sha256(content).hexdigest() != text.pop("arrays_sha256", None):
            raise ValueError(
                f"{array_file.name} and {text_file.name} are of different evaluations; evaluate the run again"
            )
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        text["schema"] = Schema.from_dict(text["schema"])
        text["canvas_size"] = tuple(text["canvas_size"]) if text["canvas_size"] else None
        text["pck_thresholds"] = tuple(text["pck_thresholds"])
        text["box_jitter"] = [JitterPoint(p["kind"], p["amount"], _number(p["nme"])) for p in text["box_jitter"]]
        text["samples"] = [
            SampleEntry(
                s["kind"],
                arrays.pop(f"sample{i}_canvas"),
                arrays.pop(f"sample{i}_pred"),
                arrays.pop(f"sample{i}_true"),
                _number(s["error"]),
                s["name"],
            )
            for i, s in enumerate(text["samples"])
        ]
        text["coarse_to_fine"] = [
            CoarseToFine(
                v["name"], arrays.pop(f"view{i}_canvas"), v["stages"], arrays.pop(f"view{i}_heatmaps"), v["note"]
            )
            for i, v in enumerate(text["coarse_to_fine"])
        ]
        return cls(**{**text, **arrays})


def _files(path: str | Path) -> tuple[Path, Path]:
    stem = Path(path)
    if stem.suffix in (".npz", ".json"):  # only these: a run may be called "v1.2"
        stem = stem.with_suffix("")
    return stem.with_name(stem.name + ".npz"), stem.with_name(stem.name + ".json")


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _plain(value: Any) -> Any:
    """Numbers, strings, lists and dicts only; a number that is not finite becomes None, as JSON has no word for it."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
