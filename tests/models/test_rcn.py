import io
import math
import shutil

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from contracts import ModelContract, exports_any_size, nonzero_gradients
from snellen.layers.recombine import keep_maxima, recombine
from snellen.models import RCN, create_model


class TestRCN5(ModelContract):
    def make(self):
        return create_model("rcn5")


class TestRCN5Skip(ModelContract):
    sizes = ((48, 48),)

    def make(self):
        return create_model("rcn5-skip", channels=3, contrast="image", branches=4)

    channels = 3


class TestRCN5BatchNorm(ModelContract):
    def make(self):
        return create_model("rcn5-bn", width=0.5, kernel="5x5", extra_fine=True)


class TestRCN68(ModelContract):
    keypoints = 9
    size = (32, 48)

    def make(self):
        return create_model("rcn68", width=0.25, branches=4, keypoints=9)


class TestRCN68Released(ModelContract):
    keypoints = 9
    sizes = ((51, 83),)

    def make(self):
        return create_model("rcn68-released", width=0.125, branches=6, keypoints=9)


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("choices", "parameters"),
    [
        ({"branches": 4}, 164_837),
        ({"branches": 5}, 227_141),
        ({"branches": 6}, 310_229),
        ({"branches": 7}, 338_021),
        ({"skip": True}, 293_957),
        ({"topology": "68"}, 1_095_492),
        ({"topology": "68", "branches": 6}, 1_341_444),
        ({"topology": "68", "branches": 7}, 1_456_324),
        ({"topology": "68", "skip": True}, 1_709_892),
    ],
)
def test_parameter_counts(choices, parameters):
    """rcn.md section 6."""
    assert count(RCN(**choices)) == parameters


def convolutions(module):
    return [(m.in_channels, m.out_channels, m.kernel_size[0]) for m in module.modules() if isinstance(m, nn.Conv2d)]


def test_widths_of_the_tables():
    """rcn.md 2.4 to 2.6, finest branch first."""
    five = RCN()
    assert convolutions(five.trunk) == [(1, 16, 3), (16, 32, 3), (32, 48, 3), (48, 48, 3), (48, 48, 3)]
    assert [convolutions(b) for b in five.branch] == [
        [(32, 16, 3), (16, 5, 3)],
        [(64, 32, 3), (32, 16, 3)],
        [(96, 48, 3), (48, 32, 3)],
        [(96, 48, 3)],
        [(48, 48, 3), (48, 48, 3)],
    ]
    assert [c.branch[0][0][0].in_channels for c in (RCN(skip=True), RCN(topology="68", skip=True))] == [160, 320]
    assert [b[0][0].in_channels for b in RCN(skip=True).branch] == [160, 160, 144, 96, 48]
    assert [b[0][0].in_channels for b in RCN(topology="68", skip=True).branch] == [320, 256, 192, 128, 64]
    seven = RCN(topology="68", branches=7)
    assert convolutions(seven.trunk)[-2:] == [(64, 64, 3), (64, 64, 1)]
    assert [convolutions(b) for b in seven.branch] == [
        [(128, 64, 5), (64, 64, 1), (64, 64, 1), (64, 68, 1)],
        [(128, 64, 5), (64, 64, 1)],
        [(128, 64, 5), (64, 64, 1)],
        [(128, 64, 5)],
        [(128, 64, 5), (64, 64, 1)],
        [(128, 64, 5), (64, 64, 1)],
        [(64, 64, 1), (64, 64, 1)],
    ]
    assert convolutions(RCN(branches=4).branch[3]) == [(48, 48, 3), (48, 48, 3)]
    assert convolutions(RCN(extra_fine=True).branch[0]) == [(32, 16, 3), (16, 16, 3), (16, 16, 3), (16, 5, 3)]
    assert [b[0][0].kernel_size for b in RCN(kernel="5x5").branch] == [(5, 5)] * 5
    assert RCN(width=0.5).branch[1][0][0].out_channels == 16


