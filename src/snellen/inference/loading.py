"""From a run folder to a model that can be used."""

import json
import logging
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from snellen.config import ConfigError, nearest
from snellen.inference.classifier import Classifier
from snellen.inference.enlarger import Enlarger
from snellen.inference.exported import ExportedFinder, load_exported
from snellen.inference.gazer import Gazer
from snellen.inference.localiser import Localiser
from snellen.inference.point_finder import PointFinder
from snellen.inference.segmenter import Segmenter
from snellen.inference.structure import StructureModel, refuse_other_points
from snellen.models import ClassNet, Denoiser, GazeNet, JointNet, KeypointNet, LabelNet, SuperResolver, create_model
from snellen.models.shipped import modern_choices, shipped_folder, shipped_names
from snellen.training.initial import is_pickle

__all__ = [
    "Loaded",
    "joint_weight",
    "load",
    "load_denoiser",
    "load_finder",
    "load_joint",
    "load_localiser",
    "say_terms",
]

log = logging.getLogger("snellen")

Loaded = Localiser | ExportedFinder | Classifier | Segmenter | Enlarger | Gazer | StructureModel
# What a card that is none, or weights of another network, raise.
_UNFIT = (ValueError, LookupError, TypeError, AttributeError, RuntimeError)
# Whose terms were said already.
_SAID: set[tuple[str, str]] = set()


def load(path: str | Path, device: str | torch.device | None = None) -> Loaded:
    """Load a trained model.

    Args:
        path: the folder that `snellen train` or `save_pretrained` wrote, a file that `snellen export` wrote, or the name of
            weights that come with the library (`snellen models --pretrained`).
        device: where it runs; by default a GPU where there is one, exported files on the CPU.

    Returns:
        What uses the model on images: a `Localiser` for keypoints (an `ExportedFinder` where it is a file), a `Classifier` for
        classes, a `Segmenter` for label maps, an `Enlarger` for super-resolution, a `Gazer` for gaze, a `StructureModel` for
        denoising.

    Raises:
        ConfigError: where the folder is no finished run, or its weights do not fit; where a file is no model.
    """
    folder = Path(path)
    _refuse_device(folder, device)
    if folder.suffix.lower() in (".onnx", ".pt2") and not folder.is_dir():
        if not folder.is_file():
            raise ConfigError(f"{folder} does not exist; give a run folder or a file that snellen export wrote")
        finder = load_exported(folder, device)
        say_terms(folder, finder.card)
        return finder
    if not folder.is_dir() and str(path) in shipped_names():
        folder = shipped_folder(str(path))
    card_file, weights_file = folder / "model.json", folder / "model.safetensors"
    if not card_file.is_file() or not weights_file.is_file():
        unfinished = (folder / "config.yaml").is_file()
        raise ConfigError(
            f"{folder} is a run that is not finished; go on with: snellen train --resume {folder}"
            if unfinished
            else f"{folder} is not a run folder (it has no model.json){nearest(str(path), shipped_names())}; give the folder "
            "that train wrote"
        )
    try:
        card = json.loads(card_file.read_text(encoding="utf-8"))
        weights = load_file(weights_file)
        # A pretrained backbone's weights are in the run's own file, with all others.
        choices = modern_choices(card["model"]["choices"])
        model = create_model(card["model"]["name"], load_pretrained=False, **choices)
        model.load_state_dict(weights)
    except SafetensorError as error:
        if is_pickle(weights_file):
            raise ConfigError(
                f"{weights_file} is a pickle with another name, not a safetensors file; pickles are never read, save it with "
                "safetensors"
            ) from None
        raise ConfigError(f"{weights_file} is not a safetensors file ({error}); copy it again") from None
    except _UNFIT as error:
        raise _refusal(folder, error) from None
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device).to(memory_format=torch.channels_last)
    try:
        loaded = _of_kind(model, card)
    except _UNFIT as error:
        raise _refusal(folder, error) from None
    say_terms(folder, card)
    return loaded


def _refuse_device(path: Path, device: str | torch.device | None) -> None:
    if device is None:
        return
    try:
        kind = torch.device(device)
        if path.suffix.lower() != ".onnx":  # which runs without torch's devices
            torch.empty(0, device=kind)
    except (RuntimeError, AssertionError, ImportError) as error:  # unknown, not of this torch, of another package
        # torch's own reasons span many lines, or sentences.
        first = next(iter(str(error).splitlines()), "").split(". ")[0].rstrip(".")
        raise ConfigError(f"device {str(device)!r} is not possible here ({first}); give cpu, or leave it out") from None


def _refusal(folder: Path, error: Exception) -> ConfigError:
    first = next(iter(str(error).splitlines()), "") or type(error).__name__
    return ConfigError(f"{folder} cannot be loaded ({first}); train it again with this version of snellen")


