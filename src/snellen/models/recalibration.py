"""Blocks that recalibrate a map, behind one name each: the `recalibrate` choice of models and of `add_recalibration`.

All take maps (b, c, h, w) of any size and keep their shape::

    ms-sar   weighs each response by its surroundings at several scales (ms-sar.md 2.2; layers/recalibrate.py)
    se       squeeze-and-excitation (Hu et al. 2018): the same layer with grids (1,), so that the two differ in scales alone
    others   attention blocks of timm by its names: eca, ese, gc, cbam, coord, ...

Where a model puts them (our choice; ms-sar.md 3 has the residual and dense places)::

    residual blocks    on the branch, before it is added
    dense layers       on the layer's new maps, before they are concatenated
    inverted residual  on the expanded maps, where MobileNet-V3 has SE
    VGG, SegNet        behind the last ReLU of each level, encoder's and decoder's
    RCN and others     behind each convolution of the papers' trunks, and behind the first of each branch; a timm trunk's
                       blocks as above, and the first convolution of each branch
"""

import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from snellen.layers import MultiScaleRecalibration
from snellen.models.foreign import (
    check_patterns,
    count_macs,
    count_parameters,
    example_of,
    put_in_place,
    run_once,
)

__all__ = [
    "PLACES",
    "RECALIBRATIONS",
    "Addition",
    "Additions",
    "Recalibrated",
    "add_recalibration",
    "check_recalibration",
    "make_recalibration",
]

#: Values of the choice `recalibrate`. The names behind "ms-sar" are timm's blocks that keep a map's shape at any size; "bat",
#: "halo" and "bottleneck" want sizes of their own, "sk", "splat" and "lambda" stand for convolutions, and timm's "ge" fails
#: with parameters (ms-sar.md 5.7; still in timm 1.0.31).
RECALIBRATIONS = (
    "none", "se", "ms-sar", "ese", "eca", "ecam", "ceca", "gc", "gca", "cbam", "lcbam", "coord", "scoord", "ela", "strip",
    "nl",
)  # fmt: skip

#: Where surgery puts a block: on the branch of a residual block; "inner", on the 3x3 convolution's output of a bottleneck, a
#: quarter as wide; "squeeze", where an inverted residual has room for SE; on a dense layer's new maps; at a dense transition.
PLACES = ("residual", "inner", "squeeze", "dense", "transition")
_DEFAULT = ("residual", "squeeze", "dense")


def check_recalibration(kind: Any, options: Any) -> None:
    """Refuse, in a sentence, what `make_recalibration` does not know.

    Raises:
        ValueError: for an unknown kind, options that are no mapping, and options of none.
    """
    if kind not in RECALIBRATIONS:
        raise ValueError(f"recalibrate={kind!r} is not possible; give one of {', '.join(RECALIBRATIONS)}")
    if not isinstance(options, Mapping):
        raise ValueError(f"recalibrate_options={options!r} is not possible; give a mapping, e.g. {{'grids': [1, 2]}}")
    if kind == "none" and options:
        raise ValueError(f"recalibrate_options={dict(options)!r} makes no sense with recalibrate='none'; leave it out")


def make_recalibration(kind: str, channels: int, **options: Any) -> nn.Module:
    """A block that recalibrates maps.

    Args:
        kind: one of `RECALIBRATIONS` but "none".
        channels: of the maps.
        options: of the block: for "ms-sar" and "se" those of `MultiScaleRecalibration`, of timm's its own.

    Raises:
        ValueError: for a kind that does not exist, and for options that the block does not have.

    >>> make_recalibration("se", 64, rd_ratio=0.25)
    MultiScaleRecalibration(
      64, grids=(1,), width=16
      (paths): ModuleList(
        (0): Bottleneck(
          (norm): Identity()
          (act): ReLU()
        )
      )
      (gate): Sigmoid()
    )
    """
    check_recalibration(kind, options)
    if kind == "none":
        raise ValueError("recalibrate='none' is no block; give another kind")
    try:
        if kind == "ms-sar":
            return MultiScaleRecalibration(channels, **options)
        if kind == "se":
            return MultiScaleRecalibration(channels, (1,), **options)
        from timm.layers import create_attn

        layer: nn.Module = create_attn(kind, channels, **options)
        return layer
    except TypeError as error:
        raise ValueError(f"recalibration {kind!r} does not take these options ({error})") from None


class Recalibrated(nn.Module):
    """A module, and a block that recalibrates what it gives.

    Args:
        module: whose output is a map.
        recalibration: the block.
    """

    def __init__(self, module: nn.Module, recalibration: nn.Module) -> None:
        super().__init__()
        self.module, self.recalibration = module, recalibration

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d oh ow"]:
        """The module's output, recalibrated."""
        out: Tensor = self.recalibration(self.module(x))
        return out


