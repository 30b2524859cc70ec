"""What surgery on somebody else's network needs: an example, its costs, and putting a module in another's place."""

import difflib
import fnmatch
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.hooks import RemovableHandle

from snellen.layers.counting import plain_operations

__all__ = [
    "check_patterns",
    "count_macs",
    "count_parameters",
    "example_of",
    "multiply_adds",
    "put_in_place",
    "run_once",
]


def put_in_place(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put `new` wherever `old` stands: a module may have several names."""
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if module is old and not any(parent is new for parent in _parents(model, name)):
            model.set_submodule(name, new)


def _parents(model: nn.Module, name: str) -> list[nn.Module]:
    parts = name.split(".")[:-1]
    return [model.get_submodule(".".join(parts[: i + 1])) for i in range(len(parts))]


def example_of(model: nn.Module) -> Tensor:
    """A black 224x224 image of as many channels as the first convolution takes."""
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    parameter = next(model.parameters(), torch.empty(0))
    channels = first.in_channels if first is not None else 3
    return torch.zeros(1, channels, 224, 224, device=parameter.device, dtype=parameter.dtype)


def count_parameters(model: nn.Module) -> int:
    """Numbers in all parameters."""
    return sum(p.numel() for p in model.parameters())


def run_once(model: nn.Module, image: Tensor, hooks: Sequence[RemovableHandle] = ()) -> None:
    """A forward pass that leaves no trace: in eval mode, every module's mode restored, hooks that watched it removed.

    Raises:
        ValueError: where the model does not take the image.
    """
    modes = {m: m.training for m in model.modules()}
    try:
        with torch.no_grad():
            model.eval()(image)
    except Exception as error:  # somebody else's network, which may want no image at all
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ValueError(
            f"{type(model).__name__} cannot be run on an input of shape {tuple(image.shape)} ({reason}); give one that it "
            "takes as example="
        ) from None
    finally:
        for hook in hooks:
            hook.remove()
        for m, mode in modes.items():
            m.training = mode


def count_macs(model: nn.Module, image: Tensor) -> int | None:
    """Multiply-adds of the image; None where the network does not take it."""
    try:
        return multiply_adds(lambda: run_once(model, image))
    except ValueError:
        return None  # the network wants another input: the exchange itself needs none


def multiply_adds(run: Callable[[], object]) -> int:
    """Multiply-adds of what `run` does: half of what torch.utils.flop_counter counts, convolutions and matrix products."""
    # The quick forms of the layers are none of these, or more of them than there are.
    with plain_operations(), FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops()) // 2


def check_patterns(
    where: str | Sequence[str] | Callable[..., bool] | None, kinds: Sequence[str], names: Sequence[str]
) -> None:
    """ValueError for an entry of `where` that is no kind and matches no name: most likely it is misspelt."""
    if where is None or callable(where):
        return
    for entry in [where] if isinstance(where, str) else where:
        if entry not in kinds and not fnmatch.filter(names, entry):
            like = difflib.get_close_matches(entry, names, 3, 0.0)
            raise ValueError(
                f"where={entry!r} matches nothing; give kinds of {', '.join(kinds)}, or shell patterns of names, of which "
                f"{len(names)} can be chosen; nearest: {', '.join(like) or 'none'}"
            )
