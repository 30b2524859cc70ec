"""Keypoint networks on any trunk that gives maps at doubling strides: a timm backbone, or the paper's own trunk.

::

    canvas  --preprocess, pad-->  trunk  --maps-->  aggregate  --crop-->  logits at `stride`

Sizes: the canvas is padded with zeros at the right and at the bottom to a multiple of the trunk's `step`, which is the
heatmap's stride for most backbones, so a heatmap cell is always `stride` x `stride` canvas pixels from the top-left corner,
whatever the canvas's size. Coarser maps are as large as the backbone makes them, halves rounded up or down; aggregates
enlarge them to the finer map's actual size.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from snellen.models.aggregate import Aggregate, ScoreSum, make_aggregate
from snellen.models.base import KeypointNet, draw_weights
from snellen.models.outputs import KeypointOutput
from snellen.models.preprocess import Contrast
from snellen.models.trunk import Trunk
from snellen.models.unpooling import Kept

__all__ = ["Pyramid", "PyramidNet"]


class Pyramid(Protocol):
    """A trunk: what `TimmTrunk` and the paper's `Trunk` have in common.

    Attributes:
        in_channels: 1 or 3.
        channels: of each map, finest first.
        reductions: side of each map's pixel in pixels of the image, powers of two.
        step: the image's sides must be multiples of it.
        minimum_size: the smallest side.
    """

    in_channels: int
    channels: tuple[int, ...]
    reductions: tuple[int, ...]
    step: int
    minimum_size: int

    def __call__(self, x: Tensor) -> Sequence[Tensor]:
        """The maps (b, c, h, w), finest first."""
        ...


class PyramidNet(KeypointNet):
    """A trunk, an aggregate of its maps, and one map a keypoint.

    Args:
        trunk: a `TimmTrunk` or the paper's `Trunk`; a module that is a `Pyramid`.
        keypoints: K, maps to answer with.
        aggregate: "recombine", "recombine-skip", "sum", "unet" or "fpn", see models/aggregate.py.
        stride: side of a heatmap's cell in canvas pixels, a power of two. Below the stride of the trunk's finest map, levels
            without a map are added: upsampled, then convolved ("sum" upsamples only).
        features: width of the aggregate.
        norm: "none", or "batch" for a batch norm after each convolution of the aggregate; the trunk has its own.
        contrast: see `Preprocess`.
        branch_mask: coarsest map first, e.g. "1001": laterals of maps with 0 are replaced by zeros, with "sum" not summed.
        unpool: how a coarser level is enlarged, see models/unpooling.py; None is the aggregate's own way. "max" and "lift"
            undo the poolings of the paper's `Trunk` and are used between levels whose widths match.

    Raises:
        ValueError: for values not listed; in `forward` for canvases smaller than `minimum_size`.

    >>> from snellen.models.timm_trunk import TimmTrunk
    >>> net = PyramidNet(TimmTrunk("resnet18", in_channels=1), 5)
    >>> net(torch.rand(2, 1, 80, 90) * 255).logits.shape
    torch.Size([2, 5, 20, 23])
    """

    branch: Aggregate | ScoreSum

    def __init__(
        self,
        trunk: Pyramid,
        keypoints: int = 5,
        *,
        aggregate: str = "recombine",
        stride: int = 4,
        features: int = 64,
        norm: str = "batch",
        contrast: Contrast = "fixed",
        branch_mask: str | None = None,
        unpool: str | None = None,
    ) -> None:
        if stride < 1 or stride & (stride - 1):
            raise ValueError(f"stride={stride} is not possible; give a power of two: 1, 2, 4, 8, ...")
        if features < 1:
            raise ValueError(f"features={features} is not possible; give the number of channels, at least 1")
        if stride > trunk.reductions[0]:
            raise ValueError(
                f"stride={stride} is coarser than the trunk's finest map, of stride {trunk.reductions[0]}; "
                "give a trunk without finer maps, or a smaller stride"
            )
        super().__init__(
            keypoints=keypoints,
            reductions=trunk.reductions,
            stride=stride,
            norm=norm,
            channels=trunk.in_channels,
            contrast=contrast,
            branch_mask=branch_mask,
            minimum_size=trunk.minimum_size,
        )
        assert isinstance(trunk, nn.Module)
        self.trunk, self.step = trunk, trunk.step
        # Every power of two from the heatmap's stride to the coarsest map's, with a map of the trunk or without.
        self.level_strides = tuple(stride << i for i in range((trunk.reductions[-1] // stride).bit_length()))
        held = dict(zip(trunk.reductions, trunk.channels, strict=True))
        channels = [held.get(s) for s in self.level_strides]
        pools = trunk.pools if isinstance(trunk, Trunk) else None
        self.branch = make_aggregate(aggregate, channels, features, keypoints, norm, unpool, pools)
        draw_weights(self.branch)  # the trunk keeps its own, pretrained or drawn
        self._freeze_idle()

    def forward(self, x: Float[Tensor, "b c h w"], branch_mask: str | None = None) -> KeypointOutput:
        """Locate keypoints.

        Args:
            x: canvases (b, 1 or 3, h, w), values 0..255, h and w at least `minimum_size`.
            branch_mask: another mask than the constructor's, to look at what a map contributes.

        Returns:
            logits (b, k, ceil(h / stride), ceil(w / stride)).
        """
        used = self.used_branches(x, branch_mask)
        h, w = x.shape[-2:]
        image = F.pad(self.preprocess(x), (0, -w % self.step, 0, -h % self.step))
        padded_h, padded_w = image.shape[-2:]
        trunk_maps, kept = self._look(image, used)
        found = dict(zip(self.reductions, zip(trunk_maps, used, strict=True), strict=True))
        maps = [found[s][0] if s in found else None for s in self.level_strides]
        on = [s in found and found[s][1] for s in self.level_strides]
        sizes = [
            (-(-padded_h // s), -(-padded_w // s)) if m is None else (m.shape[-2], m.shape[-1])
            for s, m in zip(self.level_strides, maps, strict=True)
        ]
        logits = self.branch(maps, sizes, on) if kept is None else self.branch(maps, sizes, on, kept)
        return KeypointOutput(logits[..., : -(-h // self.stride), : -(-w // self.stride)])

    def _look(self, image: Tensor, used: Sequence[bool]) -> tuple[Sequence[Tensor], list[Kept | None] | None]:
        """The trunk's maps and, where an unpooling needs it, what the poolings of maps in use kept."""
        keeps = self.branch.keeps if isinstance(self.branch, Aggregate) else ()
        if not any(keeps):
            return self.trunk(image), None
        assert isinstance(self.trunk, Trunk)  # no other has poolings to tie to; its levels are the aggregate's
        return self.trunk.with_kept(image, None, [k and on for k, on in zip(keeps, used, strict=False)])

    def reset_parameters(self) -> None:
        """Draw the aggregate's weights afresh; the trunk, which may be pretrained, keeps its own."""
        draw_weights(self.branch)
        if isinstance(self.branch, ScoreSum):
            nn.init.uniform_(self.branch.mixing)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """See `KeypointNet.parameter_groups`; laterals, branches and head are the "branch"."""
        mixing = [self.branch.mixing] if isinstance(self.branch, ScoreSum) else []
        return super().parameter_groups() | {"mixing": mixing}

    def _freeze_idle(self) -> None:
        """Freeze what the answer does not depend on: what a mask took away, parts of a backbone that no map needs.

        Optimisers then leave it alone, and processes that train together do not wait for its gradients.
        """
        parameters = list(self.parameters())
        training = self.training
        self.eval()
        with torch.enable_grad():
            side, device = self.minimum_size, parameters[0].device
            logits = self(torch.zeros(1, self.preprocess.channels, side, side, device=device)).logits
            gradients = torch.autograd.grad(logits.sum(), parameters, allow_unused=True)
        self.train(training)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is None:
                parameter.requires_grad_(False)