@dataclass(frozen=True)
class Addition:
    """One block put in.

    Attributes:
        name: of the module that it follows.
        place: one of `PLACES`, or "named".
        channels: of the map.
        old: the module.
        new: the module with the block.
    """

    name: str
    place: str
    channels: int
    old: nn.Module
    new: Recalibrated

    @property
    def parameters(self) -> int:
        """Numbers in the block."""
        return count_parameters(self.new.recalibration)


@dataclass
class Additions:
    """What `add_recalibration` did; printed, it is a table.

    Attributes:
        model: the network.
        changes: the blocks in order.
        parameters: of the network before and after.
        macs: multiply-adds of the example before and after, without sums and products of single values; None where it could
            not be run.
    """

    model: nn.Module
    changes: list[Addition]
    parameters: tuple[int, int]
    macs: tuple[int, int] | None

    def undo(self) -> None:
        """Take the blocks out; the network's own modules are the same all along. Other surgery before or after stays."""
        for change in self.changes:
            put_in_place(self.model, change.new, change.new.module)
        self.changes.clear()

    def __str__(self) -> str:
        width = max([len(c.name) for c in self.changes] + [6])
        lines = [f"{'behind':<{width}}  {'place':<10}  {'channels':>8}  {'parameters':>10}  now"]
        for c in self.changes:
            layer = type(c.new.recalibration).__name__
            lines.append(f"{c.name:<{width}}  {c.place:<10}  {c.channels:>8}  {c.parameters:>10,}  {layer}")
        before, after = self.parameters
        lines.append(f"parameters {before:,} -> {after:,} (+{100 * (after / max(1, before) - 1):.2f} %)")
        if self.macs:
            more = 100 * (self.macs[1] / max(1, self.macs[0]) - 1)
            lines.append(f"multiply-adds {self.macs[0] / 1e6:,.1f} M -> {self.macs[1] / 1e6:,.1f} M (+{more:.2f} %)")
        return "\n".join(lines)


def add_recalibration(
    model: nn.Module,
    with_: str = "ms-sar",
    where: Sequence[str] | Callable[[str, nn.Module], bool] | None = None,
    *,
    example: Tensor | None = None,
    verbose: bool = True,
    **options: Any,
) -> Additions:
    """Put recalibration into a residual or dense network, in place.

    Blocks are found by the names that torchvision, timm and this library share: a residual block has conv2 and bn2 (a
    bottleneck conv3 and bn3), a dense layer norm1, conv1 and perhaps norm2, conv2; one of these that gives as many maps as it
    makes, or has conv3, is a residual block whose norms come first. Networks of other names take patterns.
    Modules keep device, dtype and mode; new ones get the network's, and can be trained in a frozen one too. Names in the state
    dict of a changed module gain ".module": load weights before, or after `Additions.undo`. For a pretrained network
    ``init="identity"`` changes nothing at first.

    Args:
        model: any network.
        with_: one of `RECALIBRATIONS` but "none".
        where: places of `PLACES` and shell patterns of module names, or a function of name and module; behind each module that
            matches one, a block is put. By default "residual", "squeeze" and "dense".
        example: input that shows the maps' channels and counts multiply-adds; by default a 224x224 image of as many
            channels as the first convolution.
        verbose: print what changed.
        options: of the block, see `make_recalibration`; e.g. ``rd_ratio=1 / 32``.

    Returns:
        What changed; its `undo` takes it back.

    Raises:
        ValueError: for an unknown block or option, where nothing matches, and where the example does not fit.

    >>> import torch
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
    >>> print(add_recalibration(net, "se", ["1"], example=torch.zeros(1, 3, 8, 8), verbose=False))
    behind  place       channels  parameters  now
    1       named              8         144  MultiScaleRecalibration
    parameters 224 -> 368 (+64.29 %)
    multiply-adds 0.0 M -> 0.0 M (+0.93 %)
    """
    make_recalibration(with_, 64, **options)  # to refuse it before anything is changed
    chosen = [(name, place, m) for name, place, m in _candidates(model) if _matches(where, name, place, m)]
    check_patterns(where, PLACES, [name for name, _ in model.named_modules() if name])
    named = dict.fromkeys(id(m) for _, _, m in chosen)
    if not chosen:
        found = sorted({place for _, place, _ in _candidates(model)} - {"named"})
        there = sum(isinstance(m, Recalibrated) for m in model.modules())
        raise ValueError(
            f"nothing in {type(model).__name__} is recalibrated; it has the places: {', '.join(found) or 'none'}"
            f"{f', and {there} that hold a block already' if there else ''}; choose by where=, of {', '.join(PLACES)}, or by "
            "patterns of module names"
        )
    chosen = [next(entry for entry in chosen if id(entry[2]) == i) for i in named]
    image = example if example is not None else example_of(model)
    before = count_parameters(model), count_macs(model, image)
    channels = _output_channels(model, image, [(name, m) for name, _, m in chosen])
    reference = next(model.parameters(), image)
    changes = []
    for name, place, module in chosen:
        layer = make_recalibration(with_, channels[name], **options)
        new = Recalibrated(module, layer.to(device=reference.device, dtype=reference.dtype)).train(module.training)
        changes.append(Addition(name, place, channels[name], module, new))
    # From here on nothing fails: a network is changed as a whole or not at all.
    for change in changes:
        put_in_place(model, change.old, change.new)
        change.new.module = change.old
    after = count_parameters(model), count_macs(model, image)
    macs = None if before[1] is None or after[1] is None else (before[1], after[1])
    additions = Additions(model, changes, (before[0], after[0]), macs)
    if verbose:
        print(additions)  # noqa: T201  what the caller asked to see
    return additions


