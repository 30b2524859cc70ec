"""Scoring a classification run: accuracy, calibration, and how it stands up to corruptions, small changes and shifts."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snellen.config import ClassificationConfig
from snellen.data import ClassificationCanvas, Split, evaluation_loader
from snellen.data.class_readers import ClassFolders
from snellen.data.class_views import ClassPart, Frames, ShiftOf
from snellen.data.classes import ClassificationDataset
from snellen.data.corruptions import CORRUPTIONS, HELD_OUT, IMAGENET_KINDS, PERTURBATIONS, Corrupted
from snellen.data.files import DataError
from snellen.data.views import spread
from snellen.evaluation.class_record import ClassRecord, ClassSample
from snellen.evaluation.outcomes import ImageOutcomes
from snellen.evaluation.reports.history import run_facts
from snellen.evaluation.reports.inside import keep_inside
from snellen.inference import load
from snellen.inference.classifier import Classifier
from snellen.training.calibration import reliability
from snellen.training.classification import (
    confusion_matrix,
    corruption_error,
    flip_probability,
    probabilities,
    shift_consistency,
    summarise_classes,
)
from snellen.training.jobs.classification import class_images
from snellen.training.runs import RunFolder

__all__ = ["class_robustness", "evaluate_classes"]

SEVERITIES = (1, 2, 3, 4, 5)
#: Pictures in the report: right and unsure, wrong and sure.
GALLERY = 8


def evaluate_classes(
    folder: RunFolder, config: ClassificationConfig, split: Split, *, robustness: bool
) -> dict[str, Any]:
    """Score a classification run on a split, and keep what its report needs in the run folder.

    Args:
        folder: the run.
        config: its configuration, with what the caller asked to be different.
        split: "train", "val" or "test".
        robustness: also measure corruptions, perturbation sequences and shifts (`class_robustness`).

    Returns:
        The scores of `summarise_classes` as fractions, the pairs of classes that are confused most, and the robustness.
    """
    classifier = load(folder.path)
    assert isinstance(classifier, Classifier)  # the card says so, as the configuration does
    classifier.flip = config.evaluate.flip
    data = class_images(config, split, classifier.classes)
    logits, labels = classifier.logits_of(data, batch_size=config.evaluate.batch_size)
    scores = summarise_classes(logits, labels)
    predicted = logits.argmax(axis=1)
    robust = class_robustness(classifier, data, config) if robustness else {}
    _record(folder, config, split, data, logits, labels, robust).save(folder / f"predictions-{split}")
    fit, zoom = classifier.card["fit"], float(classifier.card["zoom"])
    first = next(
        iter(evaluation_loader(ClassificationCanvas(ClassPart(data, [0]), classifier.canvas, fit=fit, zoom=zoom), 1))
    )
    keep_inside(classifier.model, first.image[0], folder.path, split)
    ImageOutcomes.of_means(
        predicted == labels, data.names, metric="top-1 accuracy", unit="%", factor=100, better="max", curve="val/top1",
        how={"flip": classifier.flip},
    ).save(folder.path, split)  # fmt: skip
    return {
        "flip": classifier.flip,
        **scores.to_dict(),
        "per_class": dict(zip(data.classes, scores.to_dict()["per_class"], strict=True)),
        "confused": _confused(predicted, labels, data.classes),
        **robust,
        "parameters": classifier.card["parameters"],
        "skipped": len(data.skipped),
    }


def class_robustness(
    classifier: Classifier, data: ClassificationDataset, config: ClassificationConfig
) -> dict[str, Any]:
    """How answers stand up to changes of the images, on `evaluate.robust_images` of them.

    Returns:
        Fractions: `corruptions` (kind: errors at severities 1 to 5), `corruption_error` (the mean of all but the kinds named by
        `held_out`: of ImageNet-C's the four that its authors hold out), `flip_probability`
        (perturbation: how often the class changes along a sequence), `mean_flip_probability`, `shift_consistency`;
        `robust_images` of the split were perturbed, `corrupted_images` a severity corrupted, here or in the folder named.
    """
    evaluate = config.evaluate
    part = ClassPart(data, spread(len(data), evaluate.robust_images))

    def answers(
        images: ClassificationDataset, zoom: float | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        logits, labels = classifier.logits_of(images, batch_size=evaluate.batch_size, zoom=zoom)
        return logits.argmax(axis=1), labels

    errors: dict[str, list[float]] = {}
    corrupted = len(part)
    for kind, versions in _corrupted(part, config, classifier):
        outcomes = [answers(images, _zoom(images, config, classifier)) for images in versions]
        corrupted = len(outcomes[0][1])
        errors[kind] = [float((predicted != labels).mean()) for predicted, labels in outcomes]
    published = evaluate.corrupted is not None or evaluate.severities == "imagenet"
    held_out = [kind for kind in errors if published and kind in HELD_OUT]
    if len(held_out) == len(errors):  # nothing else was asked for
        held_out = []
    averaged = {kind: e for kind, e in errors.items() if kind not in held_out}
    flips = {}
    for kind, against in PERTURBATIONS.items():
        predicted, _ = answers(Frames(part, kind, evaluate.frames))
        flips[kind] = flip_probability(predicted.reshape(len(part), evaluate.frames), against=against)
    first, second = (answers(ShiftOf(part, evaluate.largest_shift, which))[0] for which in (0, 1))
    return {
        "corruptions": errors,
        "held_out": held_out,
        "corruption_error": corruption_error(averaged).mean_error,
        "flip_probability": flips,
        "mean_flip_probability": float(np.mean(list(flips.values()))),
        "shift_consistency": shift_consistency(first, second),
        "robust_images": len(part),
        "corrupted_images": corrupted,
    }


def _corrupted(
    part: ClassificationDataset, config: ClassificationConfig, classifier: Classifier
) -> Iterator[tuple[str, Iterator[ClassificationDataset]]]:
    """Each kind of corruption with its images at severities 1 to 5: made of `part`, or read from the folder that is named."""
    evaluate = config.evaluate
    if evaluate.corrupted is None:
        all_kinds = CORRUPTIONS if evaluate.severities == "cifar" else IMAGENET_KINDS[: -len(HELD_OUT)]
        for kind in evaluate.corruptions or all_kinds:
            yield kind, (Corrupted(part, kind, s, severities=evaluate.severities) for s in SEVERITIES)
        return
    root = Path(evaluate.corrupted)
    # Each archive of ImageNet-C (noise, blur, ...) may have been unpacked to a folder of its own.
    found = {f.parent.name: f.parent for pattern in ("*/1", "*/*/1") for f in sorted(root.glob(pattern)) if f.is_dir()}
    if not found:
        raise DataError(
            f"{root} holds no corrupted images; give the folder of KIND/SEVERITY/class/image, as ImageNet-C has it"
        )
    for kind, folder in sorted(found.items()):
        yield kind, (_folder(folder / str(s), config, classifier) for s in SEVERITIES)


def _zoom(images: ClassificationDataset, config: ClassificationConfig, classifier: Classifier) -> float | None:
    """1 for pictures read that were cropped to the canvas by whoever corrupted them, as ImageNet-C's: not cropped again."""
    read = config.evaluate.corrupted is not None
    return 1.0 if read and tuple(images[0].image.shape[-2:]) == classifier.canvas else None


def _folder(folder: Path, config: ClassificationConfig, classifier: Classifier) -> ClassificationDataset:
    images = ClassFolders(
        folder, classes=classifier.classes, channels=config.data.channels, on_error=config.data.on_error, cache_mb=0
    )
    return ClassPart(images, spread(len(images), config.evaluate.robust_images))


def _confused(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], classes: Sequence[str], count: int = 10
) -> list[dict[str, Any]]:
    """The pairs of classes that are taken for each other most often, as shares of the true class's images."""
    counts = confusion_matrix(predicted, labels, len(classes)).astype(np.float64)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(share, 0)
    order = np.argsort(-share, axis=None, kind="stable")[:count]
    pairs = [divmod(int(i), len(classes)) for i in order if share.flat[i] > 0]
    return [{"true": classes[t], "answer": classes[p], "share": float(share[t, p])} for t, p in pairs]


