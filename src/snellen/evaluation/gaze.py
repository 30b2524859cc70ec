"""Scoring a gaze run: angles or distances, by person."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from snellen.config import GazeConfig
from snellen.data import Split
from snellen.data.gaze_build import build_gaze
from snellen.data.gaze_canvas import GazeBatch, GazePartsBatch, GazePartsCanvas
from snellen.evaluation.gaze_record import GazeExample, GazeRecord
from snellen.evaluation.outcomes import ImageOutcomes
from snellen.evaluation.reports.history import run_facts
from snellen.evaluation.reports.inside import keep_inside
from snellen.evaluation.reports.pictures import choose
from snellen.inference import load
from snellen.inference.gazer import Gazer
from snellen.training.gaze_metrics import gaze_errors, summarise_gaze
from snellen.training.runs import RunFolder

__all__ = ["evaluate_gaze"]

#: Pictures of each row of the report's gallery.
GALLERY = 5


def evaluate_gaze(folder: RunFolder, config: GazeConfig, split: Split) -> dict[str, Any]:
    """Score a gaze run on a split, and keep what its report needs in the run folder.

    Args:
        folder: the run.
        config: its configuration, with what the caller asked to be different.
        split: "train", "val" or "test".

    Returns:
        The scores of `GazeScores`.
    """
    gazer = load(folder.path)
    assert isinstance(gazer, Gazer)  # the card says so, as the configuration does
    gazer.flip = config.evaluate.flip
    data = build_gaze(config.data, split)
    entries = data.entries
    pred = gazer.answers_of(data, batch_size=config.evaluate.batch_size)
    true = np.array([entry.target for entry in entries], dtype=np.float64)
    people, head_yaw = [e.person for e in entries], [e.head_yaw for e in entries]
    scores = {"flip": gazer.flip, **summarise_gaze(pred, true, people, head_yaw, data.answer).to_dict()}
    errors = gaze_errors(pred, true, data.answer)
    samples = []
    canvases = gazer.canvases(data)
    for kind, indices in choose(errors, GALLERY).items():
        for i in indices:
            batch = canvases.batch(**{name: value[None] for name, value in canvases[i].items()})
            samples.append(
                GazeExample(
                    kind,
                    _picture(batch),
                    batch.target[0].tolist(),
                    gazer.answers(batch)[0].tolist(),
                    float(errors[i]),
                    data.names[i],
                )
            )
    if not isinstance(canvases, GazePartsCanvas):  # iTracker has no gates
        keep_inside(gazer.model, canvases[0]["image"], folder.path, split)
    GazeRecord(
        dataset=config.data.format,
        split=split,
        scores=scores,
        samples=samples,
        canvas=config.data.canvas,
        answer=data.answer,
        pred=pred.tolist(),
        true=true.tolist(),
        **run_facts(folder, config),
    ).save(folder / f"predictions-{split}")
    # Pictures of one person are alike, so people are what is drawn when two runs are compared.
    names, places = np.unique(people, return_inverse=True)
    ImageOutcomes(
        metric="mean error", unit=scores["unit"], factor=1, better="min", curve="val/error", things="people",
        names=tuple(map(str, names)), numerator=np.bincount(places, errors)[:, None],
        denominator=np.bincount(places)[:, None].astype(np.float64), how={"flip": gazer.flip},
    ).save(folder.path, split)  # fmt: skip
    return {**scores, "parameters": gazer.card["parameters"], "skipped": len(getattr(data, "skipped", ()))}


def _picture(batch: GazeBatch | GazePartsBatch) -> NDArray[np.uint8]:
    """The canvas of the one picture of a batch; of parts, eyes and face side by side."""
    image = batch.image[0]
    joined = np.concatenate(list(image.numpy()), axis=-1) if isinstance(batch, GazePartsBatch) else image.numpy()
    return np.ascontiguousarray(joined.transpose(1, 2, 0).round().clip(0, 255).astype(np.uint8))
