"""`snellen export`: a run as one file, compared with PyTorch on the run's own validation images or on named pictures."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from snellen.config import AugmentConfig, ConfigError, KeypointConfig, nearest
from snellen.data import CanvasDataset, build_dataset
from snellen.data.views import InMemory, spread
from snellen.data.wings import Wings
from snellen.inference.export import FORMATS, OPSET, Exported, export_model, sample_canvases
from snellen.inference.loading import joint_weight, load_joint, load_localiser
from snellen.inference.localiser import Localiser
from snellen.inference.sources import expand
from snellen.training.runs import RunFolder

__all__ = ["export_run"]

#: Images that an exported file is compared on.
SAMPLES = 32


def export_run(
    run: str | Path,
    out: str | Path | None = None,
    *,
    format: str = "onnx",
    samples: Sequence[str | Path] = (),
    data: str | None = None,
    flip: bool | None = None,
    opset: int = OPSET,
    denoiser: str | Path | None = None,
    denoiser_weight: float | None = None,
) -> Exported:
    """Export a keypoint model and compare the file with PyTorch.

    Args:
        run: a run folder or the name of shipped weights.
        out: the file; by default RUN/model.onnx or model.pt2, for shipped weights NAME.onnx here.
        format: "onnx" or "pt2".
        samples: pictures to compare on, as files, folders or patterns, shown whole; by default the run's validation images,
            each at its box, and drawn wings for a model of wings.
        data: folder of the run's data, where it is not the one of the training.
        flip: whether the mirror image is part of the graph; by default as trained.
        opset: of ONNX.
        denoiser: run of a denoiser that becomes part of the graph.
        denoiser_weight: of its logits; by default the paper's 1.

    Raises:
        ConfigError: for a model without keypoints, a denoiser of other points, where there are no images to compare on, and
            where the answers differ.
    """
    if format not in FORMATS:
        raise ConfigError(f"there is no export format {format!r}{nearest(format, FORMATS)}; take onnx or pt2")
    joined = joint_weight(denoiser, denoiser_weight)
    localiser = (
        load_localiser(run, "cpu") if denoiser is None else load_joint(run, denoiser, weight=joined, device="cpu")
    )
    if flip is not None:
        localiser.flip = flip
    folder = Path(run)
    path = Path(out) if out else folder / f"model.{format}" if folder.is_dir() else Path(f"{folder.name}.{format}")
    if path.suffix != f".{format}":
        raise ConfigError(
            f"{path} should end in .{format}, since the ending says how it is read; change --out or --format"
        )
    canvases = _named(localiser, samples) if samples else _own(localiser, folder, data)
    return export_model(localiser, path, format=format, samples=canvases, opset=opset)


def _named(localiser: Localiser, files: Sequence[str | Path]) -> Tensor:
    sources = [source for source in expand(files) if not source.video]
    if not sources:
        raise ConfigError("--samples names videos alone; give pictures")
    return sample_canvases(localiser, [sources[i].path for i in spread(len(sources), SAMPLES)])


def _own(localiser: Localiser, folder: Path, data: str | None) -> Tensor:
    if (folder / "config.yaml").is_file():
        config = RunFolder(folder).config()
        assert isinstance(config, KeypointConfig)
        if data:
            config = replace(config, data=replace(config.data, root=data))
        dataset = build_dataset(config.data, "val")
    elif localiser.schema.name == "wings-12":
        dataset = InMemory(Wings(SAMPLES, seed=2), channels=localiser.channels)
    else:
        raise ConfigError(f"{folder} has no images of its own to compare on; name some with --samples")
    canvases = CanvasDataset(dataset, localiser.canvas, AugmentConfig(), seed=0)
    return torch.stack([canvases[i]["image"] for i in spread(len(dataset), SAMPLES)])
