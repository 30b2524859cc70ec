"""Wall-clock time of what `make demo` does after installing: train, evaluate, report.

python benchmarks/demo_time.py

Run it on a machine that does nothing else.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from snellen.evaluation.results.records import Record, add_record


def main() -> None:
    """Run the three commands in fresh processes, time them, store the sum."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        run = f"{folder}/demo"
        for verb in (
            ["train", "wings-rcn", "--name", "demo", "--out", folder],
            ["evaluate", run, "--split", "test"],
            ["report", run],
        ):
            begin = time.monotonic()
            subprocess.run([sys.executable, "-m", "snellen.cli", *verb], check=True)
            seconds.append(time.monotonic() - begin)
    total = sum(seconds)
    record = Record.here(
        name="wings/demo",
        metric="wall-clock time of make demo after installing",
        unit="s",
        values=[total],
        interval=[total, total],
        train_seconds=seconds[0],
        steps=240,
        command="python benchmarks/demo_time.py",
        note=f"train {seconds[0]:.0f} s, evaluate {seconds[1]:.0f} s, report {seconds[2]:.0f} s",
    )
    add_record(Path("results/wings.json"), record)
    print(f"{total:.0f} s: {record.note}")


if __name__ == "__main__":
    main()