@pytest.mark.parametrize("topology", ["5", "68"])
@pytest.mark.parametrize("skip", [False, True])
def test_dataflow_written_out(topology, skip):
    """The whole network again by hand, upsampling by repetition, from its weights alone."""
    torch.manual_seed(0)
    model = RCN(topology=topology, skip=skip, width=0.25, keypoints=3, contrast="fixed").double()

    def run(block, x):
        for i, part in enumerate(block):
            x = F.conv2d(x, part[0].weight, part[0].bias, padding=part[0].weight.shape[-1] // 2)
            x = x if block is model.branch[0] and i == len(block) - 1 else x.relu()
        return x

    x = torch.rand(2, 1, 48, 80, dtype=torch.double) * 255
    features, maps = (x / 255 - 0.5) / 0.25, []
    for i, conv in enumerate(model.trunk.convs):
        features = run([conv], F.max_pool2d(features, 2) if i else features)
        maps.append(features)
    coarse = None
    for features, branch in reversed(list(zip(maps, model.branch, strict=True))):
        if coarse is not None:
            # Nearest by index where a side is odd (48 / 16 = 3).
            h, w = features.shape[-2:]
            rows = torch.arange(h) * coarse.shape[-2] // h
            columns = torch.arange(w) * coarse.shape[-1] // w
            coarse = coarse[:, :, rows][..., columns]
            out = run(branch, torch.cat((features, coarse), dim=1))
            coarse = torch.cat((out, coarse), dim=1) if skip else out
        else:
            out = coarse = run(branch, features)
    torch.testing.assert_close(model(x).logits, out, rtol=0, atol=1e-12)


def test_maps_at_each_branch():
    """rcn.md section 8: the pool from 5x5 gives 2x2; 2.2."""
    maps, used, _ = RCN(branches=7).maps(torch.zeros(1, 1, 80, 80), None)
    assert [tuple(m.shape[1:]) for m in maps] == [
        (16, 80, 80), (32, 40, 40), (48, 20, 20), (48, 10, 10), (48, 5, 5), (48, 2, 2), (48, 1, 1),
    ]  # fmt: skip
    assert all(used)


@settings(max_examples=12, deadline=None)
@given(branches=st.integers(4, 7), dh=st.integers(0, 30), dw=st.integers(0, 30), learned=st.booleans())
def test_any_size_from_the_minimum(branches, dh, dw, learned):
    model = RCN(branches=branches, width=0.5, skip=True, unpool="learned" if learned else "nearest")
    size = (model.minimum_size + dh, model.minimum_size + dw)
    assert model(torch.zeros(1, 1, *size)).logits.shape == (1, 5, *size)


@pytest.mark.parametrize(("branches", "minimum"), [(4, 8), (5, 16), (6, 48), (7, 80)])
def test_minimum_size_is_the_smallest_that_pools(branches, minimum):
    sides = [minimum - 1]
    for level in range(1, branches):
        sides.append((sides[-1] - 3) // 2 + 1 if level == 5 else sides[-1] // 2)
    assert sides[-1] == 0
    assert RCN(branches=branches).minimum_size == minimum


@pytest.mark.parametrize(("topology", "loss"), [("5", 43.8), ("68", 596.0)])
def test_initial_loss(topology, loss):
    """rcn.md section 8: K * ln(6400), once logits are near zero."""
    torch.manual_seed(0)
    model = RCN(topology=topology)
    logits = 0.01 * model(torch.rand(1, 1, 80, 80) * 255).logits.flatten(0, 1).flatten(1)
    target = torch.randint(6400, (len(logits),))
    total = F.cross_entropy(logits, target) * model.keypoints
    assert total.item() == pytest.approx(loss, rel=0.002)
    assert total.item() == pytest.approx(model.keypoints * math.log(6400), rel=0.001)


def test_initialisation():
    """rcn.md 2.9: U(-b, b), b = sqrt(6 / (fan_in + fan_out / 4)), biases 0."""
    torch.manual_seed(0)
    model = RCN(norm="none")
    for module in (m for m in model.modules() if isinstance(m, nn.Conv2d)):
        area = module.kernel_size[0] ** 2
        bound = math.sqrt(6 / (module.in_channels * area + module.out_channels * area / 4))
        largest = module.weight.abs().max().item()
        assert 0.9 * bound < largest <= bound
        assert not module.bias.any()


def test_batch_norm_follows_every_convolution_with_relu():
    model = RCN(norm="batch")
    for block in (*model.trunk.convs, *(b for branch in model.branch for b in branch)):
        kinds = [type(m) for m in block]
        linear = block is model.branch[0][-1]
        assert kinds == ([nn.Conv2d] if linear else [nn.Conv2d, nn.BatchNorm2d, nn.ReLU])
        assert (block[0].bias is not None) == linear


def test_phase_form_is_used_for_5x5_and_changes_nothing(monkeypatch):
    from snellen.models import recombinator

    torch.manual_seed(0)
    model, x = RCN(topology="68", width=0.125, keypoints=2), torch.rand(1, 1, 32, 32) * 255
    calls = []
    original = recombinator.merge_conv
    monkeypatch.setattr(recombinator, "merge_conv", lambda *a: calls.append(1) or original(*a))
    merged = model(x).logits
    assert len(calls) == 4
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    torch.testing.assert_close(model(x).logits, merged, rtol=0, atol=1e-5)
    assert len(calls) == 4


def trunk_seen_by(model, branch_mask=None):
    """Which trunk maps the logits depend on when each is cut from the others: coarsest first."""
    maps, used, kept = model.maps(torch.rand(1, 1, 32, 32) * 255, branch_mask)
    maps = [m.detach().requires_grad_() for m in maps]
    model.maps = lambda x, mask: (maps, used, kept)
    try:
        model(torch.zeros(1, 1, 32, 32), branch_mask).logits.abs().sum().backward()
    finally:
        del model.maps
    return "".join("01"[m.grad is not None and bool(m.grad.any())] for m in reversed(maps)).rjust(model.branches, "0")


@pytest.mark.parametrize("mask", ["1000", "0100", "1100", "0010", "0001", "0011", "0111", "1001", "1111"])
@pytest.mark.parametrize("skip", [False, True])
def test_masked_branches_do_not_matter(mask, skip):
    """The masks of the paper's table (rcn.md 4), given at construction and at the call."""
    torch.manual_seed(0)
    model = RCN(branches=4, branch_mask=mask, skip=skip, unpool="learned", norm="batch")
    assert trunk_seen_by(model) == mask
    x = torch.rand(2, 1, 32, 32) * 255
    model.train()(x).logits.square().sum().backward()
    nonzero_gradients(model)

    model.eval()  # from here on the batch norms stay as they are
    whole = RCN(branches=4, skip=skip, unpool="learned", norm="batch").eval()
    whole.load_state_dict(model.state_dict())
    assert trunk_seen_by(whole) == "1111"
    assert trunk_seen_by(whole, mask) == mask
    assert torch.equal(whole(x, mask).logits, model(x).logits)
    assert torch.equal(model(x, "1111").logits, whole(x).logits)


def test_mask_freezes_only_what_is_idle():
    frozen = {n for n, p in RCN(branches=4, branch_mask="0011").named_parameters() if not p.requires_grad}
    assert {n.rsplit(".", 2)[0] for n in frozen} == {
        "trunk.convs.2", "trunk.convs.3", "branch.2.0", "branch.2.1", "branch.3.0", "branch.3.1",
    }  # fmt: skip
    assert all(p.requires_grad for p in RCN(branches=4, branch_mask="1001").parameters())


def test_zero_nonmax_hides_what_was_not_pooled():
    torch.manual_seed(0)
    model = RCN(zero_nonmax=True, branches=4)
    x = torch.rand(1, 1, 32, 32) * 255
    maps, _, _ = model.maps(x, None)
    kept = F.max_unpool2d(*F.max_pool2d(maps[0], 2, return_indices=True), 2)
    seen = []
    hook = model.branch[0][0][0].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model(x)
    hook.remove()
    assert torch.equal(seen[0][:, :16], kept)


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"branches": 3}, "4, 5, 6 or 7"),
        ({"topology": "49"}, "give '5' or '68'"),
        ({"topology": "68", "skip": True, "branches": 6}, "5 branches only"),
        ({"kernel": "7x7"}, "'3x3' or '5x5'"),
        ({"unpool": "bicubic"}, "give one of nearest, bilinear"),
        ({"norm": "group"}, "'none'"),
        ({"keypoints": 0}, "at least one map"),
        ({"branch_mask": "101"}, "5 digits, coarsest branch first"),
        ({"branch_mask": "00000"}, "at least one of them 1"),
        ({"branch_mask": "1x001"}, "5 digits"),
    ],
)
def test_refusals(choices, words):
    with pytest.raises(ValueError, match=words):
        RCN(**choices)


