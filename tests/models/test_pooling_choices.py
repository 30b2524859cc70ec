"""Which poolings and unpoolings go together, with which backbones and aggregations, and what is refused."""

import itertools

import pytest
import torch

from snellen.models import RCN, UnknownChoiceError, create_model, model_choices
from snellen.models.aggregate import AGGREGATES
from snellen.models.pyramid import PyramidNet
from snellen.models.timm_trunk import TimmTrunk
from snellen.models.trunk import TRUNK_POOLS, Trunk
from snellen.models.unpooling import UNPOOLS

#: Fresh weights for P and U: from its own start, an average, the first gradient of their convolutions is zero.
DRAWN = {"zero_init": False}


# --- what goes together


def possible(backbone, aggregate, pool, unpool):
    """The table of docs/models.md."""
    timm = backbone.startswith("timm")
    if pool == ("strided" if timm else "own"):
        return False
    if unpool == "nearest":
        return True
    if unpool == "bilinear":
        return aggregate != "sum"
    if unpool == "learned":
        return aggregate == "unet" or (aggregate.startswith("recombine") and not timm)
    return pool == unpool and not timm and aggregate in ("recombine", "recombine-skip", "unet")


BACKBONES = ("rcn5", "rcn68", "timm:test_resnet")
POOLS = ("own", *TRUNK_POOLS)


def all_pairs(*values):
    """Rows in which every pair of values of two columns occurs, greedily."""
    rows = list(itertools.product(*values))
    pairs = {row: set(itertools.combinations(enumerate(row), 2)) for row in rows}
    missing = set().union(*pairs.values())
    while missing:
        best = max(rows, key=lambda row: len(pairs[row] & missing))
        missing -= pairs[best]
        yield best


def choices_of(backbone, aggregate, pool, unpool):
    small = {"backbone": backbone, "aggregate": aggregate, "pool": pool, "unpool": unpool, "keypoints": 2}
    if backbone.startswith("timm") or aggregate in ("unet", "fpn"):
        small["features"] = 16
    return small if backbone.startswith("timm") else {**small, "width": 0.25}


def test_all_combinations_are_as_documented():
    for row in itertools.product(BACKBONES, AGGREGATES, POOLS, UNPOOLS):
        if possible(*row):
            assert model_choices("rcn5", **choices_of(*row))["pool"] == row[2]
        else:
            with pytest.raises(UnknownChoiceError, match="makes no sense with") as refusal:
                model_choices("rcn5", **choices_of(*row))
            assert "\n" not in str(refusal.value)


def test_every_pair_of_choices_learns_or_is_refused():
    """Of what is possible, every pair that occurs at all; and every pair with what is refused beside it."""
    built = 0
    for row in [*all_pairs(BACKBONES, AGGREGATES, TRUNK_POOLS, UNPOOLS[:3]), *LIKE_KINDS]:
        if not possible(*row):
            with pytest.raises(UnknownChoiceError):
                create_model("rcn5", **choices_of(*row))
            continue
        model = create_model("rcn5", **choices_of(*row)).train()
        side = model.minimum_size
        logits = model(torch.rand(2, 1, side + 1, 2 * side) * 255).logits
        logits.square().sum().backward()
        assert logits.isfinite().all()
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
        built += 1
    assert built > 25


#: Poolings that are undone.
LIKE_KINDS = [
    (backbone, aggregate, kind, kind)
    for backbone in ("rcn5", "rcn68")
    for aggregate in ("recombine", "recombine-skip", "unet")
    for kind in ("max", "lift")
]


@pytest.mark.parametrize(
    ("name", "choices", "words"),
    [
        ("rcn5", {"pool": "lfit"}, "nearest: lift"),
        ("rcn5", {"unpool": "bilinera"}, "nearest: bilinear"),
        ("rcn5", {"upsample": "learned"}, "no choice 'upsample'"),
        ("rcn5", {"pool": "own"}, "take pool='max'"),
        ("rcn", {"pool": "strided"}, "take pool='own'"),
        ("rcn5", {"pool_options": {"scale": 1}}, "'max' has no options and was given scale"),
        ("rcn5", {"pool": "strided", "pool_options": {"scale": 1}}, "it has none"),
        ("rcn", {"pool_options": {"scale": 1}}, "it has none"),
        ("rcn5", {"pool": "lift", "pool_options": {"size": 1}}, "does not take these options"),
        ("rcn5", {"pool": "lift", "pool_options": {"stride": 1}}, "a pooling has stride 2"),
        ("rcn5", {"pool": "lift", "pool_options": {"output": "all"}}, "a pooling gives one"),
        ("rcn5", {"pool": "lift", "pool_options": 3}, "a group of the pooling's options"),
        ("rcn", {"backbone": "timm:test_resnet", "pool": "lift", "pool_options": {"where": []}}, "does not take these"),
        ("rcn", {"backbone": "timm:test_vit", "pool": "lift"}, "layers of stride 2 are: none.*take pool='own'"),
        ("rcn5", {"unpool": "lift"}, "take pool='lift'"),
        ("rcn5", {"pool": "lift", "unpool": "max"}, "take pool='max'"),
        ("sumnet5", {"unpool": "bilinear"}, "concatenates nothing"),
        ("fpn", {"unpool": "learned"}, "only U-Nets"),
        ("rcn5", {"aggregate": "fpn", "pool": "lift", "unpool": "lift"}, "take 'bilinear'"),
        ("rcn", {"pool": "lift", "unpool": "lift"}, "inside its blocks"),
        ("rcn68-released", {"pool": "lift"}, "what a max pooling passes on"),
        ("rcn5", {"aggregate": "unet", "unpool": "max", "features": 20}, "20, 20, 20, 20 channels .* 16, 32, 48, 48"),
    ],
)
def test_refusals(name, choices, words):
    with pytest.raises(UnknownChoiceError, match=words) as refusal:
        create_model(name, **choices)
    assert "\n" not in str(refusal.value)


def test_networks_built_directly_refuse_the_same():
    trunk = Trunk(1, (8, 8, 8, 8), "none")
    for make, words in (
        (lambda: RCN(pool="median"), "give one of max, avg"),
        (lambda: RCN(unpool="lift"), "with pool='lift'"),
        (lambda: RCN(pool="avg", zero_nonmax=True), "take pool='max'"),
        (lambda: PyramidNet(trunk, stride=1, aggregate="fpn", unpool="max"), "not possible with FPN"),
        (lambda: PyramidNet(trunk, stride=1, aggregate="sum", unpool="max"), "not possible with ScoreSum"),
        (lambda: PyramidNet(TimmTrunk("test_resnet"), aggregate="unet", unpool="max"), "give the papers' trunk"),
        (lambda: TimmTrunk("test_resnet", pool_options={"scale": 1}), "has no options"),
        (lambda: TimmTrunk("test_resnet", pool="median"), "give one of max"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
