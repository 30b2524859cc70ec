"""What `snellen evaluate` says of the scores of each task."""

from typing import Any

__all__ = ["in_words"]


def in_words(scores: dict[str, Any]) -> str:
    """The scores of `snellen.evaluate` in one or a few lines."""
    if scores["task"] == "classification":
        return _of_classes(scores)
    if scores["task"] == "segmentation":
        return _of_labels(scores)
    if scores["task"] == "super-resolution":
        return _of_pictures(scores)
    if scores["task"] == "gaze":
        return _of_gaze(scores)
    if scores["task"] == "denoising":
        return _of_points(scores)
    return _of_keypoints(scores)


def _percent(value: float | None, digits: int = 2) -> str:
    return "not known" if value is None else f"{100 * value:.{digits}f} %"


def _of_classes(scores: dict[str, Any]) -> str:
    low, high = (_percent(v) for v in scores["interval"])
    text = (
        f"{scores['data']} {scores['split']}, {scores['images']} images: top-1 accuracy {_percent(scores['top1'])} "
        f"(95 % interval {low} to {high}), top-5 {_percent(scores['top5'])}; "
        f"confidence is off by {_percent(scores['ece'], 1)} (expected calibration error)"
    )
    if "corruption_error" in scores:
        text += (
            f"\ncorrupted, {scores['corrupted_images']} images a severity: error {_percent(scores['corruption_error'])}"
            f"\nperturbed, {scores['robust_images']} images: the answer changes between "
            f"{_percent(scores['mean_flip_probability'])} of the frames of sequences, and is the same for two shifts of "
            f"{_percent(scores['shift_consistency'], 1)}"
        )
    if "mce" in scores:
        text += (
            f"\nagainst {scores['baseline']}: mean corruption error (mCE) {_percent(scores['mce'], 1)}, "
            f"mean flip rate (mFR) {_percent(scores['mfr'], 1)} of its"
        )
    return text


def _of_labels(scores: dict[str, Any]) -> str:
    low, high = (_percent(v) for v in scores["interval"])
    text = (
        f"{scores['data']} {scores['split']}, {scores['images']} images: mean IoU {_percent(scores['mean_iou'])} "
        f"(95 % interval {low} to {high}), boundary F-score {_percent(scores['boundary_f'])}, "
        f"{_percent(scores['pixel_accuracy'])} of pixels right ({_percent(scores['class_accuracy'])} a class)"
    )
    if "shift_consistency" in scores:
        text += (
            f"\nmoved by one pixel: {_percent(scores['shift_consistency'])} of the pixels keep their label, "
            f"mean IoU {_percent(scores['shifted_mean_iou'])}"
        )
    return text


def _of_pictures(scores: dict[str, Any]) -> str:
    low, high = scores["interval"]
    return (
        f"{scores['data']} {scores['split']}, {scores['images']} pictures at twice their size: PSNR {scores['psnr']:.2f} dB "
        f"(95 % interval {low:.2f} to {high:.2f}), {scores['gain']:+.2f} dB over bicubic"
    )


def _of_gaze(scores: dict[str, Any]) -> str:
    unit = scores["unit"]
    low, high = scores["interval"]
    over = "" if low is None else f" (95 % interval over people {low:.2f} to {high:.2f})"
    kind = "angle" if unit == "degrees" else "distance"
    axes = ", ".join(f"{name} {value:.2f}" for name, value in scores["axes"].items())
    return (
        f"{scores['data']} {scores['split']}, {scores['images']} pictures of {scores['people']} people: mean {kind} to the "
        f"truth {scores['error']:.2f} {unit}{over}, median {scores['median']:.2f}; mean over people "
        f"{scores['person_mean']:.2f}; {axes} {unit}"
    )


def _of_keypoints(scores: dict[str, Any]) -> str:
    def pixels(value: float | None) -> str:
        return "not known" if value is None else f"{value:.2f} px"

    def failures(value: float) -> str:
        return _percent(value, 1)

    low, high = (_percent(v) for v in scores["interval"])
    ends = scores.get("intervals", {})
    of_median = " ({} to {})".format(*map(_percent, ends["median"])) if "median" in ends else ""
    of_failures = " ({} to {})".format(*map(failures, ends["failure_rate"])) if "failure_rate" in ends else ""
    of_groups = ", ".join(f"{name} {_percent(g['nme'])} ({g['images']} images)" for name, g in scores["groups"].items())
    return (
        f"{scores['data']} {scores['split']}, {scores['images']} images: mean error {_percent(scores['nme'])} of "
        f"{scores['normaliser']} (95 % interval {low} to {high}), median {_percent(scores['median'])}{of_median}, "
        f"failures above {100 * scores['failure_threshold']:g} %: {_percent(scores['failure_rate'], 1)}{of_failures}\n"
        f"points: median {pixels(scores['point_median_pixels'])}, 95th percentile {pixels(scores['point_p95_pixels'])}; "
        f"confidence is off by {_percent(scores['calibration_error'], 1)} (expected calibration error)"
        + (f"\ngroups: {of_groups}" if of_groups else "")
        + _of_millimetres(scores.get("millimetres"))
        + _of_denoiser(scores)
    )


def _of_millimetres(scores: dict[str, Any] | None) -> str:
    if not scores:
        return ""
    low, high = scores["interval"]
    within = ", ".join(f"{limit} mm {_percent(share, 1)}" for limit, share in scores["success"].items())
    return (
        f"\nmean radial error {scores['mean_radial_error']:.2f} mm (95 % interval {low:.2f} to {high:.2f}) on "
        f"{scores['images']} images of known scale; points within {within}"
    )


def _of_denoiser(scores: dict[str, Any]) -> str:
    hidden = "\na black rectangle hides a part of every image" if scores.get("occluded") else ""
    if "denoiser" not in scores:
        return hidden
    joined = scores["denoiser"]
    how = "fitted on validation images" if joined["fitted"] else "given"
    lines = [f"{hidden}\nwith the denoiser {joined['run']}, weight {joined['weight']:g} ({how}):"]
    for name, gain in joined["gains"].items():
        low, high = (f"{100 * v:+.2f}" for v in gain["interval"])
        lines.append(
            f"{name}, {gain['images']} images: {_percent(gain['first'])} without it, {_percent(gain['second'])} with it; "
            f"difference {100 * gain['difference']:+.2f} points (95 % interval {low} to {high})"
        )
    return "\n  ".join(lines)


def _of_points(scores: dict[str, Any]) -> str:
    low, high = (_percent(v) for v in scores["interval"])
    return (
        f"{scores['data']} {scores['split']}, {scores['images']} objects: points that were changed are put back to within "
        f"{_percent(scores['nme'])} of {scores['normaliser']} on average (95 % interval {low} to {high}), "
        f"{_percent(scores['noise_nme'])} before; surprise of the truth {scores['nats']:.2f} nats a point, "
        f"{scores['uniform_nats']:.2f} for a blind guess"
    )