def _record(
    folder: RunFolder,
    config: ClassificationConfig,
    split: str,
    data: ClassificationDataset,
    logits: NDArray[np.float64],
    labels: NDArray[np.int64],
    robust: dict[str, Any],
) -> ClassRecord:
    """Everything the report shows, so that it can be drawn again without the data."""
    p = probabilities(logits)
    predicted, sure = p.argmax(axis=1), p.max(axis=1)
    right = predicted == labels
    chosen = {
        "wrong and sure": [i for i in np.argsort(-sure, kind="stable") if not right[i]][:GALLERY],
        "right and unsure": [i for i in np.argsort(sure, kind="stable") if right[i]][:GALLERY],
    }
    samples = [
        ClassSample(
            kind, data[int(i)].image.permute(1, 2, 0).numpy(), data.classes[labels[i]], data.classes[predicted[i]],
            float(sure[i]), data.names[int(i)],
        )
        for kind, indices in chosen.items() for i in indices
    ]  # fmt: skip
    return ClassRecord(
        dataset=config.data.format,
        split=split,
        classes=list(data.classes),
        scores=summarise_classes(logits, labels).to_dict(),
        calibration=reliability(sure, right),
        confused=_confused(predicted, labels, data.classes),
        robustness=robust,
        samples=samples,
        canvas=config.data.canvas,
        **run_facts(folder, config),
    )
