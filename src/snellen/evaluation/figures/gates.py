"""What recalibration does to one image: the gates of MS-SAR's layers, by depth and by scale, asymmetric against symmetric."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from snellen.evaluation.figures.drawing import FONT_SIZE, INK, new_figure
from snellen.layers import MultiScaleRecalibration
from snellen.training.runs import packed, write_atomically

__all__ = ["Gates", "figure_gates", "gates_seen", "keep_gates", "stored_gates"]

#: Layers in a figure: the first, the last and some between.
ROWS = 4


@dataclass(frozen=True, eq=False)
class Gates:
    """One layer on one image, in the channel whose gate varies most over it.

    Attributes:
        name: of the layer in the network.
        maps: by what they show, each (h, w): "map", "gate", "symmetric" (the mean score at every place) and the gate of each
            scale, as it is where the other scales see their mean over the map.
    """

    name: str
    maps: dict[str, NDArray[np.float32]]


@torch.inference_mode()
def gates_seen(network: nn.Module, canvas: Tensor) -> list[Gates]:
    """Run a network on one canvas (c, h, w) of 0..255 and keep its gates, in order of depth.

    Raises:
        ValueError: where it has none.
    """
    layers = [(n, m) for n, m in network.named_modules() if isinstance(m, MultiScaleRecalibration)]
    if not layers:
        raise ValueError("The network has no MS-SAR; train one with --model.choices.recalibrate ms-sar.")
    seen: list[Gates] = []

    def keep(layer: MultiScaleRecalibration, x: tuple[Tensor, ...], name: str) -> None:
        seen.append(_look(layer, x[0].float(), name))

    handles = [m.register_forward_pre_hook(partial(_swap, keep, name)) for name, m in layers]
    try:
        network.eval()(canvas[None].to(next(network.parameters()).device))
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _swap(keep: Any, name: str, layer: MultiScaleRecalibration, x: tuple[Tensor, ...]) -> None:
    keep(layer, x, name)


def _look(layer: MultiScaleRecalibration, x: Tensor, name: str) -> Gates:
    gate = layer.score_map(x)[0]
    channel = int(gate.flatten(1).var(dim=1, correction=0).argmax())
    maps = {"map": x[0, channel], "gate": gate[channel], "symmetric": gate[channel].mean().expand_as(gate[channel])}
    for i, extent in enumerate(layer.extents):
        words = f"K = {extent}" if layer.region == "grid" else f"boxes {extent:g}"
        maps[words] = layer.score_map_of_scale(x, i)[0, channel]
    return Gates(name, {key: m.float().cpu().numpy() for key, m in maps.items()})


def figure_gates(seen: Sequence[Gates]) -> Figure:
    """A row a layer, at most four of different depth: the map, its gate, the symmetric one and the gates of single scales."""
    if not seen:
        raise ValueError("No gates were kept.")
    places = np.unique(np.linspace(0, len(seen) - 1, ROWS).round().astype(int))
    rows = [seen[int(i)] for i in places]
    columns = max(len(r.maps) for r in rows)
    height, width = rows[0].maps["map"].shape
    panel, title = 1.3 * height / width, 0.3
    figure = new_figure(len(rows) * (panel + title), 1.36 * columns, bleed=True)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    figure.subplots_adjust(0, 0, 1, 1 - title / (len(rows) * (panel + title)), wspace=0.05, hspace=title / panel)
    for line, row in zip(axes, rows, strict=True):
        gates = [m for key, m in row.maps.items() if key != "map"]
        lowest, highest = min(float(g.min()) for g in gates), max(float(g.max()) for g in gates)
        for place in line:
            place.set_axis_off()
        for place, (words, values) in zip(line, row.maps.items(), strict=False):
            limits = {} if words == "map" else {"vmin": lowest, "vmax": max(highest, lowest + 1e-6)}
            place.imshow(values, cmap="gray", interpolation="nearest", aspect="auto", **limits)
            spread = "" if words == "map" else f"\n{float(values.min()):.2f} to {float(values.max()):.2f}"
            size = f", {values.shape[1]} x {values.shape[0]}" if words == "map" else ""
            place.set_title(
                words + size + spread, fontsize=FONT_SIZE - 2, color=INK, loc="left", parse_math=False, pad=3
            )
    return figure


def keep_gates(network: nn.Module, canvas: Tensor, file: Path) -> None:
    """Store the gates of one canvas for the report; nothing where the network has none."""
    if not any(isinstance(m, MultiScaleRecalibration) for m in network.modules()):
        return
    seen = gates_seen(network, canvas)
    arrays = {f"{i:03d}|{g.name}|{key}": m for i, g in enumerate(seen) for key, m in g.maps.items()}
    write_atomically(file, packed(arrays))


def stored_gates(file: Path) -> list[Gates]:
    """What `keep_gates` stored; empty where it did not."""
    if not file.is_file():
        return []
    found: dict[tuple[str, str], dict[str, NDArray[np.float32]]] = {}
    with np.load(file, allow_pickle=False) as arrays:
        for key in arrays.files:
            number, name, words = key.split("|")
            found.setdefault((number, name), {})[words] = arrays[key]
    return [Gates(name, maps) for (_, name), maps in found.items()]
