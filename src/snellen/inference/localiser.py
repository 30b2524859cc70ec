"""A trained keypoint model with everything needed to use it: load a run, predict on images."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from snellen.config import ConfigError
from snellen.geometry import Box, Matrix, box_map, transform_points, warp
from snellen.images import read_image
from snellen.keypoints import Keypoints, Schema
from snellen.keypoints.codecs import Decoded, Decoder, decode
from snellen.models import KeypointNet, create_model

__all__ = ["Localiser", "load"]

log = logging.getLogger("snellen")

Picture = str | Path | Image.Image | NDArray[Any] | Tensor


class Localiser:
    """A model, its schema and its preprocessing.

    Attributes:
        model: answers heatmaps for canvases (b, c, h, w) in 0..255.
        stride: side of a heatmap's cell in canvas pixels.
        schema: the points.
        canvas: (height, width) in pixels of what the model sees.
        channels: 1 or 3.
        card: model.json: choices, decoder, box rule, recipe.
    """

    def __init__(self, model: KeypointNet, card: dict[str, Any]) -> None:
        self.model, self.card = model.eval(), card
        self.schema = Schema.from_dict(card["schema"])
        self.canvas: tuple[int, int] = (int(card["canvas"][0]), int(card["canvas"][1]))
        self.channels: int = card["channels"]
        self.stride = model.stride
        self._decoder = dict(card["decoder"])
        #: How positions are read off, "local" or "argmax" (keypoints/codecs.py).
        self.decoder: Decoder = self._decoder["method"]
        #: Whether the mirror image is asked too and the logits are averaged (cards of old runs do not say).
        self.flip: bool = self._decoder.get("flip", False)

    @property
    def radius(self) -> float:
        """Radius in canvas pixels of the disc whose probability mass is a point's confidence."""
        return float(self._decoder["radius"]) * self.stride

    @torch.inference_mode()
    def locate(self, canvases: Float[Tensor, "b c h w"]) -> Decoded:
        """Points (b, k, 2) in canvas pixels and their confidences (b, k)."""
        logits = self._logits(canvases)
        if self.flip:
            if canvases.shape[-1] % self.stride:
                raise ValueError(
                    f"a canvas {canvases.shape[-1]} pixels wide cannot be averaged with its mirror image: the heatmaps' stride "
                    f"of {self.stride} does not divide it; evaluate with --no-flip"
                )
            # The mirror image's left eye is the right one: maps are mirrored back and their partners exchanged.
            mirrored = self._logits(canvases.flip(-1)).flip(-1)
            logits = (logits + mirrored[:, list(self.schema.flip_order)]) / 2
        found = decode(
            logits,
            self.decoder,
            window=self._decoder["window"],
            radius=self._decoder["radius"],
            stride=self.stride,
            canvas=(canvases.shape[-2], canvases.shape[-1]),
        )
        return Decoded(found.xy.cpu(), found.confidence.cpu())

    def _logits(self, canvases: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        device = next(self.model.parameters()).device
        logits: Tensor = self.model(canvases.to(device).contiguous(memory_format=torch.channels_last)).logits
        return logits

    def predict(self, images: Picture | Sequence[Picture], boxes: Sequence[Box] | None = None) -> list[Keypoints]:
        """Find the points in images.

        Args:
            images: paths, PIL images, NumPy arrays (h, w) or (h, w, 3) uint8, or tensors (c, h, w) uint8; one or many.
            boxes: the region of each image that holds the object, as large as those of the training (`card["box"]`); by default
                the whole image, with a warning where the model was trained on closer crops.

        Returns:
            One `Keypoints` an image, in pixels of the original image, `score` the confidence that the point lies within
            `radius` canvas pixels.
        """
        pictures = [images] if isinstance(images, (str, Path, Image.Image, np.ndarray, Tensor)) else list(images)
        if boxes is not None and len(boxes) != len(pictures):
            raise ValueError(f"{len(pictures)} images but {len(boxes)} boxes; give one box an image")
        rule = self.card.get("box", {}).get("rule", "image")
        if boxes is None and rule != "image":
            log.warning(
                "this model was trained on boxes around the object (rule %r, scale %g) and now sees whole images; "
                "give boxes= for answers as good as its evaluation", rule, self.card["box"]["scale"],
            )  # fmt: skip
        answers = []
        for i, picture in enumerate(pictures):
            image = _tensor(picture, self.channels)
            height, width = image.shape[-2:]
            box = boxes[i] if boxes is not None else Box(0, 0, width, height)
            matrix = box_map(box, self.canvas)
            found = self.locate(warp(image, matrix, self.canvas)[None])
            answers.append(self._keypoints(found, matrix))
        return answers

    def _keypoints(self, found: Decoded, matrix: Matrix) -> Keypoints:
        xy = transform_points(np.linalg.inv(matrix).astype(np.float64), found.xy[0].double().numpy())
        visible = np.full(len(self.schema), 2)
        return Keypoints(xy, visible, self.schema, found.confidence[0].double().numpy())


def _tensor(picture: Picture, channels: int) -> Tensor:
    if isinstance(picture, (str, Path)):
        return read_image(picture, channels=channels)
    if isinstance(picture, Image.Image):
        picture = np.array(picture.convert("L" if channels == 1 else "RGB"))
    if isinstance(picture, np.ndarray):
        picture = torch.from_numpy(np.ascontiguousarray(picture))
        picture = picture[None] if picture.ndim == 2 else picture.permute(2, 0, 1)
    if picture.ndim != 3 or picture.shape[0] not in (1, 3):
        raise ValueError(
            f"an image is (c, h, w) with 1 or 3 channels (arrays: (h, w) or (h, w, 3)), not {tuple(picture.shape)}"
        )
    if picture.dtype != torch.uint8:
        raise ValueError(
            f"an image holds whole numbers from 0 to 255 (uint8), not {str(picture.dtype).removeprefix('torch.')}; "
            "scale it to that range and convert it"
        )
    return picture


def load(path: str | Path, device: str | torch.device | None = None) -> Localiser:
    """Load a trained model from its run folder.

    Args:
        path: the folder that `snellen train` wrote.
        device: where it runs; by default a GPU where there is one.

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
        choices = card["model"]["choices"]
        # The cards of old runs call "unpool" so; "nearest" was then everybody's, also where nothing was enlarged by it.
        if choices.pop("upsample", "nearest") == "learned":
            choices["unpool"] = "learned"
        # A pretrained backbone's weights are in the run's own file, with all others.
        model = create_model(card["model"]["name"], load_pretrained=False, **choices)
        model.load_state_dict(weights)
    except (SafetensorError, json.JSONDecodeError, KeyError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"{folder} cannot be loaded ({first}); train it again with this version of snellen") from None
    if card.get("terms"):
        log.warning("%s: %s", folder, card["terms"])
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return Localiser(model.to(device).to(memory_format=torch.channels_last), card)
