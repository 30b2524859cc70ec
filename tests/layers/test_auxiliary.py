import copy
import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

import processes
from snellen.layers import LiftDown2d, LiftDown3d, auxiliary_losses
from snellen.layers.lift_pool import REGULARISER_WEIGHTS


def images(batch=4, channels=4, size=(8, 7), seed=1):
    return torch.randn(batch, channels, *size, dtype=torch.double, generator=torch.Generator().manual_seed(seed))


def layer_of(**choices):
    torch.manual_seed(0)
    return LiftDown2d(4, **choices).double()


def means(model, x):
    with auxiliary_losses(model) as aux:
        model(x)
    return {name: value.item() for name, value in aux.means().items()}


class Twice(nn.Module):
    """The same layer on two maps, checkpointed or not."""

    def __init__(self, how=None, **choices):
        super().__init__()
        self.layer, self.how = layer_of(**choices), how

    def forward(self, x):
        run = self.layer if self.how is None else lambda y: checkpoint(self.layer, y, use_reentrant=self.how)
        return run(run(x))


def gradients(model, x, run=None):
    model.zero_grad()
    with auxiliary_losses(model) as aux:
        y = (model if run is None else run)(x)
    (y.square().mean() + aux.total({"lift/update": 0.3, "lift/predict": 0.7})).backward()
    return [p.grad.clone() for p in model.parameters()]


# --- values


@pytest.mark.parametrize("memory", ["recompute", "autograd"])
@pytest.mark.parametrize("reduction", ["mean_square", "norm"])
def test_hand_computed(memory, reduction):
    """lift.md 8, on a 1x1x2x2 map with P = U = 0: [[1, 4], [2, 8]]."""
    layer = LiftDown2d(1, zero_init=True, memory=memory, reduction=reduction)
    found = means(layer, torch.tensor([[[[1.0, 4.0], [2.0, 8.0]]]]))
    # Along W: s = (1, 2), d = o = (4, 8). Along H: of s: s = 1, d = o = 2; of d: s = 4, d = o = 8.
    if reduction == "mean_square":
        update, predict = (((1 - 4) ** 2 + (2 - 8) ** 2) / 2, (1 - 2) ** 2, (4 - 8) ** 2), ((16 + 64) / 2, 4, 64)
    else:
        update, predict = ((9 + 36) ** 0.5, 1, 4), (80**0.5, 2, 8)
    assert found["lift/update"] == pytest.approx(sum(update) / 3)
    assert found["lift/predict"] == pytest.approx(sum(predict) / 3)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("reduction", ["mean_square", "norm"])
