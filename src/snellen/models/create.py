"""Models of every task by name: a name is a preset of choices, and every choice can be overridden.

>>> create_model("rcn5", keypoints=12).choices["keypoints"]
12
>>> create_model("resnet20", classes=100, pool="lift").choices["classes"]
100
>>> create_model("segnet-small", classes=11, pool="lift").choices["unpool"]
'lift'
"""

import fnmatch
from typing import Any

from snellen.models.base import KeypointNet
from snellen.models.choices import UnknownChoiceError, UnknownModelError, nearest
from snellen.models.classifiers import ClassNet, classifier_choices, create_classifier, list_classifiers
from snellen.models.denoiser_presets import create_denoiser, denoiser_choices, list_denoisers
from snellen.models.denoisers import Denoiser
from snellen.models.gaze_nets import GazeNet, create_gaze_net, gaze_choices, list_gaze_nets
from snellen.models.keypoint_models import create_keypoint_model, keypoint_model_choices, list_keypoint_models
from snellen.models.label_net import LabelNet
from snellen.models.segmenters import create_segmenter, list_segmenters, segmenter_choices
from snellen.models.superres import SuperResolver, create_enlarger, enlarger_choices

__all__ = ["create_model", "list_models", "model_choices", "model_task"]


def _names() -> dict[str, str]:
    """Every name and its task."""
    return {
        **dict.fromkeys(list_keypoint_models(), "keypoints"),
        **dict.fromkeys(list_classifiers(), "classification"),
        **dict.fromkeys(list_segmenters(), "segmentation"),
        "superres": "super-resolution",
        **dict.fromkeys(list_gaze_nets(), "gaze"),
        **dict.fromkeys(list_denoisers(), "denoising"),
    }


def list_models(pattern: str = "*", task: str | None = None) -> list[str]:
    """Names of the models that match a wildcard pattern, sorted.

    Args:
        pattern: with * and ?.
        task: "keypoints", "classification", "segmentation", "super-resolution", "gaze" or "denoising"; by default
            models of every task.

    >>> list_models("sumnet*")
    ['sumnet5', 'sumnet68']
    """
    return sorted(n for n, t in _names().items() if fnmatch.fnmatchcase(n, pattern) and task in (None, t))


def model_task(name: str) -> str:
    """What a model answers with.

    Raises:
        UnknownModelError: for an unknown name.

    >>> model_task("vgg13")
    'classification'
    """
    if name.startswith("timm:"):
        return "classification"
    names = _names()
    if name not in names:
        raise UnknownModelError(
            f"no model is called {name!r}; {nearest(name, names)}; snellen.list_models() names all {len(names)}, and "
            "timm:NAME is any classifier of timm's"
        )
    return names[name]


def model_choices(name: str, **choices: Any) -> dict[str, Any]:
    """All choices of a model, resolved, without building it. Arguments and errors as for `create_model`.

    >>> model_choices("sumnet68")["mixing"]
    'map'
    """
    task = model_task(name)
    if task == "keypoints":
        return keypoint_model_choices(name, **choices)
    if task == "super-resolution":
        return enlarger_choices(**choices)
    if task == "gaze":
        return gaze_choices(name, **choices)
    if task == "denoising":
        return denoiser_choices(name, **choices)
    classes = choices.pop("classes", None)
    resolved = (segmenter_choices if task == "segmentation" else classifier_choices)(name, **choices)
    return resolved if classes is None else {"classes": classes, **resolved}


def create_model(
    name: str, *, load_pretrained: bool = True, **choices: Any
) -> KeypointNet | ClassNet | LabelNet | SuperResolver | GazeNet | Denoiser:
    """Build a model with fresh weights, but for pretrained ones.

    Args:
        name: one of `list_models()`, or "timm:NAME" for a classifier of timm's.
        load_pretrained: False draws pretrained weights too, for a caller that fills all weights in afterwards and needs
            neither their file nor a network.
        choices: changes to the preset: those of `snellen.models.create_keypoint_model` for keypoints, those of
            `snellen.models.create_classifier` for classes and of `snellen.models.create_segmenter` for the labels of pixels,
            where `classes` says how many there are; the arguments of `SuperResolver` for "superres"; those of
            `snellen.models.create_gaze_net` for gaze and of `snellen.models.create_denoiser` for denoisers.

    Returns:
        The model; `model.choices` holds every choice as resolved, ``create_model(name, **model.choices)`` builds it again.

    Raises:
        UnknownModelError: for an unknown name.
        UnknownChoiceError: for an unknown choice or value, values that make no sense together, and pretrained weights that
            cannot be had.

    >>> create_model("rcn68", keypoints=19, branches=4).keypoints
    19
    """
    task = model_task(name)
    if task == "keypoints":
        return create_keypoint_model(name, load_pretrained=load_pretrained, **choices)
    if task == "super-resolution":
        return create_enlarger(**choices)
    if task == "gaze":
        return create_gaze_net(name, load_pretrained=load_pretrained, **choices)
    if task == "denoising":
        return create_denoiser(name, **choices)
    if "classes" not in choices:
        raise UnknownChoiceError(f"model {name!r} needs classes=N, the number of classes")
    if task == "segmentation":
        return create_segmenter(name, **choices)  # none of them is pretrained
    return create_classifier(name, load_pretrained=load_pretrained, **choices)
