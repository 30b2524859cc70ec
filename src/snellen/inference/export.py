"""Write a keypoint model as one file that needs nothing of this library, and prove that it answers the same.

The graph goes from canvases (b, channels, height, width), float32 in 0..255, to ``xy`` (b, k, 2) in canvas pixels and
``confidence`` (b, k): contrast normalisation, network, the mirror image where the run averages with it, softmax and decoding
are inside, any batch size. The metadata hold the card. docs/export.md says how a canvas is made from a picture.
"""

import io
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from snellen.config import ConfigError, nearest
from snellen.config.writing import writing
from snellen.geometry import Box, box_map
from snellen.inference.crops import full_size
from snellen.inference.exported import CARD_KEY, ExportedFinder, load_exported
from snellen.inference.localiser import Localiser
from snellen.inference.pictures import Picture, image_tensor
from snellen.inference.version import library_version

__all__ = ["FORMATS", "TOLERANCE", "Exported", "export_model", "sample_canvases"]

FORMATS = ("onnx", "pt2")
#: Canvas pixels that an exported file may differ from PyTorch at a point.
TOLERANCE = 0.05
#: Of so many points one may differ by more: where two cells of a map are equally likely to many digits, chance decides
#: between them, in PyTorch too.
TIES = 1000
#: Of several opsets whose GridSample and Resize differ, the one that most runtimes read.
OPSET = 18


@dataclass(frozen=True)
class Exported:
    """What `export_model` wrote and measured.

    Attributes:
        path: the file.
        difference: largest distance in canvas pixels of a point from PyTorch's answer, over all samples.
        confidence_difference: largest difference of a confidence.
        samples: how many canvases were compared.
        points: how many points.
    """

    path: Path
    difference: float
    confidence_difference: float
    samples: int
    points: int


class _Graph(nn.Module):
    """What is exported: a localiser as a module with tensors at both ends."""

    def __init__(self, localiser: Localiser) -> None:
        super().__init__()
        self.network = localiser.model  # so that its weights are this module's
        self.find = localiser.find

    def forward(self, canvas: Float[Tensor, "b c h w"]) -> tuple[Tensor, Tensor]:
        found = self.find(canvas)
        return found.xy, found.confidence


