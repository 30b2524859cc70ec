"""The report of a super-resolution run, from a `SuperRecord`."""

from functools import partial
from pathlib import Path
from typing import Any

from snellen.evaluation.figures.curves import learning_curves
from snellen.evaluation.reports.page import picture, render_page
from snellen.evaluation.reports.tables import number
from snellen.evaluation.run_record import image_tag
from snellen.evaluation.superresolution import SuperRecord
from snellen.training.runs import write_atomically

__all__ = ["render_super_report", "write_super_report"]

_SHOWN = (("seen", "seen"), ("plain", "bicubic"), ("answer", "answer"), ("truth", "truth"))


def write_super_report(record: SuperRecord, path: str | Path) -> Path:
    """Write the report of a record; returns the path of the HTML file."""
    file = Path(path)
    write_atomically(file, render_super_report(record))
    return file


def render_super_report(record: SuperRecord) -> str:
    """The report as HTML text."""
    curve = partial(
        learning_curves, record.history, "val/psnr", "Validation PSNR, dB", factor=1, unit="dB", better="max"
    )
    context = {
        "record": record,
        "number": number,
        "learning": picture(
            curve, "Learning curves: loss, and the validation's signal-to-noise ratio below it.", "learning",
            "Loss, and the signal-to-noise ratio of the validation pictures below it, against the training step.",
        ),
        "gallery": _gallery(record),
    }  # fmt: skip
    return render_page("superresolution.html.j2", record.page(), context)


def _gallery(record: SuperRecord) -> list[dict[str, Any]]:
    rows = []
    for kind in dict.fromkeys(s.kind for s in record.samples):
        entries = [
            {
                "name": sample.name,
                "gain": f"{sample.gain:+.2f}",
                "pictures": [(words, image_tag(getattr(sample, field))) for field, words in _SHOWN],
            }
            for sample in record.samples
            if sample.kind == kind
        ]
        rows.append({"kind": kind.capitalize(), "entries": entries})
    return rows
