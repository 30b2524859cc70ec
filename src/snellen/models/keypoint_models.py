"""Keypoint networks by name: a name is a preset of choices, and every choice can be overridden.

>>> create_keypoint_model("rcn5", keypoints=12, contrast="image").choices["keypoints"]
12
>>> create_keypoint_model("rcn", backbone="timm:mobilenetv3_small_100", aggregate="fpn").stride
4
"""

import fnmatch
from collections.abc import Mapping
from typing import Any

from snellen.models.base import KeypointNet, draw_weights
from snellen.models.choices import UnknownChoiceError, UnknownModelError, is_pyramid, nearest, resolve_choices
from snellen.models.pyramid import Pyramid, PyramidNet
from snellen.models.recalibrate_own import recalibrate_keypoint_net
from snellen.models.recombinator import RCN
from snellen.models.sumnet import SumNet
from snellen.models.trunk import TOPOLOGIES, Trunk, scaled_widths

__all__ = ["create_keypoint_model", "keypoint_model_choices", "list_keypoint_models", "register_model"]


#: Presets differ from the defaults (choices.py) only in what they name. Parameter counts of the papers': rcn.md 6.
_PRESETS: dict[str, dict[str, Any]] = {
    "rcn5": {},  # rcn.md 2.4; 227,141 parameters
    "rcn5-skip": {"aggregate": "recombine-skip"},  # rcn.md 2.6; 293,957
    "rcn5-bn": {"norm": "batch"},  # ours: rcn5 with batch norm
    "sumnet5": {"aggregate": "sum"},  # rcn.md 2.3; 142,850
    "rcn68": {"backbone": "rcn68"},  # rcn.md 2.5; 1,095,492
    "rcn68-skip": {"backbone": "rcn68", "aggregate": "recombine-skip"},  # rcn.md 2.6; 1,709,892
    "rcn68-released": {"backbone": "rcn68", "unpool": "learned", "zero_nonmax": True},  # rcn.md 2.5, 3.1 last row
    "sumnet68": {"backbone": "rcn68", "aggregate": "sum"},  # rcn.md 2.3; 603,368
    # Ours, on any timm backbone: models/aggregate.py.
    "rcn": {"backbone": "timm:resnet18"},
    "unet": {"backbone": "timm:resnet18", "aggregate": "unet"},
    "fpn": {"backbone": "timm:resnet18", "aggregate": "fpn"},
}


def list_keypoint_models(pattern: str = "*") -> list[str]:
    """Names of the registered models that match a wildcard pattern, sorted.

    >>> list_keypoint_models("sumnet*")
    ['sumnet5', 'sumnet68']
    """
    return sorted(fnmatch.filter(_PRESETS, pattern))


def register_model(name: str, **choices: Any) -> None:
    """Give a set of choices a name.

    Args:
        name: a new name.
        choices: what differs from the defaults (those of "rcn5"); see `keypoint_model_choices`.

    Raises:
        ValueError: where the name is taken.
        UnknownChoiceError: for choices that do not exist, or not together.
    """
    if name in _PRESETS:
        raise ValueError(f"a model is called {name!r} already; give another name")
    resolve_choices(choices)
    _PRESETS[name] = dict(choices)


def keypoint_model_choices(name: str, **choices: Any) -> dict[str, Any]:
    """All choices of a model, resolved, without building it. Arguments and errors as for `create_keypoint_model`.

    >>> keypoint_model_choices("sumnet68")["mixing"]
    'map'
    """
    if name not in _PRESETS:
        raise UnknownModelError(
            f"no model is called {name!r}; {nearest(name, _PRESETS)}; snellen.list_keypoint_models() names all {len(_PRESETS)}"
        )
    return resolve_choices(_PRESETS[name] | choices)


