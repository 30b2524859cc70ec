"""What a denoiser adds to a keypoint model: the weight that suits it, paired differences, both models' words on an image."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from snellen.config import AugmentConfig, ConfigError, KeypointConfig
from snellen.data import CanvasDataset, KeypointDataset, evaluation_loader
from snellen.evaluation.record import CoarseToFine
from snellen.inference import Localiser
from snellen.keypoints.codecs import decode
from snellen.models import JointNet
from snellen.models.joint import Voices
from snellen.training.metrics import bootstrap_interval, image_errors, normalised_errors

__all__ = [
    "OCCLUSION",
    "VOICES",
    "WEIGHTS",
    "Conditions",
    "Gain",
    "fit_weight",
    "occluded",
    "paired_gains",
    "parse_weight",
    "plain_gains",
    "three_voices",
]

#: Sides of the black rectangle, as shares of the canvas: 20 to 50 of 80 pixels (rcn.md 3.5).
OCCLUSION = (20 / 80, 50 / 80)
#: Weights of the denoiser that are tried on validation images; 0 is the image model alone, 1 the paper's.
WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0)
#: Stages of the figure that `three_voices` makes.
VOICES = ["image model", "structure model", "together"]


@dataclass(frozen=True)
class Conditions:
    """How a keypoint run is scored beside the usual.

    Attributes:
        denoiser: run folder of a denoiser to join, or None.
        weight: of its logits; "fit" chooses the best of `WEIGHTS` on the validation images.
        occlude: hide a part of each image behind a black rectangle.
        name: of the files that are written, after the split; None makes it of the conditions.
    """

    denoiser: str | None = None
    weight: float | Literal["fit"] = 1.0
    occlude: bool = False
    name: str | None = None

    @property
    def suffix(self) -> str:
        """Of the names of files, so that scores of other conditions are kept beside the plain ones."""
        if self.name is not None:
            return self.name
        return ("-denoised" if self.denoiser is not None else "") + ("-occluded" if self.occlude else "")


@dataclass(frozen=True)
class Gain:
    """The error of two models on the same images, fractions of the normaliser; below 0 the second is better.

    Attributes:
        first: mean error of the first model.
        second: of the second.
        difference: second minus first, the mean over images.
        interval: 95 % bootstrap interval of the difference, over images: what both find hard cancels.
        images: how many.
    """

    first: float
    second: float
    difference: float
    interval: tuple[float, float]
    images: int


def parse_weight(weight: float | str | None) -> float | Literal["fit"]:
    """A weight as the command line and Python give it: a number of 0 or more, or "fit"; by default the paper's 1.

    >>> parse_weight("0.5"), parse_weight(None)
    (0.5, 1.0)
    """
    if weight is None:
        return 1.0
    if weight == "fit":
        return "fit"
    try:
        number = float(weight)
    except ValueError:
        number = float("nan")
    if not (np.isfinite(number) and number >= 0):
        raise ConfigError(f"the denoiser's weight is a number of 0 or more, or fit, not {weight!r}")
    return number


def occluded(changes: AugmentConfig) -> AugmentConfig:
    """The same changes, with a black rectangle in every image; drawn once an image, so models are compared on the same ones."""
    return replace(changes, rectangle=OCCLUSION, rectangle_probability=1.0)


def paired_gains(first: ArrayLike, second: ArrayLike) -> dict[str, Gain]:
    """Differences between two models over all images and over the hardest tenth.

    The hardest tenth (at least one image) has the highest *mean of both* models' errors: chosen by the first one's errors
    alone, the second would look better there by regression to the mean, even if it were the same model with other noise.

    Args:
        first: (n,) mean errors of the images; NaN for images that do not count.
        second: (n,) of the other model.

    Raises:
        ValueError: where no image counts for both.

    >>> paired_gains([0.1, 0.2, 0.9], [0.1, 0.2, 0.6])["hardest tenth"].difference
    -0.3...
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    both = np.isfinite(a) & np.isfinite(b)
    if not both.any():
        raise ValueError("no image has an error of both models, so there is nothing to compare")
    a, b = a[both], b[both]
    hardest = np.argsort(-(a + b), kind="stable")[: max(1, len(a) // 10)]
    return {"all": _gain(a, b), "hardest tenth": _gain(a[hardest], b[hardest])}


def _gain(a: NDArray[np.float64], b: NDArray[np.float64]) -> Gain:
    return Gain(float(a.mean()), float(b.mean()), float((b - a).mean()), bootstrap_interval(b - a), len(a))


def plain_gains(gains: dict[str, Gain]) -> dict[str, Any]:
    """For JSON."""
    return {name: asdict(gain) for name, gain in gains.items()}


@torch.inference_mode()
def _voices(localiser: Localiser, canvases: torch.Tensor) -> Voices:
    """What both models say of canvases, averaged with the mirror image's where the localiser asks that too."""
    model = localiser.model
    if not isinstance(model, JointNet):
        raise TypeError("this localiser has no denoiser; load it with load_joint")
    device = next(model.parameters()).device
    x = canvases.to(device).contiguous(memory_format=torch.channels_last)
    found = model.voices(x)
    if not localiser.flip:
        return found
    order = list(localiser.schema.flip_order)
    mirrored = model.voices(x.flip(-1))
    return Voices(*((a + m.flip(-1)[:, order]) / 2 for a, m in zip(found, mirrored, strict=True)))


def fit_weight(
    localiser: Localiser,
    samples: KeypointDataset,
    config: KeypointConfig,
    *,
    augment: AugmentConfig,
    weights: Sequence[float] = WEIGHTS,
) -> tuple[float, dict[float, float]]:
    """The weight of the denoiser with the lowest mean error, of a few.

    Args:
        localiser: a joint model (`load_joint`).
        samples: validation images.
        config: of the keypoint run: normaliser, decoder, batch size.
        augment: changes to the images: the run's validation changes.
        weights: to try; the first of equals is taken.

    Returns:
        The weight, and the mean error at each weight, fractions of the normaliser.

    Raises:
        ConfigError: where no image has an error.
    """
    evaluate, schema = config.evaluate, localiser.schema
    normaliser = evaluate.normaliser or schema.default_normaliser
    errors: dict[float, list[NDArray[np.float64]]] = {w: [] for w in weights}
    for batch in evaluation_loader(CanvasDataset(samples, localiser.canvas, augment, seed=0), evaluate.batch_size):
        said = _voices(localiser, batch.image)
        inverse = np.linalg.inv(batch.matrix.numpy())
        back = inverse[:, :2, :2].transpose(0, 2, 1), inverse[:, None, :2, 2]
        true = np.where(batch.labelled.numpy()[..., None], batch.xy.double().numpy(), np.nan) @ back[0] + back[1]
        for weight, found in errors.items():
            logits = said.image + weight * said.structure
            xy = decode(
                logits, localiser.decoder, window=evaluate.window, stride=localiser.stride, canvas=localiser.canvas
            ).xy.double()
            found.append(
                image_errors(normalised_errors(xy.cpu().numpy() @ back[0] + back[1], true, schema, normaliser))
            )
    means = {w: np.concatenate(found) for w, found in errors.items()}
    curve = {w: float(np.mean(e[np.isfinite(e)])) for w, e in means.items() if np.isfinite(e).any()}
    if not curve:
        raise ConfigError(
            f"no validation image has the distance {normaliser!r}, so no weight can be fitted; give a number"
        )
    return min(curve, key=lambda w: (curve[w], w)), curve


def three_voices(localiser: Localiser, name: str, picture: NDArray[np.uint8], canvas: torch.Tensor) -> CoarseToFine:
    """An image with the probabilities of the image model, of the structure model, and of both together."""
    said = _voices(localiser, canvas[None])
    weight = localiser.model.weight if isinstance(localiser.model, JointNet) else 0.0
    maps = [said.image, said.structure, said.image + weight * said.structure]
    shown = [torch.softmax(m[0].float().flatten(1), dim=-1).unflatten(1, m.shape[-2:]) for m in maps]
    note = (
        "What the picture says, what the structure says of the points that the image model found, and the product of the two "
        f"(the structure's logits with weight {weight:g})."
    )
    return CoarseToFine(name, picture, list(VOICES), torch.stack(shown).cpu().numpy(), note)
