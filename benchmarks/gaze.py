"""Gaze of ten unseen people: one eye picture an answer, and synthetic scenes seen in three ways.

    python benchmarks/gaze.py --data ../shared/data/gaze

The recipes' headers say what a run costs. Runs that are finished are not repeated. Angular errors are measured on the
test people. Scenes are seen whole, through a learned zoom, and by the eyes' true box.
"""

import rows

#: Row -> recipe.
TRAINED = {"best": "gaze-best"} | {f"canvas-{row}": f"gaze-canvas-{row}" for row in ("uniform", "zoom", "crop")}


def main() -> None:
    """Run the command line."""
    chosen = rows.parser(__doc__, list(TRAINED), seeds=[0, 1, 2]).parse_args()
    for row in chosen.rows:
        rows.record_row(chosen, f"gaze/{row}", TRAINED[row], [], ["--metrics", "error", "person_mean"])


if __name__ == "__main__":
    main()