def _candidates(model: nn.Module) -> Iterator[tuple[str, str, nn.Module]]:
    """Name, place and module of everything that a block can follow; every module is "named", too."""
    for name, block in model.named_modules():
        if isinstance(block, Recalibrated):
            continue
        for child, place in _places(block):
            target = getattr(block, child)
            if not isinstance(target, Recalibrated):
                yield f"{name}.{child}".lstrip("."), place, target
    for name, module in model.named_modules():
        if name and not isinstance(module, Recalibrated):
            yield name, "named", module


def _places(block: nn.Module) -> list[tuple[str, str]]:
    """Which children of a block are followed by a place."""
    children = dict(block.named_children())
    has = children.keys()
    if {"norm1", "conv1", "norm2", "conv2"} <= has:
        order, deep = list(has), {"norm3", "conv3"} <= has
        norms_first = order.index("norm1") < order.index("conv1")
        if deep or not norms_first:
            last = "conv" if norms_first else "norm"
            return [(f"{last}2", "inner"), (f"{last}3", "residual")] if deep else [(f"{last}2", "residual")]
        # A residual block whose norms come first has a dense layer's names; only the latter gives fewer maps than it makes.
        made, given = (getattr(children[name], "out_channels", None) for name in ("conv1", "conv2"))
        return [("conv2", "residual" if made is not None and made == given else "dense")]
    if has == {"norm1", "conv1"}:
        return [("conv1", "dense")]
    if {"norm", "conv", "pool"} <= has:
        return [("conv", "transition")]
    if {"conv1", "conv2", "bn2"} <= has:
        return [("bn2", "inner"), ("bn3", "residual")] if {"conv3", "bn3"} <= has else [("bn2", "residual")]
    if isinstance(children.get("se"), nn.Identity):
        return [("se", "squeeze")]
    return []


def _matches(
    where: Sequence[str] | Callable[[str, nn.Module], bool] | None, name: str, place: str, module: nn.Module
) -> bool:
    if callable(where):
        return place == "named" and bool(where(name, module))
    wanted = _DEFAULT if where is None else (where,) if isinstance(where, str) else where
    if place == "named":
        return any(w not in PLACES and fnmatch.fnmatchcase(name, w) for w in wanted)
    return place in wanted


def _output_channels(model: nn.Module, image: Tensor, modules: Sequence[tuple[str, nn.Module]]) -> dict[str, int]:
    """Channels that leave modules, seen by running the example."""
    seen: dict[str, set[int]] = {name: set() for name, _ in modules}

    def watch(name: str, out: Any) -> None:  # what a hook returned would take the output's place
        seen[name].add(out.shape[1] if isinstance(out, Tensor) and out.ndim == 4 else 0)

    hooks = [m.register_forward_hook(lambda _, __, out, name=name: watch(name, out)) for name, m in modules]
    run_once(model, image, hooks)
    for name, counts in seen.items():
        if not counts or 0 in counts:
            raise ValueError(f"{name} gave no map (b, c, h, w) on the example; leave such modules out by where=")
        if len(counts) > 1:
            raise ValueError(
                f"{name} is called for maps of {' and '.join(map(str, sorted(counts)))} channels, and a block is for one "
                "number; give each call a module of its own, or leave it out by where="
            )
    return {name: counts.pop() for name, counts in seen.items()}
