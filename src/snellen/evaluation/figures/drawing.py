"""How figures look and how they get into a page: one palette, one size, SVG that takes its colours and font from the page.

Figures are made with matplotlib's objects, never with pyplot, so nothing global changes and no window can open.
"""

import io
import re
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["BLUE", "GREEN", "GRID", "INK", "MUTED", "RED", "label", "new_figure", "note", "svg", "tidy"]

# Okabe and Ito's colour-blind-safe hues, a little darker where they carry text.
BLUE = "#0072b2"
RED = "#d55e00"  # vermilion: safe beside the blue
GREEN = "#009e73"
INK = "#22262b"
MUTED = "#6b7480"
GRID = "#dfe3e8"

#: What a page calls the colours (custom properties of its style sheet); lets a dark page choose its own.
_VARIABLES = {BLUE: "--blue", RED: "--red", GREEN: "--green", INK: "--ink", MUTED: "--muted", GRID: "--grid"}

#: 96 CSS pixels an inch: a figure of this width fills half of the report on a desk and all of it on a phone.
WIDTH = 4.7
FONT_SIZE = 10.0


def new_figure(height: float, width: float = WIDTH, *, bleed: bool = False) -> Figure:
    """An empty, transparent figure of `width` x `height` inches; `bleed` leaves the layout, margins included, to the caller."""
    figure = Figure(figsize=(width, height), layout=None if bleed else "constrained")
    figure.patch.set_alpha(0.0)
    return figure


def tidy(axes: Axes, *, x: str = "", y: str = "", grid: Literal["x", "y", "both", ""] = "y") -> None:
    """Give axes the house style: two thin spines, a light grid along one axis ("x", "y", "both" or ""), small labels."""
    axes.patch.set_alpha(0.0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(MUTED)
        spine.set_linewidth(0.8)
    axes.tick_params(which="both", colors=MUTED, labelcolor=INK, labelsize=FONT_SIZE, width=0.8, length=3)
    axes.tick_params(which="minor", length=2)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_xlabel(x, color=INK, fontsize=FONT_SIZE)
    # A y label turned sideways is hard to read: it stands above the axis, at its left.
    axes.set_title(y, loc="left", color=INK, fontsize=FONT_SIZE, pad=7)


def label(axes: Axes, x: float, y: float, words: str, colour: str = INK, **options: Any) -> None:
    """Write beside a point, in data coordinates; `words` are taken literally (no mathematics between dollars)."""
    look: dict[str, Any] = {"xytext": (5, 0), "va": "center", "color": colour, "fontsize": FONT_SIZE} | options
    axes.annotate(words, (x, y), textcoords="offset points", parse_math=False, **look)


def note(axes: Axes, x: float, y: float, words: str, colour: str = INK, **options: Any) -> None:
    """Write at a place of the axes (fractions of their width and height), at its left and below by default."""
    look: dict[str, Any] = {"ha": "right", "va": "top", "fontsize": FONT_SIZE, "color": colour} | options
    axes.text(x, y, words, transform=axes.transAxes, parse_math=False, **look)


def svg(figure: Figure, alt: str, key: str) -> str:
    """A figure as an inline SVG element.

    Args:
        figure: what to write.
        alt: what a reader who cannot see it is told.
        key: unique in the page; keeps the ids of several figures apart and makes the output repeatable.
    """
    buffer = io.StringIO()
    # "none" writes words as words: small, selectable, and in the page's font.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": key, "svg.image_inline": True}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)  # matplotlib repeats every word in a comment
    text = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{key}-", text)
    for colour, name in _VARIABLES.items():
        text = text.replace(colour, f"var({name})")
    text = re.sub(r">\s+<", "><", text)
    head = f'<svg role="img" aria-label="{_escape(alt)}" '
    return re.sub(r"<svg (.*?)>", lambda m: head + _without_size(m.group(1)) + ">", text, count=1, flags=re.DOTALL)


def _without_size(attributes: str) -> str:
    """The page sets the width; the view box keeps the shape."""
    return " ".join(re.findall(r'\bviewBox="[^"]*"', attributes))


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
