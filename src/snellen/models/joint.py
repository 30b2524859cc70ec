"""An image model and a denoiser as one network: what the picture says and what the structure says, added.

Source: Honari et al., CVPR 2016 (rcn.md 2.8). The image model's logits A are read at their maxima, the denoiser answers these
points with logits B, and softmax(A + weight * B) is the answer: at equal weight, 1, the normalised product of the two
distributions. Trained separately.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from snellen.models.base import KeypointNet
from snellen.models.denoisers import Denoiser, peaks
from snellen.models.outputs import KeypointOutput

__all__ = ["JointNet", "Voices"]


class Voices(NamedTuple):
    """What the two models say.

    Attributes:
        image: (b, k, h, w) logits of the image model.
        structure: (b, k, h, w) logits of the denoiser, on the same cells.
    """

    image: Float[Tensor, "b k h w"]
    structure: Float[Tensor, "b k h w"]


class JointNet(nn.Module):
    """From a canvas to the combined logits; stands wherever the image model alone would, and exports as one graph.

    Maps of the two need not have the same number of cells: the denoiser answers on the image model's (the attention by its
    density, the convolutions interpolated bilinearly). They must cover canvases of the same proportions.

    Args:
        image: the image model.
        denoiser: of the same points.
        weight: of the denoiser's logits; 1 is the paper's, 0 the image model alone.
        passes: how often the joint maxima are given to the denoiser again; 1 is the paper's.

    Attributes:
        stride, keypoints, branches, reductions, minimum_size, preprocess, choices, name: the image model's.

    Raises:
        ValueError: at construction, where the numbers of points differ or the weight is negative.
    """

    def __init__(self, image: KeypointNet, denoiser: Denoiser, weight: float = 1.0, *, passes: int = 1) -> None:
        super().__init__()
        if image.keypoints != denoiser.keypoints:
            raise ValueError(
                f"the image model has {image.keypoints} points and the denoiser {denoiser.keypoints}; give a denoiser that was "
                "trained on the same points"
            )
        if not weight >= 0 or passes < 1:
            raise ValueError(
                f"weight={weight} and passes={passes} are not possible; give a weight of 0 or more and a pass"
            )
        self.image, self.denoiser, self.weight, self.passes = image, denoiser, float(weight), passes
        if hasattr(image, "zoomer"):
            raise ValueError(
                "the image model zooms, and a denoiser knows shapes on the canvas only; join a model without a zoom"
            )
        self.needs_boxes = False
        self.stride, self.keypoints, self.name = image.stride, image.keypoints, image.name
        self.branches, self.reductions, self.minimum_size = image.branches, image.reductions, image.minimum_size
        self.choices: dict[str, Any] = image.choices

    @property
    def preprocess(self) -> nn.Module:
        """What happens to the canvas first."""
        return self.image.preprocess

    def cell(self, canvas: tuple[int, int]) -> float:
        """See `KeypointNet`: its image model does not zoom."""
        return self.image.cell(canvas)

    def voices(self, x: Float[Tensor, "b c h w"], branch_mask: str | None = None) -> Voices:
        """What each model says, on the image model's cells; of several passes, the structure's last word."""
        seen: Tensor = self.image(x, branch_mask=branch_mask).logits
        cells = (seen.shape[-2], seen.shape[-1])
        if (cells[0] * self.stride, cells[1] * self.stride) != tuple(x.shape[-2:]):
            raise ValueError(
                f"the heatmaps' stride of {self.stride} does not divide a canvas of {x.shape[-2]}x{x.shape[-1]}, so they reach "
                "past what the denoiser knows; give a canvas of whole cells"
            )
        given = torch.ones(seen.shape[:2], dtype=torch.bool, device=seen.device)
        points = seen
        for _ in range(self.passes):
            said: Tensor = self.denoiser(peaks(points), given, cells).logits
            points = seen + self.weight * said
        return Voices(seen, said)

    def forward(self, x: Float[Tensor, "b c h w"], branch_mask: str | None = None) -> KeypointOutput:
        """Canvas (b, c, h, w), values 0..255, to logits A + weight * B (b, k, ceil(h / stride), ceil(w / stride))."""
        image, structure = self.voices(x, branch_mask)
        return KeypointOutput(image + self.weight * structure)
