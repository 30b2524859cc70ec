"""68 face points on Helen beside other people's: dlib, mediapipe, and two networks trained by us with equal steps.

    python benchmarks/peers.py --data ../shared/data/faces68 --train --split test       # trains what is missing, scores
    python benchmarks/peers.py --data ../shared/data/faces68 --measure speed --threads 2   # on an idle machine

Same photos, same boxes, same metric for all: those that `snellen evaluate` uses. Peers that are missing are told in a line with
what to install or train, and left out. See docs/compare.md.
"""

import argparse
import os
import shlex
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from peer_models import Dlib, Mediapipe, MissingPeerError, Peer, Photo, Points, eye_offsets, moved_by_eyes
from peer_networks import NETWORKS, RECIPE, Networks, Row
from snellen.config import KeypointConfig
from snellen.data import KeypointDataset, Spread, build_dataset
from snellen.evaluation.evaluate import count_test_look
from snellen.evaluation.results.recording import records_of
from snellen.evaluation.results.records import Record, add_record
from snellen.geometry import Box
from snellen.keypoints import Schema
from snellen.training.metrics import bootstrap_interval, image_errors, normalised_errors, summarise
from snellen.training.runs import environment

__all__ = ["interleaved", "outside_row", "outside_scores"]

PEERS = (*NETWORKS, "dlib", "mediapipe")
_METRICS = ("nme", "nme:inter-pupil", "median", "failure_rate")


def loaded(images: KeypointDataset) -> tuple[list[Photo], list[Box], Points]:
    """The photos (h, w, 3), their boxes, and the true points (n, 68, 2)."""
    samples = [images[i] for i in range(len(images))]
    photos = [np.ascontiguousarray(s.image.permute(1, 2, 0).numpy()) for s in samples]
    return photos, [s.box for s in samples], np.stack([s.keypoints.xy for s in samples])


def outside_scores(
    pred: Points, true: Points, boxes: Sequence[Box], schema: Schema, config: KeypointConfig
) -> tuple[dict[str, Any], Points]:
    """Scores of answers as evaluation makes them, and the answers; a photo without one counts by its box's centre."""
    answered = np.asarray(np.isfinite(pred).all(axis=(1, 2)))
    centres = np.array([box.centre for box in boxes])[:, None]
    filled = np.where(answered[:, None, None], pred, centres)
    normaliser = config.evaluate.normaliser or schema.default_normaliser
    scores = summarise(filled, true, schema, normaliser, threshold=config.evaluate.failure).to_dict()
    others = [n.name for n in schema.normalisers if n.name != normaliser]
    scores["other_normalisers"] = {n: summarise(filled, true, schema, n, resamples=1).nme for n in others}
    return {**scores, "parameters": None, "unanswered": int((~answered).sum())}, filled


def outside_row(
    peer: Peer, pred: Points, true: Points, boxes: Sequence[Box], schema: Schema, config: KeypointConfig, note: str = ""
) -> Row:
    """The row of a peer whose answers are there."""
    scores, filled = outside_scores(pred, true, boxes, schema, config)
    note = f"{peer.note}; {note}" if note else peer.note
    if scores["unanswered"]:
        note += f"; no answer to {scores['unanswered']} of {len(pred)} photos, for which the box's centre stands"
    now = environment()
    now["versions"] |= peer.versions
    circumstances = {**now, "device": "cpu", "train_seconds": 0.0, "steps": 0, "curve": []}
    errors = image_errors(normalised_errors(filled, true, schema, scores["normaliser"]))
    return Row([(scores, circumstances)], errors, [0], peer.pretrained, note)


def interleaved(
    peers: Mapping[str, Peer],
    photos: Sequence[Photo],
    boxes: Sequence[Box],
    *,
    rounds: int,
    batch: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, dict[int, list[float]]]:
    """Milliseconds a photo, all peers in turn in each round: a machine that slows down does so for all of them.

    Args:
        peers: by name.
        photos: decoded.
        boxes: of their faces.
        rounds: that count, after one that does not.
        batch: photos in a batch.
        clock: in seconds.

    Returns:
        For each peer, by 1 and `batch`, a time a round.
    """
    sizes = dict.fromkeys((1, batch))
    times: dict[str, dict[int, list[float]]] = {name: {size: [] for size in sizes} for name in peers}
    for turn in range(rounds + 1):
        for size in sizes:
            for name, peer in peers.items():
                begin = clock()
                for start in range(0, len(photos), size):
                    peer.answer(photos[start : start + size], boxes[start : start + size])
                if turn:
                    times[name][size].append(1000 * (clock() - begin) / len(photos))
    return times


