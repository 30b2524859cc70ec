"""How long a training step takes, and how much of it the images."""

import time

import torch

from snellen.data import Canvases, StepBatches, training_loader
from snellen.training.tasks.task import Task, make_optimiser

__all__ = ["WARM_STEPS", "time_steps"]

#: Steps before the timed ones: the first allocate memory and choose algorithms.
WARM_STEPS = 3


def time_steps(task: Task, data: Canvases, count: int) -> tuple[list[float], list[float]]:
    """Train a task for `WARM_STEPS` and then `count` timed steps, without a trainer; its weights change, and it stays on the
    device that the run will use.

    Returns:
        Seconds of each timed step: spent waiting for its images, and on forward, backward and update.
    """
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
    preparing, updating = [], []
    for step in range(steps):
        begin = time.perf_counter()
        batch = next(batches).to(device)
        middle = time.perf_counter()
        optimiser.zero_grad()
        task.training_step(batch, step).backward()
        optimiser.step()
        if cuda:
            torch.cuda.synchronize()
        preparing.append(middle - begin)
        updating.append(time.perf_counter() - middle)
    return preparing[WARM_STEPS:], updating[WARM_STEPS:]
