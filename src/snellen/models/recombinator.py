"""Recombinator Networks: coarse features flow into every finer branch before it computes.

Source: Honari, Yosinski, Vincent, Pal, "Recombinator Networks: Learning Coarse-to-Fine Feature Aggregation", CVPR 2016,
arXiv 1511.07356, tables of rcn.md 2.4 to 2.6. For 5 points and 5 branches::

    trunk        80x80 --> 40x40 --> 20x20 --> 10x10 --> 5x5
                   |         |         |         |        |
    branches     80x80 <-- 40x40 <-- 20x20 <-- 10x10 <-- 5x5        <-- upsample, concatenate, convolve
                   |
                 logits

How this differs: any input size, see `recombine`; `norm`, `width` and colour input are ours, and so are other poolings than
max and other ways up than repetition; branch masks take a branch out instead of only not training it. Where the first
convolution of a branch is 5x5, it is computed on the coarse map instead of the upsampled one (`merge_conv`), which gives
the same values faster.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from snellen.layers.recombine import LearnedUpsample, keep_maxima, merge_conv, recombine, upsample_to
from snellen.models.base import conv, parse_mask
from snellen.models.outputs import KeypointOutput
from snellen.models.preprocess import Contrast
from snellen.models.trunk import KERNELS, PIXEL_LEVEL, WIDE_POOL_LEVEL, PaperNet, find_topology
from snellen.models.unpooling import LiftUnpool, MaxUnpool, Nearest, enlarge, make_unpools

__all__ = ["RCN"]

#: Level whose branch has a single convolution, unless it is the coarsest (10x10 in rcn.md 2.4 and 2.5).
SINGLE_LEVEL = 3


class RCN(PaperNet):
    """A Recombinator Network.

    Args:
        keypoints: K, maps to answer with; by default the topology's, 5 or 68.
        branches: 4 to 7 resolutions (the paper's headline has 4, its code 5 by default).
        topology: "5" or "68", the widths for 5 (16 to 48 channels) or 68 points (64 channels).
        kernel: "3x3" for all convolutions or "5x5" for a 5x5 and then 1x1; by default 3x3 for "5", 5x5 for "68".
        skip: pass a branch's upsampled input on beside its output, so that coarse features reach all finer branches.
        unpool: how a coarse branch comes up, see models/unpooling.py: "nearest", "bilinear", "learned" (the released
            checkpoint's), "max" or "lift", which undo the trunk's own pool of that name and are used between levels whose
            widths match: all of them, with `skip` the coarsest two.
        zero_nonmax: concatenate only those trunk values that were maxima of a 2x2 window (the released checkpoint's).
        norm: "none", or "batch" for a batch norm after each convolution with ReLU.
        channels: 1 or 3, what the network sees; canvases may have either.
        contrast: "lcn", "image" or "fixed", see `Preprocess`.
        width: multiplies all channels, to multiples of 8; 1 is the paper's exactly.
        extra_fine: two more convolutions in the finest branch before the last.
        branch_mask: coarsest branch first, e.g. "1001": the trunk features of branches with 0 are replaced by zeros. A
            branch with nothing but zeros to see, those before the first 1, is left out and hands on zeros. Into a branch with
            0 "max" and "lift" bring what comes up by repetition, since indices and bands are the masked map's.
        pool: "max", "avg", "blur", "strided", "dwt" or "lift", how the trunk halves its maps.
        pool_options: of "blur" and "lift", see `snellen.models.pooling.make_pool`.

    Raises:
        ValueError: for values not listed, and for `skip` with topology "68" and not 5 branches, which has no published
            form; in `forward` for canvases smaller than `minimum_size`.

    >>> RCN()(torch.rand(2, 1, 80, 80) * 255).logits.shape
    torch.Size([2, 5, 80, 80])
    """

    def __init__(
        self,
        keypoints: int | None = None,
        branches: int = 5,
        *,
        topology: str = "5",
        kernel: str | None = None,
        skip: bool = False,
        unpool: str = "nearest",
        zero_nonmax: bool = False,
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
        if skip and topology == "68" and branches != 5:
            raise ValueError(
                f"skip connections with topology '68' have 5 branches only (rcn.md 2.6), not {branches}; "
                "give branches=5, or topology '5'"
            )
        if zero_nonmax and pool != "max":
            raise ValueError(
                f"zero_nonmax keeps what a max pooling passes on, and pool={pool!r} has none; take pool='max'"
            )
        kernel = kernel or kind.rcn_kernel
        super().__init__(
            keypoints,
            branches,
            topology=topology,
            possible=range(4, 8),
            branches_words="a Recombinator Network has 4, 5, 6 or 7",
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
        self.skip, self.zero_nonmax = skip, zero_nonmax

        # From the coarsest branch to the finest, carrying the channels that come up from below.
        self.coarse_channels = [0] * branches  # what each level receives from the coarser one
        built: list[nn.Sequential] = []
        for level in reversed(range(branches)):
            k_first, k_next = (1, 1) if level == PIXEL_LEVEL else KERNELS[kernel]
            c = widths[level]
            c_out = widths[level - 1]
            branch = nn.Sequential(conv(c + self.coarse_channels[level], c, k_first, norm=norm))
            if level == 0:
                for _ in range(kind.rcn_finest + (2 if extra_fine else 0)):
                    branch.append(conv(c, c, k_next, norm=norm))
                branch.append(conv(c, self.keypoints, k_next, relu=False))
            else:
                if level != SINGLE_LEVEL or level == branches - 1:
                    branch.append(conv(c, c_out, k_next, norm=norm))
                else:
                    c_out = c
                self.coarse_channels[level - 1] = c_out + (self.coarse_channels[level] if skip else 0)
            built.append(branch)
        self.branch = nn.ModuleList(reversed(built))  # finest first, as the trunk
        # Entry i brings level i + 1 up to level i.
        ups = make_unpools(
            unpool,
            self.coarse_channels[:-1],
            list(zip(self.trunk.pools, widths[:-1], strict=True)),
            learned=lambda level: LearnedUpsample(3 if level + 1 == WIDE_POOL_LEVEL else 2),
        )
        self.up = nn.ModuleList(ups)
        self.keeps = tuple(isinstance(up, MaxUnpool | LiftUnpool) for up in ups)
        coarsest = max(level for level, on in enumerate(parse_mask(branch_mask, branches)) if on)
        self.finish(idle=(*self.branch[coarsest + 1 :], *self.up[coarsest:]))

    def forward(self, x: Float[Tensor, "b c h w"], branch_mask: str | None = None) -> KeypointOutput:
        """Locate keypoints.

        Args:
            x: canvases (b, 1 or 3, h, w), values 0..255, h and w at least `minimum_size`.
            branch_mask: another mask than the constructor's, to look at what a branch contributes.

        Returns:
            logits (b, k, h, w).
        """
        maps, used, kept = self.maps(x, branch_mask)
        coarse: Tensor | None = None
        for level in reversed(range(len(maps))):
            fine = maps[level] if used[level] else torch.zeros_like(maps[level])
            if self.zero_nonmax and self.coarse_channels[level]:
                fine = keep_maxima(fine)
            branch, size = self.branch[level], (fine.shape[-2], fine.shape[-1])
            if not self.coarse_channels[level]:  # the coarsest of all
                out = branch(fine)
            else:
                if coarse is None:  # the coarsest of those not masked away
                    coarse = fine.new_zeros((fine.shape[0], self.coarse_channels[level], *size))
                elif not isinstance(self.up[level], Nearest):  # repetition is part of the merge
                    coarse = enlarge(self.up[level], coarse, size, kept[level])
                out = _merge(branch, fine, coarse)
            coarse = torch.cat((out, upsample_to(coarse, size)), dim=1) if self.skip and coarse is not None else out
        return KeypointOutput(out)


def _merge(branch: nn.Module, fine: Tensor, coarse: Tensor) -> Tensor:
    """A branch on ``recombine(fine, coarse)``, in whichever exact form of its first convolution is faster."""
    assert isinstance(branch, nn.Sequential)
    first, *rest = branch
    assert isinstance(first, nn.Sequential)
    convolution, *activation = first
    assert isinstance(convolution, nn.Conv2d)
    # The phase form makes 5x5 merges faster on a CPU; for 3x3 kernels nothing is gained. Not in exported
    # graphs: asking whether the sizes match would pin a dynamic height and width.
    if convolution.kernel_size == (5, 5) and not torch.compiler.is_exporting() and _is_half(coarse, fine):
        features = merge_conv(fine, coarse, convolution.weight, convolution.bias)
    else:
        features = convolution(recombine(fine, coarse))
    for module in (*activation, *rest):
        features = module(features)
    return features


def _is_half(coarse: Tensor, fine: Tensor) -> bool:
    return (2 * coarse.shape[-2], 2 * coarse.shape[-1]) == (fine.shape[-2], fine.shape[-1])
