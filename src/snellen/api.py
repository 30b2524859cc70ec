"""The verbs, as typed functions: the command line and Python call the same ones.

Nothing heavy is imported at the top, so that `import snellen` and `snellen --help` answer at once.
"""

import fnmatch
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from snellen.config import RunConfig, override

if TYPE_CHECKING:
    from snellen.evaluation.check import CheckReport
    from snellen.inference import Loaded
    from snellen.inference.command import Summary
    from snellen.inference.export import Exported

__all__ = [
    "check",
    "claims",
    "compare",
    "compare_runs",
    "convert",
    "cross_validate",
    "evaluate",
    "export",
    "load",
    "models",
    "predict",
    "recipes",
    "report",
    "reproduce",
    "resolve",
    "resume",
    "train",
    "train_config",
]


def recipes(pattern: str = "*") -> dict[str, str]:
    """Built-in recipes whose names match a shell pattern, with a line on each."""
    from snellen.recipes import list_recipes

    return {name: line for name, line in list_recipes().items() if fnmatch.fnmatch(name, pattern)}


def models(pattern: str = "*") -> list[str]:
    """Registered models whose names match a shell pattern."""
    from snellen.models import list_models

    return list(list_models(pattern))


def resolve(recipe: str, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """A recipe with settings changed, by dotted names.

    >>> resolve("wings-rcn", {"train.batch_size": 8}).train.batch_size
    8
    """
    from snellen.recipes import read_recipe

    return override(read_recipe(recipe), overrides or {})


def train(recipe: str, *, seed: int | None = None, **overrides: Any) -> Path:
    """Train a model by a recipe.

    Args:
        recipe: a built-in name (see `recipes`) or the path of a YAML file.
        seed: shorthand for the setting of that name.
        **overrides: settings by dotted names, e.g. ``**{"data.root": "faces", "train.steps": 500}``.

    Returns:
        The run folder.

    Raises:
        ConfigError, DataError, AnnotationError: one sentence on what to change.
    """
    if seed is not None:
        overrides["seed"] = seed
    changed = " ".join(f"--{key} {shlex.quote(str(value))}" for key, value in overrides.items())
    return train_config(resolve(recipe, overrides), command=f"snellen train {recipe} {changed}".strip())


def train_config(config: RunConfig, *, command: str = "") -> Path:
    """Train a model by a resolved configuration; returns the run folder."""
    from snellen.training.fit import fit

    return fit(config, command=command).path


def cross_validate(config: RunConfig, folds: int, *, command: str = "") -> dict[str, Any]:
    """Train and validate a run for each of `folds` parts of a user's own files; the error over all images, each when held out.

    Returns:
        nme, interval, folds, normaliser, images, runs (`snellen.evaluation.folds.cross_validate`).
    """
    from snellen.evaluation.folds import cross_validate as run_folds

    return run_folds(config, folds, command=command)


def resume(run: str | Path) -> Path:
    """Go on with a run that was interrupted; returns the run folder."""
    from snellen.training.fit import fit
    from snellen.training.runs import RunFolder

    folder = RunFolder(run)
    config = folder.config()
    return fit(config, command=str(folder.info().get("command", "")), resume=folder).path


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
    run: str | Path, files: Sequence[str | Path], out: str | Path = "predictions.csv", **options: Any
) -> "Summary":
    """Run a model over files and write its answers, in the files' order, going on where an earlier call stopped.

    Args:
        run: as for `load`.
        files: pictures, folders, patterns, .txt lists and videos.
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
        **options: further arguments of `snellen.inference.export_command.export_run`: samples, data, flip, opset.

    Returns:
        The file and the largest difference, canvas pixels.

    Raises:
        ConfigError: where the answers differ by more than 0.05 px, and for a model without keypoints.
    """
    from snellen.inference.export_command import export_run

    return export_run(run, out, format=format, **options)


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
        denoiser=denoiser,
        denoiser_weight=denoiser_weight,
        occlude=occlude,
    )


def report(run: str | Path, *, split: str = "") -> Path:
    """Write report.html of a run from its newest evaluation, evaluating the validation split where there is none."""
    from snellen.evaluation.evaluate import report_run

    return report_run(run, split=split)


