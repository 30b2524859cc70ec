"""Networks that tell where a person looks: a small one for pictures of one eye, any backbone of timm's, and iTracker.

>>> create_gaze_net("gaze-small").choices["width"]
16
>>> create_gaze_net("gaze", backbone="timm:test_resnet", channels=3)(torch.zeros(2, 3, 64, 64)).answer.shape
torch.Size([2, 2])
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from snellen.models.choices import UnknownChoiceError, UnknownModelError, nearest
from snellen.models.itracker import Tracker
from snellen.models.outputs import GazeOutput
from snellen.models.preprocess import CONTRASTS, Contrast, Preprocess
from snellen.models.timm_weights import find_timm, timm_weights
from snellen.models.zoom_names import resolve_zoom

__all__ = ["EyeTrunk", "GazeNet", "ITracker", "create_gaze_net", "gaze_choices", "list_gaze_nets"]

#: Degrees or centimetres of an answer of 1 inside the network, so that its last layer has weights of the usual size.
UNITS = {"angles": 10.0, "point": 5.0}

_SHARED: dict[str, Any] = {"answer": "angles", "channels": 1, "contrast": "image", "canvas": [64, 64]}
_ZOOM: dict[str, Any] = {"zoom": "none", "zoom_options": {}}  # iTracker is given crops
#: Name -> all choices with their defaults.
_PRESETS: dict[str, dict[str, Any]] = {
    "gaze-small": {**_SHARED, **_ZOOM, "width": 16, "blocks": 1, "dropout": 0.0},
    "gaze": {**_SHARED, **_ZOOM, "backbone": "timm:resnet18", "pretrained": False, "contrast": "fixed", "dropout": 0.0},
    "itracker": {**_SHARED, "answer": "point", "channels": 3, "contrast": "fixed", "canvas": [224, 224]},
}


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
            model: GazeNet = ITracker(Tracker(tuple(resolved["canvas"]), resolved["channels"]), *shared)
        elif name == "gaze-small":
            trunk = EyeTrunk(resolved["channels"], width=resolved["width"], blocks=resolved["blocks"])
            head = nn.Sequential(nn.Dropout(resolved["dropout"]), nn.Linear(trunk.features, 2))
            model = GazeNet(nn.Sequential(trunk, head), *shared, minimum_size=16)
        else:
            model = GazeNet(_timm(resolved, load_pretrained), *shared)
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


class EyeTrunk(nn.Module):
    """A residual network for pictures of one eye: our choice, small enough for one core of a CPU.

    A 5x5 convolution of stride 2, then four stages of `blocks` blocks (two 3x3 convolutions with batch norm and a shortcut), at
    `width`, 2, 4 and 8 times as many channels; each stage but the first halves. The mean over what is left are the features.

    Args:
        channels: of the image.
        width: channels of the first stage.
        blocks: of each stage.

    Attributes:
        features: how many numbers it answers with.
    """

    def __init__(self, channels: int = 1, *, width: int = 16, blocks: int = 1) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(4)]
        layers: list[nn.Module] = [
            nn.Conv2d(channels, width, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        before = width
        for stage, c in enumerate(widths):
            for block in range(blocks):
                layers.append(_Block(before, c, 2 if stage and not block else 1))
                before = c
        self.layers = nn.Sequential(*layers)
        self.features = before

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b features"]:
        """Features of images of at least 16x16 pixels."""
        found: Tensor = self.layers(x).mean(dim=(2, 3))
        return found


class _Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, which halves by averaging so that no pixel is passed over (He et al. 2019, D)."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(c_out, c_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(c_out),
        )
        shortcut: list[nn.Module] = [nn.AvgPool2d(2, ceil_mode=True)] if stride == 2 else []
        if c_in != c_out:
            shortcut += [nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out)]
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


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