def _of_kind(
    model: KeypointNet | ClassNet | LabelNet | SuperResolver | GazeNet | Denoiser, card: dict[str, Any]
) -> Loaded:
    """What uses a model of this kind on images."""
    if isinstance(model, ClassNet):
        return Classifier(model, card)
    if isinstance(model, SuperResolver):
        return Enlarger(model, card)
    if isinstance(model, GazeNet):
        return Gazer(model, card)
    if isinstance(model, Denoiser):
        return StructureModel(model, card)
    return Segmenter(model, card) if isinstance(model, LabelNet) else Localiser(model, card)


def say_terms(path: Path, card: dict[str, Any]) -> None:
    """What the data's owners ask of those who use the weights, once a process."""
    terms = card.get("terms", "")
    if terms and (str(path), terms) not in _SAID:
        _SAID.add((str(path), terms))
        log.warning("%s: %s", path, terms)


def load_finder(path: str | Path, device: str | torch.device | None = None) -> PointFinder:
    """As `load`, but refuses (ConfigError) what does not find keypoints."""
    loaded = load(path, device)
    if not isinstance(loaded, PointFinder):
        raise ConfigError(f"{path} finds no keypoints, it is a model for {loaded.card['task']}; give another run")
    return loaded


def load_denoiser(path: str | Path, device: str | torch.device | None = None) -> StructureModel:
    """As `load`, but refuses (ConfigError) what is no denoiser."""
    loaded = load(path, device)
    if not isinstance(loaded, StructureModel):
        raise ConfigError(
            f"{path} is no denoiser, it is a model for {loaded.card['task']}; give a run of the task denoising"
        )
    return loaded


def load_joint(
    path: str | Path, denoiser: str | Path, *, weight: float = 1.0, device: str | torch.device | None = None
) -> Localiser:
    """A keypoint model joined with a denoiser (`JointNet`), to be used as any `Localiser`.

    Args:
        path: run of the keypoint model.
        denoiser: run of the denoiser.
        weight: of the denoiser's logits beside the image model's; 1 is the paper's (rcn.md 2.8).
        device: as for `load`.

    Raises:
        ConfigError: for runs of other tasks, other points, or canvases of other proportions.
    """
    localiser, structure = load_localiser(path, device), load_denoiser(denoiser, device)
    refuse_other_points(structure.schema, localiser.schema, f"the answers of {path}")
    (height, width), (own_height, own_width) = localiser.canvas, structure.canvas
    if height * own_width != width * own_height:
        raise ConfigError(
            f"{denoiser} was trained on a canvas of {[own_height, own_width]} and {path} on {[height, width]}, of other "
            "proportions; train the denoiser with data.canvas of the keypoint model"
        )
    if height % localiser.stride or width % localiser.stride:
        raise ConfigError(
            f"the heatmaps of {path} have {localiser.stride} pixels a cell, which does not divide {[height, width]}, "
            "so they reach past what a denoiser knows; train it with a canvas of whole cells"
        )
    rules = [tuple(card.get("box", {}).values()) for card in (localiser.card, structure.card)]
    if rules[0] != rules[1]:
        log.warning("%s looks at boxes %s and %s at %s; a denoiser is best trained on the boxes of the keypoint model",
                    path, rules[0], denoiser, rules[1])  # fmt: skip
    image = localiser.model
    assert not isinstance(image, JointNet)  # runs hold a model of images alone
    try:
        localiser.model = JointNet(image, structure.model, weight).eval()
    except ValueError as error:
        raise ConfigError(str(error)) from None
    terms = dict.fromkeys(card.get("terms", "") for card in (localiser.card, structure.card))
    localiser.card = localiser.card | {
        "denoiser": {"model": structure.card["model"], "weight": float(weight)},
        "terms": "; ".join(filter(None, terms)),
    }
    return localiser


def joint_weight(denoiser: str | Path | None, weight: float | None) -> float:
    """The weight of a denoiser's logits, by default the paper's 1; ConfigError for one that cannot be."""
    if weight is None:
        return 1.0
    if denoiser is None:
        raise ConfigError("--denoiser-weight is of a denoiser's logits; name its run with --denoiser")
    if not 0 <= weight < math.inf:
        raise ConfigError(f"--denoiser-weight is a number of 0 or more, not {weight:g}")
    return weight


def load_localiser(path: str | Path, device: str | torch.device | None = None) -> Localiser:
    """As `load_finder`, but refuses exported files too: what needs the network itself."""
    loaded = load_finder(path, device)
    if not isinstance(loaded, Localiser):
        raise ConfigError(f"{path} is an exported file, which can only predict; give the run folder it was made from")
    return loaded
