"""Make a run into weights that ship: a small safetensors file, what deployment needs, and a card with data, terms and scores.

    python benchmarks/ship_weights.py runs/wings-rcn-seed0 wings-rcn --record wings/rcn --data "Wings drawn by this library"
    python benchmarks/ship_weights.py runs/faces5-rcn-best-seed0 faces5-rcn --record faces5/rcn-best \\
        --data "LFW photos with the annotations of MTFL"

Weights whose run states no terms are Apache-2.0 and go into the wheel, src/snellen/weights/NAME; those with terms go to
weights/research/NAME, outside of it. The scores are those of a record in results/*.json that has the run's seed.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

from snellen.inference import load
from snellen.inference.sharing import save_pretrained
from snellen.training.runs import RunFolder

ROOT = Path(__file__).resolve().parents[1]
#: Bytes; what a repository and a wheel can carry.
LIMIT = 5_000_000


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name", help="what snellen.load calls it")
    parser.add_argument("--record", required=True, help="name in results/*.json, e.g. wings/rcn")
    parser.add_argument("--data", required=True, help="what it was trained on, in words")
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    parser.add_argument("--to", type=Path, help="another folder than the two above")
    chosen = parser.parse_args()
    folder = ship(chosen.run, chosen.name, record=chosen.record, data=chosen.data, results=chosen.results, to=chosen.to)
    print(f"{folder}: {(folder / 'model.safetensors').stat().st_size:,} bytes")


def ship(run: Path, name: str, *, record: str, data: str, results: Path, to: Path | None = None) -> Path:
    """Write the folder of a run's weights and return it."""
    size = (run / "model.safetensors").stat().st_size
    if size > LIMIT:
        raise SystemExit(f"{run} has {size:,} bytes of weights, over the limit of {LIMIT:,}; ship a smaller model")
    model, folder = load(run, "cpu"), RunFolder(run)
    terms = model.card.get("terms", "")
    model.card["licence"] = "for non-commercial research only" if terms else "Apache-2.0"
    seed = folder.config().seed
    facts = {
        "Data": f"{data}.",
        "Scores": _scores(json.loads((results / f"{record.split('/')[0]}.json").read_text()), record, seed),
        "Made by": f"```\n{_command(str(folder.info()['command']))}\n```\n\nThese are the weights of seed {seed}.",
    }
    place = to or (ROOT / "weights" / "research" if terms else ROOT / "src" / "snellen" / "weights")
    return save_pretrained(model, place / name, name=name, facts=facts)


def _command(command: str) -> str:
    """The run's command without the folders of the machine it ran on."""
    return re.sub(r"--data\.root(=| )\S+", r"--data.root\1DATA", re.sub(r" --out(=| )\S+", "", command))


def _scores(records: list[dict[str, Any]], record: str, seed: int) -> str:
    """The rows of a record as a table: mean over seeds, and the seed that ships."""
    rows = [row for row in records if row["name"] == record]
    if not rows:
        raise SystemExit(
            f"results hold no record {record}; there are {', '.join(sorted({r['name'] for r in records}))}"
        )
    if seed not in rows[0]["seeds"]:
        raise SystemExit(
            f"the record {record} has seeds {rows[0]['seeds']}, and the run has {seed}; its scores are not there"
        )
    lines = [
        f"Record `{record}` of results/, {len(rows[0]['values'])} seeds.",
        "",
        "| | mean over seeds | these weights |",
        "|---|---|---|",
    ]
    for row in rows:
        mean, own = sum(row["values"]) / len(row["values"]), row["values"][row["seeds"].index(seed)]
        over = f" over {row['normaliser']}" if row.get("normaliser") and "over" not in row["metric"] else ""
        lines.append(f"| {row['metric']}{over} | {mean:.2f} {row['unit']} | {own:.2f} {row['unit']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
