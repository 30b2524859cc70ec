"""What a report shows of a network's inside on one image: the gates of MS-SAR, the sub-bands of LiftPool."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from snellen.evaluation.figures.gates import figure_gates, keep_gates, stored_gates
from snellen.evaluation.figures.pooling import keep_poolings, maps_in_rows, stored_poolings
from snellen.evaluation.reports.page import Picture, picture

__all__ = ["NOTHING", "Inside", "keep_inside", "stored_inside"]


class Inside(NamedTuple):
    """Figures of a network's layers on one image.

    Attributes:
        gates: where the network recalibrates.
        poolings: where it pools by LiftPool.
    """

    gates: Picture | None = None
    poolings: tuple[Picture, ...] = ()


NOTHING = Inside()


def keep_inside(network: nn.Module, canvas: Tensor, folder: Path, split: str) -> None:
    """Store in a run's folder what its report shows of one canvas (c, h, w) of 0..255."""
    keep_gates(network, canvas, folder / f"gates-{split}.npz")
    keep_poolings(network, canvas, folder / f"poolings-{split}.npz")


def stored_inside(folder: Path, split: str) -> Inside:
    """The figures of what `keep_inside` stored."""
    gates, poolings = stored_gates(folder / f"gates-{split}.npz"), stored_poolings(folder / f"poolings-{split}.npz")
    return Inside(
        picture(
            partial(figure_gates, gates),
            "Gates of recalibration over one image, by depth and by scale.",
            "gates",
            "Each row is a layer, from the first to the last, in the channel whose gate varies most: the map, its gate over "
            "the positions, the symmetric gate (one score for all) and the gate of each scale alone. White passes most.",
        )
        if gates
        else None,
        (
            picture(
                partial(maps_in_rows, poolings["bands"]),
                "The four sub-bands of LiftPool's layers on one image.",
                "bands",
                "Each row is a layer, from the first to the last, in the channel of the largest variance: its map, and the "
                "four bands with their shares of the energy. LL is the coarse map, the others hold what changes across, "
                "down and in both ways.",
            ),
            picture(
                partial(maps_in_rows, poolings["put back"]),
                "The same maps after pooling and enlarging again.",
                "put-back",
                "The same maps, halved and doubled again: what max pooling leaves, repeated or interpolated or put where it "
                "was, and LiftPool's inverse. Lost is the energy of the difference, all channels together.",
            ),
        )
        if poolings
        else (),
    )
