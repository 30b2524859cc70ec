"""SumNet: every resolution draws its own maps, and a weighted sum of them is the answer. The paper's baseline.

Source: Honari et al., "Recombinator Networks", CVPR 2016, arXiv 1511.07356, tables of rcn.md 2.3::

    trunk        80x80 --> 40x40 --> 20x20 --> 10x10 --> 5x5
                   |         |         |         |        |
    branches     K maps    K maps    K maps    K maps   K maps
                   +---------+---- upsampled, weighted sum ---> logits

How this differs: the mixing weights are always trained (the authors' 68-point net forgets to), all branches of six are
trained (rcn.md 5.1, 5.2), and a masked branch is not summed.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from snellen.layers.recombine import upsample_to
from snellen.models.base import conv, parse_mask
from snellen.models.outputs import KeypointOutput
from snellen.models.preprocess import Contrast
from snellen.models.trunk import KERNELS, PaperNet, find_topology

__all__ = ["SumNet"]


class SumNet(PaperNet):
    """A sum of score maps from several resolutions.

    Args:
        keypoints: K, maps to answer with; by default the topology's, 5 or 68.
        branches: 4, 5 or 6 resolutions.
        topology: "5" or "68", the widths for 5 (16 to 48 channels) or 68 points (64 channels).
        kernel: "3x3" (the paper's), or "5x5" for a first 5x5 and then 1x1.
        mixing: "map", one learned number for each branch and keypoint (the code's); "pixel", a learned matrix of them.
        map_size: (height, width) of those matrices, by default (80, 80); they are resampled to maps of other sizes.
            Only with mixing "pixel".
        norm: "none", or "batch" for a batch norm after each convolution with ReLU.
        channels: 1 or 3, what the network sees; canvases may have either.
        contrast: "lcn", "image" or "fixed", see `Preprocess`.
        width: multiplies all channels, to multiples of 8; 1 is the paper's exactly.
        extra_fine: two more convolutions in the finest branch before the last.
        branch_mask: coarsest branch first, e.g. "1001": branches with 0 are not summed.
        pool: "max", "avg", "blur", "strided", "dwt" or "lift", how the trunk halves its maps.
        pool_options: of "blur" and "lift", see `snellen.models.pooling.make_pool`.

    Raises:
        ValueError: for values not listed; in `forward` for canvases smaller than `minimum_size`.

    >>> SumNet()(torch.rand(2, 1, 80, 80) * 255).logits.shape
    torch.Size([2, 5, 80, 80])
    """

    def __init__(
        self,
        keypoints: int | None = None,
        branches: int = 5,
        *,
        topology: str = "5",
        kernel: str = "3x3",
        mixing: str = "map",
        map_size: tuple[int, int] | None = None,
        norm: str = "none",
        channels: int = 1,
        contrast: Contrast = "lcn",
        width: float = 1.0,
        extra_fine: bool = False,
        branch_mask: str | None = None,
        pool: str = "max",
        pool_options: Mapping[str, Any] | None = None,
    ) -> None:
        kind = find_topology(topology)
        if mixing not in ("map", "pixel"):
            raise ValueError(f"mixing={mixing!r} is not known; give 'map' or 'pixel'")
        if mixing == "map" and map_size is not None:
            raise ValueError(f"map_size={map_size} has no meaning with mixing='map'; leave it out, or mix by 'pixel'")
        super().__init__(
            keypoints,
            branches,
            topology=topology,
            possible=range(4, 7),
            branches_words="SumNet has 4, 5 or 6 (only RCN has 7)",
            kernel=kernel,
            norm=norm,
            channels=channels,
            contrast=contrast,
            width=width,
            branch_mask=branch_mask,
            pool=pool,
            pool_options=pool_options,
        )
        widths = self.widths
        k_first, k_next = KERNELS[kernel]
        self.branch = nn.ModuleList(nn.Sequential(conv(c, c, k_first, norm=norm)) for c in widths)  # finest first
        for level, (branch, c) in enumerate(zip(self.branch, widths, strict=True)):
            assert isinstance(branch, nn.Sequential)
            if level == 0 and kind.sum_finest:
                # rcn.md 2.3: the second of the four is linear in the authors' code; it looks accidental, but is theirs.
                branch.append(conv(c, c, k_next, relu=False))
                branch.append(conv(c, c, k_next, norm=norm))
            if level == 0 and extra_fine:
                branch.extend(conv(c, c, k_next, norm=norm) for _ in range(2))
            branch.append(conv(c, self.keypoints, k_next, relu=False))
        size = (1, 1) if mixing == "map" else tuple(map_size or (80, 80))
        self.mixing = nn.Parameter(torch.empty(branches, self.keypoints, *size))  # finest first
        used = parse_mask(branch_mask, branches)
        self.finish(idle=(b for b, on in zip(self.branch, used, strict=True) if not on))

    def reset_parameters(self) -> None:
        """Draw all weights afresh; mixing weights from U(0, 1) (rcn.md 2.3)."""
        super().reset_parameters()
        nn.init.uniform_(self.mixing)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Weights that the paper's L2 terms act on (rcn.md 3.1); see `KeypointNet.parameter_groups`."""
        return super().parameter_groups() | {"mixing": [self.mixing]}

    def forward(self, x: Float[Tensor, "b c h w"], branch_mask: str | None = None) -> KeypointOutput:
        """Locate keypoints.

        Args:
            x: canvases (b, 1 or 3, h, w), values 0..255, h and w at least `minimum_size`.
            branch_mask: another mask than the constructor's, to look at what a branch contributes.

        Returns:
            logits (b, k, h, w).
        """
        h, w = x.shape[-2:]
        maps, used, _ = self.maps(x, branch_mask)
        scores = [
            self._weighted(self.branch[level](features), self.mixing[level], (h, w))
            for level, (features, on) in enumerate(zip(maps, used, strict=True))
            if on
        ]
        logits = scores[0]
        for score in scores[1:]:
            logits = logits + score
        return KeypointOutput(logits)

    @staticmethod
    def _weighted(score: Tensor, weight: Tensor, size: tuple[int, int]) -> Tensor:
        """A branch's maps (b, k, h', w') at full `size`, times its mixing weights (k, 1, 1) or (k, mh, mw)."""
        if weight.shape[-1] == 1 == weight.shape[-2]:
            return upsample_to(score * weight, size)  # the same as scaling afterwards, on fewer pixels
        if tuple(weight.shape[-2:]) != tuple(size):
            weight = F.interpolate(weight[None], size=size, mode="bilinear", align_corners=False)[0]
        return upsample_to(score, size) * weight
