"""Training and scoring the runs of a comparison, a process each; what is finished is taken as it is.

All state is on disk, in files that are renamed into place, so the same command given again goes on after any interruption.
"""

import contextlib
import json
import logging
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from snellen.config import ConfigError, to_dict
from snellen.evaluation.compare.plan import Plan, Row, scoring_name
from snellen.evaluation.compare.settings import differing_settings
from snellen.evaluation.compare.worker import complete
from snellen.training.jobs import prepare
from snellen.training.pace import time_steps
from snellen.training.runs import write_atomically

__all__ = ["Failure", "RunOfRow", "estimate", "next_run", "run_plan", "unfinished"]

log = logging.getLogger("snellen")

#: Seconds that a comparison waits for the processes of a killed one to end.
PATIENCE = 30.0
#: Steps timed for the estimate of the cost.
TIMED_STEPS = 5


@dataclass(frozen=True)
class RunOfRow:
    """One training of a comparison."""

    row: Row
    seed: int

    def __str__(self) -> str:
        return f"{self.row.name}, seed {self.seed}"


@dataclass(frozen=True)
class Failure:
    """A run that could not be trained or scored.

    Attributes:
        row: name of its row.
        seed: of the run.
        reason: one sentence.
        log: file with all that it said.
    """

    row: str
    seed: int
    reason: str
    log: str

    def __str__(self) -> str:
        return f"{self.row}, seed {self.seed}, failed: {self.reason} (all it said: {self.log})"


def unfinished(plan: Plan) -> list[RunOfRow]:
    """The runs that are not trained and scored yet, seed by seed, so that an interrupted comparison has whole seeds.

    Denoisers that rows are scored with come before them.

    Raises:
        ConfigError: where a run's folder holds something else.
    """
    found = []
    for seed in plan.seeds:
        for row in (*plan.judges, *plan.rows):
            folder = plan.folder(row, seed)
            if (folder / "config.yaml").exists():
                different = differing_settings(folder.config(), plan.config(row, seed))
                if different:
                    raise ConfigError(
                        f"{folder.path} was trained with other settings ({', '.join(different)}); move it away, or give "
                        "another --out"
                    )
            elif folder.path.exists() and any(p for p in folder.path.iterdir() if not p.name.startswith(".")):
                raise ConfigError(f"{folder.path} is not empty and no run; move it away, or give another --out")
            if not complete(plan, row, seed):
                found.append(RunOfRow(row, seed))
    return found


def estimate(plan: Plan, runs: list[RunOfRow], devices: int = 1) -> str:
    """What is left to do and about how long it takes, from a few timed steps of the first run that can be prepared."""
    total = (len(plan.judges) + len(plan.rows)) * len(plan.seeds)
    places = {plan.folder(r.row, r.seed).path: r for r in runs}  # rows that are scored in different ways share runs
    untrained = [r for path, r in places.items() if not plan.folder(r.row, r.seed).finished]
    steps = sum(plan.config(r.row, r.seed).train.steps for r in untrained)
    left = f"{total} runs: {total - len(runs)} are finished"
    if not untrained:
        return f"{left}, {len(runs)} are to be scored" if runs else f"{left}"
    left += f", {len(untrained)} are to be trained, {steps:,} steps in all"
    for run in untrained:
        config = plan.config(run.row, run.seed)
        try:
            if config.train.threads:
                torch.set_num_threads(config.train.threads)
            job = prepare(config)
            waiting, updating = time_steps(job.task, job.train_set, TIMED_STEPS)
        except (ValueError, OSError, ImportError, RuntimeError):
            continue  # its own process will say what is wrong
        seconds = statistics.median(map(sum, zip(waiting, updating, strict=True)))
        hours = steps * seconds / min(devices, len(untrained)) / 3600
        about = f"{hours:.1f} hours" if hours >= 1.5 else f"{max(1, round(60 * hours))} min"
        return (
            f"{left}; a step of {run.row.name!r} takes {seconds:.3f} s here, so training takes about {about} if all rows are "
            "as fast; validation and scoring come on top"
        )
    return left


def run_plan(plan: Plan, *, devices: int = 1) -> list[Failure]:
    """Train and score all that is unfinished.

    Args:
        plan: what to train.
        devices: runs at a time; where there are GPUs each run has one of them, in turn.

    Returns:
        The runs that failed; the others went on.

    Raises:
        ConfigError: where another comparison is at work in the folder, or a run's folder holds something else.
        KeyboardInterrupt: after Ctrl-C, once the runs at work have written their checkpoints.
    """
    if devices < 1:
        raise ConfigError(f"--devices is the number of runs at a time, at least 1, not {devices}")
    with _alone(plan.out) as lock:
        runs = unfinished(plan)
        log.info("%s", estimate(plan, runs, devices))
        return _work_off(plan, runs, devices, lock)


