"""The process that trains and scores one run of a comparison: python -m snellen.evaluation.compare.worker JOB.json

It ends with the comparison that started it, whatever ends that one: two processes must not write to one run folder.
"""

import json
import logging
import os
import shutil
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snellen.allocator import keep_freed_memory
from snellen.config import from_dict
from snellen.evaluation.compare.plan import Plan, Row, scoring_name
from snellen.evaluation.evaluate import evaluate_run
from snellen.evaluation.outcomes import outcomes_file
from snellen.evaluation.results.recording import has_metric
from snellen.training.fit import fit
from snellen.training.runs import RunFolder

__all__ = ["complete", "main", "scored", "work"]


def complete(plan: Plan, row: Row, seed: int) -> bool:
    """Whether nothing is left to do of a row's run of a seed; a denoiser that rows are scored with is only trained."""
    folder = plan.folder(row, seed)
    if row in plan.judges:
        return folder.finished
    return scored(folder, plan.split, row.needs or plan.needs, row.scoring)


def scored(folder: RunFolder, split: str, needs: Sequence[str] = (), scoring: Mapping[str, Any] | None = None) -> bool:
    """Whether a run has been scored on a split by all metrics needed, with its outcomes.

    Args:
        folder: the run.
        split: "train", "val" or "test".
        needs: names of metrics.
        scoring: how it is asked to be scored (`Row.scoring`); else as its configuration says.
    """
    asked = scoring or {}
    kept = f"{split}{scoring_name(asked)}"
    file = folder / f"evaluation-{kept}.json"
    if not folder.finished or not file.is_file() or not outcomes_file(folder.path, kept).is_file():
        return False
    scores = json.loads(file.read_text(encoding="utf-8"))["scores"]
    if not all(has_metric(scores, metric) for metric in needs):
        return False
    evaluate = folder.config().evaluate
    # `snellen evaluate` may have asked for something else since.
    wanted = {key: asked.get(key, getattr(evaluate, key, scores.get(key))) for key in ("flip", "decoder")}
    return all(scores[key] == wanted[key] for key in wanted if key in scores)


def work(job: Mapping[str, Any]) -> bool:
    """Train what is not trained, go on with what was interrupted, score what is not scored.

    Args:
        job: `config` (plain), `command` (for the records), `split` (None trains only), `robustness`, `needs` (see `scored`),
            `scoring` (a row's), `asked` (the same as `evaluate_run` takes it).

    Returns:
        Whether the run is complete; False where Ctrl-C stopped it.
    """
    config = from_dict(job["config"])
    folder, split, scoring = RunFolder(Path(config.out) / config.run_name), job["split"], job.get("scoring") or {}
    if not folder.finished:
        if folder.last_checkpoint.exists():
            fit(folder.config(), command=str(folder.info().get("command", "")), resume=folder)
        else:
            # What a run leaves that was killed before its first checkpoint is nothing to go on with.
            shutil.rmtree(folder.path, ignore_errors=True)
            fit(config, command=str(job["command"]))
    if not folder.finished:
        return False
    if split is not None and not scored(folder, split, job["needs"], scoring):
        name = scoring_name(scoring) or None
        evaluate_run(folder.path, split=split, robustness=job["robustness"], name=name, **job.get("asked", {}))
    return True


def _end_with_parent() -> None:
    """Leave as soon as the pipe from the parent closes, which the system does however the parent ends."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> int:
    """Do the job of the file named; returns the exit status."""
    _end_with_parent()
    keep_freed_memory()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)
    try:
        return 0 if work(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))) else 130
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # the log keeps all of it, the comparison tells its last line
        logging.getLogger("snellen").exception("snellen: the run failed")
        sentence = " ".join(str(error).split()) or type(error).__name__
        print(f"snellen: {sentence}", file=sys.stderr)  # noqa: T201
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