def export_model(
    localiser: Localiser,
    out: str | Path,
    *,
    format: str = "onnx",
    samples: Float[Tensor, "n c h w"],
    opset: int = OPSET,
    tolerance: float = TOLERANCE,
) -> Exported:
    """Write a model and compare the file with PyTorch on real samples; nothing is left behind where they differ.

    Args:
        localiser: the model; its `flip` and decoder become part of the graph.
        out: the file to write.
        format: "onnx", or "pt2" for torch.export's archive.
        samples: canvases of 0..255 as the model sees them, see `sample_canvases`.
        opset: of ONNX.
        tolerance: largest distance allowed, canvas pixels, but for one point in `TIES`.

    Raises:
        ConfigError: for an unknown format, a canvas that cannot be averaged with its mirror image, and where the file's answers
            differ by more than `tolerance`, see above.
    """
    if format not in FORMATS:
        raise ConfigError(f"there is no export format {format!r}{nearest(format, FORMATS)}; take onnx or pt2")
    if format == "onnx" and opset < OPSET:
        raise ConfigError(f"--opset {opset} is not possible; graphs need {OPSET} or later")
    path = Path(out)
    localiser = Localiser(localiser.model.cpu().float().to(memory_format=torch.contiguous_format), _card(localiser))
    reference = localiser.locate(samples)
    # Two different images, so that no size is taken for a constant.
    example = samples[:2] if len(samples) > 1 else samples.repeat(2, 1, 1, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The ending stays, since it says what a file is.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp.{format}")
    try:
        with writing(path):
            _write(_Graph(localiser).eval(), example, temporary, format, localiser.card, opset)
        written = load_exported(temporary)
        found = _in_batches(written, samples)
        distances = (found[0] - reference.xy).norm(dim=-1).flatten().sort(descending=True).values
        distance = float(distances[0])  # what is no number comes first
        beyond = float(distances[len(distances) // TIES]) if math.isfinite(distance) else distance
        other = float((found[1] - reference.confidence).abs().max())
        if not beyond <= tolerance:
            raise ConfigError(
                f"the exported file differs from PyTorch by {beyond:.3f} px at a point, over the limit of {tolerance:g}; "
                "nothing was written; try the other --format, or another --opset"
            )
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return Exported(path, distance, other, len(samples), int(reference.confidence.numel()))


def sample_canvases(
    localiser: Localiser, pictures: Sequence[Picture], boxes: Sequence[Box] | None = None
) -> Float[Tensor, "n c h w"]:
    """Canvases of pictures, each at its box or whole."""
    canvases = []
    for i, picture in enumerate(pictures):
        image = full_size(image_tensor(picture, localiser.channels, localiser.reader))
        box = boxes[i] if boxes else Box(0, 0, image.size[1], image.size[0])
        canvases.append(image.canvas(box_map(box, localiser.canvas), localiser.canvas))
    return torch.from_numpy(np.stack(canvases))


def _card(localiser: Localiser) -> dict[str, Any]:
    """The card of the exported file: the run's, with what its reader needs to know of the graph."""
    decoder = localiser.card["decoder"] | {"method": localiser.decoder, "flip": localiser.flip}
    contrast = localiser.model.preprocess
    return localiser.card | {
        "task": "keypoints",
        "decoder": decoder,
        "stride": localiser.stride,
        "graph": {
            "input": "canvas: float32 (batch, channels, height, width), 0..255, RGB or grey",
            "outputs": ["xy: (batch, points, 2), canvas pixels, corner (0, 0)", "confidence: (batch, points), 0..1"],
            "normalisation": f"{contrast.contrast}, inside the graph",
        },
        "snellen": library_version(),
        "torch": torch.__version__,
    }


def _write(graph: nn.Module, example: Tensor, path: Path, format: str, card: dict[str, Any], opset: int) -> None:
    shapes = {"canvas": {0: torch.export.Dim("batch")}}
    with torch.no_grad():
        program = torch.export.export(graph, (example,), dynamic_shapes=shapes)
        if format == "pt2":
            # The example is somebody's photograph, and source lines name folders of this machine: neither is part of the file.
            program._example_inputs = None
            for node in program.graph.nodes:
                node.meta.pop("stack_trace", None)
            archive = io.BytesIO()  # a path would become the name of the archive's root
            torch.export.save(program, archive, extra_files={CARD_KEY: json.dumps(card)})
            path.write_bytes(archive.getvalue())
            return
        try:
            import onnx
            import onnxscript  # noqa: F401 (torch.onnx needs it and would say so at length)
        except ImportError:
            raise ImportError(
                "writing .onnx files needs onnx and onnxscript; install: pip install 'snellen[export]'"
            ) from None
        made = torch.onnx.export(
            program, (), dynamo=True, opset_version=opset, input_names=["canvas"], output_names=["xy", "confidence"],
            verbose=False,
        )  # fmt: skip
        assert made is not None
        proto = made.model_proto
    written = next(entry.version for entry in proto.opset_import if entry.domain == "")
    if written != opset:
        raise ConfigError(
            f"--opset {opset} is not possible with torch {torch.__version__}; give {OPSET} or somewhat more"
        )
    onnx.helper.set_model_props(proto, {CARD_KEY: json.dumps(card), **_plain(card)})
    proto.producer_name, proto.producer_version = "snellen", library_version()
    # No traces of the machine that wrote it: torch notes the source line of every node.
    for node in proto.graph.node:
        del node.metadata_props[:]
    path.write_bytes(proto.SerializeToString())


def _plain(card: dict[str, Any]) -> dict[str, str]:
    """The metadata that a viewer such as Netron shows at a glance."""
    return {
        "points": ", ".join(card["schema"]["points"]),
        "canvas": "x".join(str(side) for side in card["canvas"]) + " (height x width)",
        "channels": str(card["channels"]),
        "normalisation": card["graph"]["normalisation"],
        "grey_range": " to ".join(f"{value:g}" for value in card.get("grey_range") or (0, 65535)) + " of 16-bit grey",
        "licence": card.get("licence", ""),
        "terms": card.get("terms", ""),
        "version": card["snellen"],
    }


def _in_batches(finder: ExportedFinder, canvases: Tensor, size: int = 5) -> tuple[Tensor, Tensor]:
    """Answers in batches of another size than the example's, the last one shorter: the batch must be free."""
    parts = [finder.locate(part) for part in canvases.split(size)]
    return torch.cat([p.xy for p in parts]), torch.cat([p.confidence for p in parts])