def outside(name: str, photos: Sequence[Photo], boxes: Sequence[Box]) -> Peer:
    """dlib or mediapipe; the photos are training photos."""
    return Dlib(photos, boxes) if name == "dlib" else Mediapipe()


def measure_accuracy(chosen: argparse.Namespace, networks: Networks, config: KeypointConfig) -> dict[str, Row]:
    """The rows of all peers that are there."""
    data = build_dataset(config.data, chosen.split)
    images = Spread(data, chosen.limit) if chosen.limit else data
    photos, boxes, true = loaded(images)
    taught = loaded(Spread(build_dataset(config.data, "train", decode=False), chosen.fit))
    rows: dict[str, Row] = {}
    for name in chosen.peers:
        try:
            if name in NETWORKS:
                rows[name] = networks.row(name, chosen.seeds, images)
                continue
            peer = outside(name, *taught[:2])
        except MissingPeerError as missing:
            print(f"not measured: {name}: {missing}")
            continue
        pred = peer.answer(photos, boxes)
        rows[name] = outside_row(peer, pred, true, boxes, data.schema, config)
        if isinstance(peer, Dlib):
            own = peer.detecting()
            rows["dlib-detecting"] = outside_row(own, own.answer(photos, boxes), true, boxes, data.schema, config)
        if isinstance(peer, Mediapipe):
            offsets = eye_offsets(peer.answer(*taught[:2]), taught[2])
            note = f"each point moved, in the frame of the eyes, by its mean error on {len(taught[0])} training photos"
            moved = moved_by_eyes(pred, offsets)
            rows["mediapipe-moved"] = outside_row(peer, moved, true, boxes, data.schema, config, note)
    return rows


def accuracy_records(rows: Mapping[str, Row], command: Callable[[str], str], photos: str) -> list[Record]:
    """Records of all rows, and of each one's difference to ours, photo by photo."""
    records = []
    for name, row in rows.items():
        note = f"{photos}; {row.note}" if row.note else photos
        made = records_of(
            f"peers/{name}", row.outcomes, seeds=row.seeds, command=command(name), metrics=_METRICS, note=note
        )
        if "snellen" in rows and name != "snellen":
            gaps = 100 * (row.errors - rows["snellen"].errors)
            low, high = bootstrap_interval(gaps)
            gap = float(np.nanmean(gaps))
            words = "nme minus ours, same photos"
            note = f"mean over seeds; interval over photos; above 0 is worse than ours; {note}"
            made.append(replace(
                made[0], metric=words, values=[gap], interval=[min(low, gap), max(high, gap)], seeds=[], note=note, extra={},
            ))  # fmt: skip
        records += [replace(r, pretrained=row.pretrained) for r in made]
    return records


