"""SumNet's way to bring the maps of a trunk together, on any trunk; see `aggregate.py` for the others.

Source: Honari et al., CVPR 2016, arXiv 1511.07356 (rcn.md 2.3); a 1x1 convolution to one width first is our choice.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from snellen.layers.recombine import upsample_to
from snellen.models.base import conv

__all__ = ["ScoreSum"]


class ScoreSum(nn.Module):
    """SumNet on any trunk: each level answers for itself, and the answers are summed (rcn.md 2.3).

    Arguments and `forward` as for `snellen.models.aggregate.Aggregate`, without `unpool`. Levels that the trunk has no map of
    take no part.

    >>> maps = [torch.zeros(1, 16, 19, 20), torch.zeros(1, 32, 10, 10)]
    >>> ScoreSum([16, 32], 8, 5, "batch")(maps, [(19, 20), (10, 10)], [True, True]).shape
    torch.Size([1, 5, 19, 20])
    """

    def __init__(self, channels: Sequence[int | None], features: int, keypoints: int, norm: str) -> None:
        super().__init__()
        self.branch = nn.ModuleList(
            nn.Identity()
            if c is None
            else nn.Sequential(
                conv(c, features, 1, norm=norm),
                conv(features, features, 3, norm=norm),
                conv(features, keypoints, 3, relu=False),
            )
            for c in channels
        )
        # A number for each map of the trunk and each keypoint, finest first; U(0, 1) once drawn.
        self.mixing = nn.Parameter(torch.rand(sum(c is not None for c in channels), keypoints, 1, 1))
        self.rows = {level: row for row, level in enumerate(i for i, c in enumerate(channels) if c is not None)}

    def forward(
        self, maps: Sequence[Tensor | None], sizes: Sequence[tuple[int, int]], used: Sequence[bool]
    ) -> Float[Tensor, "b k h w"]:
        """The weighted sum of the levels' score maps at the finest level's size; levels not `used` are not summed."""
        logits: Tensor | None = None
        for level, (m, on) in enumerate(zip(maps, used, strict=True)):
            if m is not None and on:
                # Weighted before it is enlarged: the same, on fewer pixels.
                score = upsample_to(self.branch[level](m) * self.mixing[self.rows[level]], sizes[0])
                logits = score if logits is None else logits + score
        assert logits is not None  # a mask keeps at least one map
        return logits
