"""Models that look closer: a zoom in front of a network of any task, and its answers back in the original canvas.

    canvas --> zoom --> network --> answer on the zoomed canvas --> back through the grid --> answer on the canvas

Sizes: the canvas is the full picture, `zoom_options.size` what the network sees.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from snellen.keypoints.codecs import Decoded, Decoder, decode, window_mass
from snellen.layers.zoom_back import unzoom, unzoom_points
from snellen.layers.zoom_mass import unzoom_mass, unzoom_mass_window
from snellen.models.base import KeypointNet
from snellen.models.blur_curriculum import BlurCurriculum
from snellen.models.classifiers import ClassNet
from snellen.models.gaze_nets import GazeNet
from snellen.models.label_net import LabelNet
from snellen.models.outputs import ClassOutput, GazeOutput, KeypointOutput, LabelOutput
from snellen.models.zoom_baselines import AffineZoom, DirectZoom, SplineZoom
from snellen.models.zoom_cam import CamCrop
from snellen.models.zoomers import BoxZoom, CropZoom, FixedZoom, SaliencySampler, Zoomed, Zoomer

__all__ = [
    "ZoomedClasses",
    "ZoomedGaze",
    "ZoomedKeypoints",
    "ZoomedLabels",
    "decode_output",
    "make_zoomer",
    "source_probability",
    "source_probability_window",
]

_KINDS: dict[str, type[Zoomer]] = {
    "uniform": Zoomer, "crop": CropZoom, "boxes": BoxZoom, "fixed": FixedZoom, "saliency": SaliencySampler,
    "separable": SaliencySampler, "stn": AffineZoom, "tps": SplineZoom, "direct": DirectZoom, "cam": CamCrop,
}  # fmt: skip
#: How much less a look counts for each nat by which its maps are less sure, on average over the points. Chosen on training
#: photos held out: 4 to 16 are alike, 0 (the mean of all looks) lets a look at the wrong place count for as much as the others.
#: Entropies are of zoomed cells, so of two looks that are as sure in the canvas the one that magnifies less counts for more;
#: those photos' looks magnified alike, and there correcting for it was worse.
TRUST = 8.0
#: Those that look at a thumbnail.
LOOKING = ("saliency", "separable", "stn", "tps", "direct")


def make_zoomer(kind: str, options: Mapping[str, Any], channels: int, *, load_pretrained: bool = True) -> Zoomer:
    """The zoom of a model.

    Args:
        kind: of `ZOOMS`, other than "none".
        options: as `resolve_zoom` gives them.
        channels: that the network sees, 1 or 3; the saliency network sees as many.
        load_pretrained: see `snellen.create_model`.

    Raises:
        ValueError: for values not possible.
    """
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    if kind in LOOKING:
        given["channels"] = channels
        if not load_pretrained and given.get("pretrained"):
            given["pretrained"] = False
        given["blur"] = BlurCurriculum(given.pop("blur_steps", 0))
        given.pop("looks", None)  # of the model, see `ZoomedKeypoints`
    if kind == "separable":
        given["separable"] = True
    return _KINDS[kind](**given)


class ZoomedKeypoints(KeypointNet):
    """A keypoint network behind a zoom.

    Its logits lie on the zoomed canvas, and `grid` says where that is: `decode_output` reads off points of the canvas, and
    `source_probability` is what losses act on.

    Args:
        net: the network.
        zoomer: the zoom.
        looks: how often the picture is looked at in evaluation. The first look is where the saliency says, each further one at
            the box around the points found so far, as FOVEA looks at the boxes of the frame before. Points are the mean of what
            the looks found, those that are surer counting for more, see `decode_output` (our choices). Each costs a pass of the
            network. Training looks once, and should show it such boxes (`train.zoom_guide`).

    Raises:
        ValueError: where the network cannot take canvases of the zoom's size, or the zoom has no saliency to look again by.
    """

    def __init__(self, net: KeypointNet, zoomer: Zoomer, looks: int = 1) -> None:
        super().__init__(
            keypoints=net.keypoints, reductions=net.reductions, stride=net.stride, norm="none",
            channels=net.preprocess.channels, contrast=net.preprocess.contrast, branch_mask=net.branch_mask,
            minimum_size=2,
        )  # fmt: skip
        if min(zoomer.size) < net.minimum_size:
            raise ValueError(
                f"zoom_options.size={list(zoomer.size)} is too small for the network; give at least {[net.minimum_size] * 2}"
            )
        if any(side % net.stride for side in zoomer.size):
            raise ValueError(
                f"zoom_options.size={list(zoomer.size)} ends within a cell of the network, which are {net.stride} pixels wide; "
                f"give multiples of {net.stride}"
            )
        if looks > 1 and not isinstance(zoomer, SaliencySampler):
            raise ValueError(
                f"looks={looks} is not possible with {type(zoomer).__name__}; give a learned saliency, or looks=1"
            )
        self.net, self.zoomer, self.looks = net, zoomer, looks
        self.needs_boxes = zoomer.needs_boxes

    def forward(
        self, x: Float[Tensor, "b c h w"], branch_mask: str | None = None, boxes: Float[Tensor, "b k 4"] | None = None
    ) -> KeypointOutput:
        """Canvas (b, c, h, w), values 0..255, of any size, to logits on the zoomed canvas with its grid.

        Args:
            x: canvases.
            branch_mask: see the network's.
            boxes: of the objects, canvas pixels, NaN for none; with zoom "boxes" only.
        """
        h, w = x.shape[-2:]
        if min(h, w) < self.minimum_size:
            raise ValueError(f"a canvas of {h}x{w} is too small to zoom; give at least 2x2 pixels")
        answer = self._answer(self.zoomer(x, boxes), branch_mask)
        if boxes is None and not self.training:
            for _ in range(self.looks - 1):
                assert isinstance(self.zoomer, SaliencySampler)
                again = self._answer(self.zoomer.around(x, self._found(answer, (h, w))), branch_mask)
                answer = replace(again, earlier=_looks(answer))
        return answer

    def _answer(self, seen: Zoomed, branch_mask: str | None) -> KeypointOutput:
        return KeypointOutput(self.net(seen.image, branch_mask).logits, seen.grid, seen.saliency)

    def _found(self, answer: KeypointOutput, canvas: tuple[int, int]) -> Float[Tensor, "b 1 4"]:
        """The box around an answer's points, canvas pixels."""
        xy = _positions(answer, "local", canvas, self.stride).detach()
        return torch.cat((xy.amin(dim=1), xy.amax(dim=1)), dim=-1)[:, None]

    def cell(self, canvas: tuple[int, int]) -> float:
        """See `KeypointNet`; the mean of width and height where they differ."""
        rows, columns = (-(-side // self.stride) for side in self.zoomer.size)
        return (canvas[0] / rows + canvas[1] / columns) / 2

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Those of the network; the zoom's weights count to the trunk's."""
        groups = self.net.parameter_groups()
        layers = (m for m in self.zoomer.modules() if isinstance(m, nn.Conv2d | nn.Linear))
        found = [p for m in layers for name, p in m.named_parameters(recurse=False) if name == "weight"]
        return groups | {"trunk": [*groups["trunk"], *found]}


class ZoomedLabels(LabelNet):
    """A segmentation network behind a zoom; its logits are brought back to the canvas (LZU), so losses lie in the canvas."""

    def __init__(self, net: LabelNet, zoomer: Zoomer) -> None:
        super().__init__(
            classes=net.classes, step=net.step, channels=net.preprocess.channels, contrast=net.preprocess.contrast
        )
        self.net, self.zoomer = net, zoomer

    def forward(self, x: Float[Tensor, "b c h w"]) -> LabelOutput:
        """See `LabelNet`."""
        seen = self.zoomer(x)
        logits = unzoom(self.net(seen.image).logits, seen.grid, (x.shape[-2], x.shape[-1])).maps
        return LabelOutput(logits, seen.grid, seen.saliency)


class ZoomedClasses(ClassNet):
    """A classifier behind a zoom. With "cam" it looks twice, and answers with the mean of both logits (our choice).

    Args:
        model: the classifier.
        zoomer: the zoom.
    """

    def __init__(self, model: ClassNet, zoomer: Zoomer) -> None:
        super().__init__(model.net, model.classes, model.preprocess.channels, model.preprocess.contrast)
        self.zoomer = zoomer
        if isinstance(zoomer, CamCrop):
            zoomer.check(model.net)

    def forward(self, x: Float[Tensor, "b c h w"], boxes: Float[Tensor, "b k 4"] | None = None) -> ClassOutput:
        """See `ClassNet`; `boxes` as for `SaliencySampler`, in training."""
        if isinstance(self.zoomer, CamCrop):
            whole = super().forward(self.zoomer.whole(x)).logits
            seen = self.zoomer.close(x, self.net, self.preprocess)
            return ClassOutput((whole + super().forward(seen.image).logits) / 2, seen.grid, seen.saliency)
        seen = self.zoomer(x, boxes)
        return ClassOutput(super().forward(seen.image).logits, seen.grid, seen.saliency)


class ZoomedGaze(GazeNet):
    """A gaze network behind a zoom."""

    def __init__(self, model: GazeNet, zoomer: Zoomer) -> None:
        super().__init__(model.net, model.answer, model.preprocess.channels, model.preprocess.contrast)
        if min(zoomer.size) < model.minimum_size:
            least = [model.minimum_size] * 2
            raise ValueError(
                f"zoom_options.size={list(zoomer.size)} is too small for the network; give at least {least}"
            )
        self.zoomer = zoomer

    def forward(self, x: Float[Tensor, "b c h w"], boxes: Float[Tensor, "b k 4"] | None = None) -> GazeOutput:
        """See `GazeNet`; `boxes` as for `SaliencySampler`, in training."""
        seen = self.zoomer(x, boxes)
        return GazeOutput(super().forward(seen.image).answer, seen.grid, seen.saliency)


def source_probability(output: KeypointOutput) -> Float[Tensor, "b k h w"]:
    """The probability of each cell of the canvas, as many as the maps have: cells of a plain resize, whatever the zoom.

    For a network that does not zoom, the softmax of its maps; of one that looks several times, by the last look alone.
    """
    probability, shape = _probability(output)
    return probability if output.grid is None else unzoom_mass(probability, output.grid, shape)


def source_probability_window(
    output: KeypointOutput, first: Int[Tensor, "b k 2"], window: tuple[int, int]
) -> Float[Tensor, "b k n m"]:
    """`source_probability` of a network that zooms, in one window (rows, columns) of each map.

    Args:
        output: the answer.
        first: (b, k, 2) column and row of each window's first cell.
        window: (n, m) rows and columns.

    Raises:
        ValueError: where the network does not zoom.
    """
    if output.grid is None:
        raise ValueError("this network does not zoom: its maps are those of the canvas")
    probability, shape = _probability(output)
    return unzoom_mass_window(probability, output.grid, shape, first, window)


def _probability(output: KeypointOutput) -> tuple[Tensor, tuple[int, int]]:
    shape = (output.logits.shape[-2], output.logits.shape[-1])
    return torch.softmax(output.logits.float().flatten(2), dim=-1).unflatten(-1, shape), shape


def decode_output(
    output: KeypointOutput,
    method: Decoder,
    *,
    canvas: tuple[int, int],
    stride: int,
    window: int = 2,
    radius: float = 2.5,
) -> Decoded:
    """Positions on the canvas and confidences from a keypoint network's answer, zoomed or not.

    Positions are read off the zoomed maps and go back through the grid, which is exact. A confidence is the probability within
    `radius` cells of a plain resize. Where the network looked several times, positions are means over the looks, weighed by
    exp(-`TRUST` H), H the mean entropy of a look's zoomed maps in nats: a look at the wrong place is seldom sure. Confidences
    are of the same mean of their probabilities (our choices).

    Args:
        output: the answer.
        method: see `snellen.keypoints.codecs.decode`, as the others.
        canvas: (height, width) in pixels.
        stride: of the network.
        window: half side of the local window, cells of the zoomed map.
        radius: cells.
    """
    if output.grid is None:
        return decode(output.logits, method, window=window, radius=radius, stride=stride, canvas=canvas)
    xy = _positions(output, method, canvas, stride, window)
    h, w = output.logits.shape[-2:]
    cells = xy / torch.tensor([canvas[1] / w, canvas[0] / h], device=xy.device)
    return Decoded(xy, _mean(output, lambda look: window_mass(source_probability(look), cells, radius)))


def _positions(
    output: KeypointOutput, method: Decoder, canvas: tuple[int, int], stride: int, window: int = 2
) -> Float[Tensor, "b k 2"]:
    """Positions on the canvas that a network which zooms found, without the confidences."""

    def found(look: KeypointOutput) -> Tensor:
        assert look.grid is not None
        zoomed = decode(look.logits, method, window=window, stride=stride, canvas=look.grid.size).xy
        return unzoom_points(zoomed, look.grid, canvas)

    return _mean(output, found)


def _looks(output: KeypointOutput) -> tuple[KeypointOutput, ...]:
    """All looks of an answer, the first one first."""
    return (*output.earlier, replace(output, earlier=()))


def _mean(output: KeypointOutput, read: Callable[[KeypointOutput], Tensor]) -> Tensor:
    """The mean of what is read off each look, (b, ...), by how sure it is."""
    looks = _looks(output)
    if len(looks) == 1:
        return read(output)
    trust = torch.softmax(-TRUST * torch.stack([_entropy(look.logits) for look in looks]), dim=0)
    values = torch.stack([read(look) for look in looks])
    return (values * trust.view(*trust.shape, *[1] * (values.ndim - 2))).sum(dim=0)


def _entropy(logits: Float[Tensor, "b k h w"]) -> Float[Tensor, " b"]:
    """The mean entropy of an answer's maps, nats."""
    log = torch.log_softmax(logits.float().flatten(2), dim=-1)
    return -(log.exp() * log).sum(dim=-1).mean(dim=-1)
