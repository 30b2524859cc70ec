"""Lift layers and inputs of a seed, for the tests of both forms."""

import torch

from snellen.layers import LiftDown1d, LiftDown2d, LiftDown3d

DOWN = {1: LiftDown1d, 2: LiftDown2d, 3: LiftDown3d}


def randoms(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def layer_of(dims=2, channels=4, seed=0, weight=1.0, dtype=torch.float64, **choices):
    torch.manual_seed(seed)
    layer = DOWN[dims](channels, **choices).to(dtype)
    for parameter in layer.parameters():
        parameter.data.mul_(weight)
    return layer
