"""Comparisons end to end on tiny data: killed and given again, with a row that fails, with rows that are finished."""

import json
import logging
import os
import random
import re
import signal
import time

import pytest

from snellen import api
from snellen.cli import main
from snellen.config import ConfigError, to_dict
from snellen.evaluation.compare import comparison
from snellen.evaluation.compare import runs as compare_runs
from snellen.evaluation.compare.plan import Plan, grid, row_of
from snellen.evaluation.compare.runs import estimate, run_plan, unfinished
from snellen.evaluation.compare.worker import work
from tiny import write_discs, write_recipe

VARY = {"pool": ["max", "avg"]}


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    root = tmp_path_factory.mktemp("compare")
    return str(write_recipe(write_discs(root / "data"), root / "elsewhere", steps=30))


@pytest.fixture(scope="module")
def reference(discs, tmp_path_factory):
    """Both rows trained and scored in this process, and what they come to."""
    out = tmp_path_factory.mktemp("reference")
    plan = Plan(recipe=discs, rows=tuple(grid(VARY)), seeds=(0,), out=out)
    finish(plan)
    return out, table(api.compare(discs, vary=VARY, seeds=1, out=out))


def finish(plan, *rows):
    """What the processes of a comparison would do."""
    for row in rows or plan.rows:
        for seed in plan.seeds:
            job = {"config": to_dict(plan.config(row, seed)), "command": "", "split": plan.split, "robustness": False}
            assert work({**job, "needs": []})


def table(found):
    """Everything of a comparison that times and places do not decide."""
    rows = [
        {key: row[key] for key in ("name", "seeds", "values", "mean", "parameters", "macs")} for row in found["rows"]
    ]
    gains = [{key: g[key] for key in ("row", "gain", "interval", "p", "p_adjusted", "images")} for g in found["gains"]]
    return {"rows": rows, "gains": gains, "curves": [row["curves"] for row in found["rows"]], "notes": found["notes"]}


def checkpoints(out):
    """Time stamps of all checkpoints to resume from: each new one is a step forward."""
    stamps = set()
    for file in (out / "runs").glob("*/checkpoints/last.ckpt"):
        try:
            stamps.add(file.stat().st_mtime_ns)
        except FileNotFoundError:
            continue  # just renamed
    return stamps


def kill_midway(plan, chance):
    """Start a comparison in a process of its own, kill that one at a random moment, leave its processes to the system."""
    before, wanted = checkpoints(plan.out), chance.randint(1, 4)
    child = os.fork()
    if not child:
        status = 1
        try:
            run_plan(plan)
            status = 0
        finally:
            os._exit(status)
    new = set()
    while len(new) < wanted:
        if os.waitpid(child, os.WNOHANG)[0]:
            pytest.fail("the comparison ended before it could be killed; give it more steps")
        new |= checkpoints(plan.out) - before
        time.sleep(0.002)
    time.sleep(chance.uniform(0, 0.3))
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.timeout(600)  # five processes that import torch, one after the other
def test_killed_three_times_it_comes_to_the_same_table(discs, reference, tmp_path, monkeypatch):
    # The children of this test only start processes: they must not compute, which a forked torch cannot be trusted with.
    monkeypatch.setattr(compare_runs, "estimate", lambda *_: "")
    plan = Plan(recipe=discs, rows=tuple(grid(VARY)), seeds=(0,), out=tmp_path / "killed")
    chance = random.Random(8)
    kills = 3
    for _ in range(kills):
        kill_midway(plan, chance)
    found = api.compare(discs, vary=VARY, seeds=1, out=plan.out)
    assert table(found) == reference[1]
    # It went on rather than starting again: a kill between a line and its checkpoint has that line twice, and no other.
    log = "".join(file.read_text() for file in (plan.out / "logs").iterdir())
    steps = [int(step) for step in re.findall(r"step (\d+)/30 ", log)]
    assert len(steps) <= len(plan.rows) * len(set(steps)) + kills
    stored = json.loads((plan.out / "comparison.json").read_text())
    assert table(stored) == reference[1]


def test_a_row_that_fails_is_told_in_a_sentence_and_the_others_go_on(discs, reference, caplog):
    """Both good rows are finished: they are taken as they are."""
    out, known = reference
    files = [*(out / "runs").rglob("model.safetensors"), *(out / "runs").rglob("images-val.npz")]
    before = {file: file.stat().st_mtime_ns for file in files}
    caplog.set_level(logging.INFO, "snellen")
    rows = {"max": {"pool": "max"}, "many": {"branches": 9}, "avg": {"pool": "avg"}}
    found = api.compare(discs, rows=rows, seeds=1, out=out)
    assert table(found)["rows"] == known["rows"]
    assert table(found)["gains"] == known["gains"]
    (failure,) = found["failures"]
    assert failure.startswith("many, seed 0, failed: branches=9")
    assert "\n" not in failure
    assert failure in (out / "comparison.html").read_text().replace("&#39;", "'")
    assert {file: file.stat().st_mtime_ns for file in files} == before
    assert len(before) == 4
    assert "3 runs: 2 are finished, 1 are to be trained, 30 steps in all" in caplog.text


