"""What every layer, model, data set and task must do. A test class inherits one of these and says how to make the thing.

class TestMyLayer(LayerContract):
    def make(self):
        return MyLayer()
"""

import copy

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from snellen.config import from_dict
from snellen.data import KeypointDataset, StepBatches, evaluation_loader, training_loader
from snellen.models import KeypointOutput
from snellen.models.base import KeypointNet
from snellen.training.jobs import prepare

#: torch 2.9's exporter takes the evenness of an example's sides for a rule; newer ones leave height and width open.
exports_any_size = pytest.mark.skipif(
    torch.__version__.startswith("2.9"), reason="torch 2.9 exports max pooling for even sides only"
)


def nonzero_gradients(module: nn.Module) -> None:
    """Every trained parameter has a finite gradient that is not zero throughout; every frozen one has none."""
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None, name
            continue
        assert parameter.grad is not None, f"{name} gets no gradient"
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), f"{name} gets a gradient of zeros"


def stirred(model: KeypointNet) -> KeypointNet:
    """Residual blocks start with a batch norm of weight 0, which hides the convolutions before it from the gradient."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return model


class LayerContract:
    """Layers: one tensor (b, channels, h, w) in, one tensor out."""

    channels = 3
    sizes = ((8, 8), (9, 7), (5, 12))

    def make(self) -> nn.Module:
        raise NotImplementedError

    def layer(self) -> nn.Module:
        torch.manual_seed(0)
        return self.make()

    def images(self, batch: int = 2, size: tuple[int, int] = (9, 8)) -> Tensor:
        return torch.randn(batch, self.channels, *size, generator=torch.Generator().manual_seed(1))

    @pytest.mark.parametrize("batch", [0, 1, 2])
    def test_sizes_and_batches(self, batch):
        for size in self.sizes:
            out = self.layer()(self.images(batch, size))
            assert out.shape[0] == batch
            assert out.dtype == torch.float32
            assert out.isfinite().all()

    def test_deterministic_and_input_untouched(self):
        layer, x = self.layer(), self.images()
        before = x.clone()
        assert torch.equal(layer(x), layer(x))
        assert torch.equal(x, before)

    def test_images_do_not_see_each_other(self):
        layer, x = self.layer(), self.images(3)
        torch.testing.assert_close(layer(x)[1:2], layer(x[1:2]))

    def test_every_parameter_and_the_input_get_a_gradient(self):
        layer, x = self.layer(), self.images().requires_grad_()
        layer(x).square().sum().backward()
        nonzero_gradients(layer)
        assert x.grad.isfinite().all()
        assert x.grad.any()

    def test_channels_last(self):
        layer, x = self.layer(), self.images()
        torch.testing.assert_close(layer(x.to(memory_format=torch.channels_last)), layer(x))

    def test_bf16_autocast_is_finite(self):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert self.layer()(self.images()).isfinite().all()

    def test_gradcheck(self):
        x = self.images(1, (5, 6)).double().requires_grad_()
        assert torch.autograd.gradcheck(self.layer().double(), (x,))

    def test_compile_fullgraph(self):
        torch.compiler.reset()  # else the sizes of earlier tests make this one's dynamic, and slow
        layer, x = self.layer(), self.images()
        torch.testing.assert_close(torch.compile(layer, fullgraph=True, backend="eager")(x), layer(x))

    def test_export(self):
        layer = self.layer()
        batch = torch.export.Dim("batch")
        program = torch.export.export(layer, (self.images(),), dynamic_shapes=({0: batch},))
        x = self.images(5)
        torch.testing.assert_close(program.module()(x), layer(x))

    def test_state_survives_saving(self):
        state_survives_saving(self.layer(), self.make())


class ModelContract:
    """Keypoint networks: canvases (b, channels, h, w) of 0..255 in, `KeypointOutput` out."""

    channels = 1
    keypoints = 5
    size = (48, 64)
    sizes = ((48, 48), (51, 83))

    def make(self) -> KeypointNet:
        raise NotImplementedError

    def model(self) -> KeypointNet:
        torch.manual_seed(0)
        return self.make().eval()

    def canvases(self, batch: int = 2, size: tuple[int, int] | None = None) -> Tensor:
        noise = torch.Generator().manual_seed(1)
        return 255 * torch.rand(batch, self.channels, *(size or self.size), generator=noise)

    @pytest.mark.parametrize("batch", [1, 3])
    def test_cells_of_the_logits_cover_the_canvas(self, batch):
        model = self.model()
        for size in (*self.sizes, (model.minimum_size, model.minimum_size)):
            output = model(self.canvases(batch, size))
            assert isinstance(output, KeypointOutput)
            cells = [-(-side // model.stride) for side in size]
            assert output.logits.shape == (batch, self.keypoints, *cells)
            assert output.logits.isfinite().all()

    def test_too_small_a_canvas_is_told_the_size_that_works(self):
        model = self.model()
        with pytest.raises(ValueError, match=f"at least {model.minimum_size}x{model.minimum_size}"):
            model(self.canvases(1, (model.minimum_size - 1, 64)))

    def test_blank_canvas_is_finite(self):
        model = self.model()
        for value in (0.0, 255.0):
            assert model(torch.full_like(self.canvases(), value)).logits.isfinite().all()

    def test_seed_decides_the_weights(self):
        x = self.canvases()
        assert torch.equal(self.model()(x).logits, self.model()(x).logits)

    def test_images_do_not_see_each_other(self):
        model, x = self.model(), self.canvases(3)
        torch.testing.assert_close(model(x[1:2]).logits, model(x).logits[1:2], rtol=1e-4, atol=1e-4)

    def test_every_parameter_gets_a_gradient(self):
        model = self.model().train()
        logits = model(self.canvases()).logits
        (logits * torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
        nonzero_gradients(model)

    def test_groups_hold_every_trained_convolution_once(self):
        model = self.model()
        groups = model.parameter_groups()
        assert list(groups) == ["trunk", "branch", "mixing"]
        ids = [id(p) for group in groups.values() for p in group]
        weights = {id(m.weight) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)}
        assert len(ids) == len(set(ids))
        assert set(ids) - {id(p) for p in groups["mixing"]} == weights

    def test_channels_last(self):
        model, x = self.model(), self.canvases()
        expected = model(x).logits
        model = model.to(memory_format=torch.channels_last)
        torch.testing.assert_close(model(x).logits, expected, rtol=1e-4, atol=1e-4)

    def test_bf16_autocast_is_close(self):
        model, x = self.model(), self.canvases()
        expected = model(x).logits
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(x).logits.float()
        # bfloat16 keeps 8 bits; a wrong formula would be off by the size of the answer itself.
        assert (logits - expected).std() < 0.1 * expected.std()

    def test_compile_fullgraph(self):
        torch.compiler.reset()
        model, x = self.model(), self.canvases()
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(x).logits, model(x).logits)

    def test_export_with_any_batch(self):
        model = self.model()
        shapes = ({0: torch.export.Dim("batch")},)
        program = torch.export.export(model, (self.canvases(),), dynamic_shapes=shapes)
        x = self.canvases(4)
        output = program.module()(x)
        assert isinstance(output, KeypointOutput)
        torch.testing.assert_close(output.logits, model(x).logits, rtol=1e-4, atol=1e-4)

    def test_state_survives_saving(self):
        model, other = self.model(), self.make().eval()
        state_survives_saving(model, other)
        x = self.canvases()
        assert torch.equal(model(x).logits, other(x).logits)

    def test_copies_are_independent(self):
        model = self.model()
        other = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
        assert model(self.canvases()).logits.any()


def state_survives_saving(module: nn.Module, other: nn.Module) -> None:
    """The state dict goes through safetensors into a second one of the same kind, unchanged."""
    loaded = safetensors.torch.load(safetensors.torch.save(module.state_dict()))
    other.load_state_dict(loaded, strict=True)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


class DatasetContract:
    """Keypoint data sets: sized, indexable, the same at every look."""

    def make(self) -> KeypointDataset:
        raise NotImplementedError

    @pytest.fixture
    def data(self):
        return self.make()

    def test_is_a_keypoint_dataset(self, data):
        assert isinstance(data, KeypointDataset)
        assert len(data) == len(data.names) > 0
        assert len(set(data.names)) == len(data)

    def test_samples_are_as_documented(self, data):
        for i in (0, len(data) - 1):
            sample = data[i]
            assert sample.name == data.names[i]
            assert sample.image.dtype == torch.uint8
            assert sample.image.ndim == 3
            assert sample.image.shape[0] in (1, 3)
            assert sample.keypoints.schema == data.schema
            assert sample.keypoints.xy.shape == (len(data.schema), 2)
            assert sample.keypoints.labelled.any()
            assert sample.box.width > 0
            assert sample.box.height > 0

    def test_same_sample_twice_and_from_a_new_instance(self, data):
        first, again, other = data[0], data[0], self.make()[0]
        for sample in (again, other):
            assert torch.equal(first.image, sample.image)
            np.testing.assert_array_equal(first.keypoints.xy, sample.keypoints.xy)
            assert first.box == sample.box

    def test_ends(self, data):
        """Iterating by index stops: an index past the end is an IndexError, as Python's sequences do it."""
        with pytest.raises(IndexError):
            data[len(data)]


