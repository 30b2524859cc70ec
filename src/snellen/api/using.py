"""Using a run: scores, the report, answers on new images, exported files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snellen.inference import Loaded
    from snellen.inference.command import Summary
    from snellen.inference.export import Exported


def evaluate(
    run: str | Path,
    *,
    split: str = "val",
    data: str | None = None,
    on_error: str | None = None,
    robustness: bool = True,
    flip: bool | None = None,
    decoder: str | None = None,
    corrupted: str | None = None,
    baseline: str | Path | None = None,
    denoiser: str | Path | None = None,
    denoiser_weight: float | str | None = None,
    occlude: bool = False,
) -> dict[str, Any]:
    """Score a run on a split of its data.

    Args:
        run: the run folder.
        split: "train", "val" or "test". Scoring a real data set's test split is counted in a ledger.
        data: folder of the data, where it is not the one the run was trained on.
        on_error: "raise" or "skip" broken files; by default as the run did in training.
        robustness: also measure, for keypoints, the error against box shift and scale; for classes, corruptions,
            perturbation sequences and shifts.
        flip: average with the answer on the mirror image, or do not; by default as the run's `evaluate.flip` says.
        decoder: for keypoints, "local" or "argmax"; by default the run's.
        corrupted: for classes, a folder of corrupted images as ImageNet-C is distributed (KIND/SEVERITY/class/image); by
            default images are corrupted here.
        baseline: for classes, a run that was scored on the same split: corruption errors and flip probabilities are also given
            relative to its (mCE and mFR).
        denoiser: for keypoints, run folder of a denoiser to join; scores without it come too, with paired differences.
        denoiser_weight: of its logits: a number, by default the paper's 1, or "fit" for the best on validation images.
        occlude: for keypoints, hide a part of each image behind a black rectangle, its sides 20 to 50 of 80 pixels.

    Returns:
        JSON-able numbers. Keypoints: nme (fraction of the normaliser), normaliser, interval, median, per_keypoint, images,
        groups (name: {nme, images}, where the data has named subsets), ... Classification: top1, top5, interval, ece,
        per_class, corruptions (kind: errors at severities 1 to 5), shift_consistency, ... Segmentation: mean_iou, interval,
        per_class_iou, boundary_f, ... Super-resolution: psnr (dB), interval, bicubic_psnr, ... Gaze: error (degrees or cm,
        `unit`), interval (over people), median, by_person, by_head_yaw, ... Denoising: nme (of
        changed points), interval, noise_nme, nats, ... Shares are fractions.
    """
    from snellen.evaluation.evaluate import evaluate_run

    return evaluate_run(
        run,
        split=split,
        data=data,
        on_error=on_error,
        robustness=robustness,
        flip=flip,
        decoder=decoder,
        corrupted=corrupted,
        baseline=baseline,
        denoiser=denoiser,
        denoiser_weight=denoiser_weight,
        occlude=occlude,
    )


def report(run: str | Path, *, split: str = "") -> Path:
    """Write report.html of a run from its newest evaluation, evaluating the validation split where there is none."""
    from snellen.evaluation.evaluate import report_run

    return report_run(run, split=split)


def load(
    run: str | Path,
    device: str | None = None,
    *,
    denoiser: str | Path | None = None,
    denoiser_weight: float = 1.0,
) -> "Loaded":
    """A trained model with its preprocessing.

    Args:
        run: a run folder, a file that `export` wrote, or the name of weights that come with the library (wings-rcn).
        device: where it runs; by default a GPU where there is one.
        denoiser: for keypoints, run folder of a denoiser whose logits are added to the model's.
        denoiser_weight: of these logits; 1 is the paper's.
    """
    from snellen.inference import load as load_run
    from snellen.inference import load_joint

    if denoiser is None:
        return load_run(run, device)
    return load_joint(run, denoiser, weight=denoiser_weight, device=device)


def predict(
    run: str | Path, files: str | Path | Sequence[str | Path], out: str | Path = "predictions.csv", **options: Any
) -> "Summary":
    """Run a model over files and write its answers, in the files' order, going on where an earlier call stopped.

    Args:
        run: as for `load`.
        files: pictures, folders, patterns, .txt lists and videos, one or many.
        out: the file to write.
        **options: fields of `snellen.inference.command.Options`: to, draw, boxes, locator, min_confidence, ...

    Returns:
        How many were answered and which were skipped.

    Raises:
        ConfigError: one sentence on what to change.
    """
    from snellen.inference.command import Options, predict_files

    return predict_files(run, files, out, Options(**options))


def export(run: str | Path, out: str | Path | None = None, *, format: str = "onnx", **options: Any) -> "Exported":
    """Write a keypoint model as one ONNX or .pt2 file, decoding included, and compare its answers with PyTorch's.

    Args:
        run: a run folder or the name of shipped weights.
        out: the file; by default model.onnx or model.pt2 in the run folder.
        format: "onnx" or "pt2".
        **options: further arguments of `snellen.inference.export_command.export_run`: samples, data, flip, opset, denoiser,
            denoiser_weight.

    Returns:
        The file and the largest difference, canvas pixels.

    Raises:
        ConfigError: where the answers differ by more than 0.05 px, and for a model without keypoints.
    """
    from snellen.inference.export_command import export_run

    return export_run(run, out, format=format, **options)
