"""The process that trains and scores one run of a comparison: python -m snellen.evaluation.compare_worker JOB.json

It ends with the comparison that started it, whatever ends that one: two processes must not write to one run folder.
"""

import json
import logging
import os
import shutil
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from snellen.config import from_dict
from snellen.evaluation.evaluate import evaluate_run
from snellen.evaluation.outcomes import outcomes_file
from snellen.evaluation.recording import has_metric
from snellen.training.fit import fit
from snellen.training.runs import RunFolder

__all__ = ["main", "scored", "work"]


def scored(folder: RunFolder, split: str, needs: Sequence[str] = ()) -> bool:
    """Whether a run has been scored on a split as its configuration says, by all metrics needed, with its outcomes."""
    file = folder / f"evaluation-{split}.json"
    if not folder.finished or not file.is_file() or not outcomes_file(folder.path, split).is_file():
        return False
    scores = json.loads(file.read_text(encoding="utf-8"))["scores"]
    if not all(has_metric(scores, metric) for metric in needs):
        return False
    evaluate = folder.config().evaluate
    # `snellen evaluate` may have asked for something else since.
    return all(getattr(evaluate, key, scores[key]) == scores[key] for key in ("flip", "decoder") if key in scores)


def work(job: dict[str, object]) -> bool:
    """Train what is not trained, go on with what was interrupted, score what is not scored.

    Args:
        job: `config` (plain), `command` (for the records), `split`, `robustness`, `needs` (see `scored`).

    Returns:
        Whether the run is complete; False where Ctrl-C stopped it.
    """
    config = from_dict(job["config"])  # type: ignore[arg-type]  # plain, as it was written
    folder, split = RunFolder(Path(config.out) / config.run_name), str(job["split"])
    if not folder.finished:
        if folder.last_checkpoint.exists():
            fit(folder.config(), command=str(folder.info().get("command", "")), resume=folder)
        else:
            # What a run leaves that was killed before its first checkpoint is nothing to go on with.
            shutil.rmtree(folder.path, ignore_errors=True)
            fit(config, command=str(job["command"]))
    if not folder.finished:
        return False
    if not scored(folder, split, job["needs"]):  # type: ignore[arg-type]  # names
        evaluate_run(folder.path, split=split, robustness=bool(job["robustness"]))
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
