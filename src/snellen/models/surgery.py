"""Put a layer into somebody else's network: exchange its poolings and strided convolutions, and take them back.

>>> import torch
>>> net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
>>> changes = replace_pooling(net, "blur", verbose=False)
>>> [c.name for c in changes.changes], net(torch.zeros(1, 3, 33, 40)).shape
(['2'], torch.Size([1, 8, 16, 20]))
>>> changes.undo(); net[2]
MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
"""

import fnmatch
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from snellen.models.foreign import check_patterns, count_macs, count_parameters, example_of, put_in_place, run_once
from snellen.models.halving import Halved, pair, sides_of
from snellen.models.pooling import POOLS, make_pool

__all__ = ["KINDS", "Change", "Surgery", "replace_pooling"]

#: What halves a map. "shortcut" is a strided 1x1 convolution; "stem" a strided convolution of the image itself, which costs
#: four times as much at stride 1 where maps are largest, and is therefore left alone unless it is asked for.
KINDS = ("max", "avg", "conv", "shortcut", "stem")
_DEFAULT = ("max", "conv", "shortcut")
#: Poolings that are one for maps of any number of channels.
_ANY_CHANNELS = ("max", "avg")
_NOT_IMAGES = (nn.MaxPool1d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool3d, nn.Conv1d, nn.Conv3d)


@dataclass(frozen=True)
class Change:
    """One exchange.

    Attributes:
        name: of the module in the network, the first where it has several.
        kind: one of `KINDS`.
        old: what stood there.
        new: what stands there now.
    """

    name: str
    kind: str
    old: nn.Module
    new: Halved


@dataclass
class Surgery:
    """What `replace_pooling` did; printed, it is a table.

    Attributes:
        model: the network.
        changes: the exchanges in order.
        skipped: name -> why a layer that halves was left alone.
        parameters: of the network before and after.
        macs: multiply-adds of the example before and after; None where it could not be run.
    """

    model: nn.Module
    changes: list[Change]
    skipped: dict[str, str]
    parameters: tuple[int, int]
    macs: tuple[int, int] | None
    _strides: dict[str, tuple[int, int]] = field(default_factory=dict)

    def undo(self) -> None:
        """Put everything back; weights of convolutions are the same tensors all along. Other surgery before or after stays."""
        for change in self.changes:
            if isinstance(change.old, nn.Conv2d):
                change.old.stride = self._strides[change.name]
            # Where something has been put behind the convolution since, that stays.
            put_in_place(self.model, change.new, change.old if change.new.conv is None else change.new.conv)
        self.changes.clear()

    def __str__(self) -> str:
        width = max([len(c.name) for c in self.changes] + [6])
        lines = [f"{'module':<{width}}  {'kind':<8}  now"]
        for c in self.changes:
            layer = type(c.new.pool).__name__
            conv = "" if c.new.conv is None else ", then the 1x1" if c.new.pool_first else " after the convolution"
            lines.append(f"{c.name:<{width}}  {c.kind:<8}  {layer}{conv}")
        lines += [f"{name:<{width}}  left      {why}" for name, why in self.skipped.items()]
        before, after = self.parameters
        lines.append(f"parameters {before:,} -> {after:,}")
        if self.macs:
            lines.append(f"multiply-adds {self.macs[0] / 1e6:,.1f} M -> {self.macs[1] / 1e6:,.1f} M")
        return "\n".join(lines)


