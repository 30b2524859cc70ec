"""What poolings keep of a network's maps: LiftPool's sub-bands, and maps put back after pooling, side by side."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from snellen.evaluation.figures.drawing import FONT_SIZE, INK, new_figure
from snellen.layers import Bands, LiftDown2d, LiftUp2d
from snellen.training.runs import packed, write_atomically

__all__ = [
    "Pooled",
    "bands_of",
    "figure_bands",
    "figure_put_back",
    "keep_poolings",
    "maps_in_rows",
    "poolings_seen",
    "put_back",
    "stored_poolings",
]

#: Layers in a report's figures: the first, the last and some between.
ROWS = 5

#: A row of a figure: titles and maps (h, w).
Row = Sequence[tuple[str, NDArray[np.float32]]]


@dataclass(frozen=True, eq=False)
class Pooled:
    """What a LiftPool of a network saw and made of one image.

    Attributes:
        name: of the layer in the network.
        x: (c, h, w), its input.
        bands: LL, LH, HL, HH, each (c, h / 2, w / 2), of batch 1.
        layer: the pooling.
    """

    name: str
    x: Float[Tensor, "c h w"]
    bands: Bands
    layer: LiftDown2d

    @property
    def channel(self) -> int:
        """The channel of the largest variance: the one that figures show."""
        return int(self.x.flatten(1).var(dim=1).argmax())


@torch.inference_mode()
def poolings_seen(network: nn.Module, canvas: Float[Tensor, "c h w"]) -> list[Pooled]:
    """Run a network on one canvas of 0..255 and keep what each of its LiftPools of stride 2 saw first, in order.

    Raises:
        ValueError: where it has none.
    """
    seen: dict[str, Pooled] = {}

    def keep(name: str, layer: LiftDown2d, x: Tensor) -> None:
        if name not in seen:
            seen[name] = Pooled(name, x[0].float(), LiftDown2d.bands(layer, x[:1].float()), layer)

    layers = [(n, m) for n, m in network.named_modules() if isinstance(m, LiftDown2d) and m.stride == 2]
    if not layers:
        raise ValueError("The network has no LiftPool; train one with --model.choices.pool lift.")
    with contextlib.ExitStack() as stack:
        for name, layer in layers:
            handle = layer.register_forward_pre_hook(lambda m, args, n=name: keep(n, m, args[0]))
            stack.callback(handle.remove)
            # Encoders that put their sub-bands back ask for these, and never for the layer's own answer.
            stack.enter_context(_watched_bands(layer, partial(keep, name, layer)))
        network.eval()(canvas[None].to(next(network.parameters()).device))
    return list(seen.values())


@contextlib.contextmanager
def _watched_bands(layer: LiftDown2d, look: Callable[[Tensor], None]) -> Iterator[None]:
    """Let `look` see what the layer's `bands` is asked for."""

    def bands(x: Tensor) -> Bands:
        look(x)
        return LiftDown2d.bands(layer, x)

    object.__setattr__(layer, "bands", bands)
    try:
        yield
    finally:
        object.__delattr__(layer, "bands")


