"""A model's answers on a data set, at given boxes: what every evaluation starts from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from snellen.config import AugmentConfig
from snellen.data import CanvasDataset, KeypointDataset, evaluation_loader
from snellen.inference.localiser import Localiser
from snellen.training.zoom_loss import point_boxes

__all__ = ["Predictions", "predict_dataset"]


@dataclass(frozen=True)
class Predictions:
    """Answers for n images.

    Attributes:
        pred: (n, k, 2), pixels of the original images.
        true: (n, k, 2), likewise; NaN where unlabelled.
        pred_canvas: (n, k, 2), canvas pixels.
        true_canvas: (n, k, 2), canvas pixels.
        confidence: (n, k) in 0..1.
    """

    pred: NDArray[np.float64]
    true: NDArray[np.float64]
    pred_canvas: NDArray[np.float64]
    true_canvas: NDArray[np.float64]
    confidence: NDArray[np.float64]


def predict_dataset(
    localiser: Localiser, samples: KeypointDataset, *, batch_size: int = 64, augment: AugmentConfig | None = None
) -> Predictions:
    """Run a model over a data set, each image shown at its box.

    Args:
        localiser: the model.
        samples: images with truth, of the model's schema.
        batch_size: images at a time.
        augment: changes to the images, drawn once an image (a run's validation settings); none by default.

    Raises:
        ValueError: where the data's schema is not the model's.
    """
    if samples.schema.points != localiser.schema.points:
        raise ValueError(
            f"the model knows {localiser.schema.name!r} ({len(localiser.schema)} points) but the data is annotated as "
            f"{samples.schema.name!r} ({len(samples.schema)} points); choose data of the model's schema"
        )
    canvases = CanvasDataset(samples, localiser.canvas, augment or AugmentConfig(), seed=0)
    parts = []
    for batch in evaluation_loader(canvases, batch_size):
        boxes = point_boxes(batch.xy, batch.labelled) if localiser.model.needs_boxes else None
        found = localiser.locate(batch.image, boxes)
        inverse = np.linalg.inv(batch.matrix.numpy())
        pred_canvas, true_canvas = found.xy.double().numpy(), batch.xy.double().numpy()
        true_canvas = np.where(batch.labelled.numpy()[..., None], true_canvas, np.nan)
        pred, true = (
            p @ inverse[:, :2, :2].transpose(0, 2, 1) + inverse[:, None, :2, 2] for p in (pred_canvas, true_canvas)
        )
        parts.append((pred, true, pred_canvas, true_canvas, found.confidence.double().numpy()))
    return Predictions(*(np.concatenate(column) for column in zip(*parts, strict=True)))