def check(
    path: str | Path,
    *,
    format: str = "auto",
    schema: str | None = None,
    origin: float | None = None,
    root: str | None = None,
    test: str | None = None,
    sheet: str | None = None,
    write: str | None = None,
    workers: int = 0,
    scale_unit: float = 1.0,
    denoiser: str | Path | None = None,
    suspects: str | None = None,
    max_pixels: int = 120_000_000,
    grey_range: tuple[float, float] | None = None,
) -> "CheckReport":
    """Look at annotations and their images before training.

    Args:
        path: the annotation file, or the folder that holds it.
        format: its format (docs/data.md); by default recognised.
        schema: name of a built-in schema; by default the file names the points.
        origin: coordinate that the file gives the centre of the top-left pixel; by default the format's own.
        root: folder of the images; by default where the format has them.
        test: annotations of a separate test, to look for leaks.
        sheet: PNG to draw a contact sheet into.
        write: YAML file to propose a recipe in; it must not exist.
        workers: processes; 0 takes one a core.
        scale_unit: for TPS, millimetres in the unit of SCALE.
        denoiser: run folder of a denoiser of the same points, which names those that lie where they hardly can.
        suspects: folder for pictures of what the denoiser names.
        max_pixels: pictures with more (width x height) are not read, which is an error.
        grey_range: values of 16-bit grey that become black and white; by default 0 and 65535.

    Returns:
        What was found; `must_fix` says whether training should wait.

    Raises:
        ConfigError, AnnotationError: one sentence on what to change.
    """
    from snellen.evaluation.check_command import check_path

    return check_path(
        path,
        format=format,
        schema=schema,
        origin=origin,
        root=root,
        test=test,
        sheet=sheet,
        write=write,
        workers=workers,
        scale_unit=scale_unit,
        denoiser=denoiser,
        suspects=suspects,
        max_pixels=max_pixels,
        grey_range=grey_range,
    )


def convert(
    source: str | Path,
    target: str | Path,
    to: str,
    *,
    format: str = "auto",
    schema: str | None = None,
    origin: float | None = None,
    target_origin: float | None = None,
    root: str | None = None,
    scale_unit: float = 1.0,
    on_error: Literal["raise", "skip"] = "skip",
) -> dict[str, Any]:
    """Convert annotations from one format to another.

    Args:
        source: the annotation file, or the folder that holds it.
        target: the file, or for formats with a file a picture the folder, to write; it must not exist.
        to: the format to write.
        format: the format to read; by default recognised.
        schema: name of a built-in schema; by default the file names the points.
        origin: coordinate that the source gives the centre of the top-left pixel; by default its format's own.
        target_origin: likewise for the target.
        root: folder of the images; by default where the format has them.
        scale_unit: for TPS, millimetres in the unit of SCALE.
        on_error: what a broken picture does whose size the target needs: "skip" leaves it out, "raise" stops.

    Returns:
        images and objects (numbers read), root (what the images' names are relative to), lost (sentences on what was left out).

    Raises:
        AnnotationError: one sentence on what to change; nothing has been written then.
    """
    from snellen.evaluation.check_command import convert_path

    return convert_path(
        source,
        target,
        to,
        format=format,
        schema=schema,
        origin=origin,
        target_origin=target_origin,
        root=root,
        scale_unit=scale_unit,
        on_error=on_error,
    )