class TaskContract:
    """Training tasks: what `settings` describes can be trained, and the loss falls on a batch seen again and again."""

    def settings(self, tmp_path):
        """Nested settings of a run, as in a recipe, on data written below `tmp_path`."""
        raise NotImplementedError

    @pytest.fixture
    def task_and_batches(self, tmp_path):
        job = prepare(from_dict(self.settings(tmp_path)))
        batches = training_loader(job.train_set, StepBatches(len(job.train_set), 8, 2, seed=0))
        logged = {}
        job.task.log = lambda name, value, **_: logged.__setitem__(name, float(torch.as_tensor(value).detach()))
        return job.task, list(batches), list(evaluation_loader(job.val_set, 8)), logged

    def test_step_gives_a_finite_loss_and_every_gradient(self, task_and_batches):
        task, batches, _, logged = task_and_batches
        task.training_step(batches[0], 0).backward()
        nonzero_gradients(task.model)
        assert np.isfinite(logged["train/loss"])

    def test_loss_falls_on_a_batch_seen_again(self, task_and_batches):
        task, batches, _, _ = task_and_batches
        optimiser = torch.optim.AdamW(task.model.parameters(), lr=3e-3)
        losses = []
        for _ in range(25):
            optimiser.zero_grad()
            loss = task.training_step(batches[0], 0)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        assert losses[-1] < 0.8 * losses[0]

    def test_a_validation_logs_the_metrics_that_the_task_names(self, task_and_batches):
        task, _, validation, logged = task_and_batches
        task.model.eval()
        task.on_validation_epoch_start()
        with torch.no_grad():
            for i, batch in enumerate(validation):
                task.validation_step(batch, i)
        task.on_validation_epoch_end()
        assert all(np.isfinite(logged[name]) for name in task.metrics)
        assert logged["val/loss"] > 0
        assert f"{100 * logged[task.metrics[0]]:.2f} %" in task.progress(logged)

    def test_optimiser_holds_every_trained_parameter_once(self, task_and_batches):
        task, _, _, _ = task_and_batches
        made = task.configure_optimizers()
        optimiser = made["optimizer"] if isinstance(made, dict) else made
        held = [id(p) for group in optimiser.param_groups for p in group["params"]]
        assert sorted(held) == sorted(id(p) for p in task.model.parameters() if p.requires_grad)