def create_keypoint_model(name: str, *, load_pretrained: bool = True, **choices: Any) -> KeypointNet:
    """Build a model with fresh weights, but for a pretrained backbone's.

    Args:
        name: one of `list_keypoint_models()`.
        load_pretrained: False draws the weights of a pretrained backbone too, for a caller that fills all weights in
            afterwards and needs neither their file nor a network.
        choices: changes to the preset, e.g. ``keypoints=12``. All there are::

            backbone     "rcn5" | "rcn68", the papers' trunks, or "timm:NAME", any of timm's that gives maps
            aggregate    "recombine" | "recombine-skip" | "sum" (SumNet) | "unet" | "fpn", see models/aggregate.py
            keypoints    how many; by default the backbone's 5 or 68, with timm 5
            branches     resolutions: 4..7, with "sum" 4..6, with rcn68 and "recombine-skip" 5; with timm how many of the
                         backbone's maps from `stride` on, by default all
            stride       side of a heatmap cell in canvas pixels: 1 on the papers' trunks; with timm 1, 2, 4 (default), ...
            features     width of the aggregate; timm, "unet" and "fpn" only; by default 64, on rcn5 32
            pretrained   False | True | the path of a .safetensors file; timm only, see `TimmTrunk`
            kernel       "3x3" | "5x5" (then 1x1); by default 5x5 where rcn68 recombines, else 3x3; the papers' networks only
            pool         "max" | "avg" | "blur" | "strided" | "dwt" | "lift": how the trunk halves its maps, see
                         models/pooling.py and trunk.py; by default "max", with timm "own", which leaves it as it is
            pool_options  of the pooling, e.g. {"kernel_size": 3}; "lift" starts as an average, and with
                         {"zero_init": False, "scale": 1} as in the paper
            unpool       "nearest" | "bilinear" | "learned" | "max" | "lift": how coarse maps come up, see
                         models/unpooling.py; by default "nearest", with "unet" "learned", its up-convolution. "learned" on
                         the papers' recombine and "unet"; "max" and "lift" on the papers' trunks, with the same pool
            recalibrate  "none" | "ms-sar" | "se" | "eca" and other attention blocks of timm, see models/recalibration.py
            recalibrate_options  of the block, e.g. {"grids": [1, 2]}
            zero_nonmax  concatenate only the maxima of 2x2 windows; the papers' recombine with pool "max" only
            norm         "none" | "batch"; with timm "batch" by default, and of what is added to the backbone
            channels     1 | 3: what the network sees, whatever the canvas has
            contrast     "lcn" | "image" | "fixed" | "imagenet": how the canvas is normalised; by default "lcn", with timm
                         "fixed", and "imagenet" where it is pretrained
            width        multiplier of all channels of the papers' trunks and networks
            extra_fine   two more convolutions in the finest branch; the papers' networks only
            mixing       "map" | "pixel": SumNet's weights; sum only, "pixel" on the papers' trunks
            map_size     (height, width) of the weights of mixing "pixel"
            branch_mask  e.g. "1001", coarsest first: branches left out
            zoom         "none" | "uniform" | "crop" | "boxes" | "fixed" | "saliency" | "separable" | "stn" | "tps" | "direct":
                         what the network sees of the canvas, see models/zoomers.py
            zoom_options  of the zoom, `size` at least: {"size": [96, 96], "max_zoom": 4}

    Returns:
        The model; `model.choices` holds every choice as resolved, ``create_keypoint_model(name, **model.choices)`` builds it
        again.

    Raises:
        UnknownModelError: for an unknown name.
        UnknownChoiceError: for an unknown choice or value, values that make no sense together, a backbone that timm does
            not have or that gives no usable maps, and pretrained weights that cannot be had.

    >>> create_keypoint_model("rcn68", keypoints=19, branches=4).keypoints
    19
    """
    resolved = keypoint_model_choices(name, **choices)
    try:
        model = _pyramid_net(resolved, load_pretrained) if is_pyramid(resolved) else _papers_net(resolved)
        if resolved["recalibrate"] != "none":
            model.choices = resolved
            recalibrate_keypoint_net(model, resolved["recalibrate"], resolved["recalibrate_options"])
    except ValueError as error:
        raise UnknownChoiceError(f"model {name!r}: {error}") from None
    if resolved["zoom"] != "none":
        model = _zoomed(name, model, resolved, load_pretrained)
    model.name, model.choices = name, resolved
    return model


def _zoomed(name: str, model: KeypointNet, choices: Mapping[str, Any], load_pretrained: bool) -> KeypointNet:
    from snellen.models.zoomed import ZoomedKeypoints, make_zoomer

    options, channels = choices["zoom_options"], choices["channels"]
    try:
        zoomer = make_zoomer(choices["zoom"], options, channels, load_pretrained=load_pretrained)
        return ZoomedKeypoints(model, zoomer, options.get("looks", 1))
    except ValueError as error:
        raise UnknownChoiceError(f"model {name!r}: {error}") from None


def _papers_net(choices: Mapping[str, Any]) -> KeypointNet:
    shared = "keypoints branches kernel norm channels contrast width extra_fine branch_mask pool pool_options"
    options = {key: choices[key] for key in shared.split()}
    options["topology"] = choices["backbone"].removeprefix("rcn")
    if choices["aggregate"] == "sum":
        size = choices["map_size"]
        return SumNet(**options, mixing=choices["mixing"], map_size=tuple(size) if size else None)
    skip = choices["aggregate"] == "recombine-skip"
    return RCN(**options, skip=skip, unpool=choices["unpool"], zero_nonmax=choices["zero_nonmax"])


def _pyramid_net(choices: Mapping[str, Any], load_pretrained: bool) -> KeypointNet:
    backbone, branches = choices["backbone"], choices["branches"]
    trunk: Pyramid
    if backbone.startswith("timm:"):
        from snellen.models.timm_trunk import TimmTrunk

        trunk = TimmTrunk(
            backbone.removeprefix("timm:"),
            in_channels=choices["channels"],
            stride=choices["stride"],
            levels=branches,
            pretrained=choices["pretrained"] if load_pretrained else False,
            pool=choices["pool"],
            pool_options=choices["pool_options"],
        )
    else:
        widths = scaled_widths(TOPOLOGIES[backbone.removeprefix("rcn")], branches, choices["width"])
        papers_trunk = Trunk(choices["channels"], widths, choices["norm"], choices["pool"], choices["pool_options"])
        draw_weights(papers_trunk)
        trunk = papers_trunk
    shared = "keypoints aggregate stride features norm contrast branch_mask unpool"
    options = {key: choices[key] for key in shared.split()}
    return PyramidNet(trunk, **options)
