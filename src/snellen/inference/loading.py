"""From a run folder to a model that can be used."""

import json
import logging
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from snellen.config import ConfigError
from snellen.inference.classifier import Classifier
from snellen.inference.enlarger import Enlarger
from snellen.inference.gazer import Gazer
from snellen.inference.localiser import Localiser
from snellen.inference.segmenter import Segmenter
from snellen.inference.structure import StructureModel, refuse_other_points
from snellen.models import ClassNet, Denoiser, GazeNet, JointNet, LabelNet, SuperResolver, create_model

__all__ = ["load", "load_denoiser", "load_joint", "load_localiser"]

log = logging.getLogger("snellen")


def load(
    path: str | Path, device: str | torch.device | None = None
) -> Localiser | Classifier | Segmenter | Enlarger | Gazer | StructureModel:
    """Load a trained model from its run folder.

    Args:
        path: the folder that `snellen train` wrote.
        device: where it runs; by default a GPU where there is one.

    Returns:
        What uses the model on images: a `Localiser` for keypoints, a `Classifier` for classes, a `Segmenter` for label
        maps, an `Enlarger` for super-resolution, a `Gazer` for gaze, a `StructureModel` for denoising.

    Raises:
        ConfigError: where the folder is no finished run, or its weights do not fit.
    """
    folder = Path(path)
    card_file, weights_file = folder / "model.json", folder / "model.safetensors"
    if not card_file.is_file() or not weights_file.is_file():
        unfinished = (folder / "config.yaml").is_file()
        raise ConfigError(
            f"{folder} is a run that is not finished; go on with: snellen train --resume {folder}"
            if unfinished
            else f"{folder} is not a run folder (it has no model.json); give the folder that train wrote"
        )
    try:
        card = json.loads(card_file.read_text(encoding="utf-8"))
        weights = load_file(weights_file)
        # A pretrained backbone's weights are in the run's own file, with all others.
        model = create_model(card["model"]["name"], load_pretrained=False, **card["model"]["choices"])
        model.load_state_dict(weights)
    except (SafetensorError, json.JSONDecodeError, KeyError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"{folder} cannot be loaded ({first}); train it again with this version of snellen") from None
    if card.get("terms"):
        log.warning("%s: %s", folder, card["terms"])
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device).to(memory_format=torch.channels_last)
    if isinstance(model, ClassNet):
        return Classifier(model, card)
    if isinstance(model, SuperResolver):
        return Enlarger(model, card)
    if isinstance(model, GazeNet):
        return Gazer(model, card)
    if isinstance(model, Denoiser):
        return StructureModel(model, card)
    return Segmenter(model, card) if isinstance(model, LabelNet) else Localiser(model, card)


def load_localiser(path: str | Path, device: str | torch.device | None = None) -> Localiser:
    """As `load`, but refuses (ConfigError) what does not find keypoints."""
    loaded = load(path, device)
    if not isinstance(loaded, Localiser):
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
    try:
        localiser.model = JointNet(localiser.model, structure.model, weight).eval()  # type: ignore[arg-type]  # not joined yet
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return localiser
