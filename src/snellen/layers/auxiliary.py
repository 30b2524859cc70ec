"""Losses that layers make on the way, such as LiftPool's regularisers: computed only while somebody collects them.

Source: our choice. A layer that has such losses holds an `AuxiliarySink`, asks it whether they are wanted, and records
them. `auxiliary_losses(model)` is the only collector::

    with auxiliary_losses(model) as aux:
        loss = criterion(model(x), y)
    loss = loss + aux.total({"lift/update": 0.01, "lift/predict": 0.1})

Outside it, in eval mode and in exports nothing is computed. A module that is called twice counts as two layers. Under
`torch.utils.checkpoint(..., use_reentrant=False)` the second run of a layer, in the backward pass, computes what the
first did and records nothing. Under DistributedDataParallel each process collects its own part of the batch, and the
average of the gradients is the gradient of the average.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["AuxiliaryLosses", "AuxiliarySink", "auxiliary_losses"]


class AuxiliarySink:
    """Where one layer leaves its losses; the layer keeps it in an attribute.

    It holds one running sum and not a list, so that compiled graphs need no new version with every call or step.

    Args:
        names: of the losses, in the order in which they are recorded.
    """

    def __init__(self, *names: str) -> None:
        self.names = names
        self.open = False
        self.total: Tensor | None = None  # sums of the losses, then how many calls made them
        self._last = False

    def wanted(self, training: bool) -> bool:
        """Whether the layer has to compute its losses in this call.

        Args:
            training: the layer's mode.

        Raises:
            RuntimeError: where they are collected without gradients, as reentrant checkpointing would have it.
        """
        if not training:
            return False
        if torch.compiler.is_compiling():
            return self.open and not torch.compiler.is_exporting()
        if _in_backward():
            return self._last  # the same operations as before, which is what checkpointing needs
        if self.open and not torch.is_grad_enabled():
            raise RuntimeError(
                "auxiliary losses are collected from a training layer that runs without gradients; call eval(), "
                "leave the collector, or use torch.utils.checkpoint with use_reentrant=False"
            )
        self._last = self.open
        return self.open

    def record(self, losses: Tensor) -> None:
        """Add the losses (len(names),) of one call, for which `wanted` was true."""
        if not torch.compiler.is_compiling() and _in_backward():
            return
        counted = torch.cat((losses, losses.new_ones(1)))
        self.total = counted if self.total is None else self.total + counted


class AuxiliaryLosses:
    """What `auxiliary_losses` found; readable inside its block and after it."""

    def __init__(self, sinks: list[AuxiliarySink]) -> None:
        self._sinks = sinks
        self._totals: list[tuple[tuple[str, ...], Tensor]] | None = None

    def means(self) -> dict[str, Tensor]:
        """Each loss by name, averaged over all layers and calls that recorded it."""
        totals = self._collect() if self._totals is None else self._totals
        sums: dict[str, Tensor] = {}
        for names, total in totals:
            for name, value in zip(names, total[:-1], strict=True):
                pair = torch.stack((value, total[-1]))
                sums[name] = sums[name] + pair.to(sums[name].device) if name in sums else pair
        return {name: value / count for name, (value, count) in sums.items()}

    def total(self, weights: Mapping[str, float]) -> Tensor:
        """The weighted sum of the means; 0 where no layer recorded anything.

        Raises:
            ValueError: for a recorded loss that has no weight.
        """
        means = self.means()
        missing = sorted(set(means) - set(weights))
        if missing:
            raise ValueError(
                f"auxiliary loss {missing[0]!r} was recorded and has no weight; weights are given for "
                f"{', '.join(map(repr, weights)) or 'none'}; give 0 to leave it out"
            )
        terms = [weights[name] * mean for name, mean in means.items()]
        return torch.stack(terms).sum() if terms else torch.zeros(())

    def _collect(self) -> list[tuple[tuple[str, ...], Tensor]]:
        return [(sink.names, sink.total) for sink in self._sinks if sink.total is not None]

    def _close(self) -> None:
        # The layers keep no graph: a model can be copied and saved after a step.
        self._totals = self._collect()
        for sink in self._sinks:
            sink.open, sink.total = False, None


@contextmanager
def auxiliary_losses(model: nn.Module) -> Iterator[AuxiliaryLosses]:
    """Have the layers of a model compute and record their auxiliary losses.

    Args:
        model: any module, wrapped or not; those of its layers that are in training mode take part.

    Raises:
        ValueError: where the same layers are being collected from already.

    >>> from snellen.layers import LiftDown2d
    >>> layer = LiftDown2d(8)
    >>> with auxiliary_losses(layer) as aux:
    ...     y = layer(torch.zeros(1, 8, 4, 4))
    >>> {name: value.item() for name, value in aux.means().items()}
    {'lift/update': 0.0, 'lift/predict': 0.0}
    """
    found = [value for module in model.modules() for value in vars(module).values() if isinstance(value, AuxiliarySink)]
    if any(sink.open for sink in found):
        raise ValueError("this model's auxiliary losses are being collected already; use the outer collector's")
    for sink in found:
        sink.open, sink.total = True, None
    aux = AuxiliaryLosses(found)
    try:
        yield aux
    finally:
        aux._close()


def _in_backward() -> bool:
    """Whether autograd is running a backward pass: only checkpointing calls layers there."""
    return bool(torch._C._current_graph_task_id() != -1)
