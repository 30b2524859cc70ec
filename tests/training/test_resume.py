"""A run is its seed: repeated, killed or interrupted and resumed, it ends in the very same bytes.

Processes of their own where something gets killed, and one to compare with this one.
"""

import csv
import os
import random
import re
import signal
import time
from pathlib import Path

import pytest
import torch

from processes import Command
from snellen import api
from snellen.cli import main
from snellen.training.tasks.keypoints import KeypointTask
from tiny import write_discs, write_recipe

STEPS = 40


def start(runs, name, *arguments):
    return Command("train", *arguments, "--name", name, output=runs.parent / f"{name}.log")


def weights(run):
    return (run / "model.safetensors").read_bytes()


def metrics(run):
    """Rows of metrics.csv without the seconds, the one column that may differ."""
    with (run / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def checkpoint_step(run):
    return int(torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A recipe, and a whole run of it."""
    root = tmp_path_factory.mktemp("resume")
    recipe = write_recipe(write_discs(root / "data"), root / "runs", steps=STEPS)
    api.train(str(recipe), name="reference")
    return recipe, root / "runs"


def stop_midway(recipe, run, chance, with_signal, *arguments):
    """Start a run and send it a signal at a random moment after its first checkpoint; its output."""
    for attempt in range(4):
        process = start(run.parent, f"{run.name}-{attempt}", recipe, *arguments)
        folder = run.with_name(f"{run.name}-{attempt}")
        last, seen, wanted = folder / "checkpoints" / "last.ckpt", set(), chance.randint(1, 8)
        while process.running and len(seen) < wanted:
            if last.exists():
                seen.add(last.stat().st_mtime_ns)
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.1))  # between two checkpoints, or while one is written
        process.signal(with_signal)
        status, output = process.end()
        if not (folder / "model.json").exists():
            assert last.exists(), output
            return folder, status, output
    pytest.fail("the run finished every time before it could be stopped; give it more steps")


def assert_resumes_to(reference, run, capsys):
    """Resume a stopped run and compare everything it leaves with the run that was never stopped."""
    done = checkpoint_step(run)
    assert 0 < done < STEPS
    capsys.readouterr()
    assert main(["train", "--resume", str(run)]) == 0
    output = "".join(capsys.readouterr())
    # It went on rather than starting again: no validation up to the checkpoint is repeated.
    validated = [int(step) for step in re.findall(rf"step (\d+)/{STEPS} ", output)]
    assert validated
    assert min(validated) > done
    assert metrics(run) == metrics(reference)
    assert weights(run) == weights(reference)


def test_the_same_seed_gives_the_same_bytes(world):
    recipe, runs = world
    status, output = start(runs, "again", recipe).end()  # in another process
    assert status == 0, output
    assert weights(runs / "reference") == weights(runs / "again")
    assert metrics(runs / "reference") == metrics(runs / "again")
    assert [int(row["step"]) for row in metrics(runs / "reference")] == list(range(4, STEPS + 1, 4))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_resumes_exactly(world, workers, capsys):
    recipe, runs = world
    run, code, output = stop_midway(
        recipe, runs / f"killed{workers}", random.Random(workers), signal.SIGKILL, "--data.workers", workers
    )
    assert code == -signal.SIGKILL, output
    # Nothing half-written may be taken for a result.
    assert not (run / "model.safetensors").exists()
    assert_resumes_to(runs / "reference", run, capsys)


def test_an_interrupted_run_says_how_to_resume_and_does_so_exactly(world, capsys):
    recipe, runs = world
    run, code, output = stop_midway(recipe, runs / "interrupted", random.Random(7), signal.SIGINT)
    assert code == 130, output
    assert f"snellen train --resume {run}" in output
    assert "Traceback" not in output
    assert_resumes_to(runs / "reference", run, capsys)


def test_an_interrupt_at_any_step_leaves_no_trace(tmp_path, monkeypatch):
    """In one process, where the step can be chosen: validated or not, with a checkpoint due or not."""

    recipe = str(write_recipe(write_discs(tmp_path / "data"), tmp_path / "runs", steps=12))
    reference = api.train(recipe, name="reference")
    plain = KeypointTask.training_step
    # Validations every 4 steps, checkpoints every 3. SIGTERM is what schedulers send.
    for after, number in ((4, signal.SIGINT), (5, signal.SIGTERM), (6, signal.SIGINT)):
        pending = [after]

        def training_step(self, batch, index, pending=pending, number=number):
            if pending and self.global_step + 1 == pending[0]:
                pending.clear()
                os.kill(os.getpid(), number)
            return plain(self, batch, index)

        monkeypatch.setattr(KeypointTask, "training_step", training_step)
        run = api.train(recipe, name=f"stopped{after}")
        assert not pending
        assert not (run / "model.json").exists()
        assert checkpoint_step(run) == after
        # Above all no validation of its own: it would count for the best weights and for the patience.
        assert metrics(run) == [row for row in metrics(reference) if int(row["step"]) <= after]
        api.resume(run)
        assert metrics(run) == metrics(reference)
        assert weights(run) == weights(reference)


def test_a_finished_run_is_not_resumed(world, capsys):
    run = world[1] / "reference"
    before = weights(run)
    assert main(["train", "--resume", str(run)]) == 1
    message = capsys.readouterr().err.strip()
    assert "is finished" in message
    assert "\n" not in message
    assert weights(run) == before


def test_a_run_without_a_checkpoint_or_a_folder_that_is_no_run_is_refused(world, tmp_path, capsys):
    (tmp_path / "config.yaml").write_text((world[1] / "reference" / "config.yaml").read_text())
    for folder, says in ((tmp_path, "no checkpoint to resume from"), (Path("/nowhere"), "is not a run folder")):
        assert main(["train", "--resume", str(folder)]) == 1
        message = capsys.readouterr().err.strip()
        assert says in message
        assert "\n" not in message
