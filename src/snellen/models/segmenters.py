"""Segmentation networks by name: a name is a preset of choices, and every choice can be overridden.

>>> create_segmenter("segnet-small", 11, pool="lift").choices["unpool"]
'lift'
"""

import fnmatch
import json
from collections.abc import Mapping
from typing import Any

from snellen.models.choices import UnknownChoiceError, UnknownModelError, nearest
from snellen.models.label_net import LabelNet
from snellen.models.pooling import POOLS
from snellen.models.preprocess import CONTRASTS
from snellen.models.recalibrate_own import recalibrate_segnet
from snellen.models.recalibration import RECALIBRATIONS, check_recalibration
from snellen.models.segnet import CURES, ENCODERS, UNPOOLS, SegNet
from snellen.models.smp import SMP_DECODERS, SmpNet
from snellen.models.zoom_names import resolve_zoom

__all__ = ["create_segmenter", "list_segmenters", "segmenter_choices"]

#: What the small ones cost is in their tests.
_PRESETS: dict[str, dict[str, Any]] = {
    "segnet": {},  # the paper's, VGG-16
    "segnet13": {"encoder": "vgg13"},
    "segnet-small": {"encoder": "vgg13", "width": 0.125},  # ours, for CPUs
    # Those of segmentation-models-pytorch; "unet" itself is a keypoint network.
    "smp-unet": {"decoder": "unet"},
    "smp-unet-small": {"decoder": "unet", "encoder": "timm:mobilenetv3_small_050", "features": 8},  # ours, for CPUs
    "smp-deeplabv3plus": {"decoder": "deeplabv3plus", "encoder": "resnet50"},
    "smp-deeplabv3plus-small": {"decoder": "deeplabv3plus", "encoder": "timm:mobilenetv3_small_050", "features": 64},
}

#: Every choice with its default; None is resolved by the others.
_DEFAULTS: dict[str, Any] = {
    "decoder": "segnet",
    "encoder": None,
    "features": None,
    "width": 1.0,
    "pool": None,
    "unpool": None,
    "pool_options": {},
    "recalibrate": "none",
    "recalibrate_options": {},
    "cure": "none",
    "channels": 3,
    "contrast": "fixed",
    "zoom": "none",
    "zoom_options": {},
}

_DECODERS = ("segnet", *SMP_DECODERS)
#: Choices that only some decoders have, and why the others do not.
_SEGNET_ONLY = {
    "width": "its widths are its encoder's; take another encoder, or features",
    "unpool": "it enlarges by interpolation; only SegNet has a choice",
    "cure": "it does not unpool; only SegNet has a choice",
    "recalibrate": "its encoder is not ours; put blocks in by snellen.add_recalibration",
}


def list_segmenters(pattern: str = "*") -> list[str]:
    """Names of the segmentation networks that match a wildcard pattern, sorted.

    >>> list_segmenters("smp-unet*")
    ['smp-unet', 'smp-unet-small']
    """
    return sorted(fnmatch.filter(_PRESETS, pattern))


def segmenter_choices(name: str, **choices: Any) -> dict[str, Any]:
    """All choices of a segmentation network, resolved and JSON-able, without building it.

    Arguments and errors as for `create_segmenter`, but that encoders of segmentation-models-pytorch and options of poolings are
    only tried when a network is built.

    >>> segmenter_choices("segnet", pool="blur")["unpool"]
    'nearest'
    """
    if name not in _PRESETS:
        raise UnknownModelError(
            f"no segmentation network is called {name!r}; {nearest(name, _PRESETS)}; all are {', '.join(_PRESETS)}"
        )
    for key in choices:
        if key not in _DEFAULTS:
            raise UnknownChoiceError(
                f"segmentation networks have no choice {key!r}; {nearest(key, _DEFAULTS)}; all are {', '.join(_DEFAULTS)}"
            )
    resolved = _DEFAULTS | _PRESETS[name] | choices
    _one_of("decoder", resolved["decoder"], _DECODERS)
    _one_of("contrast", resolved["contrast"], CONTRASTS)
    _one_of("cure", resolved["cure"], CURES)
    if isinstance(resolved["channels"], bool) or resolved["channels"] not in (1, 3):
        raise UnknownChoiceError(f"channels={resolved['channels']!r} is not possible; give 1 (grey) or 3 (colour)")
    _resolve_numbers(resolved)
    resolved["pool_options"] = _plain_options(resolved["pool_options"])
    _one_of("recalibrate", resolved["recalibrate"], RECALIBRATIONS)
    try:
        check_recalibration(resolved["recalibrate"], resolved["recalibrate_options"])
    except ValueError as error:
        raise UnknownChoiceError(str(error)) from None
    resolved["recalibrate_options"] = dict(resolved["recalibrate_options"])
    resolved["zoom_options"] = resolve_zoom(resolved["zoom"], resolved["zoom_options"], task="segmentation")
    if resolved["decoder"] == "segnet":
        _resolve_segnet(resolved)
    else:
        _resolve_smp(resolved)
    return resolved


