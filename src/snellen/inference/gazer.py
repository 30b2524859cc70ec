"""A trained gaze network with everything needed to use it on pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from snellen.data.batches import evaluation_loader
from snellen.data.gaze import Eye, GazeDataset, GazeEntry, GazeParts, GazeSample
from snellen.data.gaze_angles import Answer, direction, mirrored
from snellen.data.gaze_canvas import GazeBatch, GazeCanvas, GazePartsBatch, GazePartsCanvas
from snellen.geometry import Box
from snellen.inference.pictures import Picture, as_box, as_list, image_tensor
from snellen.inference.shareable import Shareable
from snellen.models.gaze_nets import GazeNet

__all__ = ["GazeAnswer", "Gazer"]


@dataclass(frozen=True)
class GazeAnswer:
    """Where the person in a picture looks; what the model was not trained on is None.

    Attributes:
        pitch: degrees, up is positive.
        yaw: degrees, to the picture's right is positive.
        direction: (3,) unit vector: x to the picture's right, y down, z towards the camera.
        point: (x, y) on the screen, centimetres from the camera.
    """

    pitch: float | None = None
    yaw: float | None = None
    direction: NDArray[np.float64] | None = None
    point: tuple[float, float] | None = None


class Gazer(Shareable):
    """A model that tells where people look, from pictures alone.

    Attributes:
        model: answers `GazeOutput`.
        answer: "angles" or "point".
        canvas: (height, width) in pixels of what the model sees.
        channels: 1 or 3.
        look: "image", "object" or "parts": what of a picture it sees.
        canonical: whether right eyes are mirrored first.
        flip: whether the mirror image is asked too and the two answers are averaged.
        card: model.json: choices, recipe.
    """

    def __init__(self, model: GazeNet, card: dict[str, Any]) -> None:
        self.model, self.card = model.eval(), card
        self.answer: Answer = card["answer"]
        self.canvas: tuple[int, int] = (int(card["canvas"][0]), int(card["canvas"][1]))
        self.channels: int = card["channels"]
        self.look: str = card["look"]
        self.canonical: bool = card["canonical"]
        self.flip: bool = card["flip"]

    @torch.inference_mode()
    def answers(self, batch: GazeBatch | GazePartsBatch) -> Float[Tensor, "b 2"]:
        """Answers for canvases as they are, on the CPU: pitch and yaw in degrees, or x and y in centimetres."""
        device = next(self.model.parameters()).device
        batch = batch.to(device)
        found: Tensor = self.model(*batch.inputs).answer.float()
        if self.flip:
            other: Tensor = self.model(*_mirror(batch).inputs).answer.float()
            signs = other.new_tensor([1.0, -1.0] if self.answer == "angles" else [-1.0, 1.0])
            found = (found + other * signs) / 2
        return found.cpu()

    def canvases(self, data: GazeDataset) -> GazeCanvas:
        """Pictures as the model sees them."""
        if self.look == "parts":
            return GazePartsCanvas(data, self.canvas)
        return GazeCanvas(data, self.canvas, whole=self.look == "image", canonical=self.canonical)

    def answers_of(self, data: GazeDataset, *, batch_size: int = 64) -> NDArray[np.float64]:
        """Answers (n, 2) of a data set, in the original pictures: what was mirrored is mirrored back.

        Raises:
            ValueError: where the data's gaze is told in another way than the model's.
        """
        if data.answer != self.answer:
            raise ValueError(
                f"the model answers with {self.answer!r}, but the data hold {data.answer!r}; choose other data"
            )
        parts = []
        for batch in evaluation_loader(self.canvases(data), batch_size):
            found = self.answers(batch).double().numpy()
            parts.append(np.where(batch.mirrored.numpy()[:, None], mirrored(found, self.answer), found))
        return np.concatenate(parts)

    def predict(
        self,
        images: Picture | Sequence[Picture],
        *,
        eyes: Sequence[Eye] | None = None,
        boxes: Sequence[Box] | None = None,
        parts: Sequence[GazeParts] | None = None,
    ) -> list[GazeAnswer]:
        """Tell where people look.

        Args:
            images: paths, PIL images, NumPy arrays (h, w) or (h, w, 3) uint8, or tensors (c, h, w) uint8; one or many.
            eyes: which eye each picture shows, "left" or "right" as seen in it; for a `canonical` model.
            boxes: where in each picture the eyes or the face are; for a model that looks at the "object".
            parts: boxes of face and eyes in each picture; for a model that looks at "parts".

        Raises:
            ValueError: where the model needs one of these and it is not given, or not once a picture.
        """
        pictures = [image_tensor(p, self.channels) for p in as_list(images)]
        for name, given, needed in (
            ("eyes", eyes, self.canonical),
            ("boxes", boxes, self.look == "object"),
            ("parts", parts, self.look == "parts"),
        ):
            if needed and given is None:
                raise ValueError(f"this model needs {name}, one a picture; give {name}=[...]")
            if given is not None and len(given) != len(pictures):
                raise ValueError(f"{len(given)} {name} for {len(pictures)} pictures; give one a picture")
        if not pictures:
            return []
        samples = [
            GazeSample(
                picture,
                GazeEntry(str(i), (0.0, 0.0), "", eye=eyes[i] if eyes else "both", parts=parts[i] if parts else None),
                (as_box(boxes[i], i) if boxes is not None else None)
                or Box(0.0, 0.0, float(picture.shape[-1]), float(picture.shape[-2])),
                str(i),
            )
            for i, picture in enumerate(pictures)
        ]
        return [self._told(row) for row in self.answers_of(_Untold(samples, self.answer))]

    def _told(self, row: NDArray[np.float64]) -> GazeAnswer:
        first, second = row.tolist()
        if self.answer == "point":
            return GazeAnswer(point=(first, second))
        return GazeAnswer(pitch=first, yaw=second, direction=direction(row))


def _mirror(batch: GazeBatch | GazePartsBatch) -> GazeBatch | GazePartsBatch:
    """The same canvases mirrored; of parts the eyes are exchanged, as mirroring makes a left eye a right one."""
    if isinstance(batch, GazePartsBatch):
        image = batch.image.flip(-1)[:, [1, 0, 2]]
        return GazePartsBatch(image, batch.grid.flip(-1), batch.target, ~batch.mirrored, batch.index)
    box = batch.box[:, [2, 1, 0, 3]]
    box[:, ::2] = batch.image.shape[-1] - box[:, ::2]
    return replace(batch, image=batch.image.flip(-1), mirrored=~batch.mirrored, box=box)


class _Untold:
    """Pictures without truth, in the shape of a data set."""

    def __init__(self, samples: list[GazeSample], answer: Answer) -> None:
        self.samples, self.answer = samples, answer
        self.entries: Sequence[GazeEntry] = [sample.entry for sample in samples]

    @property
    def names(self) -> Sequence[str]:
        return [sample.name for sample in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> GazeSample:
        return self.samples[index]