def replace_pooling(
    model: nn.Module,
    with_: str,
    where: Sequence[str] | Callable[[str, nn.Module], bool] | None = None,
    *,
    example: Tensor | None = None,
    verbose: bool = True,
    **options: Any,
) -> Surgery:
    """Exchange the layers of a network that halve maps, in place.

    Max and average poolings of stride 2 are replaced. A convolution of stride 2 keeps its weights and gets stride 1, and the
    pooling follows it (the recipe of Zhang 2019 and lift.md 3, but before the norm, since a module's surroundings are not
    known); before a 1x1 convolution the pooling comes first, which costs nothing. Every map keeps its size, for inputs of any
    size, and modules keep device, dtype and mode. Names in the state dict of a changed convolution gain ".conv":
    load weights before surgery, or after `Surgery.undo`.

    Args:
        model: any network whose poolings and convolutions are modules (calls of torch.nn.functional are not seen).
        with_: one of `POOLS`: "max", "avg", "blur", "dwt", "lift".
        where: kinds of `KINDS` and shell patterns of module names, a layer must match one; or a function of name and module.
            By default "max", "conv" and "shortcut".
        example: input to count multiply-adds with; by default a 224x224 image of as many channels as the first convolution.
        verbose: print what changed.
        options: of the pooling, see `make_pool`; e.g. ``kernel_size=3`` for "lift".

    Returns:
        What changed; its `undo` takes it back.

    Raises:
        ValueError: for an unknown pooling or option, where nothing is exchanged, and for an entry of `where` that matches no
            layer. The network is then as it was.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    >>> done = replace_pooling(net, "lift", ["max"])
    module  kind      now
    2       max       LiftDown2d
    parameters 224 -> 320
    multiply-adds 2.7 M -> 3.9 M
    >>> done.undo()
    """
    if with_ not in POOLS:
        raise ValueError(f"there is no pooling {with_!r}; give one of {', '.join(POOLS)}")
    chosen, skipped = [], {}
    for name, kind, module in _halving(model):
        if not _matches(where, name, kind, module):
            continue
        problem = _problem(module)
        if problem:
            skipped[name] = problem
        else:
            chosen.append((name, kind, module))
    check_patterns(where, KINDS, [name for name, _, _ in _halving(model)])
    if not chosen:
        raise _nothing(model, skipped)
    image = example if example is not None else example_of(model)
    before = count_parameters(model), count_macs(model, image)
    surgery = Surgery(model, [], skipped, (0, 0), None)
    poolings = [name for name, _, module in chosen if not isinstance(module, nn.Conv2d)]
    channels = _channels(model, image, poolings)
    reference = next(model.parameters(), image)
    made = []
    for name, kind, module in chosen:
        if len(channels.get(name, ())) > 1 and with_ not in _ANY_CHANNELS:
            counts = " and ".join(map(str, sorted(channels[name])))
            skipped[name] = f"is called for maps of {counts} channels; give each call a module of its own"
            continue
        new = _make(module, kind, with_, next(iter(channels.get(name, {0}))), reference, options).train(module.training)
        made.append(Change(name, kind, module, new))
    if not made:
        raise _nothing(model, skipped)
    # From here on nothing fails: a network is changed as a whole or not at all.
    for change in made:
        if isinstance(change.old, nn.Conv2d):
            surgery._strides[change.name] = (change.old.stride[0], change.old.stride[1])
            change.old.stride = (1, 1)
        put_in_place(model, change.old, change.new)
        surgery.changes.append(change)
    after = count_parameters(model), count_macs(model, image)
    surgery.parameters = before[0], after[0]
    if before[1] is not None and after[1] is not None:
        surgery.macs = before[1], after[1]
    if verbose:
        print(surgery)  # noqa: T201  what the caller asked to see
    return surgery


def _nothing(model: nn.Module, skipped: dict[str, str]) -> ValueError:
    reasons = "".join(f"; {name} {why}" for name, why in skipped.items())
    found = ", ".join(f"{name} ({kind})" for name, kind, _ in _halving(model))
    others = [type(m).__name__ for m in model.modules() if isinstance(m, _NOT_IMAGES) and 2 in _numbers(m.stride)]
    also = f" ({', '.join(dict.fromkeys(others))} are of sequences or volumes, and are not exchanged)" if others else ""
    return ValueError(
        f"nothing in {type(model).__name__} is replaced{reasons}; layers of stride 2 are: {found or 'none'}{also}; "
        f"choose by where=, kinds {', '.join(KINDS)} or patterns of names"
    )


def _numbers(value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _halving(model: nn.Module) -> Iterator[tuple[str, str, nn.Module]]:
    """Name, kind and module of every layer of stride 2 in both axes, but for those that surgery put in."""
    done = [name for name, m in model.named_modules() if isinstance(m, Halved)]
    for name, module in model.named_modules():
        if not name or any(name == d or name.startswith(f"{d}.") for d in done):
            continue
        if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            if pair(module.stride) == (2, 2):
                yield name, "max" if isinstance(module, nn.MaxPool2d) else "avg", module
        elif isinstance(module, nn.Conv2d) and pair(module.stride) == (2, 2):
            kind = "stem" if module.in_channels <= 4 else "shortcut" if pair(module.kernel_size) == (1, 1) else "conv"
            yield name, kind, module


def _matches(
    where: Sequence[str] | Callable[[str, nn.Module], bool] | None, name: str, kind: str, module: nn.Module
) -> bool:
    if callable(where):
        return bool(where(name, module))
    wanted = _DEFAULT if where is None else (where,) if isinstance(where, str) else where
    return any(kind == w or (w not in KINDS and fnmatch.fnmatchcase(name, w)) for w in wanted)


def _problem(module: nn.Module) -> str:
    if isinstance(module, nn.MaxPool2d) and module.return_indices:
        return "returns indices, which no other pooling has"
    return ""


def _make(
    module: nn.Module, kind: str, with_: str, channels: int, reference: Tensor, options: dict[str, Any]
) -> Halved:
    sides = sides_of(module)
    if not isinstance(module, nn.Conv2d):
        return Halved(make_pool(with_, channels, **options).to(reference), sides, None, pool_first=False)
    first = kind == "shortcut"
    pool = make_pool(with_, module.in_channels if first else module.out_channels, **options).to(module.weight)
    return Halved(pool, sides, module, pool_first=first)


def _channels(model: nn.Module, image: Tensor, names: Sequence[str]) -> dict[str, set[int]]:
    """Channels that arrive at poolings, which do not say it themselves: seen by running the example."""
    seen: dict[str, set[int]] = {}
    hooks = [
        model.get_submodule(name).register_forward_pre_hook(
            lambda _, x, name=name: seen.setdefault(name, set()).add(x[0].shape[1])
        )
        for name in names
    ]
    if names:
        run_once(model, image, hooks)
    missing = [name for name in names if name not in seen]
    if missing:
        raise ValueError(f"{', '.join(missing)} did not run on the example; leave such layers out by where=")
    return seen
