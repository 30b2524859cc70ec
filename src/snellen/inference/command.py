"""`snellen predict`: a model over files, into a table, annotation formats and drawings."""

import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from snellen.config import ConfigError
from snellen.config.writing import is_one_of, writing
from snellen.geometry import Box
from snellen.images import MAX_PIXELS, ImageError
from snellen.inference.annotate import annotate
from snellen.inference.box_table import BoxTable
from snellen.inference.drawings import Drawings
from snellen.inference.enlarger import Enlarger
from snellen.inference.gazer import Gazer
from snellen.inference.journal import Journal
from snellen.inference.loading import Loaded, joint_weight, load, load_finder, load_joint
from snellen.inference.localiser import Localiser
from snellen.inference.other_tasks import answer_files
from snellen.inference.outputs import TABLES, entry, refuse_unwritable, write_labels, write_points_table, write_rows
from snellen.inference.point_finder import PointFinder
from snellen.inference.same_call import files_fingerprint, model_fingerprint, sources_fingerprint
from snellen.inference.segmenter import Segmenter
from snellen.inference.sources import Source, expand, frames
from snellen.inference.stream import Request, find_points

__all__ = ["Options", "Summary", "predict_files", "skipped_list"]

log = logging.getLogger("snellen")


@dataclass(frozen=True)
class Options:
    """How `predict_files` goes about it.

    Attributes:
        to: "csv", "jsonl" or an annotation format, for keypoints; other models write CSV.
        draw: folder for pictures with the points drawn in; none by default.
        boxes: CSV of boxes (box_table.py); by default the whole picture.
        locator: a model of whole pictures that finds the boxes.
        denoiser: run of a denoiser whose logits are added to the model's.
        denoiser_weight: of these logits; by default the paper's 1.
        flip: average with the mirror image, or do not; by default as trained.
        min_confidence: points with less are not found.
        origin: the coordinate that CSV and JSON lines give the centre of the top-left pixel.
        max_pixels: of keypoint models, pictures with more pixels (width x height) are refused.
        every: of a video, take one frame in so many.
        batch_size: pictures at a time.
        workers: threads that decode; 0 takes one a core.
        device: where the model runs.
        on_error: "skip" leaves out and counts what cannot be read, "raise" stops.
        restart: throw away the progress of an earlier, interrupted call.
        overwrite: replace the output and the drawings of an earlier call; pictures that are read are never replaced.
    """

    to: str = "csv"
    draw: Path | None = None
    boxes: Path | None = None
    locator: Path | None = None
    denoiser: Path | None = None
    denoiser_weight: float | None = None
    flip: bool | None = None
    min_confidence: float = 0.0
    origin: float = 0.0
    max_pixels: int = MAX_PIXELS
    every: int = 1
    batch_size: int = 8
    workers: int = 0
    device: str | None = None
    on_error: Literal["raise", "skip"] = "skip"
    restart: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name in ("draw", "boxes", "locator", "denoiser"):  # Python's callers give strings too
            given = getattr(self, name)
            object.__setattr__(self, name, None if given is None else Path(given))
        for name, least in (("every", 1), ("max_pixels", 1), ("batch_size", 1), ("workers", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"--{name.replace('_', '-')} must be at least {least}, not {getattr(self, name)}")
        if not 0 <= self.min_confidence <= 1:
            raise ConfigError(f"--min-confidence lies between 0 and 1, not at {self.min_confidence}")
        if self.boxes and self.locator:
            raise ConfigError("--boxes and --locator both say where to look; give one of them")
        joint_weight(self.denoiser, self.denoiser_weight)


@dataclass(frozen=True)
class Summary:
    """What `predict_files` did.

    Attributes:
        out: the file that was written.
        answered: pictures (or objects in them) with an answer.
        skipped: sentences on those that could not be read.
        resumed: how many of both were there already from an interrupted call.
        seconds: what the others took.
        notes: what the format could not hold.
    """

    out: Path
    answered: int
    skipped: list[str]
    resumed: int
    seconds: float
    notes: list[str] = field(default_factory=list)


def predict_files(
    run: str | Path, files: str | Path | Sequence[str | Path], out: str | Path, options: Options | None = None
) -> Summary:
    """Run a model over files and write the answers in the files' order.

    Memory does not grow with the number of files. Progress is kept beside `out`, and the same call goes on where it stopped;
    `out` itself appears at the end, whole.

    Args:
        run: a run folder, an exported file or the name of shipped weights.
        files: one or many, see `snellen.inference.sources.expand`.
        out: the file to write.
        options: see `Options`.

    Raises:
        ConfigError: for options that do not fit together or the model, and an output that exists or cannot be written.
        ImageError: for a picture that cannot be read, where `on_error` is "raise".
    """
    chosen, out = options or Options(), Path(out)
    if out.is_dir():
        raise ConfigError(
            f"{out} is a folder; give --out the name of a new file (a new folder, where the format is one)"
        )
    if out.exists() and not chosen.overwrite:
        raise ConfigError(f"{out} exists; pass --overwrite to replace it, or choose another --out")
    files = [files] if isinstance(files, str | Path) else files
    sources = expand(files)
    _refuse_replacing((out, skipped_list(out)), [run, *files, *(s.path for s in sources)], chosen)
    model = _load(run, chosen)
    task = _task(run, model, sources, chosen)
    if isinstance(model, PointFinder):
        refuse_unwritable(chosen.to, model.schema, _written_names(sources))
        _set_flip(model, chosen.flip)
        model.reader = replace(model.reader, max_pixels=chosen.max_pixels)
        drawings = Drawings(chosen.draw, sources) if chosen.draw else None
        if drawings:
            drawings.refuse_sources()
        with Journal(out, task, restart=chosen.restart) as journal:
            if drawings and not (chosen.overwrite or journal.resumed):
                drawings.refuse_existing()
            done, begun = _done(journal)
            seconds = _append(journal, _points_of(model, sources, chosen, done, begun, drawings), done)
            notes = _write_points(out, journal, model, chosen)
            return _finish(out, journal, len(done), seconds, notes, chosen)
    _refuse_keypoint_options(chosen, model)
    _refuse_gaze_of_parts(model)
    if not out.suffix:  # pictures go to a folder of the table's name
        raise ConfigError(
            f"{out} would be the table and the folder of its pictures; give --out an ending: {out.name}.csv"
        )
    drawings = None
    if isinstance(model, (Segmenter, Enlarger)):
        drawings = Drawings(out.with_suffix(""), sources, ".png", "--out")
        drawings.refuse_sources()
    with Journal(out, task, restart=chosen.restart) as journal:
        if drawings and not (chosen.overwrite or journal.resumed):
            drawings.refuse_existing()
        done, _ = _done(journal)
        answers = answer_files(model, _pictures(sources, chosen), drawings, done=done, on_error=chosen.on_error)
        seconds = _append(journal, answers, done)
        header = next((list(a["row"]) for a in journal.answers() if "row" in a), ["file"])
        write_rows(out, header, ([a["row"].get(h, "") for h in header] for a in journal.answers() if "row" in a))
        return _finish(out, journal, len(done), seconds, [], chosen)


def _refuse_replacing(written: Iterable[Path], read: Sequence[str | Path], chosen: Options) -> None:
    """Nothing that is read is replaced, also with `overwrite`: pictures, lists, boxes and models."""
    paths = [*read, *filter(None, (chosen.boxes, chosen.locator, chosen.denoiser))]
    paths += [Path(path) / name for path in paths for name in ("model.json", "model.safetensors")]  # of run folders
    for file in written:
        if is_one_of(file, paths):
            raise ConfigError(f"{file} is a file that is read, and would be replaced; choose another --out")


def skipped_list(out: Path) -> Path:
    """The list of what could not be read, beside the output."""
    return out.with_name(f"{out.stem}.skipped.csv")


def _load(run: str | Path, chosen: Options) -> Loaded:
    if chosen.denoiser is None:
        return load(run, chosen.device)
    weight = joint_weight(chosen.denoiser, chosen.denoiser_weight)
    return load_joint(run, chosen.denoiser, weight=weight, device=chosen.device)


def _written_names(sources: Iterable[Source]) -> list[str]:
    return [f"{s.name}#0" if s.video else s.name for s in sources if not s.error]


def _task(run: str | Path, model: Loaded, sources: Sequence[Source], chosen: Options) -> dict[str, Any]:
    """All that answers depend on: a file must not hold those of two models, of other pictures or of other boxes."""
    task: dict[str, Any] = {"task": model.card.get("task", "keypoints"), "model": model_fingerprint(run)}
    task |= {"files": sources_fingerprint(sources), "every": chosen.every, "max-pixels": chosen.max_pixels}
    for name in ("locator", "denoiser"):
        given = getattr(chosen, name)
        task[name] = model_fingerprint(given) if given else None
    task["denoiser-weight"] = joint_weight(chosen.denoiser, chosen.denoiser_weight)
    # What is no file is refused where it is read.
    task["boxes"] = files_fingerprint([chosen.boxes]) if chosen.boxes and chosen.boxes.is_file() else None
    task |= {"flip": chosen.flip, "draw": os.path.abspath(chosen.draw) if chosen.draw else None}
    # Of a table it is asked at the end.
    task["min-confidence"] = chosen.min_confidence if chosen.draw else None
    return task


def _set_flip(model: PointFinder, flip: bool | None) -> None:
    if flip is None or flip == model.flip:
        return
    if not isinstance(model, Localiser):
        does, wanted = ("averages", "no-flip") if model.flip else ("does not average", "flip")
        raise ConfigError(
            f"this exported file {does} with the mirror image; to change that, export it again with --{wanted}"
        )
    model.flip = flip


def _refuse_keypoint_options(chosen: Options, model: Loaded) -> None:
    given = [n for n in ("draw", "boxes", "locator") if getattr(chosen, n)]
    names = [*given, *(["to"] * (chosen.to != "csv")), *(["min-confidence"] * bool(chosen.min_confidence))]
    names += ["flip"] * (chosen.flip is not None) + ["max-pixels"] * (chosen.max_pixels != MAX_PIXELS)
    if names:
        raise ConfigError(f"--{names[0]} is for keypoints, and this is a model for {model.card['task']}; leave it out")


def _refuse_gaze_of_parts(model: Loaded) -> None:
    if isinstance(model, Gazer) and (model.look != "image" or model.canonical):
        raise ConfigError(
            "this gaze model needs to be told where the eyes are, or which eye a picture shows; predict in Python: "
            "snellen.load(RUN).predict(images, eyes=, boxes=, parts=)"
        )


def _done(journal: Journal) -> tuple[dict[str, bool], list[dict[str, Any]]]:
    """Names that are answered, and whether with an answer; the answers for the last picture, which may have more objects."""
    done, last = dict[str, bool](), list[dict[str, Any]]()
    for answer in journal.answers():
        done[answer["file"]] = "error" not in answer
        last = [*(last if last and _picture(last[0]) == _picture(answer) else []), answer]
    return done, last


def _picture(answer: dict[str, Any]) -> str:
    """The picture that an answer is for, of which there may be several."""
    return str(answer.get("picture", answer["file"]))


def _append(journal: Journal, answers: Iterable[dict[str, Any]], done: dict[str, bool]) -> float:
    if done:
        log.info("going on after %d files that are done", len(done))
    begin = told = time.monotonic()
    count = len(done)
    try:
        for count, answer in enumerate(answers, start=len(done) + 1):
            journal.append(answer)
            if time.monotonic() - told > 10:
                told = time.monotonic()
                log.info("%d files, %.1f a second", count, (count - len(done)) / (told - begin))
    except KeyboardInterrupt:
        log.info("stopped after %d files; the same command goes on from there", count)
        raise
    finally:
        journal.sync()
    return time.monotonic() - begin


def _finish(out: Path, journal: Journal, resumed: int, seconds: float, notes: list[str], chosen: Options) -> Summary:
    skipped, answered = [], 0
    for answer in journal.answers():
        if "error" in answer:
            skipped.append((answer["file"], answer["error"]))
        else:
            answered += 1
    beside = skipped_list(out)
    if skipped:
        write_rows(beside, ["file", "error"], map(list, skipped))
    elif chosen.overwrite:  # of the call whose output is replaced
        with writing(beside):
            beside.unlink(missing_ok=True)
    journal.finish()
    return Summary(out, answered, [sentence for _, sentence in skipped], resumed, seconds, notes)


# --- keypoints


def _points_of(
    model: PointFinder,
    sources: Sequence[Source],
    chosen: Options,
    done: dict[str, bool],
    begun: list[dict[str, Any]],
    drawings: Drawings | None,
) -> Iterator[dict[str, Any]]:
    """Answers for all but what is `done`; `begun` are those of a picture whose other objects are still to be answered."""
    locator = load_finder(chosen.locator, chosen.device) if chosen.locator else None
    if locator is not None:
        locator.reader = replace(locator.reader, max_pixels=chosen.max_pixels)
    table = BoxTable(chosen.boxes) if chosen.boxes else None
    if locator is None and table is None:
        model.warn_of_whole_images()
    if drawings:
        drawings.folder.mkdir(parents=True, exist_ok=True)
    asked: dict[str, tuple[str, Path | None, Any]] = {}  # of what is on its way alone

    def requests() -> Iterator[Request]:
        for name, picture in _pictures(sources, chosen):
            boxes: Sequence[Box | None] = table.of(Path(name)) if table else [None]
            missing = ImageError(f"{name} has no box in {chosen.boxes}; add a row, or leave the file out")
            shown: Any = missing if table and not boxes else picture
            file = drawings.path(name) if drawings else None
            for number, box in enumerate(boxes or [None], start=1):
                own = name if number == 1 else f"{name}#{number}"
                if own not in done:
                    # A picture is drawn once, with its last object.
                    asked[own] = (name, file if number == max(1, len(boxes)) else None, shown)
                    yield Request(own, shown, box)

    for found in find_points(
        model,
        requests(),
        locator=locator,
        batch_size=chosen.batch_size,
        workers=chosen.workers or None,
        on_error=chosen.on_error,
    ):
        name, file, picture = asked.pop(found.name)
        answer = entry(found) | ({"picture": name} if name != found.name else {})
        begun = [*(begun if begun and _picture(begun[0]) == name else []), answer]
        objects = [a for a in begun if "error" not in a]
        if drawings and file and objects:
            drawings.save(annotate(picture, objects, model.schema, chosen.min_confidence, model.reader), file)
        yield answer


def _pictures(sources: Iterable[Source], chosen: Options) -> Iterator[tuple[str, Any]]:
    """Every picture with its name: files as paths, videos frame by frame; one that cannot be opened as its error."""
    for source in sources:
        if source.error or not source.video:
            yield source.name, ImageError(source.error) if source.error else source.path
            continue
        try:
            yield from frames(source, chosen.every)
        except ConfigError as error:
            yield source.name, ImageError(str(error))


def _write_points(out: Path, journal: Journal, model: PointFinder, chosen: Options) -> list[str]:
    if chosen.to in TABLES:
        write_points_table(
            out,
            journal.answers(),
            model.schema,
            kind=chosen.to,
            minimum=chosen.min_confidence,
            origin=chosen.origin,
        )
        return []
    if not any("xy" in answer for answer in journal.answers()):
        first = next((answer["error"] for answer in journal.answers()), "there are none")
        journal.finish()  # so that the same call looks at the files again
        raise ConfigError(f"{out} is not written, as no picture could be read: {first}")
    return write_labels(out, journal.answers(), model.schema, kind=chosen.to, minimum=chosen.min_confidence)