def create_segmenter(name: str, classes: int, **choices: Any) -> LabelNet:
    """Build a segmentation network with fresh weights.

    Args:
        name: one of `list_segmenters()`.
        classes: how many labels.
        choices: changes to the preset. All there are::

            decoder       "segnet" | "unet" | "deeplabv3plus"
            encoder       SegNet: "vgg16" | "vgg13"; else "resnet18" or another name of segmentation-models-pytorch,
                          or "timm:NAME"
            features      width of the decoder; U-Net and DeepLabV3+ only, see `SmpNet`
            width         multiplier of all channels; SegNet only
            pool          "max" | "avg" | "blur" | "dwt" | "lift"; U-Net also "own", its encoder's and its default
            unpool        "max" | "lift" | "nearest" | "bilinear"; SegNet only, by default what fits the pool
            pool_options  of the pooling, see models/pooling.py
            recalibrate   "none" | "ms-sar" | "se" | "eca" and other attention blocks of timm, behind each stage of SegNet
            recalibrate_options  of the block, e.g. {"grids": [1, 2]}
            cure          "none" | "norm" | "conv", of the checkerboard; SegNet only
            channels      1 | 3: what the network sees, whatever the canvas has
            contrast      "fixed" | "imagenet" | "image" | "lcn": how the canvas is normalised
            zoom          "none" | "uniform" | "saliency" | ...: what the network sees of the canvas, see models/zoomers.py;
                          its logits are brought back
            zoom_options  of the zoom, `size` at least

    Returns:
        The network; `network.choices` holds every choice as resolved, ``create_segmenter(name, **network.choices)`` builds
        it again.

    Raises:
        UnknownModelError: for an unknown name.
        UnknownChoiceError: for an unknown choice or value, or values that make no sense together.

    >>> create_segmenter("segnet-small", 11).classes
    11
    """
    resolved = segmenter_choices(name, **choices)
    if not isinstance(classes, int) or isinstance(classes, bool) or classes < 1:
        raise UnknownChoiceError(f"classes={classes!r} is not possible; give a whole number of at least 1")
    try:
        network = _build(classes, resolved)
        if resolved["zoom"] != "none":
            from snellen.models.zoomed import ZoomedLabels, make_zoomer

            network = ZoomedLabels(
                network, make_zoomer(resolved["zoom"], resolved["zoom_options"], resolved["channels"])
            )
    except ValueError as error:
        raise UnknownChoiceError(f"segmentation network {name!r}: {error}") from None
    network.name, network.choices = name, {"classes": classes, **resolved}
    return network


def _build(classes: int, choices: Mapping[str, Any]) -> LabelNet:
    if choices["decoder"] == "segnet":
        own = ("encoder", "width", "pool", "unpool", "pool_options", "cure", "channels", "contrast")
        net = SegNet(classes, **{key: choices[key] for key in own})
        if choices["recalibrate"] != "none":
            recalibrate_segnet(net, choices["recalibrate"], choices["recalibrate_options"])
        return net
    package = ("decoder", "encoder", "features", "pool", "pool_options", "channels", "contrast")
    return SmpNet(classes, **{key: choices[key] for key in package})


def _resolve_segnet(choices: dict[str, Any]) -> None:
    if choices["features"] is not None:
        raise UnknownChoiceError(
            f"features={choices['features']!r} makes no sense with decoder='segnet': "
            "its decoder is as wide as its encoder; take width, or leave features out"
        )
    choices["encoder"], choices["pool"] = choices["encoder"] or "vgg16", choices["pool"] or "max"
    _one_of("encoder", choices["encoder"], tuple(ENCODERS))
    _one_of("pool", choices["pool"], tuple(POOLS))
    if choices["unpool"] is None:
        choices["unpool"] = choices["pool"] if choices["pool"] in ("max", "lift") else "nearest"
    _one_of("unpool", choices["unpool"], UNPOOLS)


def _resolve_smp(choices: dict[str, Any]) -> None:
    decoder = choices["decoder"]
    for key, reason in _SEGNET_ONLY.items():
        if choices[key] != _DEFAULTS[key]:
            raise UnknownChoiceError(
                f"{key}={choices[key]!r} makes no sense with decoder={decoder!r}: {reason}, or leave {key} out"
            )
    choices["encoder"], choices["pool"] = choices["encoder"] or "resnet18", choices["pool"] or "own"
    choices["features"] = choices["features"] or (16 if decoder == "unet" else 256)
    _one_of("pool", choices["pool"], ("own", *POOLS))


def _resolve_numbers(choices: dict[str, Any]) -> None:
    width, features = choices["width"], choices["features"]
    if isinstance(width, bool) or not isinstance(width, int | float) or not width > 0:
        raise UnknownChoiceError(f"width={width!r} is not possible; give a number above 0")
    if features is not None and (isinstance(features, bool) or not isinstance(features, int) or features < 1):
        raise UnknownChoiceError(f"features={features!r} is not possible; give a whole number of channels")
    choices["width"] = float(width)


def _plain_options(options: Any) -> dict[str, Any]:
    try:
        plain = json.loads(json.dumps(dict(options)))
    except (TypeError, ValueError):
        raise UnknownChoiceError(
            f"pool_options={options!r} is not possible; give names and plain values, e.g. {{'kernel_size': 3}}"
        ) from None
    return dict(plain)


def _one_of(key: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        near = f"{nearest(value, known)}; " if isinstance(value, str) else ""
        raise UnknownChoiceError(f"{key}={value!r} is not possible; {near}all values are {', '.join(map(repr, known))}")