def _work_off(plan: Plan, runs: list[RunOfRow], devices: int, lock: IO[str] | None) -> list[Failure]:
    waiting, failures, done = deque(runs), [], 0
    working: dict[int, tuple[RunOfRow, subprocess.Popen[bytes], float]] = {}
    try:
        while waiting or working:
            for place in range(devices):
                if place not in working and (run := next_run(plan, waiting, [busy for busy, _, _ in working.values()])):
                    waiting.remove(run)
                    working[place] = (run, _start(plan, run, place, devices, lock), time.monotonic())
            time.sleep(0.05)
            for place, (run, process, since) in list(working.items()):
                if process.poll() is None:
                    continue
                del working[place]
                done += 1
                if process.returncode == 0 and complete(plan, run.row, run.seed):
                    log.info("[%d/%d] %s: done in %.0f s", done, len(runs), run, time.monotonic() - since)
                    continue
                failure = Failure(run.row.name, run.seed, _reason(plan, run, process.returncode), str(_log(plan, run)))
                log.warning("[%d/%d] %s", done, len(runs), failure)
                failures.append(failure)
    except KeyboardInterrupt:
        for _, process, _ in working.values():
            process.send_signal(signal.SIGINT)  # it ends its step and writes a checkpoint
        for _, process, _ in working.values():
            process.wait()
        log.warning("stopped; the same command given again goes on")
        raise
    return failures


def next_run(plan: Plan, waiting: Iterable[RunOfRow], working: Iterable[RunOfRow]) -> RunOfRow | None:
    """The first run whose folder nobody writes to, and whose denoiser is not still to come."""
    busy = {plan.folder(run.row, run.seed).path for run in working}
    to_come = busy | {plan.folder(run.row, run.seed).path for run in waiting if run.row in plan.judges}
    for run in waiting:
        judge = plan.judge_of(run.row)
        if plan.folder(run.row, run.seed).path in busy:
            continue
        if judge is None or plan.folder(judge, run.seed).path not in to_come:
            return run
    return None


def _kept(plan: Plan, run: RunOfRow) -> str:
    """The name of a run's files in the folder of the outcome."""
    return plan.folder(run.row, run.seed).path.name + scoring_name(run.row.scoring)


def _log(plan: Plan, run: RunOfRow) -> Path:
    return plan.out / "logs" / f"{_kept(plan, run)}.log"


def _start(plan: Plan, run: RunOfRow, place: int, devices: int, lock: IO[str] | None) -> subprocess.Popen[bytes]:
    """The process of a run. Its standard input is a pipe that closes when this process ends, and ends the other one too."""
    row, output = run.row, _log(plan, run)
    job: dict[str, Any] = {
        "config": to_dict(plan.config(row, run.seed)),
        "command": plan.command(row, run.seed),
        "split": None if row in plan.judges else plan.split,
        "robustness": plan.robustness,
        "needs": list(row.needs or plan.needs),
        "scoring": dict(row.scoring),
        "asked": plan.asked(row, run.seed),
    }
    file = plan.out / "jobs" / f"{_kept(plan, run)}.json"
    write_atomically(file, json.dumps(job, indent=1) + "\n")
    output.parent.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ)
    if devices > 1 and torch.cuda.is_available():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
        environment["CUDA_VISIBLE_DEVICES"] = visible.split(",")[place % len(visible.split(","))]
    with output.open("ab") as written:
        return subprocess.Popen(
            [sys.executable, "-m", "snellen.evaluation.compare.worker", str(file)],
            stdin=subprocess.PIPE,
            stdout=written,
            stderr=subprocess.STDOUT,
            env=environment,
            # Not reached by the terminal's Ctrl-C, which is passed on once instead: a second one would stop it at once.
            start_new_session=True,
            # The lock lives as long as any process that holds it.
            pass_fds=() if lock is None else (lock.fileno(),),
        )


def _reason(plan: Plan, run: RunOfRow, status: int) -> str:
    """Why a run failed, in one sentence."""
    if status < 0:
        name = signal.Signals(-status).name
        return f"its process was ended by {name}" + (" (perhaps for want of memory)" if name == "SIGKILL" else "")
    if status == 0:
        return "its process ended before the run was complete; the same command goes on with it"
    lines = _log(plan, run).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    said = [line.removeprefix("snellen: ") for line in lines if line.startswith("snellen: ")]
    return (said or lines or [f"its process ended with status {status}"])[-1]


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[IO[str] | None]:
    """Keep other comparisons out of a folder, and wait for the last steps of a killed one's processes."""
    out.mkdir(parents=True, exist_ok=True)
    if os.name != "posix":
        yield None
        return
    import fcntl

    with (out / ".lock").open("w") as lock:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ConfigError(
                        f"another comparison is at work in {out}; wait for it, or give another --out"
                    ) from None
                time.sleep(0.1)
        yield lock
