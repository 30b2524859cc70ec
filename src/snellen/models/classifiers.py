"""Classifiers by name: networks that turn a canvas into a class, with the pooling as a choice.

>>> create_classifier("vgg13-w16", 100).choices["width"]
0.25
>>> create_classifier("timm:test_resnet", 7, pool="blur").choices["pool"]
'blur'
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import torch
from jaxtyping import Num
from torch import Tensor, nn

from snellen.models.choices import UnknownChoiceError, UnknownModelError, nearest
from snellen.models.cifar_dense import CifarDenseNet
from snellen.models.cifar_nets import VGG, CifarResNet, cifar_densenet, cifar_mobilenet, cifar_resnet18, scaled
from snellen.models.outputs import ClassOutput
from snellen.models.pooling import POOLS
from snellen.models.preprocess import CONTRASTS, Contrast, Preprocess
from snellen.models.recalibrate_own import recalibrate_classifier
from snellen.models.recalibration import RECALIBRATIONS, check_recalibration
from snellen.models.surgery import replace_pooling
from snellen.models.timm_weights import find_timm, timm_weights
from snellen.models.zoom_names import resolve_zoom

__all__ = ["ClassNet", "classifier_choices", "create_classifier", "list_classifiers"]

#: Defaults of each family's own choices; all have those of `_SHARED` too. "own" leaves the poolings and strided
#: convolutions of a network as they were published.
_FAMILIES: dict[str, dict[str, Any]] = {
    "vgg13": {"width": 1.0, "norm": "batch", "pool": "max"},
    "resnet": {"depth": 20, "width": 1.0},
    "resnet18": {"width": 1.0},
    "mobilenetv2": {"width": 1.0},
    "densenet": {"depth": 100, "width": 1.0},
    "densenet-plain": {"depth": 40, "width": 1.0},
    "timm": {"pretrained": False},
}
_SHARED: dict[str, Any] = {"channels": 3, "contrast": "fixed", "pool": "own", "pool_options": {}} | {
    "recalibrate": "none",
    "recalibrate_options": {},
}
_ZOOM: dict[str, Any] = {"zoom": "none", "zoom_options": {}}

#: Name -> family, and what differs from its defaults.
_PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "vgg13": ("vgg13", {}),
    "vgg13-w16": ("vgg13", {"width": 0.25}),  # 16, 32, 64, 128, 128 channels
    "resnet20": ("resnet", {}),  # He et al. 2016, table 6: 0.27 M parameters
    "resnet32": ("resnet", {"depth": 32}),  # 0.46 M
    "resnet56": ("resnet", {"depth": 56}),  # 0.85 M
    "resnet18": ("resnet18", {}),
    "mobilenetv2": ("mobilenetv2", {}),
    "densenet": ("densenet", {}),  # Huang et al. 2017, table 2: DenseNet-BC, L=100, k=12, 0.8 M
    "densenet40": ("densenet", {"depth": 40}),
    "densenet40-plain": ("densenet-plain", {}),  # ibid.: DenseNet, L=40, k=12, 1.0 M
}

#: What surgery replaces, where it differs from its default: DenseNet halves by average pooling alone; a narrow ResNet's
#: convolution of four channels looks like a stem to surgery, while its true stem has stride 1.
_WHERE: dict[str, tuple[str, ...]] = {
    "densenet": ("avg",),
    "densenet-plain": ("avg",),
    "resnet": ("max", "conv", "shortcut", "stem"),
}
#: Halvings of each family round down, so below this side a map would be empty; timm's networks say it themselves.
_MINIMUM = {"vgg13": 32, "densenet": 4, "densenet-plain": 4}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


#: What a value must be, and the words for it.
_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "width": (_number, "a number above 0"),
    "depth": (lambda v: isinstance(v, int) and not isinstance(v, bool) and v > 0, "a whole number of layers"),
    "channels": (lambda v: type(v) is int and v in (1, 3), "1 or 3"),
    "pool_options": (lambda v: isinstance(v, Mapping), "a mapping of the pooling's options"),
    "pretrained": (lambda v: isinstance(v, bool | str), "false, true, or the path of a .safetensors file"),
}


def list_classifiers() -> list[str]:
    """Names of the classifiers, sorted; beside them there is timm:NAME for each of timm's models.

    >>> list_classifiers()[:2]
    ['densenet', 'densenet40']
    """
    return sorted(_PRESETS)


def classifier_choices(name: str, **choices: Any) -> dict[str, Any]:
    """All choices of a classifier, resolved and JSON-able, without building it; arguments as for `create_classifier`.

    Raises:
        UnknownModelError: for an unknown name.
        UnknownChoiceError: for an unknown choice or value.

    >>> classifier_choices("vgg13-w16", pool="lift")["norm"]
    'batch'
    """
    family, preset = _family(name)
    defaults = _SHARED | _ZOOM | _FAMILIES[family] | preset
    for key in choices:
        if key not in defaults:
            raise UnknownChoiceError(
                f"classifier {name!r} has no choice {key!r}; {nearest(key, defaults)}; all are {', '.join(defaults)}"
            )
    if choices.get("pretrained"):
        defaults["contrast"] = "imagenet"
    resolved = defaults | choices
    pools = (*POOLS,) if family == "vgg13" else ("own", *POOLS)
    named = (("pool", pools), ("contrast", CONTRASTS), ("norm", ("batch", "none")), ("recalibrate", RECALIBRATIONS))
    for key, known in named:
        if key in resolved and resolved[key] not in known:
            raise UnknownChoiceError(
                f"{key}={resolved[key]!r} is not possible with classifier {name!r}; {nearest(str(resolved[key]), known)}; "
                f"all values are {', '.join(known)}"
            )
    for key, (fits, words) in _VALUES.items():
        if key in resolved and not fits(resolved[key]):
            raise UnknownChoiceError(f"{key}={resolved[key]!r} is not possible; give {words}")
    resolved["pool_options"] = dict(resolved["pool_options"])
    if resolved["pool"] == "own" and resolved["pool_options"]:
        raise UnknownChoiceError(
            f"pool_options={resolved['pool_options']!r} makes no sense with pool='own'; choose a pool, or leave it out"
        )
    try:
        check_recalibration(resolved["recalibrate"], resolved["recalibrate_options"])
    except ValueError as error:
        raise UnknownChoiceError(str(error)) from None
    resolved["recalibrate_options"] = dict(resolved["recalibrate_options"])
    if "width" in resolved:
        resolved["width"] = float(resolved["width"])
    resolved["zoom_options"] = resolve_zoom(resolved["zoom"], resolved["zoom_options"], task="classification")
    return resolved


def create_classifier(name: str, classes: int, *, load_pretrained: bool = True, **choices: Any) -> "ClassNet":
    """Build a classifier with fresh weights, but for timm's pretrained ones.

    Args:
        name: one of `list_classifiers()`, for small images (CIFAR), or "timm:NAME" for any of timm's classifiers.
        classes: how many.
        load_pretrained: False draws the weights of a pretrained network too, for a caller that fills all weights in
            afterwards and needs neither their file nor a network.
        choices: changes to the preset. All there are::

            channels      1 | 3: what the network sees, whatever the canvas has; by default 3
            contrast      "fixed" (default) | "imagenet" (default where pretrained) | "image" | "lcn", see `Preprocess`
            pool          "own" (default; VGG's own is "max") | "max" | "avg" | "blur" | "dwt" | "lift", see models/pooling.py.
                          Other than "own" goes into VGG's five pools, DenseNet's transitions, and elsewhere, by
                          `replace_pooling`, into max-pools, strided convolutions and shortcuts, not the stem's convolution
            pool_options  of the pooling, e.g. {"kernel_size": 3} for "lift", see `make_pool`
            recalibrate   "none" | "ms-sar" | "se" | "eca" and other attention blocks of timm, in residual and dense blocks and
                          behind VGG's levels, see models/recalibration.py
            recalibrate_options  of the block, e.g. {"grids": [1, 2]}
            width         multiplier of all channels (DenseNet: of the growth rate); not with timm
            depth         layers of resnet20, 32, 56 (6n + 2) and DenseNet (6n + 4, plain 3n + 4)
            norm          "batch" | "none"; VGG only
            pretrained    False | True | the path of a .safetensors file; timm only, see `TimmTrunk`
            zoom          "none" | "uniform" | "saliency" | ...: what the network sees of the canvas, see models/zoomers.py
            zoom_options  of the zoom, `size` at least

    Returns:
        The model; `model.choices` holds every choice as resolved, ``create_classifier(name, **model.choices)`` builds it
        again.

    Raises:
        UnknownModelError: for an unknown name.
        UnknownChoiceError: for an unknown choice or value, values that make no sense together, a model that timm does not
            have, and pretrained weights that cannot be had.

    >>> create_classifier("resnet20", 10)(torch.zeros(2, 3, 32, 32)).logits.shape
    torch.Size([2, 10])
    """
    resolved = classifier_choices(name, **choices)
    if not isinstance(classes, int) or isinstance(classes, bool) or classes < 1:
        raise UnknownChoiceError(f"classes={classes!r} is not possible; give a whole number of at least 1")
    family, _ = _family(name)
    try:
        if family == "timm":
            net = _timm(name.removeprefix("timm:"), classes, resolved, load_pretrained)
        else:
            net = _build(family, classes, resolved)
        if resolved["recalibrate"] != "none":
            recalibrate_classifier(net, resolved["recalibrate"], resolved["channels"], resolved["recalibrate_options"])
        if family != "vgg13" and resolved["pool"] != "own":
            # 64 pixels: an example that the deepest of timm's networks takes, at a twelfth of the cost of the usual 224.
            example = torch.zeros(1, resolved["channels"], 64, 64)
            replace_pooling(
                net, resolved["pool"], _WHERE.get(family), example=example, verbose=False, **resolved["pool_options"]
            )
    except ValueError as error:
        raise UnknownChoiceError(f"classifier {name!r}: {error}") from None
    model = ClassNet(net, classes, resolved["channels"], resolved["contrast"], minimum_size=_MINIMUM.get(family, 1))
    if resolved["zoom"] != "none":
        model = _zoomed(name, model, resolved, load_pretrained)
    model.name, model.choices = name, {"classes": classes, **resolved}
    return model


class ClassNet(nn.Module):
    """A network that turns a canvas into a class.

    Args:
        net: from a preprocessed image (b, channels, h, w) to logits (b, classes).
        classes: how many.
        channels: 1 or 3, what the network sees.
        contrast: see `Preprocess`.
        minimum_size: smallest height and width of a canvas, pixels.

    Attributes:
        preprocess: what happens to the canvas first.
        name: what `create_classifier` was asked for; empty for a network built directly.
        choices: all choices `create_classifier` resolved, JSON-able; empty for a network built directly.

    Raises:
        ValueError: for values not listed.
    """

    def __init__(
        self, net: nn.Module, classes: int, channels: int = 3, contrast: Contrast = "fixed", *, minimum_size: int = 1
    ) -> None:
        super().__init__()
        self.name = ""
        self.choices: dict[str, Any] = {}
        self.classes, self.minimum_size = classes, minimum_size
        self.preprocess = Preprocess(channels, contrast)
        self.net = net

    def forward(self, x: Num[Tensor, "b c h w"]) -> ClassOutput:
        """Canvases (b, 1 or 3, h, w), values 0..255, to logits (b, classes)."""
        h, w = x.shape[-2:]
        if h < self.minimum_size or w < self.minimum_size:
            raise ValueError(
                f"a canvas of {h}x{w} is too small: the last map would be empty; "
                f"give at least {self.minimum_size}x{self.minimum_size} pixels"
            )
        return ClassOutput(self.net(self.preprocess(x)))


def _zoomed(name: str, model: ClassNet, choices: Mapping[str, Any], load_pretrained: bool) -> ClassNet:
    from snellen.models.zoomed import ZoomedClasses, make_zoomer

    options, channels = choices["zoom_options"], choices["channels"]
    try:
        zoomer = make_zoomer(choices["zoom"], options, channels, load_pretrained=load_pretrained)
        return ZoomedClasses(model, zoomer)
    except ValueError as error:
        raise UnknownChoiceError(f"classifier {name!r}: {error}") from None


def _family(name: str) -> tuple[str, dict[str, Any]]:
    if name.startswith("timm:"):
        return "timm", {}
    if name not in _PRESETS:
        raise UnknownModelError(
            f"no classifier is called {name!r}; {nearest(name, _PRESETS)}; all are {', '.join(list_classifiers())}, "
            "and timm:NAME, e.g. timm:resnet50"
        )
    return _PRESETS[name]


def _build(family: str, classes: int, choices: Mapping[str, Any]) -> nn.Module:
    def take(names: Iterable[str]) -> dict[str, Any]:
        return {key: choices[key] for key in names}

    if family == "vgg13":
        return VGG(classes, **take(("channels", "width", "norm", "pool", "pool_options")))
    if family == "resnet":
        return CifarResNet(classes=classes, **take(("depth", "channels", "width")))
    if family == "densenet":
        return cifar_densenet(classes, **take(("depth", "channels", "width")))
    if family == "densenet-plain":
        growth = scaled(12, choices["width"])
        return CifarDenseNet(classes, growth=growth, **take(("depth", "channels")))
    make = cifar_resnet18 if family == "resnet18" else cifar_mobilenet
    return make(classes, **take(("channels", "width")))


def _timm(name: str, classes: int, choices: Mapping[str, Any], load_pretrained: bool) -> nn.Module:
    timm = find_timm(name)
    source: dict[str, Any] = {}
    if choices["pretrained"] and load_pretrained:
        with torch.random.fork_rng(devices=[]):  # a trial build draws weights too: the seed is for the one that is kept
            source = timm_weights(timm, name, choices["pretrained"])
    try:
        made = timm.create_model(name, num_classes=classes, in_chans=choices["channels"], **source)
    except (RuntimeError, OSError, TypeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"timm's {name!r} cannot be built as a classifier ({reason})") from None
    return cast(nn.Module, made)
