"""Weights of another run, or shipped ones, to begin with, where names and shapes match."""

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from snellen.config import ConfigError, nearest
from snellen.models.shipped import shipped_folder, shipped_names

__all__ = ["inherited_terms", "is_pickle", "load_matching", "start_from"]

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


def start_from(model: nn.Module, init: str) -> None:
    """Begin with the weights of a run or with shipped ones, and say in a table what was loaded and what is new.

    Args:
        model: changed in place.
        init: the folder of a finished run, or a name of `snellen models --pretrained` where there is no such folder; another
            number of points, and other layers, keep their drawn values.

    Raises:
        ConfigError: where there are no such weights, or nothing of them fits.
    """
    folder = _folder(init)
    file = folder / "model.safetensors"
    if not file.is_file():
        raise ConfigError(
            f"train.init {init} is no finished run (it has no model.safetensors){nearest(init, shipped_names())}; give the "
            "folder that train wrote, or a name that snellen models --pretrained lists"
        )
    try:
        weights = load_file(file)
    except (SafetensorError, OSError) as error:
        if isinstance(error, SafetensorError) and is_pickle(file):
            raise ConfigError(
                f"{file} is a pickle with another name; pickles are never read, save it with safetensors"
            ) from None
        raise ConfigError(f"{file} cannot be read ({error}); copy it again or train without --init") from None
    table = load_matching(model, weights)
    if not any(loaded for _, loaded, _ in table):
        raise ConfigError(
            f"nothing of {init} fits this model{_origin(folder)}; use the same model.name and choices, or train without --init"
        )
    width = max(len(part) for part, _, _ in table)
    lines = [f"  {part:<{width}}  {loaded:>10,} loaded  {new:>10,} new" for part, loaded, new in table]
    log.info("weights of %s:\n%s", init, "\n".join(lines))
    terms = _card(folder).get("terms", "")
    if terms:
        log.warning("%s: %s", init, terms)


def is_pickle(file: Path) -> bool:
    """Whether what is no safetensors file looks as torch.save or pickle write it."""
    with file.open("rb") as opened:
        start = opened.read(4)
    return start[:1] == b"\x80" or start == b"PK\x03\x04"


def inherited_terms(init: str, own: str) -> str:
    """Terms that bind a run's weights: its own data's, and those of the weights it began with, each once.

    Args:
        init: as for `start_from`; empty where the run began with drawn weights.
        own: terms of the run's data.

    >>> inherited_terms("", "for research"), inherited_terms("wings-rcn", "")
    ('for research', '')
    """
    theirs = str(_card(_folder(init)).get("terms", "")) if init else ""
    return own if theirs in own else "; ".join(filter(None, (own, theirs)))


def _folder(init: str) -> Path:
    """A folder goes before a name, as in `snellen.load`."""
    folder = Path(init)
    return shipped_folder(init) if not folder.is_dir() and init in shipped_names() else folder


def _card(folder: Path) -> dict[str, Any]:
    """What the weights say of themselves; nothing for bare weights, which have no card."""
    try:
        card: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return card


def _origin(folder: Path) -> str:
    """The weights' architecture, to be put behind a sentence."""
    name = _card(folder).get("model", {}).get("name", "")
    return f" (its weights are of {name})" if name else ""
