"""Trained weights by name: those that come with the library, and those of a checkout's `weights/research`.

A set of weights is a folder as a run's: model.safetensors, model.json and a card for people, README.md. Weights whose training
data allow any use are part of the wheel. Those trained on data for research alone stand in the repository, outside the wheel,
with their own terms, which are said when they are loaded; another place for them can be named in the environment variable
SNELLEN_WEIGHTS.
"""

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn

from snellen.models.base import KeypointNet
from snellen.models.choices import UnknownChoiceError, UnknownModelError, nearest
from snellen.models.keypoint_models import create_keypoint_model

log = logging.getLogger("snellen")

__all__ = ["ShippedWeights", "create_shipped", "modern_choices", "shipped", "shipped_folder", "shipped_names"]


@dataclass(frozen=True)
class ShippedWeights:
    """One set of weights.

    Attributes:
        name: what `snellen.load` and `create_model` call it.
        folder: where it lies.
        model: the architecture's name for `create_model`.
        choices: its choices.
        schema: name of the points.
        points: how many.
        canvas: (height, width) in pixels.
        licence: of the weights.
        terms: what the training data's owners ask; empty where nothing.
    """

    name: str
    folder: Path
    model: str
    choices: dict[str, Any]
    schema: str
    points: int
    canvas: tuple[int, int]
    licence: str
    terms: str


def _places() -> list[Path]:
    package = Path(__file__).parents[1]
    places = [package / "weights"]
    if os.environ.get("SNELLEN_WEIGHTS"):
        places.append(Path(os.environ["SNELLEN_WEIGHTS"]))
    # A checkout: src/snellen/models/shipped.py is three folders below its root.
    root = package.parents[1]
    if (root / "pyproject.toml").is_file():
        places.append(root / "weights" / "research")
    return places


def _folders() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for place in _places():
        for file in sorted(place.glob("*/model.json")):
            found.setdefault(file.parent.name, file.parent)
    return found


def shipped_names() -> list[str]:
    """Names of all weights that are here, sorted.

    >>> "wings-rcn" in shipped_names()
    True
    """
    return sorted(_folders())


def shipped_folder(name: str) -> Path:
    """The folder of a set of weights.

    Raises:
        UnknownModelError: naming the nearest where there is none.
    """
    folders = _folders()
    if name not in folders:
        raise UnknownModelError(
            f"no weights are called {name!r}; {nearest(name, folders)}; snellen models --pretrained lists them. Weights for "
            "research stand in weights/research of the repository: clone it, or name a copy's folder in SNELLEN_WEIGHTS"
        )
    return folders[name]


def shipped(name: str) -> ShippedWeights:
    """What is known of a set of weights. Errors as `shipped_folder`.

    >>> shipped("wings-rcn").points
    12
    """
    folder = shipped_folder(name)
    card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return ShippedWeights(
        name=name,
        folder=folder,
        model=card["model"]["name"],
        choices=modern_choices(card["model"]["choices"]),
        schema=card["schema"]["name"],
        points=len(card["schema"]["points"]),
        canvas=(card["canvas"][0], card["canvas"][1]),
        licence=card.get("licence", ""),
        terms=card.get("terms", ""),
    )


def modern_choices(choices: dict[str, Any]) -> dict[str, Any]:
    """Choices under today's names: runs before `unpool` called it `upsample`."""
    return {"unpool" if key == "upsample" else key: value for key, value in choices.items()}


def create_shipped(
    name: str, *, pretrained: bool | str = False, load_pretrained: bool = True, **choices: Any
) -> KeypointNet:
    """The network of shipped weights, as timm's users expect it: fresh weights unless `pretrained`.

    Where `keypoints` differs from the weights', the last convolutions, whose maps are one a point, keep fresh weights, and the
    log says so.

    Args:
        name: of the weights; or of an architecture, with the name of weights as `pretrained`.
        pretrained: whether to fill them in.
        load_pretrained: False keeps fresh weights all the same, see `create_model`.
        choices: changes to the weights' own choices.

    Raises:
        UnknownModelError, UnknownChoiceError: where the weights do not fit the architecture.
    """
    known = shipped(pretrained if isinstance(pretrained, str) else name)
    if name not in (known.name, known.model):
        raise UnknownChoiceError(
            f"the weights {known.name!r} are of model {known.model!r}, not {name!r}; name that model"
        )
    model = create_keypoint_model(known.model, **(known.choices | choices))
    if pretrained and load_pretrained:
        if known.terms:
            log.warning("%s: %s", known.name, known.terms)
        _fill(model, known)
    return model


def _fill(model: nn.Module, known: ShippedWeights) -> None:
    weights, own = load_file(known.folder / "model.safetensors"), model.state_dict()
    fitting = {key: value for key, value in weights.items() if key in own and own[key].shape == value.shape}
    fresh = sorted(own.keys() - fitting.keys())
    # A head of other points is one weight and one bias; SumNet has one a branch.
    heads = {key.rpartition(".")[0] for key in fresh if key in weights and own[key].shape[0] != weights[key].shape[0]}
    strange = [key for key in fresh if key.rpartition(".")[0] not in heads]
    if strange:
        raise UnknownChoiceError(
            f"the weights {known.name!r} do not fit these choices (first: {strange[0]}); change keypoints alone"
        )
    model.load_state_dict(own | fitting)
    if fresh:
        log.warning("%s: fresh weights in %s, as the points differ; train them", known.name, ", ".join(fresh))
