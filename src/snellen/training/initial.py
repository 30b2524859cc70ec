"""Weights of another run to begin with, where names and shapes match."""

import logging
from collections import Counter
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from snellen.config import ConfigError

__all__ = ["load_matching", "start_from"]

log = logging.getLogger("snellen")


def load_matching(model: nn.Module, weights: dict[str, Tensor]) -> list[tuple[str, int, int]]:
    """Copy every tensor whose name and shape the model has; the others keep their drawn values.

    Args:
        model: changed in place.
        weights: of another model.

    Returns:
        (part of the model, numbers loaded, numbers new), a row each of the model's parts, in their order.
    """
    own = model.state_dict()
    matching = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    model.load_state_dict(matching, strict=False)
    loaded, new = Counter[str](), Counter[str]()
    for name, value in own.items():
        (loaded if name in matching else new)[name.partition(".")[0]] += value.numel()
    return [(part, loaded[part], new[part]) for part in dict.fromkeys(name.partition(".")[0] for name in own)]


def start_from(model: nn.Module, run: str) -> None:
    """Begin with the weights of a run, and say in a table what was loaded and what is new.

    Args:
        model: changed in place.
        run: the folder of a finished run; another number of points, and other layers, keep their drawn values.

    Raises:
        ConfigError: where the folder holds no weights, or nothing of them fits.
    """
    file = Path(run) / "model.safetensors"
    if not file.is_file():
        raise ConfigError(
            f"train.init {run} is no finished run (it has no model.safetensors); give the folder that train wrote"
        )
    try:
        weights = load_file(file)
    except (SafetensorError, OSError) as error:
        raise ConfigError(f"{file} cannot be read ({error}); copy it again or train without --init") from None
    table = load_matching(model, weights)
    if not any(loaded for _, loaded, _ in table):
        raise ConfigError(
            f"nothing of {run} fits this model; use the same model.name and choices, or train without --init"
        )
    width = max(len(part) for part, _, _ in table)
    lines = [f"  {part:<{width}}  {loaded:>10,} loaded  {new:>10,} new" for part, loaded, new in table]
    log.info("weights of %s:\n%s", run, "\n".join(lines))