def put_back(pooled: Pooled) -> dict[str, Float[Tensor, "c h w"]]:
    """A layer's input after pooling and the ways to enlarge again, by name; sides are cut to even ones first.

    "nearest" and "bilinear" enlarge what max pooling leaves, "max unpooling" puts it where it was, "LiftUp" inverts LiftPool.
    """
    h, w = (side // 2 * 2 for side in pooled.x.shape[-2:])
    x = pooled.x[None, :, :h, :w]
    largest, places = F.max_pool2d(x, 2, return_indices=True)
    inverse = LiftUp2d(pooled.layer).eval()
    with torch.inference_mode():
        found = {
            "nearest": F.interpolate(largest, scale_factor=2, mode="nearest"),
            "bilinear": F.interpolate(largest, scale_factor=2, mode="bilinear", align_corners=False),
            "max unpooling": F.max_unpool2d(largest, places, [2, 2]),
            "LiftUp": inverse(pooled.layer.bands(x)),
        }
    return {name: maps[0] for name, maps in found.items()}


def figure_bands(seen: Sequence[Pooled]) -> Figure:
    """A row a layer: its input's strongest channel, and that channel's four bands with their shares of the energy."""
    return maps_in_rows(bands_of(seen))


def bands_of(seen: Sequence[Pooled]) -> list[Row]:
    """The rows of `figure_bands`."""
    rows: list[Row] = []
    for pooled in seen:
        bands = {name: pooled.bands[name][0, pooled.channel] for name in ("LL", "LH", "HL", "HH")}
        total = sum(float(b.square().sum()) for b in bands.values())
        shares = {n: f"{n}, {100 * float(b.square().sum()) / total:.0f} %" if total else n for n, b in bands.items()}
        shown = [(_size(pooled.x), pooled.x[pooled.channel]), *((shares[n], b) for n, b in bands.items())]
        rows.append([(words, values.cpu().numpy()) for words, values in shown])
    return rows


def figure_put_back(seen: Sequence[Pooled]) -> Figure:
    """A row a layer: its input's strongest channel, and that channel put back; titles give the energy lost in all channels."""
    return maps_in_rows(_put_back_rows(seen))


def _put_back_rows(seen: Sequence[Pooled]) -> list[Row]:
    rows: list[Row] = []
    for pooled in seen:
        found = put_back(pooled)
        h, w = next(iter(found.values())).shape[-2:]
        x = pooled.x[:, :h, :w]
        row = [(_size(pooled.x), x[pooled.channel].cpu().numpy())]
        for name, maps in found.items():
            lost = float((maps - x).square().sum() / x.square().sum().clamp(min=1e-12))
            row.append((f"{name}, {100 * lost:.0f} % lost", maps[pooled.channel].cpu().numpy()))
        rows.append(row)
    return rows


def keep_poolings(network: nn.Module, canvas: Float[Tensor, "c h w"], file: Path) -> None:
    """Store what LiftPools make of one canvas for the report; nothing where the network has none.

    Layers whose input has a side below 2, which cannot be put back, are left out.
    """
    if not any(isinstance(m, LiftDown2d) and m.stride == 2 for m in network.modules()):
        return
    seen = [p for p in poolings_seen(network, canvas) if min(p.x.shape[-2:]) >= 2]
    if not seen:
        return
    places = np.unique(np.linspace(0, len(seen) - 1, ROWS).round().astype(int))
    shown = [seen[int(i)] for i in places]
    figures = {"bands": bands_of(shown), "put back": _put_back_rows(shown)}
    arrays = {
        f"{kind}|{i:03d}|{j:03d}|{words}": values
        for kind, rows in figures.items()
        for i, row in enumerate(rows)
        for j, (words, values) in enumerate(row)
    }
    write_atomically(file, packed(arrays))


def stored_poolings(file: Path) -> dict[str, list[Row]]:
    """What `keep_poolings` stored: the rows of "bands" and of "put back"; empty where it did not."""
    if not file.is_file():
        return {}
    found: dict[str, dict[str, list[tuple[str, NDArray[np.float32]]]]] = {}
    with np.load(file, allow_pickle=False) as arrays:
        for key in sorted(arrays.files):
            kind, row, _, words = key.split("|")
            found.setdefault(kind, {}).setdefault(row, []).append((words, arrays[key]))
    return {kind: list(rows.values()) for kind, rows in found.items()}


def _size(x: Tensor) -> str:
    return f"map, {x.shape[-1]} x {x.shape[-2]}"


def maps_in_rows(rows: Sequence[Row]) -> Figure:
    """Maps in rows, every row on one scale of grey, zero at its middle where there are values below zero."""
    height, width = rows[0][0][1].shape
    panel, title = 1.7 * height / width, 0.24
    figure = new_figure(len(rows) * (panel + title), 1.78 * len(rows[0]), bleed=True)
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    figure.subplots_adjust(0, 0, 1, 1 - title / (len(rows) * (panel + title)), wspace=0.05, hspace=title / panel)
    for line, row in zip(axes, rows, strict=True):
        largest = max(float(np.abs(values).max()) for _, values in row) or 1.0
        lowest = -largest if min(float(values.min()) for _, values in row) < 0 else 0.0
        for place, (words, values) in zip(line, row, strict=True):
            place.set_axis_off()
            place.imshow(values, cmap="gray", vmin=lowest, vmax=largest, interpolation="nearest", aspect="auto")
            place.set_title(words, fontsize=FONT_SIZE - 1, color=INK, loc="left", parse_math=False, pad=3)
    return figure
