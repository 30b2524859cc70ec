"""Robustness relative to a baseline network: mCE and mFR of ImageNet-C and ImageNet-P (Hendrycks and Dietterich 2019, 4)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snellen.config import ConfigError
from snellen.training.classification import corruption_error, flip_rate
from snellen.training.runs import RunFolder

__all__ = ["against_baseline", "read_baseline"]


def read_baseline(run: str | Path, split: str) -> dict[str, Any]:
    """The scores of a finished evaluation of another run, with its errors on corrupted images.

    Raises:
        ConfigError: where it has not been scored so.
    """
    folder = RunFolder(run)
    file = folder / f"evaluation-{split}.json"
    scores: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["scores"] if file.is_file() else {}
    if "corruptions" not in scores:
        raise ConfigError(
            f"{folder.path} has no errors on corrupted images of the {split} split; score it first: "
            f"snellen evaluate {folder.path} --split {split}"
        )
    return scores


def against_baseline(scores: Mapping[str, Any], baseline: Mapping[str, Any]) -> dict[str, Any]:
    """Corruption errors and flip probabilities over those of the baseline.

    Args:
        scores: of the run, see `snellen.evaluation.classes.class_robustness`.
        baseline: of the other, likewise.

    Returns:
        `baseline` (its folder), `relative_corruption_error` (by kind), `mce`, `relative_flip_probability` (by kind) and `mfr`:
        1 is as good as the baseline, less is better. The paper writes mCE and mFR in per cent.

    Raises:
        ConfigError: where the two were not scored on the same kinds, or numbers of images.
    """
    for key in ("robust_images", "corrupted_images"):
        if scores[key] != baseline[key]:
            raise ConfigError(
                f"{scores[key]} images were looked at for robustness, but {baseline[key]} for the baseline {baseline['run']}; "
                "score both with the same evaluate.robust_images and --corrupted"
            )
    try:
        kinds = {k: e for k, e in scores["corruptions"].items() if k not in scores.get("held_out", ())}
        errors = corruption_error(kinds, baseline["corruptions"])
        rates, mean_rate = flip_rate(scores["flip_probability"], baseline["flip_probability"])
    except ValueError as error:
        raise ConfigError(f"{baseline['run']} cannot be the baseline: {error}") from None
    return {
        "baseline": baseline["run"],
        "relative_corruption_error": dict(errors.relative),
        "mce": errors.mce,
        "relative_flip_probability": rates,
        "mfr": mean_rate,
    }
