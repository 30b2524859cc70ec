"""Wall-clock time of what a newcomer does: `make demo` after installing, or the page on one's own images.

    python benchmarks/walk_time.py demo        # record wings/demo
    python benchmarks/walk_time.py own-data    # the commands of docs/own-data.md as they stand: record wings/walk-through

Each command runs in a fresh process. Run it on a machine that does nothing else.
"""

import argparse
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from snellen.evaluation.results.records import Record, add_record

PAGE = Path(__file__).resolve().parent.parent / "docs" / "own-data.md"
DEMO = ["train wings-rcn --name demo", "evaluate runs/demo --split test", "report runs/demo"]


def commands_of(page: str) -> list[str]:
    """The page's `snellen` commands in their order, those with their output and those without."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    lines = [
        line.removeprefix("$ ") for language, block in blocks if language != "python" for line in block.splitlines()
    ]
    return [line.removeprefix("snellen ") for line in lines if line.startswith("snellen ")]


def walk(commands: list[str], folder: str) -> dict[str, float]:
    """Seconds of each verb, all its commands together."""
    seconds: dict[str, float] = {}
    for command in commands:
        begin = time.monotonic()
        subprocess.run([sys.executable, "-m", "snellen.cli", *shlex.split(command)], cwd=folder, check=True)
        verb = command.split()[0]
        seconds[verb] = seconds.get(verb, 0) + time.monotonic() - begin
    return seconds


def main() -> None:
    """Run the commands, time them, store the sum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("demo", "own-data"))
    what = parser.parse_args().what
    with tempfile.TemporaryDirectory() as folder:
        commands = DEMO
        if what == "own-data":
            text = PAGE.read_text(encoding="utf-8")
            (code,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
            subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
            commands = commands_of(text)
        seconds = walk(commands, folder)
    total = sum(seconds.values())
    record = Record.here(
        name="wings/demo" if what == "demo" else "wings/walk-through",
        metric="wall-clock time of " + ("make demo after installing" if what == "demo" else "docs/own-data.md"),
        unit="s",
        values=[total],
        interval=[total, total],
        train_seconds=seconds["train"],
        steps=240 if what == "demo" else 600,
        command=f"python benchmarks/walk_time.py {what}",
        note=", ".join(f"{verb} {taken:.0f} s" for verb, taken in seconds.items()),
    )
    add_record(Path("results/wings.json"), record)
    print(f"{total:.0f} s: {record.note}")


if __name__ == "__main__":
    main()
