"""How long a training step takes, and how much of it the images."""

import statistics
import time
from collections.abc import Iterator, Sequence

import torch

from snellen.data import Canvases, StepBatches, training_loader
from snellen.training.tasks.task import Task, make_optimiser

__all__ = ["WARM_STEPS", "steps_in_turn", "time_steps"]

#: Steps before the timed ones: the first allocate memory and choose algorithms.
WARM_STEPS = 3


def time_steps(task: Task, data: Canvases, count: int) -> tuple[list[float], list[float]]:
    """Train a task for `WARM_STEPS` and then `count` timed steps, without a trainer; its weights change, and it stays on the
    device that the run will use.

    Returns:
        Seconds of each timed step: spent waiting for its images, and on forward, backward and update.
    """
    timed = list(_steps(task, data, count))[WARM_STEPS:]
    return [waiting for waiting, _ in timed], [updating for _, updating in timed]


def steps_in_turn(jobs: Sequence[tuple[Task, Canvases]], count: int) -> list[float]:
    """Seconds of a training step of each of several trainings, as `time_steps` but a step of each in turn: a machine that slows
    down does so for all of them. Each has the threads of its configuration. Medians of `count` steps.
    """
    threads = torch.get_num_threads()
    trainings = [_steps(task, data, count) for task, data in jobs]
    times: list[list[float]] = [[] for _ in jobs]
    try:
        for step in range(WARM_STEPS + count):
            for (task, _), training, measured in zip(jobs, trainings, times, strict=True):
                torch.set_num_threads(task.config.train.threads or threads)
                seconds = sum(next(training))
                if step >= WARM_STEPS:
                    measured.append(seconds)
    finally:
        torch.set_num_threads(threads)
    return [statistics.median(measured) for measured in times]


def _steps(task: Task, data: Canvases, count: int) -> Iterator[tuple[float, float]]:
    """`WARM_STEPS` and then `count` steps; of each the seconds until its images were there, and those of the rest."""
    config = task.config
    task.log = lambda *_, **__: None  # type: ignore[method-assign]  # there is no trainer to log to
    cuda = torch.cuda.is_available() and config.train.accelerator != "cpu"
    device = torch.device("cuda" if cuda else "cpu")
    task.to(device)
    optimiser = make_optimiser(task.model, config.train)
    steps = WARM_STEPS + count
    batches = iter(
        training_loader(
            data,
            StepBatches(len(data), config.train.batch_size, steps, seed=config.seed),
            workers=config.data.workers,
        )
    )
    for step in range(steps):
        begin = time.perf_counter()
        batch = next(batches).to(device)
        middle = time.perf_counter()
        optimiser.zero_grad()
        task.training_step(batch, step).backward()
        optimiser.step()
        if cuda:
            torch.cuda.synchronize()
        yield middle - begin, time.perf_counter() - middle
