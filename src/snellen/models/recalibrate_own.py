"""Where the networks of this library take recalibration; see `recalibration.py` for the blocks and the places."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from snellen.models.base import KeypointNet
from snellen.models.cifar_nets import VGG
from snellen.models.pyramid import PyramidNet
from snellen.models.recalibration import Recalibrated, add_recalibration, make_recalibration
from snellen.models.segnet import SegNet
from snellen.models.timm_trunk import TimmTrunk
from snellen.models.trunk import Trunk

__all__ = ["recalibrate_classifier", "recalibrate_keypoint_net", "recalibrate_segnet"]


def recalibrate_classifier(net: nn.Module, kind: str, channels: int, options: Mapping[str, Any]) -> None:
    """VGG behind the last ReLU of each level; any other network by `add_recalibration`.

    Args:
        net: from a preprocessed image to logits.
        kind: of `RECALIBRATIONS` but "none".
        channels: of the image.
        options: of the block.

    Raises:
        ValueError: where the network has no place for it.
    """
    if not isinstance(net, VGG):
        # 64 pixels: an example that the deepest of timm's networks takes.
        add_recalibration(net, kind, example=torch.zeros(1, channels, 64, 64), verbose=False, **options)
        return
    width = 0
    layers = list(net.features)
    for i, layer in enumerate(layers):
        width = layer.out_channels if isinstance(layer, nn.Conv2d) else width
        if isinstance(layer, nn.ReLU) and not isinstance(layers[i + 1], nn.Conv2d):
            net.features[i] = Recalibrated(layer, make_recalibration(kind, width, **options))


def recalibrate_keypoint_net(net: KeypointNet, kind: str, options: Mapping[str, Any]) -> None:
    """Each convolution of the papers' trunk, or a timm trunk's blocks; and the first convolution of each branch.

    Args:
        net: RCN, SumNet or a pyramid.
        kind: of `RECALIBRATIONS` but "none".
        options: of the block.

    Raises:
        ValueError: where a timm trunk has no place for it, as transformers and networks of other blocks.
    """
    trunk = net.trunk
    if isinstance(trunk, Trunk):
        _behind(trunk.convs, kind, options)
    elif isinstance(trunk, TimmTrunk):
        example = torch.zeros(1, trunk.in_channels, trunk.minimum_size, trunk.minimum_size)
        try:
            add_recalibration(trunk.net, kind, example=example, verbose=False, **options)
        except ValueError as error:
            raise ValueError(
                f"recalibrate={kind!r} is not possible with backbone={net.choices.get('backbone', 'timm')!r}: it has no "
                f"residual or dense blocks of the usual names ({str(error).split(';')[0]}); take a backbone such as "
                "resnet18 or densenet121, or leave recalibrate out"
            ) from None
    branches = net.branch.branch if isinstance(net, PyramidNet) else net.branch
    assert isinstance(branches, nn.ModuleList)
    firsts = (b[0] if isinstance(b, nn.Sequential) and isinstance(b[0], nn.Sequential) else b for b in branches)
    _behind(firsts, kind, options)


def recalibrate_segnet(net: SegNet, kind: str, options: Mapping[str, Any]) -> None:
    """Behind the last ReLU of each stage of the encoder and of the decoder."""
    stages = (*net.encoder, *net.decoder)
    _behind((stage[-1] for stage in stages if isinstance(stage, nn.Sequential) and len(stage)), kind, options)


def _behind(convolutions: Iterable[nn.Module], kind: str, options: Mapping[str, Any]) -> None:
    """Append a block to convolutions with ReLU; frozen where the convolution is, which a mask left idle."""
    for convolution in convolutions:
        if isinstance(convolution, nn.Sequential) and isinstance(convolution[0], nn.Conv2d):
            block = make_recalibration(kind, convolution[0].out_channels, **options)
            convolution.append(block.requires_grad_(convolution[0].weight.requires_grad))
