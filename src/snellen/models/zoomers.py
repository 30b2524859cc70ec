"""What a model looks at: the choice `zoom`, from a full picture to the one its task network sees.

    uniform     a plain resize
    crop        the middle of the picture
    boxes       a fixed rule from boxes that the caller gives: the truth (an oracle), or those of the frame before
    fixed       one saliency for all pictures, the data set's own
    saliency    Learning to Zoom: predicted from a thumbnail
    separable   the same with rows and columns kept straight (FOVEA)
    stn, tps    a spatial transformer: affine, thin plate spline
    direct      the grid's nodes themselves, predicted
    cam         the crop of a class activation

All begin as a plain resize but crop, boxes, fixed and cam. All give a `ZoomGrid`, so answers come back to the full picture
alike. Spatial transformers and predicted nodes are in zoom_baselines.py, the class activation's crop in zoom_cam.py.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from snellen.layers.saliency import saliency_from_boxes, saliency_of_peak
from snellen.layers.zoom_grid import Legacy, ZoomGrid, box_grid, uniform_grid
from snellen.layers.zoom_saliency import SIGMA, Padding, ZoomMatrices, saliency_to_grid, zoom_matrices
from snellen.layers.zoom_sample import zoom
from snellen.models.blur_curriculum import BlurCurriculum
from snellen.models.saliency_net import Thumbnail

__all__ = ["BETA", "BoxZoom", "CropZoom", "FixedZoom", "SaliencySampler", "Zoomed", "Zoomer", "box_saliency"]

#: How far a box's saliency reaches, as a share of the picture's width: FOVEA's 64 pixels of 1920.
BETA = 1 / 30


@dataclass(frozen=True)
class Zoomed:
    """What a task network sees, and where it was read.

    Attributes:
        image: (b, c, h, w), the zoomed picture in the range of the full one.
        grid: from it to the full picture.
        saliency: (b, gh, gw), sum 1, where there is one.
    """

    image: Float[Tensor, "b c h w"]
    grid: ZoomGrid
    saliency: Float[Tensor, "b gh gw"] | None = None


class Zoomer(nn.Module):
    """Base of them, and the plain resize ("uniform").

    Args:
        size: (height, width) of the zoomed picture, pixels.
        antialias: average over what a pixel covers where the picture shrinks.
        blur: see `BlurCurriculum`; None for none.

    Attributes:
        needs_boxes: whether `forward` wants boxes.
    """

    needs_boxes = False

    def __init__(self, size: tuple[int, int], *, antialias: bool = True, blur: BlurCurriculum | None = None) -> None:
        super().__init__()
        self.size, self.antialias = size, antialias
        self.blur = blur

    def grid(
        self, image: Float[Tensor, "b c h w"], boxes: Float[Tensor, "b k 4"] | None
    ) -> tuple[ZoomGrid, Float[Tensor, "b gh gw"] | None]:
        """The grid of full pictures, and its saliency."""
        return uniform_grid(image.shape[0], self.size, device=image.device), None

    def forward(self, image: Float[Tensor, "b c h w"], boxes: Float[Tensor, "b k 4"] | None = None) -> Zoomed:
        """Zoom full pictures (b, c, h, w), 0..255; `boxes` in their pixels, NaN for none, where `needs_boxes`."""
        return self.show(image, *self.grid(image, boxes))

    def show(
        self, image: Float[Tensor, "b c h w"], grid: ZoomGrid, saliency: Float[Tensor, "b gh gw"] | None
    ) -> Zoomed:
        """Full pictures read through a grid, which came of `saliency` if of any."""
        shown = zoom(image, grid, antialias=self.antialias)
        return Zoomed(shown if self.blur is None else self.blur(shown), grid, saliency)


class CropZoom(Zoomer):
    """The middle of the picture, `share` of its width and height."""

    def __init__(self, size: tuple[int, int], share: float = 0.5, *, antialias: bool = True) -> None:
        super().__init__(size, antialias=antialias)
        if not 0 < share <= 1:
            raise ValueError(
                f"zoom_options.share={share} is not possible; give a share of the picture above 0, up to 1"
            )
        self.share = share

    def grid(self, image: Tensor, boxes: Tensor | None) -> tuple[ZoomGrid, Tensor | None]:
        """See `Zoomer`."""
        a, b = (1 - self.share) / 2, (1 + self.share) / 2
        box = torch.tensor([a, a, b, b], device=image.device, dtype=torch.float32)
        return box_grid(box.expand(image.shape[0], 4), self.size), None


class _Salient(Zoomer):
    """Base of those whose grid comes from a saliency.

    Args:
        size: of the zoomed picture.
        nodes: (rows, columns) of the saliency.
        sigma: see `saliency_to_grid`, as the next ones.
        padding: "reflect" (default) or "replicate" (default of legacy "paper").
        separable: rows and columns stay straight.
        strength: share of the saliency beside a uniform one.
        max_zoom: bound on the magnification, or None.
        legacy: "" or the authors' sampling, which is never anti-aliased and cannot be brought back.
        antialias: see `Zoomer`.
        blur: see `Zoomer`.
    """

    rows: Tensor
    columns: Tensor

    def __init__(
        self,
        size: tuple[int, int],
        nodes: tuple[int, int] = (31, 31),
        *,
        sigma: float = SIGMA,
        padding: Padding | None = None,
        separable: bool = False,
        strength: float = 1.0,
        max_zoom: float | None = None,
        legacy: Legacy = "",
        antialias: bool = True,
        blur: BlurCurriculum | None = None,
    ) -> None:
        super().__init__(size, antialias=antialias, blur=blur)
        self.nodes, self.separable = nodes, separable
        self.strength, self.max_zoom, self.legacy = strength, max_zoom, legacy
        made = zoom_matrices(nodes, sigma, padding or ("replicate" if legacy == "paper" else "reflect"))
        self.floor = made.floor
        # Constants, not weights: they move with the module and stay out of the state dict.
        self.register_buffer("rows", made.rows.float(), persistent=False)
        self.register_buffer("columns", made.columns.float(), persistent=False)
        saliency_to_grid(torch.ones(1, *nodes), size, strength=strength, max_zoom=max_zoom, legacy=legacy)  # refuses

    def from_saliency(self, saliency: Float[Tensor, "b gh gw"]) -> ZoomGrid:
        """The grid of a saliency."""
        matrices = ZoomMatrices(self.rows, self.columns, self.floor)
        return saliency_to_grid(
            saliency, self.size, separable=self.separable, strength=self.strength, max_zoom=self.max_zoom,
            legacy=self.legacy, matrices=matrices,
        )  # fmt: skip


class SaliencySampler(_Salient):
    """Learning to Zoom's layer ("saliency", "separable"): a thumbnail says what is salient (zoom.md 2.1).

    Args:
        size: of the zoomed picture.
        nodes: of the saliency.
        channels: of the pictures, 1 or 3.
        backbone: "tiny", or "timm:resnet18" as in the paper, or any other of timm's.
        pretrained: of a timm backbone, see `TimmTrunk`.
        thumbnail: (height, width) that the backbone sees; by default the zoomed picture's.
        temperature: divides the logits before the softmax.
        mirror: in evaluation the logits are the mean of the picture's and its mirror image's, which looks past fewer objects
            and costs the saliency network a second time (our choice).
        peak: in evaluation the saliency's highest peak alone counts, see `saliency_of_peak`: for one object a picture, which a
            second peak or a long tail would else keep from the middle (our choice).
        alpha: of the saliency that boxes stand for, in training the true ones, later those around an answer: see
            `saliency_from_boxes`. Objects much smaller than the picture need more of it than 1 to be magnified much.
        beta: likewise, as a share of the picture's width.
        options: see `_Salient`.

    >>> SaliencySampler((96, 96), max_zoom=4.0)(torch.rand(2, 3, 200, 200) * 255).image.shape
    torch.Size([2, 3, 96, 96])
    """

    def __init__(
        self,
        size: tuple[int, int],
        nodes: tuple[int, int] = (31, 31),
        *,
        channels: int = 3,
        backbone: str = "tiny",
        pretrained: bool | str = False,
        thumbnail: tuple[int, int] | None = None,
        temperature: float = 1.0,
        mirror: bool = False,
        peak: bool = False,
        alpha: float = 1.0,
        beta: float = BETA,
        **options: object,
    ) -> None:
        super().__init__(size, nodes, **options)  # type: ignore[arg-type]  # the base names and checks them
        if not temperature > 0:
            raise ValueError(f"zoom_options.temperature={temperature} is not possible; give a number above 0")
        self.alpha, self.beta = _reach(alpha, beta)
        self.temperature, self.mirror, self.peak = temperature, mirror, peak
        self.look = Thumbnail(
            1, nodes, size=thumbnail or size, channels=channels, backbone=backbone, pretrained=pretrained, bias=False
        )

    def grid(self, image: Tensor, boxes: Tensor | None) -> tuple[ZoomGrid, Tensor | None]:
        """The grid, and the predicted saliency; where an image has boxes, their saliency makes its grid instead."""
        logits = self.look(image)[:, 0] / self.temperature
        if self.mirror and not self.training:
            logits = (logits + self.look(image.flip(-1))[:, 0].flip(-1) / self.temperature) / 2
        saliency = torch.softmax(logits.flatten(1), dim=-1).view_as(logits)
        if self.peak and not self.training:
            saliency = saliency_of_peak(saliency)
        if boxes is None:
            return self.from_saliency(saliency), saliency
        told = self.told(image, boxes).to(saliency)
        known = torch.isfinite(boxes).all(dim=-1).any(dim=-1).to(image.device)[:, None, None]
        return self.from_saliency(torch.where(known, told, saliency)), saliency

    def told(self, image: Float[Tensor, "b c h w"], boxes: Float[Tensor, "b k 4"]) -> Float[Tensor, "b gh gw"]:
        """The saliency that boxes stand for, uniform where they are NaN."""
        return box_saliency(boxes.to(image.device), image, self.nodes, self.alpha, self.beta)

    def around(self, image: Float[Tensor, "b c h w"], boxes: Float[Tensor, "b k 4"]) -> Zoomed:
        """Zoom on boxes without asking for the saliency: another look at what was found (`ZoomedKeypoints`)."""
        saliency = self.told(image, boxes)
        return self.show(image, self.from_saliency(saliency), saliency)


class FixedZoom(_Salient):
    """One saliency for all pictures ("fixed"), FOVEA's S_D.

    It is uniform until `set_saliency` gives it the data set's, which is kept with the weights.
    """

    saliency: Tensor

    def __init__(self, size: tuple[int, int], nodes: tuple[int, int] = (31, 31), **options: object) -> None:
        super().__init__(size, nodes, **options)  # type: ignore[arg-type]  # the base names and checks them
        self.register_buffer("saliency", torch.full(nodes, 1 / (nodes[0] * nodes[1])))

    def set_saliency(self, saliency: Float[Tensor, "gh gw"]) -> None:
        """Use a saliency (rows, columns) of any sum from now on."""
        if saliency.shape != self.saliency.shape:
            raise ValueError(
                f"the saliency is {tuple(saliency.shape)}; this zoom has {tuple(self.saliency.shape)} nodes"
            )
        self.saliency.copy_(saliency / saliency.sum())

    def grid(self, image: Tensor, boxes: Tensor | None) -> tuple[ZoomGrid, Tensor | None]:
        """See `Zoomer`."""
        saliency = self.saliency.expand(image.shape[0], -1, -1)
        return self.from_saliency(saliency), saliency


class BoxZoom(_Salient):
    """Saliency from boxes ("boxes"), see `saliency_from_boxes`.

    Args:
        size: of the zoomed picture.
        nodes: of the saliency.
        alpha: see `saliency_from_boxes`.
        beta: likewise, as a share of the picture's width.
        options: see `_Salient`.
    """

    needs_boxes = True

    def __init__(
        self, size: tuple[int, int], nodes: tuple[int, int] = (31, 31), *, alpha: float = 1.0, beta: float = BETA,
        **options: object,
    ) -> None:  # fmt: skip
        super().__init__(size, nodes, **options)  # type: ignore[arg-type]  # the base names and checks them
        self.alpha, self.beta = _reach(alpha, beta)

    def grid(self, image: Tensor, boxes: Tensor | None) -> tuple[ZoomGrid, Tensor | None]:
        """See `Zoomer`."""
        if boxes is None:
            raise ValueError("zoom='boxes' looks at boxes that the caller gives; give boxes (b, k, 4) in canvas pixels")
        saliency = box_saliency(boxes.to(image.device), image, self.nodes, self.alpha, self.beta)
        return self.from_saliency(saliency), saliency


def _reach(alpha: float, beta: float) -> tuple[float, float]:
    if not (alpha > 0 and beta > 0):
        raise ValueError(f"zoom_options.alpha={alpha} and beta={beta} must be above 0")
    return alpha, beta


def box_saliency(
    boxes: Float[Tensor, "b k 4"], image: Float[Tensor, "b c h w"], nodes: tuple[int, int], alpha: float, beta: float
) -> Float[Tensor, "b gh gw"]:
    """`saliency_from_boxes` on pictures, NaN for a box that is not there, `beta` as a share of their width."""
    there = torch.isfinite(boxes).all(dim=-1)
    size = (image.shape[-2], image.shape[-1])
    return saliency_from_boxes(
        torch.nan_to_num(boxes).float(), nodes, size, labelled=there, alpha=alpha, beta=beta * size[1]
    )
