"""Any convolutional (or windowed) backbone of timm as a trunk: maps at doubling strides, finest first.

Source: Wightman, "PyTorch Image Models" (timm), its `features_only` interface. timm is imported when a trunk is built, not
before. Which maps a backbone has, whether it takes canvases of any size, and how its axes are ordered is not taken on trust
but tried on small blank canvases, because it differs between families and versions::

    resnet18        maps at strides 2, 4, 8, 16, 32; any size
    convnext_atto   4, 8, 16, 32; odd maps lose their last row on the way down
    vgg11_bn        1, 2, 4, 8, 16, 32
    hrnet_w18_small 2, 4, 8, 16, 32; sides must be multiples of 32
    swin_tiny_...   4, 8, 16, 32, axes (b, h, w, c); any size where its `dynamic_img_size` is on
    vit_tiny_...    16 alone; sides must be multiples of 16
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from snellen.models.pooling import make_pool
from snellen.models.surgery import replace_pooling
from snellen.models.timm_weights import find_timm, first_line, timm_weights

__all__ = ["TimmTrunk"]

#: Ways to ask timm for a backbone that takes canvases of any size, tried in order; most need nothing.
_ARGUMENTS: tuple[dict[str, Any], ...] = ({}, {"dynamic_img_size": True}, {"strict_img_size": False})


@dataclass(frozen=True)
class _Plan:
    """How a backbone is built and fed.

    Attributes:
        arguments: what timm is asked for beside the name.
        indices: timm's numbers of the maps taken, finest first.
        reductions: their strides.
        channels: their channels.
        step: sides of the canvas are padded to multiples of this.
        minimum_size: the smallest side it takes.
    """

    arguments: dict[str, Any]
    indices: tuple[int, ...]
    reductions: tuple[int, ...]
    channels: tuple[int, ...]
    step: int
    minimum_size: int


class TimmTrunk(nn.Module):
    """A timm backbone's maps at `stride` and coarser.

    Where a backbone has several maps of one stride, the deepest is taken. What lies deeper than the last map taken is left out
    where timm can, and of no use elsewhere.

    Args:
        name: timm's name of the backbone, e.g. "resnet18" or, for one set of pretrained weights, "resnet18.a1_in1k".
        in_channels: channels of the preprocessed image, 1 or 3; pretrained first convolutions are adapted by timm.
        stride: maps finer than this are left out, a power of two.
        levels: how many maps to take, from the finest on; None takes all.
        pretrained: False draws weights from torch's generator as timm does. True takes those timm names for the backbone,
            from the Hugging Face cache, or downloads them into it. A string is the path of a safetensors file of
            timm's whole model.
        pool: "own" leaves the backbone as it is; "max", "avg", "blur", "dwt" or "lift" exchange its max poolings and
            strided convolutions but the stem's, see `snellen.replace_pooling`. Maps keep their sizes.
        pool_options: of the pooling, see `snellen.models.pooling.make_pool`.

    Attributes:
        reductions: stride of each map, finest first.
        channels: channels of each map.
        step: the height and width of an input must be multiples of this: the larger of `stride` and the finest map's, and
            the coarsest map's for backbones that take no other sizes.
        minimum_size: smallest height and width of an input.

    Raises:
        ValueError: where timm is not installed or has no such backbone, where the backbone's maps cannot be used, where
            pretrained weights cannot be had, or where it has no pooling to exchange; one sentence that says what to do.

    >>> trunk = TimmTrunk("resnet18", in_channels=1)
    >>> trunk.reductions, trunk.channels
    ((4, 8, 16, 32), (64, 128, 256, 512))
    >>> [tuple(m.shape) for m in trunk(torch.zeros(1, 1, 80, 80))][1:]
    [(1, 128, 10, 10), (1, 256, 5, 5), (1, 512, 3, 3)]
    """

    def __init__(
        self,
        name: str,
        *,
        in_channels: int = 3,
        stride: int = 4,
        levels: int | None = None,
        pretrained: bool | str = False,
        pool: str = "own",
        pool_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        timm = find_timm(name)
        if pool == "own" and pool_options:
            raise ValueError(
                f"pool='own' has no options and was given {', '.join(pool_options)}; leave pool_options out"
            )
        with torch.random.fork_rng(devices=[]):  # trial builds draw weights too: the seed is for the one that is kept
            source = timm_weights(timm, name, pretrained) if pretrained else {}
            plan = _plan(timm, name, in_channels, stride, levels)
            if pool != "own":
                make_pool(pool, plan.channels[0], **pool_options or {})  # to refuse here what it does not take
        try:
            self.net: nn.Module = timm.create_model(
                name, features_only=True, in_chans=in_channels, out_indices=plan.indices, **plan.arguments, **source
            )
        except (RuntimeError, OSError) as error:
            if not source:
                raise
            path = source["pretrained_cfg_overlay"]["file"]
            raise ValueError(f"{path} does not hold weights of timm's {name!r} ({first_line(error)})") from None
        self.in_channels, self.channels, self.reductions = in_channels, plan.channels, plan.reductions
        self.step, self.minimum_size = plan.step, plan.minimum_size
        self._channels_last = _axes_last(self.net)
        if pool != "own":
            self._exchange(name, pool, pool_options or {})

    def _exchange(self, name: str, pool: str, options: Mapping[str, Any]) -> None:
        example = torch.zeros(1, self.in_channels, self.minimum_size, self.minimum_size)
        try:
            replace_pooling(self.net, pool, example=example, verbose=False, **options)
            with torch.no_grad():
                self.eval()(example)
        except Exception as error:  # a thousand foreign networks may raise anything
            reason = first_line(error).split("; choose")[0]  # by an argument that nobody has here
            raise ValueError(
                f"pool={pool!r} is not possible with timm's {name!r} ({reason}); take pool='own', or a convolutional "
                "backbone such as resnet18"
            ) from None
        self.train()

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """The maps of an image whose sides are multiples of `step`, finest first, each (b, channels, h', w').

        h' and w' are the image's sides over the map's stride, up or down to a whole number as the backbone does it.
        """
        maps = self.net(x)
        return [m.permute(0, 3, 1, 2) for m in maps] if self._channels_last else list(maps)


def _plan(timm: Any, name: str, in_channels: int, stride: int, levels: int | None) -> _Plan:
    """Find out how `name` can be used, by building it and trying it on small canvases."""
    problem = ""
    for arguments in _ARGUMENTS:
        try:
            net = timm.create_model(name, features_only=True, in_chans=in_channels, **arguments).eval()
        except TypeError as error:  # this family does not know the argument
            problem = problem or first_line(error)
            continue
        except (RuntimeError, NotImplementedError, AttributeError, AssertionError) as error:
            raise ValueError(f"timm's {name!r} has no pyramid of maps to give ({first_line(error)})") from None
        info = net.feature_info
        maps = dict(enumerate(zip(info.out_indices, info.reduction(), info.channels(), strict=True)))
        # Later entries of one stride overwrite earlier ones: the deepest map of a stride says most.
        by_stride = {r: (place, index, c) for place, (index, r, c) in maps.items() if r >= stride and _is_power(r)}
        reductions = sorted(by_stride)
        if not reductions:
            has = ", ".join(str(r) for r in dict.fromkeys(info.reduction()))
            raise ValueError(
                f"timm's {name!r} has maps of stride {has}, none of them a power of two of at least stride={stride}; "
                "take another backbone, or a smaller stride"
            )
        if levels is not None and levels > len(reductions):
            raise ValueError(
                f"branches={levels} is not possible with timm's {name!r}: it has {len(reductions)} maps of stride "
                f"{stride} or coarser ({', '.join(map(str, reductions))}); give at most {len(reductions)}"
            )
        reductions = reductions[:levels]
        places, indices, channels = zip(*(by_stride[r] for r in reductions), strict=True)
        fits = _Fitting(net, places, reductions, channels, in_channels)
        fine, coarse = max(stride, reductions[0]), max(stride, reductions[-1])
        for step in dict.fromkeys((fine, coarse)):
            minimum = next((side for side in (coarse, 2 * coarse, 4 * coarse, 8 * coarse) if fits(side, side)), None)
            # Odd maps at every level, and both axes: what passes takes every multiple of the step.
            if minimum and fits(minimum + step, minimum + 2 * step) and fits(minimum + 3 * step, 2 * minimum - step):
                return _Plan(arguments, indices, tuple(reductions), channels, step, minimum)
        problem = problem or fits.problem
    raise ValueError(
        f"timm's {name!r} cannot be a trunk for canvases of any size: {problem}; "
        "take a convolutional backbone such as resnet18, convnext_atto or mobilenetv3_small_100"
    )


class _Fitting:
    """Whether a backbone's maps come out in the right sizes; the first problem met is kept."""

    def __init__(
        self,
        net: nn.Module,
        places: Sequence[int],
        reductions: Sequence[int],
        channels: Sequence[int],
        in_channels: int,
    ) -> None:
        self.net, self.problem, self.in_channels = net, "", in_channels
        self.wanted = list(zip(places, reductions, channels, strict=True))

    def __call__(self, h: int, w: int) -> bool:
        problem = self._problem(h, w)
        self.problem = self.problem or problem
        return not problem

    def _problem(self, h: int, w: int) -> str:
        device = next(self.net.parameters()).device
        try:
            with torch.no_grad():
                maps = self.net(torch.zeros(1, self.in_channels, h, w, device=device))
        except Exception as error:  # a thousand foreign networks may raise anything
            return first_line(error)
        for place, reduction, channels in self.wanted:
            shape = tuple(maps[place].shape[1:])
            c, mh, mw = (shape[2], *shape[:2]) if _axes_last(self.net) else shape
            # Halves may be rounded up or down on the way. Elsewhere the cells would not lie where the canvas has them.
            if c != channels or abs(mh - h / reduction) >= 1 or abs(mw - w / reduction) >= 1:
                return f"a {h}x{w} canvas gives a map of {mh}x{mw} where stride {reduction} was announced"
        return ""


def _axes_last(net: nn.Module) -> bool:
    return str(getattr(net, "output_fmt", "")).rpartition(".")[-1] == "NHWC"


def _is_power(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0
