"""The report of a super-resolution run, from a `SuperRecord`."""

import base64
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup

from snellen.evaluation.class_record import png
from snellen.evaluation.curves import learning_curves
from snellen.evaluation.report_page import Page, picture, render_page
from snellen.evaluation.superresolution import SuperRecord
from snellen.evaluation.tables import number
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
    page = Page(
        run=record.run,
        dataset=record.dataset,
        split=record.split,
        command=record.command,
        config=record.config,
        versions=record.versions,
        train_seconds=record.train_seconds,
        steps=record.steps,
        parameters=record.parameters,
        canvas=record.canvas,
    )
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
    return render_page("report_superresolution.html.j2", page, context)


def _gallery(record: SuperRecord) -> list[dict[str, Any]]:
    rows = []
    for kind in dict.fromkeys(s.kind for s in record.samples):
        entries = [
            {
                "name": sample.name,
                "gain": f"{sample.gain:+.2f}",
                "pictures": [(words, _image(png(getattr(sample, field)))) for field, words in _SHOWN],
            }
            for sample in record.samples
            if sample.kind == kind
        ]
        rows.append({"kind": kind.capitalize(), "entries": entries})
    return rows


def _image(content: bytes) -> Markup:
    return Markup('<img alt="" src="data:image/png;base64,{}">').format(base64.b64encode(content).decode())
