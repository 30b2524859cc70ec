"""Evaluation records made up for tests: plausible numbers, pictures of gradients and blobs."""

import dataclasses

import numpy as np

from snellen.evaluation.record import CoarseToFine, EvaluationRecord, JitterPoint, SampleEntry
from snellen.keypoints import get_schema


def blobs(points: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A gradient with a dark blob at every point, (h, w, 3) uint8."""
    h, w = size
    y, x = np.mgrid[:h, :w] + 0.5
    ground = 150 + 60 * (x / w) + 25 * (y / h) + rng.normal(0, 4, size)
    for px, py in points:
        ground = ground - 90 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18)
    return np.clip(ground[..., None] * [1.0, 0.93, 0.85], 0, 255).astype(np.uint8)


def heatmaps(points: np.ndarray, size: tuple[int, int], stages: int) -> np.ndarray:
    """Gaussians that get narrower stage by stage, (stages, k, h, w)."""
    h, w = size
    y, x = np.mgrid[:h, :w] + 0.5
    maps = np.empty((stages, len(points), h, w))
    for s in range(stages):
        sigma = 0.8 * 2.0 ** (stages - 1 - s)
        for i, (px, py) in enumerate(points):
            density = np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2))
            maps[s, i] = density / density.sum()
    return maps


def make_record(name: str = "wings-12", n: int = 40, *, seed: int = 0, spread: float = 2.0) -> EvaluationRecord:
    """A record of schema `name`: `n` images of 80 x 80 cells shown from a box of 240 px, errors of some `spread` px."""
    rng = np.random.default_rng(seed)
    schema, size = get_schema(name), (80, 80)
    k = len(schema)
    angles = np.linspace(0, 2 * np.pi, k, endpoint=False)
    shape = np.stack((np.cos(angles) * 22, np.sin(angles) * 16), axis=-1) * (1 + 0.25 * np.sin(3 * angles))[:, None]
    true_canvas = 40 + shape * rng.uniform(0.7, 1.1, (n, 1, 1)) + rng.normal(0, 1.5, (n, k, 2))
    hard = np.linspace(0.5, 1.6, k)[:, None] * rng.gamma(2.0, 0.5, (n, 1, 1))
    pred_canvas = true_canvas + rng.normal(0, spread / 3, (n, k, 2)) * hard
    true_canvas[0, -1] = np.nan
    errors = np.nan_to_num(np.linalg.norm(pred_canvas - true_canvas, axis=-1), nan=9.0)
    confidence = np.clip(1 / (1 + (errors / 2.5) ** 2) + rng.normal(0, 0.05, (n, k)), 0, 1)
    record = EvaluationRecord(
        run="synthetic",
        dataset="blobs",
        split="val",
        schema=schema,
        normaliser=schema.default_normaliser,
        names=[f"image-{i:03d}.png" for i in range(n)],
        pred=3 * pred_canvas + [20, 10],
        true=3 * true_canvas + [20, 10],
        pred_canvas=pred_canvas,
        true_canvas=true_canvas,
        canvas_size=size,
        confidence=confidence,
        correct=errors <= 2.5,
        box_jitter=[
            *(JitterPoint("shift", a, 0.02 * spread * (1 + (a / 0.1) ** 2)) for a in (0.0, 0.05, 0.1, 0.15, 0.2)),
            *(
                JitterPoint("scale", a, 0.02 * spread * (1 + 9 * (a - 1) ** 2))
                for a in (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
            ),
        ],
        config={"recipe": "blobs", "train": {"steps": 400, "lr": 0.006}, "data": {"canvas": [80, 80]}},
        command="snellen train blobs --seed 0",
        versions={"python": "3.11", "torch": "2.9"},
        train_seconds=312.5,
        steps=400,
        parameters=227141,
        history=[
            *({"step": s, "train/loss": 8.7 * k * np.exp(-s / 130) + 20 + rng.normal(0, 3)} for s in range(0, 400, 2)),
            *(
                {"step": s, "val/nme": 0.02 * spread + 0.4 * np.exp(-s / 60), "val/loss": 9 * k * np.exp(-s / 130) + 25}
                for s in range(0, 401, 40)
            ),
        ],
    )
    order = [int(i) for i in np.argsort(record.errors_of_images())]
    samples = [
        SampleEntry(
            kind,
            blobs(np.nan_to_num(true_canvas[i]), size, rng),
            pred_canvas[i],
            true_canvas[i],
            float(record.errors_of_images()[i]),
            record.names[i],
        )
        for kind, some in (("best", order[:2]), ("median", order[n // 2 : n // 2 + 2]), ("worst", order[::-1][:2]))
        for i in some
    ]
    first = order[0]
    points = np.nan_to_num(true_canvas[first])
    view = CoarseToFine(
        record.names[first],
        blobs(points, size, rng),
        ["5 x 5 alone", "up to 10 x 10", "up to 20 x 20", "up to 40 x 40", "up to 80 x 80"],
        heatmaps(points, size, 5),
        "Branches are switched on one after the other.",
    )
    return dataclasses.replace(record, samples=samples, coarse_to_fine=[view])
