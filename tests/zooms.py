"""Small models behind a zoom, for the tests of what they do."""

import torch

from contracts import stirred
from snellen import create_model

SIZE = {"size": [32, 40]}


def keypoint_model(zoom="saliency", **options):
    choices = {"branches": 4, "width": 0.5, "channels": 3}
    return create_model("rcn5", zoom=zoom, zoom_options={**SIZE, **options}, **choices)


def awake(model):
    """Zero heads give no gradient to what lies before them, and a uniform saliency none to most of its nodes."""
    torch.nn.init.normal_(model.zoomer.look.head.weight, std=0.5)
    return stirred(model)
