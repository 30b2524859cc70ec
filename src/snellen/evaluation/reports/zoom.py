"""The report's section on where a model looks: grid, zoomed picture, magnification, and the saliency in training."""

import base64
import html
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from snellen.evaluation.reports.history import read_history
from snellen.layers.zoom_grid import ZoomGrid, magnification
from snellen.layers.zoom_sample import zoom
from snellen.training.runs import RunFolder
from snellen.training.zoom_history import ZOOM_FILE, read_zoom_history

__all__ = ["add_zoom_section", "zoom_section"]

#: The longer side of a picture in the report, pixels; the most cells a side of a grid that are drawn; milliseconds of a frame.
SIDE, LINES, FRAME = 320, 20, 500
#: Colours of an animation.
COLOURS = 48
#: Magnification at the ends of the colours.
LOW, HIGH = 0.5, 4.0

#: Where every report's last section begins (page.html.j2).
END = "<section>\n<h2>How to get this again</h2>"

_WORDS = {
    "zoom/object": "mean magnification of the objects (1: a plain resize)",
    "zoom/largest": "largest magnification of a grid's cell, mean over images",
    "zoom/entropy": "entropy of the saliency (1: uniform)",
    "zoom/clamped": "share of the nodes pulled beyond the picture",
}


def add_zoom_section(report: str, folder: RunFolder) -> str:
    """A report's HTML with the section before what every report ends with; unchanged for runs that do not zoom."""
    head, end, tail = report.rpartition(END)
    return f"{head}{zoom_section(folder)}{end}{tail}"


def zoom_section(folder: RunFolder) -> str:
    """The section as HTML text: no scripts, nothing loaded from elsewhere; empty for runs that do not zoom."""
    file = folder / ZOOM_FILE
    if not file.is_file():
        return ""
    kept = read_zoom_history(file)
    steps = [int(step) for step in kept["steps"]]
    history = read_history(folder)
    last = history[-1] if history else {}
    numbers = "".join(
        f"<div><dt>{html.escape(words)}</dt><dd>{last[name]:.3g}</dd></div>"
        for name, words in _WORDS.items()
        if name in last
    )
    rows = "".join(_row(kept, i, steps) for i in range(len(kept["images"])))
    looks = (folder.config().model.choices.get("zoom_options") or {}).get("looks", 1)
    which = f" Of {looks} looks at each picture the last is shown." if looks > 1 else ""
    return (
        "<section>\n<h2>Where it looks</h2>\n"
        "<p>The first images of the validation. From left to right: the grid that the picture is read with, what the network "
        f"sees, the magnification against a plain resize (dark {LOW:g}, light {HIGH:g} times and more), and the saliency, or "
        f"the magnification where there is none, at each validation from step {steps[0]:,} to {steps[-1]:,}.{which}</p>\n"
        f'<dl class="strip">{numbers}</dl>\n{rows}</section>\n'
    )


def _row(kept: dict[str, NDArray[Any]], index: int, steps: Sequence[int]) -> str:
    picture, nodes = kept["images"][index], kept["nodes"][:, index]
    size = (int(kept["size"][0]), int(kept["size"][1]))
    grid = ZoomGrid(torch.from_numpy(nodes[-1:]), size)
    seen = zoom(torch.from_numpy(picture).permute(2, 0, 1)[None], grid)[0].permute(1, 2, 0)
    values = kept["saliency"][:, index] if "saliency" in kept else np.stack([_magnified(n) for n in nodes])
    frames = [_overlay(picture, v) for v in values]
    entries = (
        ("grid over the picture", _png([_lines(picture, nodes[-1])])),
        ("what the network sees", _png([Image.fromarray(seen.round().clamp(0, 255).byte().numpy())])),
        ("magnification", _png([_shades(_magnified(nodes[-1]), picture.shape[:2])])),
        (f"{'saliency' if 'saliency' in kept else 'magnification'} in training, {len(steps)} times", _png(frames)),
    )
    figures = "".join(
        f'<figure><img class="photo" alt="{words}" src="data:image/png;base64,{data}"><figcaption>{words}</figcaption></figure>'
        for words, data in entries
    )
    return f'<div class="tiles">{figures}</div>\n'


def _png(frames: list[Image.Image]) -> str:
    """One picture, or an animation (APNG) that runs three times and stops at the last frame."""
    buffer = io.BytesIO()
    if len(frames) > 1:
        # Dozens of frames: as small as they are kept, in few colours, so that a report stays a few megabytes.
        few = [frame.quantize(COLOURS) for frame in frames]
        few[0].save(buffer, format="PNG", save_all=True, append_images=few[1:], duration=FRAME, loop=3)
    else:
        scale = SIDE / max(frames[0].size)
        width, height = (max(1, round(side * scale)) for side in frames[0].size)
        frames[0].resize((width, height), Image.Resampling.BILINEAR).save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _lines(picture: NDArray[np.uint8], nodes: NDArray[np.float32]) -> Image.Image:
    """The grid's rows and columns over a pale picture."""
    scale = SIDE / max(picture.shape[:2])
    image = Image.fromarray(picture).resize((round(picture.shape[1] * scale), round(picture.shape[0] * scale)))
    image = Image.blend(image, Image.new("RGB", image.size, "white"), 0.35)
    draw = ImageDraw.Draw(image)
    points = nodes * np.array(image.size)
    for lines in (points, points.transpose(1, 0, 2)):
        every = math.ceil((len(lines) - 1) / LINES) or 1
        for line in lines[::every].tolist():
            draw.line([tuple(p) for p in line], fill=(213, 94, 0), width=1)
    return image


def _magnified(nodes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The magnification of the cells, on a log scale from `LOW` (0) to `HIGH` (1)."""
    found = magnification(ZoomGrid(torch.from_numpy(nodes[None]), (1, 1)))[0].numpy()
    return np.clip(np.log(found / LOW) / np.log(HIGH / LOW), 0, 1).astype(np.float32)


def _shades(values: NDArray[np.floating[Any]], size: tuple[int, ...]) -> Image.Image:
    """Values 0..1 as colours, a raster over the zoomed picture, in the shape of the full one."""
    colours = (255 * colormaps["cividis"](values)[..., :3]).round().astype(np.uint8)
    return Image.fromarray(colours).resize((size[1], size[0]), Image.Resampling.NEAREST)


def _overlay(picture: NDArray[np.uint8], values: NDArray[np.floating[Any]]) -> Image.Image:
    """A map over the picture, 1 at its own maximum; a uniform one lies over all of it alike."""
    scaled = Image.fromarray((values / max(float(values.max()), 1e-12)).astype(np.float32))
    alpha = np.asarray(scaled.resize((picture.shape[1], picture.shape[0]), Image.Resampling.BILINEAR))[..., None]
    grey = 0.5 * picture.mean(axis=2, keepdims=True) + 100
    shown = grey * (1 - 0.7 * alpha) + np.array([213.0, 94.0, 0.0]) * 0.7 * alpha
    return Image.fromarray(shown.round().clip(0, 255).astype(np.uint8))