@exports_any_size
@pytest.mark.parametrize("name", ["rcn68-skip", "sumnet5"])
def test_export_of_any_size(name):
    """Height and width may stay open (learned upsampling apart, which crops), and the program can be saved."""
    torch.manual_seed(0)
    model = create_model(name, width=0.25, keypoints=3, branches=5).eval()
    batch, h, w = (torch.export.Dim(n, min=low) for n, low in (("batch", 1), ("h", 32), ("w", 32)))
    program = torch.export.export(model, (torch.rand(2, 1, 48, 64),), dynamic_shapes=({0: batch, 2: h, 3: w},))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    x = torch.rand(3, 1, 65, 93) * 255
    logits = torch.export.load(file).module()(x).logits
    torch.testing.assert_close(logits, model(x).logits, rtol=1e-4, atol=1e-5)


class Joint(nn.Module):
    """The parts of a network that inductor writes code for; a whole one takes most of a minute."""

    def __init__(self):
        super().__init__()
        self.model = RCN(branches=4, width=0.5)

    def forward(self, x):
        fine, coarse = self.model.trunk(self.model.preprocess(x), 2)
        return recombine(keep_maxima(fine), coarse)


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="inductor needs a C++ compiler")
def test_inductor():
    joint, x = Joint(), torch.rand(2, 1, 24, 24) * 255
    with torch.no_grad():
        compiled = torch.compile(joint, fullgraph=True)
        torch.testing.assert_close(compiled(x), joint(x), rtol=1e-4, atol=1e-4)
