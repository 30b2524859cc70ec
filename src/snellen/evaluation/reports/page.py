"""What the reports of all tasks share: the page, its figures, and how to get the run again.

A report is one HTML file that asks for nothing else: no scripts, nothing loaded from elsewhere, names escaped.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from snellen.evaluation.figures.drawing import svg

__all__ = ["Page", "Picture", "picture", "render_page", "slug"]

_SPLITS = {"train": "training split", "val": "validation split", "test": "test split"}


@dataclass(frozen=True)
class Page:
    """What every report says of its run.

    Attributes:
        run: name of the run.
        dataset: name of the data.
        split: "train", "val" or "test".
        command: what was typed to train.
        config: the resolved configuration, nested.
        versions: packages, hardware and the like, by name.
        train_seconds: None where it was not recorded, as below.
        steps: updates.
        parameters: of the model.
        canvas: (height, width) of what the model sees.
    """

    run: str
    dataset: str
    split: str
    command: str
    config: Mapping[str, Any]
    versions: Mapping[str, str]
    train_seconds: float | None = None
    steps: int | None = None
    parameters: int | None = None
    canvas: tuple[int, int] | None = None

    def facts(self) -> list[tuple[str, str]]:
        """What there is to say of the training and the model, by name."""
        facts = [
            ("Trained for", f"{self.steps:,} steps" if self.steps is not None else ""),
            ("Training time", _duration(self.train_seconds)),
            ("Parameters", f"{self.parameters:,}" if self.parameters is not None else ""),
            ("Canvas", f"{self.canvas[1]} by {self.canvas[0]} px" if self.canvas else ""),
            *((str(k), str(v)) for k, v in self.versions.items()),
        ]
        return [(name, value) for name, value in facts if value]


@dataclass(frozen=True)
class Picture:
    """A figure in the page, or the sentence that stands in its place.

    Attributes:
        svg: the figure, or None.
        reason: why there is none.
        caption: text below it.
    """

    svg: Markup | None
    reason: str
    caption: str = ""


def picture(make: Callable[[], Figure], alt: str, key: str, caption: str = "") -> Picture:
    """A figure for the page; a ValueError of `make` is the reason why there is none."""
    try:
        figure = make()
    except ValueError as reason:
        return Picture(None, str(reason))
    return Picture(Markup(svg(figure, alt, key)), "", caption)


def render_page(template: str, page: Page, context: Mapping[str, Any]) -> str:
    """The HTML text of a template of this package that extends page.html.j2."""
    environment = Environment(
        loader=PackageLoader("snellen.evaluation.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = {
        "run": page.run,
        "dataset": page.dataset,
        "split": _SPLITS.get(page.split, page.split),
        "command": page.command,
        "facts": page.facts(),
        "settings": _flat(page.config),
    }
    return environment.get_template(template).render({"page": shown, **context})


def _duration(seconds: float | None) -> str:
    if seconds is None or not math.isfinite(seconds):
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as dotted names, as the command line takes them."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", str(value)))
    return rows


def slug(words: str) -> str:
    """Words as part of an id."""
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in words.lower())