def test_finished_runs_are_compared_without_their_recipe(reference, tmp_path, capsys):
    out, known = reference
    runs = [str(out / "runs" / name) for name in ("max-seed0", "avg-seed0")]
    assert main(["compare", *runs, "--out", str(tmp_path / "pair"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert table(found) == known
    assert found["rows"][1]["settings"] == {"model.choices.pool": "avg"}
    page = (tmp_path / "pair" / "comparison.html").read_text()
    assert found["gains"][0]["sentence"] in page
    assert not re.search(r"(src|href)=.http", page)


def test_training_times_are_compared_by_steps_timed_side_by_side(reference, monkeypatch):
    """Not by how long the trainings took, which tells what else the machine did."""
    runs = [reference[0] / "runs" / name for name in ("max-seed0", "avg-seed0")]
    found = api.compare_runs(*runs)
    first, second = (row["step_milliseconds"] for row in found["rows"])
    assert first > 0
    assert found["gains"][0]["time_ratio"] == pytest.approx(second / first)
    assert [row["steps"] for row in found["rows"]] == [30, 30]

    def gone(_):
        raise OSError("no such folder")

    monkeypatch.setattr(comparison, "prepare", gone)
    found = api.compare_runs(*runs)
    assert [row["step_milliseconds"] for row in found["rows"]] == [None, None]
    assert found["gains"][0]["time_ratio"] is None
    assert "training time" not in found["gains"][0]["sentence"]


def test_runs_that_differ_in_the_seed_alone_are_one_row(reference, capsys):
    run = str(reference[0] / "runs" / "max-seed0")
    assert main(["compare", run, run]) == 0
    found = capsys.readouterr().out
    assert "No difference" in found
    assert main(["compare", run]) == 1
    assert "nothing to compare" in capsys.readouterr().err


def test_what_is_left_is_told_before_it_is_done(discs, reference, tmp_path):
    plan = Plan(recipe=discs, rows=tuple(grid(VARY)), seeds=(0, 1), out=tmp_path / "new")
    assert re.match(
        r"4 runs: 0 are finished, 4 are to be trained, 120 steps in all; a step of 'max' takes [\d.]+ s here, so training "
        r"takes about \d+ min",
        estimate(plan, unfinished(plan)),
    )
    done = Plan(recipe=discs, rows=tuple(grid(VARY)), seeds=(0,), out=reference[0])
    assert estimate(done, unfinished(done)) == "2 runs: 2 are finished"


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again(discs, reference, tmp_path):
    plan = Plan(
        recipe=discs, rows=(row_of("max", {"pool": "max"}), row_of("avg", {"pool": "avg"})), seeds=(0,), out=tmp_path
    )
    folder = plan.folder(plan.rows[0], 0)
    folder.create(plan.config(plan.rows[0], 0), "killed early")
    (folder / ".run.json.1.tmp").write_text("half")
    assert len(unfinished(plan)) == 2
    finish(plan, plan.rows[0])
    assert [run.row.name for run in unfinished(plan)] == ["avg"]
    weights = (folder / "model.safetensors").read_bytes()
    assert weights == (reference[0] / "runs" / "max-seed0" / "model.safetensors").read_bytes()
    # Killed after its last step, before the run was complete; and after that, before it was scored.
    (folder / "model.json").unlink()
    finish(plan, plan.rows[0])
    assert (folder / "model.safetensors").read_bytes() == weights
    (folder / "evaluation-val.json").unlink()
    assert len(unfinished(plan)) == 2


def test_runs_of_other_settings_are_not_taken_nor_overwritten(discs, reference):
    out = reference[0]
    other = Plan(recipe=discs, rows=tuple(grid(VARY)), seeds=(0,), out=out, settings={"train.lr": 0.5})
    with pytest.raises(ConfigError, match=r"max-seed0 was trained with other settings \(train.lr\)"):
        run_plan(other)


def test_two_comparisons_of_one_folder_do_not_mix(discs, reference, monkeypatch):
    monkeypatch.setattr(compare_runs, "PATIENCE", 0.2)
    plan = Plan(recipe=discs, rows=tuple(grid(VARY)), seeds=(0,), out=reference[0])
    with compare_runs._alone(plan.out), pytest.raises(ConfigError, match="another comparison is at work"):
        run_plan(plan)
    assert run_plan(plan) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["wings-rcn"], "say what differs"),
        ([], "required: what"),
        (["wings-rcn", "--vary", "pool"], "KEY=VALUE,VALUE"),
        (["wings-rcn", "--vary", "pool=max,[", "--seeds", "1"], "cannot be read"),
        (["wings-rcn", "--vary", "pool=max,avg", "--vary", "pool=blur"], "given twice"),
        (["wings-rcn", "--vary", "pool=max,avg", "--seeds", "two"], "--seeds is a number"),
        (["wings-rcn", "--vary", "pool=max,avg", "--sedes", "2"], "there is no option --sedes; nearest: --seeds"),
        (["wings-rcn", "--vary", "pool=max,avg", "--train.steps"], "needs a value"),
        (["wings-rcn", "--vary", "pool=max,avg", "--devices", "0"], "at least 1"),
        (["wing-rcn", "--vary", "pool=max,avg"], "no recipe is called 'wing-rcn'"),
        (["runs/a", "runs/b", "--vary", "pool=max"], "finished runs are compared as they are"),
        (["runs/a", "runs/b"], "is not a run folder"),
    ],
)
def test_the_command_line_refuses_in_a_sentence(arguments, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *arguments]) == 1
    line = capsys.readouterr().err.strip()
    assert says in line
    assert "\n" not in line
