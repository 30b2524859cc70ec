"""Networks that tell where a person looks: a small one for pictures of one eye, any backbone of timm's, and iTracker.

>>> create_gaze_net("gaze-small").choices["width"]
16
>>> create_gaze_net("gaze", backbone="timm:test_resnet", channels=3)(torch.zeros(2, 3, 64, 64)).answer.shape
torch.Size([2, 2])
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from snellen.models.choices import UnknownChoiceError, UnknownModelError, nearest
from snellen.models.eye_trunk import BRANCHES, HALVES, EyeTrunk
from snellen.models.itracker import Tracker
from snellen.models.outputs import GazeOutput
from snellen.models.pooling import POOLS
from snellen.models.preprocess import CONTRASTS, Contrast, Preprocess
from snellen.models.recalibration import RECALIBRATIONS, add_recalibration, check_recalibration
from snellen.models.surgery import replace_pooling
from snellen.models.timm_weights import find_timm, timm_weights
from snellen.models.zoom_names import resolve_zoom

__all__ = ["GazeNet", "ITracker", "create_gaze_net", "gaze_choices", "list_gaze_nets"]

#: Degrees or centimetres of an answer of 1 inside the network, so that its last layer has weights of the usual size.
UNITS = {"angles": 10.0, "point": 5.0}

_SHARED: dict[str, Any] = {"answer": "angles", "channels": 1, "contrast": "image", "canvas": [64, 64]}
_ZOOM: dict[str, Any] = {"zoom": "none", "zoom_options": {}}  # iTracker is given crops
_POOL: dict[str, Any] = {"pool": "own", "pool_options": {}}
_RECALIBRATE: dict[str, Any] = {"recalibrate": "none", "recalibrate_options": {}}  # and has no residual blocks
#: Name -> all choices with their defaults.
_PRESETS: dict[str, dict[str, Any]] = {
    "gaze-small": {**_SHARED, **_ZOOM, **_POOL, **_RECALIBRATE, "width": 16, "blocks": 1, "dropout": 0.0},
    "gaze": {
        **_SHARED, **_ZOOM, **_POOL, **_RECALIBRATE, "backbone": "timm:resnet18", "pretrained": False, "contrast": "fixed",
        "dropout": 0.0,
    },
    "itracker": {**_SHARED, **_POOL, "answer": "point", "channels": 3, "contrast": "fixed", "canvas": [224, 224]},
}  # fmt: skip


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


#: What a value must be, and the words for it.
_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "answer": (lambda v: v in UNITS, "'angles' (pitch, yaw) or 'point' (x, y)"),
    "channels": (lambda v: type(v) is int and v in (1, 3), "1 or 3"),
    "contrast": (lambda v: v in CONTRASTS, f"one of {', '.join(CONTRASTS)}"),
    "canvas": (
        lambda v: isinstance(v, list | tuple) and len(v) == 2 and all(map(_whole, v)),
        "height and width in pixels",
    ),
    "width": (_whole, "a whole number of channels"),
    "blocks": (_whole, "a whole number of blocks a stage"),
    "dropout": (lambda v: isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v < 1, "a share below 1"),
    "backbone": (lambda v: isinstance(v, str) and v.startswith("timm:"), "timm:NAME, e.g. timm:resnet18"),
    "pretrained": (lambda v: isinstance(v, bool | str), "false, true, or the path of a .safetensors file"),
    "pool": (lambda v: v in ("own", *POOLS), f"one of own, {', '.join(POOLS)}"),
    "pool_options": (lambda v: isinstance(v, Mapping), "a mapping of the pooling's options"),
    "recalibrate": (lambda v: v in RECALIBRATIONS, f"one of {', '.join(RECALIBRATIONS)}"),
}


def list_gaze_nets() -> list[str]:
    """Names of the gaze networks, sorted.

    >>> list_gaze_nets()
    ['gaze', 'gaze-small', 'itracker']
    """
    return sorted(_PRESETS)


def gaze_choices(name: str, **choices: Any) -> dict[str, Any]:
    """All choices of a gaze network, resolved and JSON-able, without building it; arguments as for `create_gaze_net`.

    Raises:
        UnknownModelError: for an unknown name.
        UnknownChoiceError: for an unknown choice or value.
    """
    if name not in _PRESETS:
        raise UnknownModelError(
            f"no gaze network is called {name!r}; {nearest(name, _PRESETS)}; all are {', '.join(list_gaze_nets())}"
        )
    defaults = dict(_PRESETS[name])
    for key in choices:
        if key not in defaults:
            raise UnknownChoiceError(
                f"model {name!r} has no choice {key!r}; {nearest(key, defaults)}; all are {', '.join(defaults)}"
            )
    if choices.get("pretrained"):
        defaults["contrast"] = "imagenet"
    resolved = defaults | choices
    for key, (fits, words) in _VALUES.items():
        if key in resolved and not fits(resolved[key]):
            raise UnknownChoiceError(f"{key}={resolved[key]!r} is not possible; give {words}")
    resolved["canvas"] = list(resolved["canvas"])
    resolved["pool_options"] = dict(resolved["pool_options"])
    if resolved["pool"] == "own" and resolved["pool_options"]:
        raise UnknownChoiceError(
            f"pool_options={resolved['pool_options']!r} makes no sense with pool='own'; choose a pool, or leave it out"
        )
    if "recalibrate" in resolved:
        try:
            check_recalibration(resolved["recalibrate"], resolved["recalibrate_options"])
        except ValueError as error:
            raise UnknownChoiceError(str(error)) from None
        resolved["recalibrate_options"] = dict(resolved["recalibrate_options"])
    if "zoom" in resolved:
        resolved["zoom_options"] = resolve_zoom(resolved["zoom"], resolved["zoom_options"], task="gaze")
    return resolved


def create_gaze_net(name: str, *, load_pretrained: bool = True, **choices: Any) -> "GazeNet":
    """Build a gaze network with fresh weights, but for timm's pretrained ones.

    Args:
        name: "gaze-small", `EyeTrunk` for a picture of one eye; "gaze", a backbone of timm's; "itracker", `Tracker` for both
            eyes, the face and where it is.
        load_pretrained: False draws the weights of a pretrained backbone too.
        choices: changes to the preset::

            answer      "angles": pitch and yaw in degrees | "point": x and y in centimetres; decided by the data
            channels    1 | 3: what the network sees
            contrast    "image" (default of gaze-small) | "fixed" | "imagenet" (default where pretrained) | "lcn"
            canvas      [height, width] in pixels of the canvases; decided by the data. Fixed for iTracker, whose linear layers
                        see maps; the others take any size
            width       channels of gaze-small's first stage; they double at each of the three after it
            blocks      residual blocks of each of its stages
            dropout     before the last layer
            pool        "own" (default) | "max" | "avg" | "blur" | "dwt" | "lift", in the place of max-poolings, strided
                        convolutions and shortcuts, not the first convolution; of iTracker's max-poolings
            pool_options  of the pooling, see `make_pool`
            recalibrate   "none" | "ms-sar" | "se" | ..., on residual branches, see models/recalibration.py; not iTracker's
            recalibrate_options  of the block
            backbone    "timm:NAME", of gaze
            pretrained  False | True | the path of a .safetensors file, of gaze
            zoom        "none" | "uniform" | "saliency" | ...: what the network sees of the canvas, see models/zoomers.py; the
                        paper's setting is the whole frame through "saliency"; not iTracker's
            zoom_options  of the zoom, `size` at least

    Raises:
        UnknownModelError, UnknownChoiceError: one sentence with what is possible.
    """
    resolved = gaze_choices(name, **choices)
    shared = (resolved["answer"], resolved["channels"], resolved["contrast"])
    try:
        if name == "itracker":
            tracker = Tracker(tuple(resolved["canvas"]), resolved["channels"])
            for part in (tracker.eye, tracker.face_trunk):
                _exchange(part, resolved, where=("max",))
            model: GazeNet = ITracker(tracker, *shared)
        elif name == "gaze-small":
            trunk = EyeTrunk(resolved["channels"], width=resolved["width"], blocks=resolved["blocks"])
            head = nn.Sequential(nn.Dropout(resolved["dropout"]), nn.Linear(trunk.features, 2))
            _exchange(trunk, resolved, where=HALVES, branches=BRANCHES)
            model = GazeNet(nn.Sequential(trunk, head), *shared, minimum_size=16)
        else:
            net = _timm(resolved, load_pretrained)
            _exchange(net, resolved)
            model = GazeNet(net, *shared)
        if resolved.get("zoom", "none") != "none":
            from snellen.models.zoomed import ZoomedGaze, make_zoomer

            options, channels = resolved["zoom_options"], resolved["channels"]
            zoomer = make_zoomer(resolved["zoom"], options, channels, load_pretrained=load_pretrained)
            model = ZoomedGaze(model, zoomer)
    except ValueError as error:
        raise UnknownChoiceError(f"model {name!r}: {error}") from None
    model.name, model.choices = name, resolved
    return model


class GazeNet(nn.Module):
    """A network that turns a canvas into a gaze.

    Args:
        net: from a preprocessed image (b, channels, h, w) to two numbers (b, 2).
        answer: "angles" or "point".
        channels: 1 or 3, what the network sees.
        contrast: see `Preprocess`; "image" takes the light out of each picture.
        minimum_size: smallest height and width of a canvas, pixels.

    Attributes:
        name: what `create_gaze_net` was asked for; empty for a network built directly.
        choices: all choices `create_gaze_net` resolved, JSON-able; empty for a network built directly.

    Raises:
        ValueError: for values not listed.
    """

    def __init__(
        self,
        net: nn.Module,
        answer: str = "angles",
        channels: int = 1,
        contrast: Contrast = "image",
        *,
        minimum_size: int = 1,
    ) -> None:
        super().__init__()
        if answer not in UNITS:
            raise ValueError(f"answer={answer!r} is not known; give 'angles' or 'point'")
        self.name = ""
        self.choices: dict[str, Any] = {}
        self.answer, self.unit, self.minimum_size = answer, UNITS[answer], minimum_size
        self.preprocess = Preprocess(channels, contrast)
        self.net = net

    def forward(self, x: Num[Tensor, "b c h w"]) -> GazeOutput:
        """Canvases (b, 1 or 3, h, w), values 0..255, to a gaze (b, 2) in degrees or centimetres."""
        h, w = x.shape[-2:]
        if h < self.minimum_size or w < self.minimum_size:
            raise ValueError(
                f"a canvas of {h}x{w} is too small; give at least {self.minimum_size}x{self.minimum_size} pixels"
            )
        return GazeOutput(self.net(self.preprocess(x)) * self.unit)


class ITracker(GazeNet):
    """A `Tracker` with its preprocessing; arguments as for `GazeNet`."""

    net: Tracker

    def forward(self, x: Num[Tensor, "b 3 c h w"], grid: Float[Tensor, "b 25 25"]) -> GazeOutput:  # type: ignore[override]
        """Left eye, right eye and face (b, 3, 1 or 3, h, w), values 0..255, and the face grid, to a gaze (b, 2)."""
        if x.ndim != 5 or x.shape[1] != 3:
            raise ValueError(
                f"iTracker sees left eye, right eye and face, (b, 3, c, h, w), not {tuple(x.shape)}; set data.look 'parts'"
            )
        parts = self.preprocess(x.flatten(0, 1)).unflatten(0, (-1, 3))
        return GazeOutput(self.net(parts, grid) * self.unit)


def _exchange(
    net: nn.Module,
    choices: Mapping[str, Any],
    *,
    where: tuple[str, ...] | None = None,
    branches: tuple[str, ...] | None = None,
) -> None:
    """Put the choices' blocks and poolings into a network, where surgery finds places or the patterns say."""
    example = torch.zeros(1, choices["channels"], 64, 64)
    if choices.get("recalibrate", "none") != "none":
        options = choices["recalibrate_options"]
        add_recalibration(net, choices["recalibrate"], branches, example=example, verbose=False, **options)
    if choices["pool"] != "own":
        replace_pooling(net, choices["pool"], where, example=example, verbose=False, **choices["pool_options"])


def _timm(choices: dict[str, Any], load_pretrained: bool) -> nn.Module:
    name = choices["backbone"].removeprefix("timm:")
    timm = find_timm(name)
    source: dict[str, Any] = {}
    if choices["pretrained"] and load_pretrained:
        with torch.random.fork_rng(devices=[]):  # a trial build draws weights too: the seed is for the one that is kept
            source = timm_weights(timm, name, choices["pretrained"])
    try:
        made: nn.Module = timm.create_model(
            name, num_classes=2, in_chans=choices["channels"], drop_rate=choices["dropout"], **source
        )
    except (RuntimeError, OSError, TypeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"timm's {name!r} cannot be built with two answers ({reason})") from None
    return made