def speed_records(
    chosen: argparse.Namespace, networks: Networks, config: KeypointConfig, command: Callable[[str], str]
) -> list[Record]:
    """Times of all peers, on photos of the split in memory: to points in pixels of the photo."""
    if hasattr(os, "sched_setaffinity"):  # threads started from here on inherit it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: chosen.threads])
    torch.set_num_threads(chosen.threads)
    photos, boxes, _ = loaded(Spread(build_dataset(config.data, chosen.split, decode=False), chosen.photos))
    taught = loaded(Spread(build_dataset(config.data, "train", decode=False), chosen.fit))
    peers: dict[str, Peer] = {}
    for name in chosen.peers:
        try:
            peers[name] = (
                networks.timed(name, chosen.seeds[0]) if name in NETWORKS else outside(name, taught[0], taught[1])
            )
        except MissingPeerError as missing:
            print(f"not measured: {name}: {missing}")
    times = interleaved(peers, photos, boxes, rounds=chosen.rounds, batch=chosen.batch)
    records = []
    for name, by_size in times.items():
        for size, values in by_size.items():
            ordered, median = sorted(values), statistics.median(values)
            ratios = {other: median / statistics.median(times[other][size]) for other in times if other != name}
            versus = f"{ratios['snellen']:.2f} of ours; " if "snellen" in ratios else ""
            note = f"{versus}median and quartiles, {len(photos)} photos in memory, in turn with the others; " + (
                f"{peers[name].note}; " if peers[name].note else ""
            )
            record = Record.here(
                name=f"peers/{name}", metric=f"a photo, {'one at a time' if size == 1 else f'batches of {size}'}", unit="ms",
                values=[median], interval=[ordered[len(ordered) // 4], max(median, ordered[3 * len(ordered) // 4])],
                train_seconds=0.0, steps=0, command=command(name), pretrained=peers[name].pretrained,
                note=note + f"{chosen.threads} cores; dlib works on one, mediapipe as it chooses, and both have no batches",
                extra={"ratios": ratios, "times": values},
            )  # fmt: skip
            records.append(replace(record, versions={**record.versions, **peers[name].versions}))
    return records


def _command(chosen: argparse.Namespace, what: str) -> Callable[[str], str]:
    """What a reader types to repeat a row; with ours, which differences and ratios are to."""
    settings = f" --runs {shlex.quote(chosen.runs)}" if chosen.runs != "runs" else ""
    settings += f" --set {shlex.join(chosen.set)}" if chosen.set else ""
    seeds = " ".join(map(str, chosen.seeds))
    how = "" if what == "speed" else f" --train --seeds {seeds} --split {chosen.split}"
    cores = f" --threads {chosen.threads} --rounds {chosen.rounds} --batch {chosen.batch}" if what == "speed" else ""

    def command(name: str) -> str:
        peers = "snellen" if name == "snellen" else f"snellen {name.removesuffix('-moved').removesuffix('-detecting')}"
        return f"python benchmarks/peers.py --data DATA --measure {what} --peers {peers}{how}{cores}{settings}"

    return command


def _count(rows: Mapping[str, Row], config: KeypointConfig, images: int, elsewhere: Path) -> None:
    now = environment()
    for name, row in rows.items():
        for seed, (scores, _) in zip(row.seeds, row.outcomes, strict=True):
            line = {
                "date": now["date"], "commit": now["commit"], "recipe": RECIPE if name in NETWORKS else "benchmarks/peers.py",
                "run": f"peers-{name}", "seed": seed, "metric": f"nme / {scores['normaliser']}", "value": scores["nme"],
                "data": Path(config.data.root or "").name, "images": images,
            }  # fmt: skip
            count_test_look(line, elsewhere=elsewhere)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the folder faces68, with helen/ in it")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS)
    parser.add_argument("--measure", nargs="+", default=["accuracy", "speed"], choices=["accuracy", "speed"])
    parser.add_argument(
        "--split", default="val", choices=["val", "test"], help="test is counted, as by snellen evaluate"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the networks trained here")
    parser.add_argument("--train", action="store_true", help="train the networks whose runs are missing")
    parser.add_argument("--limit", type=int, help="at most so many photos are scored; a trial, which stores no record")
    parser.add_argument("--fit", type=int, default=100, help="training photos by which peers are set up")
    parser.add_argument("--photos", type=int, default=32, help="photos that are timed")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2, help="cores for the times")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="SETTING=VALUE", help="settings of the networks' recipe"
    )
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--results", default="results", help="folder of the records; '' for none")
    chosen = parser.parse_args(argv)
    networks = Networks(chosen)
    config = networks.config("snellen")
    records: list[Record] = []
    if chosen.train:
        for name in [n for n in chosen.peers if n in NETWORKS]:
            for seed in chosen.seeds:
                networks.train(name, seed)
    if "accuracy" in chosen.measure:
        rows = measure_accuracy(chosen, networks, config)
        images = next((len(row.errors) for row in rows.values()), 0)
        if chosen.split == "test":
            _count(rows, config, images, Path(chosen.runs))
        records += accuracy_records(rows, _command(chosen, "accuracy"), f"{images} photos of {chosen.split}")
    if "speed" in chosen.measure:
        records += speed_records(chosen, networks, config, _command(chosen, "speed"))
    for record in records:
        over = f" / {record.normaliser}" if record.normaliser and record.unit == "%" else ""
        print(
            f"{record.name:24}{record.metric + over:44}{record.mean:8.2f} {record.unit:3}"
            f"({record.interval[0]:.2f} to {record.interval[1]:.2f})"
        )
        if chosen.results and not chosen.limit:
            add_record(Path(chosen.results) / "peers.json", record)


if __name__ == "__main__":
    main()
