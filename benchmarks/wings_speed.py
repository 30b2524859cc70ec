"""How many wings are drawn a second by one core, at 256 x 192 pixels.

python benchmarks/wings_speed.py
"""

import time
from pathlib import Path

import torch

from snellen.data import Wings
from snellen.evaluation.results.records import Record, add_record

COUNT, REPEATS = 200, 5


def main() -> None:
    """Draw, time, store."""
    torch.set_num_threads(1)
    wings = Wings(COUNT, seed=9)
    rates = []
    for _ in range(REPEATS):
        begin = time.process_time()  # of this process alone, so that a busy machine does not count
        for i in range(COUNT):
            wings[i]
        rates.append(COUNT / (time.process_time() - begin))
    middle = sorted(rates)[REPEATS // 2]
    print(f"{middle:.0f} wings a second on one core ({', '.join(f'{r:.0f}' for r in rates)})")
    record = Record.here(
        name="wings/drawing",
        metric="images drawn a second by one core, 256 x 192",
        unit="1/s",
        values=[middle],
        interval=[min(rates), max(rates)],
        train_seconds=0.0,
        steps=COUNT * REPEATS,
        command="python benchmarks/wings_speed.py",
        note=f"median of {REPEATS} times {COUNT} wings, processor time; the interval is the range",
    )
    add_record(Path("results/wings.json"), record)


if __name__ == "__main__":
    main()
