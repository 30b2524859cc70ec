"""What models return: small dataclasses with named parts, which torch's compilers see through."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.export import register_dataclass

from snellen.layers.zoom_grid import ZoomGrid

__all__ = ["ClassOutput", "GazeOutput", "KeypointOutput", "LabelOutput"]


@dataclass(frozen=True)
class KeypointOutput:
    """The answer of a keypoint network.

    Attributes:
        logits: one map a keypoint, (b, k, h, w), any range, a cell for every `stride` x `stride` pixels of the canvas
            (`stride` is the network's attribute, 1 for the paper's networks; see keypoints/codecs.py). A softmax over
            the positions (h, w) of a map makes it the probability that the keypoint lies in each cell. Of a network that zooms,
            the canvas here is the zoomed one: models/zoomed.py brings points and probabilities back.
        grid: from the zoomed canvas to the canvas, where the network zooms.
        saliency: (b, gh, gw), sum 1, where its zoom has one.
        earlier: of a network that looks several times, the answers of its looks before this one, each without any of its own;
            `snellen.models.zoomed.decode_output` reads points off all of them.

    >>> import torch
    >>> KeypointOutput(torch.zeros(2, 5, 80, 80)).logits.shape
    torch.Size([2, 5, 80, 80])
    """

    logits: Float[Tensor, "b k h w"]
    grid: ZoomGrid | None = None
    saliency: Float[Tensor, "b gh gw"] | None = None
    earlier: tuple["KeypointOutput", ...] = ()

    @property
    def first(self) -> "KeypointOutput":
        """The first look: where the zoom itself looked."""
        return self.earlier[0] if self.earlier else self


# torch.export and functorch need to look inside; the name lets an exported program be saved.
register_dataclass(KeypointOutput, serialized_type_name="snellen.KeypointOutput")


@dataclass(frozen=True)
class ClassOutput:
    """The answer of a classifier.

    Attributes:
        logits: (b, classes), any range; a softmax over classes makes them probabilities.
        grid: from what the network zooms to, to the canvas, where it zooms.
        saliency: (b, gh, gw), sum 1, where its zoom has one.
    """

    logits: Float[Tensor, "b classes"]
    grid: ZoomGrid | None = None
    saliency: Float[Tensor, "b gh gw"] | None = None


register_dataclass(ClassOutput, serialized_type_name="snellen.ClassOutput")


@dataclass(frozen=True)
class LabelOutput:
    """The answer of a segmentation network.

    Attributes:
        logits: one map a class, (b, classes, h, w), any range, of the canvas's height and width. A softmax over the classes
            makes them the probabilities of each pixel's label.
        grid: from what the network zooms to, to the canvas, where it zooms; the logits are brought back already.
        saliency: (b, gh, gw), sum 1, where its zoom has one.

    >>> import torch
    >>> LabelOutput(torch.zeros(2, 11, 60, 80)).logits.argmax(1).shape
    torch.Size([2, 60, 80])
    """

    logits: Float[Tensor, "b classes h w"]
    grid: ZoomGrid | None = None
    saliency: Float[Tensor, "b gh gw"] | None = None


register_dataclass(LabelOutput, serialized_type_name="snellen.LabelOutput")


@dataclass(frozen=True)
class GazeOutput:
    """The answer of a gaze network.

    Attributes:
        answer: (b, 2), pitch and yaw in degrees, or x and y in centimetres from the camera: what the network was trained on.
        grid: from what the network zooms to, to the canvas, where it zooms.
        saliency: (b, gh, gw), sum 1, where its zoom has one.
    """

    answer: Float[Tensor, "b 2"]
    grid: ZoomGrid | None = None
    saliency: Float[Tensor, "b gh gw"] | None = None


register_dataclass(GazeOutput, serialized_type_name="snellen.GazeOutput")
