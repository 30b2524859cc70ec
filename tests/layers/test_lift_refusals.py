"""What LiftPool's layers and functions refuse, in a sentence each."""

import pytest
import torch

from lifts import layer_of
from snellen.layers import (
    Bands,
    LiftDown2d,
    LiftDown3d,
    LiftUp1d,
    LiftUp2d,
    LiftWeights,
    NetWeights,
    lift_down,
    lift_up,
)


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({"channels": 0}, "channels=0 is not possible; give at least 1"),
        ({"kernel_size": 4}, "kernel_size=4 has no middle; give an odd number"),
        ({"groups": 3}, r"groups=3 does not divide 4 channels; give 4 \(depthwise\), 1 \(dense\) or a divisor"),
        ({"output": "LLL"}, "output='LLL' is not known; give one of sum, all, LL, LH, HL, HH, or a tuple"),
        ({"output": ("LL", "sum")}, "output="),
        ({"padding": "reflect"}, "padding='reflect' is not known; give one of 'zeros', 'replicate', 'circular'"),
        ({"reduction": "sum"}, "reduction='sum' is not known"),
        ({"memory": "none"}, "memory='none' is not known"),
        (
            {"memory": "recompute", "bias": True, "groups": 2},
            "does not exist with other groups and bias than the default",
        ),
    ],
)
def test_what_cannot_be_built(choices, says):
    with pytest.raises(ValueError, match=says):
        LiftDown2d(**{"channels": 4, **choices})


def test_what_cannot_be_lifted():
    layer = LiftDown2d(4)
    for shape in ((1, 3, 8, 8), (1, 4, 8), (4, 8, 8)):
        with pytest.raises(ValueError, match=r"does not fit LiftDown2d\(4\); it takes \(batch, 4, H, W\)"):
            layer(torch.zeros(shape))
    with pytest.raises(ValueError, match="a map of size 0x8 cannot be halved; each side needs at least 1"):
        layer(torch.zeros(1, 4, 0, 8))
    with pytest.raises(ValueError, match="each side needs at least 2, or ceil_mode=True"):
        LiftDown2d(4, ceil_mode=False)(torch.zeros(1, 4, 1, 8))
    with pytest.raises(ValueError, match="LiftUp1d inverts LiftDown1d and was given LiftDown2d"):
        LiftUp1d(layer)
    bands = layer.bands(torch.zeros(1, 4, 8, 8))
    with pytest.raises(ValueError, match=r"band LL is \(1, 4, 4, 4\) and cannot be replaced by \(1, 2, 4, 4\)"):
        LiftUp2d(layer)(bands, low=torch.zeros(1, 2, 4, 4))
    with pytest.raises(ValueError, match="bands of size 4x4 do not come from a map of 8x10"):
        LiftUp2d(layer)(Bands(bands.tensors, (8, 10)))
    uneven = {**bands.tensors, "HH": torch.zeros(1, 4, 4, 3)}
    with pytest.raises(ValueError, match="they all have to be of one"):
        LiftUp2d(layer)(Bands(uneven, (8, 8)))


def test_what_is_not_lifted_silently():
    layer, x = LiftDown2d(4), torch.randn(2, 4, 5, 6)
    pairs = layer.weights()
    for function, says in (
        (lambda: layer(x.to(torch.uint8)), r"a map of torch.uint8 cannot be lifted.*give x.float\(\)"),
        (lambda: LiftUp2d(layer)(layer(x)), "takes the Bands of a map, not Tensor"),
        (lambda: LiftUp2d(layer)(layer.bands(x).tensors), "not dict"),
        (lambda: LiftUp2d(LiftDown2d(8))(layer.bands(x)), "bands of 4 channels do not fit weights for 8"),
        (
            lambda: LiftUp2d(layer)(LiftDown3d(4).bands(x[:, :, None])),
            "bands of a map with 3 sides do not fit a layer for 2",
        ),
        (lambda: lift_down(x, []), "0 pairs of weights do not fit a map with 2 sides; give one for all lifts, or 3"),
        (lambda: lift_down(x, pairs * 2), "2 pairs of weights"),
        (lambda: lift_down(x[:, :3], pairs), "do not fit a map of 3 channels"),
        (lambda: lift_down(x[0, 0], pairs), r"one to three sides, not shape \(5, 6\)"),
        (lambda: lift_down(x, pairs, padding="zero"), "padding='zero' is not known"),
        (lambda: lift_down(x, pairs, memory="recomp"), "memory='recomp' is not known"),
        (lambda: lift_up(layer.bands(x), []), "0 pairs of weights"),
        (lambda: layer_of(memory="recompute").bfloat16()(x.bfloat16()), "does not exist for torch.bfloat16"),
        (lambda: LiftDown2d(4, "5"), "kernel_size='5' is not a whole number"),
        (lambda: LiftDown2d(4.0), "channels=4.0 is not a whole number"),
        (lambda: LiftDown2d(4, output=()), r"output=\(\) is not known"),
    ):
        with pytest.raises(ValueError, match=says):
            function()
    even = NetWeights(torch.zeros(4, 4), torch.zeros(4, 1))
    with pytest.raises(ValueError, match="a kernel of 4 weights has no middle"):
        lift_down(x, [LiftWeights(even, even)])