def test_both_forms_have_the_same_losses_and_gradients(shared, reduction):
    results = []
    for memory in ("recompute", "autograd"):
        layer = layer_of(shared=shared, reduction=reduction, memory=memory)
        x = images().requires_grad_()
        results.append((means(layer, x), [*gradients(layer, x), x.grad]))
    (by_hand, grads), (plain, plain_grads) = results
    assert by_hand == pytest.approx(plain)
    for a, b in zip(grads, plain_grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_mean_squares_do_not_grow_with_the_map_and_norms_do():
    for layer_type, size in ((LiftDown2d, (30, 31)), (LiftDown3d, (8, 6, 10))):
        layer = layer_type(4, zero_init=True).double()
        found = means(layer, images(8, size=size))
        assert found["lift/update"] == pytest.approx(2, rel=0.15)  # of white noise with variance 1
        assert found["lift/predict"] == pytest.approx(1, rel=0.15)
        layer.reduction = "norm"
        assert means(layer, images(8, size=size))["lift/predict"] > 20


@pytest.mark.parametrize("reduction", ["mean_square", "norm"])
def test_nothing_to_predict_has_finite_gradients(reduction):
    layer, x = layer_of(reduction=reduction), torch.zeros_like(images()).requires_grad_()
    assert all(g.isfinite().all() for g in gradients(layer, x))
    assert x.grad.isfinite().all()


# --- the collector


def test_nothing_is_computed_outside(monkeypatch):
    layer = layer_of()
    monkeypatch.setattr(type(layer), "_losses", lambda *_: pytest.fail("computed"))
    layer(images())
    layer.eval()
    assert means(layer, images()) == {}
    with auxiliary_losses(nn.ReLU()) as aux:
        pass
    assert aux.total(REGULARISER_WEIGHTS) == 0


def test_a_module_called_twice_is_two_layers():
    x, layer = images(), layer_of()
    first, second = means(layer, x), means(layer, layer(x))
    both = means(Twice(), x)
    assert both == pytest.approx({name: (first[name] + second[name]) / 2 for name in first})
    with auxiliary_losses(layer) as aux:
        layer(x)
        assert aux.means()["lift/update"].item() == pytest.approx(first["lift/update"])
        layer(layer(x).detach().repeat(1, 1, 2, 2))
    assert layer.auxiliary.total is None
    copy.deepcopy(layer)


def test_total_needs_every_weight():
    with auxiliary_losses(layer_of()) as aux:
        assert aux.total({}) == 0
    layer = layer_of()
    with auxiliary_losses(layer) as aux:
        layer(images())
    with pytest.raises(
        ValueError, match="'lift/predict' was recorded and has no weight; weights are given for 'lift/update'"
    ):
        aux.total({"lift/update": 1})
    expected = sum(REGULARISER_WEIGHTS[name] * value for name, value in aux.means().items())
    torch.testing.assert_close(aux.total(REGULARISER_WEIGHTS), expected)


def test_one_collector_at_a_time_also_after_an_error():
    layer = layer_of()
    with auxiliary_losses(layer), pytest.raises(ValueError, match="being collected already"), auxiliary_losses(layer):
        pass
    with pytest.raises(ZeroDivisionError), auxiliary_losses(layer):
        raise ZeroDivisionError
    assert not layer.auxiliary.open


@pytest.mark.parametrize("memory", ["recompute", "autograd"])
def test_checkpointing_counts_once(memory):
    x = images()
    plain, kept = Twice(memory=memory), Twice(how=False, memory=memory)
    assert means(kept, x) == pytest.approx(means(plain, x))
    for a, b in zip(gradients(plain, x), gradients(kept, x), strict=True):
        torch.testing.assert_close(a, b)
    kept(x).sum().backward()  # without a collector the second run has nothing to compute either
    # Backward inside the block.
    with auxiliary_losses(kept) as aux:
        kept(x).sum().backward()
        assert aux._collect()[0][1][-1] == 2


def test_reentrant_checkpointing_is_refused():
    model = Twice(how=True)
    with pytest.raises(RuntimeError, match="use_reentrant=False"):
        gradients(model, images().requires_grad_())


def test_compiled():
    """The same values in one graph, which serves every step."""
    torch.compiler.reset()
    model, x = Twice(), images()
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, fullgraph=True, backend=backend)
    expected, expected_gradients = means(model, x), gradients(model, x)
    for _ in range(3):
        with auxiliary_losses(compiled) as aux:
            compiled(x)
        assert {k: v.item() for k, v in aux.means().items()} == pytest.approx(expected)
        for a, b in zip(gradients(model, x, compiled), expected_gradients, strict=True):
            torch.testing.assert_close(a, b)
    assert len(graphs) == 1
    compiled(x)
    assert len(graphs) == 2  # without a collector
    assert model.layer.auxiliary.total is None


def train_on_a_part(rank, file, results):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    model = DistributedDataParallel(Twice())
    results[rank] = gradients(model, images().chunk(2)[rank])
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available() or os.name == "nt", reason="needs torch.distributed with gloo")
def test_two_processes_are_one_batch(tmp_path):
    """The regularisers' gradient of both halves, averaged, is that of the whole batch."""
    with mp.Manager() as manager:
        results = manager.dict()
        arguments = (tmp_path / "rendezvous", results)
        mp.start_processes(train_on_a_part, arguments, nprocs=2, start_method=processes.SERVER.get_start_method())
        parts = [results[0], results[1]]
    for first, second, whole in zip(*parts, gradients(Twice(), images()), strict=True):
        torch.testing.assert_close(first, second)
        torch.testing.assert_close(first, whole)