def compare(
    recipe: str,
    *,
    vary: Mapping[str, Sequence[Any]] | None = None,
    rows: str | Path | Mapping[str, Mapping[str, Any]] | None = None,
    seeds: int | Sequence[int] = 3,
    data: str | None = None,
    out: str | Path | None = None,
    split: str = "val",
    devices: int = 1,
    command: str = "",
    **settings: Any,
) -> dict[str, Any]:
    """Train a recipe in several ways and compare the outcomes image by image.

    Every row is trained from the same seeds on the same images in the same order. Finished runs are taken as they are,
    interrupted ones go on, and one that fails is reported while the others go on.

    Args:
        recipe: a built-in name or the path of a YAML file.
        vary: settings and the values of each; every combination is a row. A key without a dot is a choice of the model.
        rows: instead of `vary`, or beside it, named rows of settings, or a YAML file of them.
        seeds: how many, from 0 on, or which.
        data: folder of the data, short for the setting "data.root".
        out: folder of comparison.html, comparison.json and the runs; by default runs/compare-RECIPE.
        split: what is scored; "test" is counted as `evaluate` does it.
        devices: runs at a time; where there are GPUs each run has one.
        command: what was typed, for the report.
        **settings: of all rows, by dotted names or choices of the model.

    Returns:
        What comparison.json holds: rows (values, costs, curves), gains over the first row (interval, p_adjusted, sentence).

    Raises:
        ConfigError: one sentence on what to change.
    """
    from snellen.evaluation.compare_plan import Plan, grid, read_rows, row_of, setting_name
    from snellen.evaluation.compare_verb import compare_plan

    made = grid(vary) if vary else []
    if isinstance(rows, Mapping):
        made += [row_of(name, changed) for name, changed in rows.items()]
    elif rows is not None:
        made += read_rows(rows)
    shared = {setting_name(key): value for key, value in settings.items()}
    plan = Plan(
        recipe=recipe,
        rows=tuple(made),
        seeds=tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds),
        out=Path(out or Path("runs") / f"compare-{Path(recipe).stem}"),
        settings=shared if data is None else {**shared, "data.root": data},
        split=split,
    )
    return compare_plan(plan, devices=devices, command=command).to_dict()


def compare_runs(
    *runs: str | Path, split: str = "val", out: str | Path | None = None, command: str = ""
) -> dict[str, Any]:
    """Compare finished runs image by image; those that differ in the seed alone make one row, the first row is compared with.

    Args:
        *runs: run folders.
        split: what is compared; runs that were not scored on it are scored.
        out: folder of comparison.html and comparison.json; by default compare-NAME beside the first run.
        command: what was typed, for the report.

    Returns:
        As `compare`.
    """
    from snellen.evaluation.compare_verb import compare_finished

    return compare_finished(runs, split=split, out=out, command=command).to_dict()


def claims() -> dict[str, str]:
    """Claims of the papers that can be tested here: name and sentence of each."""
    from snellen.claims import list_claims

    return list_claims()


def reproduce(
    name: str,
    *,
    data: str | None = None,
    quick: bool = False,
    rows: Sequence[str] = (),
    seeds: int | Sequence[int] | None = None,
    runs: str | Path = "runs",
    out: str | Path | None = None,
    results: str | Path | None = None,
    devices: int = 1,
    command: str = "",
    **settings: Any,
) -> dict[str, Any]:
    """Run the experiment of a paper's claim.

    Args:
        name: one of `claims`.
        data: folder of the data.
        quick: a smoke run of about a minute, apart from the others; its numbers mean nothing.
        rows: names of rows, at least two; by default all.
        seeds: how many, or which; by default the claim's.
        runs: folder of the run folders. Finished runs are taken as they are, interrupted ones go on.
        out: folder of comparison.html and comparison.json; by default claim-NAME in `runs`.
        results: folder that gets the records of rows whose runs are all finished, e.g. "results"; by default none are written.
        devices: runs at a time.
        command: what was typed, for the report.
        **settings: of all rows, by dotted names, e.g. ``**{"train.threads": 1}``.

    Returns:
        As `compare`, with the `folder` of the outcome and the names of the `records`.

    Raises:
        ConfigError: one sentence on what to change.
    """
    from snellen.claims import read_claim
    from snellen.config import ConfigError
    from snellen.evaluation.reproduce import claim_plan, record_claim, reproduce_claim

    if quick and results is not None:
        raise ConfigError("a quick run's numbers mean nothing, so they are not recorded; leave out quick or results")
    claim, chosen = read_claim(name), range(seeds) if isinstance(seeds, int) else seeds
    plan = claim_plan(claim, data=data, quick=quick, only=rows, seeds=chosen, runs=runs, out=out, settings=settings)
    found = reproduce_claim(claim, plan, quick=quick, command=command, devices=devices)
    records = [] if results is None else record_claim(claim, plan, results)
    return {**found.to_dict(), "folder": str(plan.out), "records": records}
