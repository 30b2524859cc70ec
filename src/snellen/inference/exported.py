"""Exported keypoint models: ONNX files through onnxruntime, and PyTorch's own .pt2 programs.

Both hold the whole path from the canvas to coordinates and confidences, and in their metadata the card that says how to make
the canvas, so that the file alone is enough.
"""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from snellen.config import ConfigError
from snellen.inference.point_finder import PointFinder
from snellen.inference.shareable import Shareable
from snellen.keypoints.codecs import Decoded

__all__ = ["CARD_KEY", "ExportedFinder", "OnnxFinder", "ProgramFinder", "load_exported"]

#: Where the card stands: the key of ONNX metadata, and the name of the extra file in a .pt2 archive.
CARD_KEY = "snellen.json"


class ExportedFinder(PointFinder, Shareable):
    """An exported model; its `flip` and `decoder` are part of the graph and cannot be changed.

    It is one file that holds everything, so `save_pretrained` and `push_to_hub` refuse it with what to do instead.

    Args:
        path: the file.
        card: its metadata.

    Raises:
        ConfigError: where the metadata are no card of a keypoint model.
    """

    def __init__(self, path: Path, card: dict[str, Any]) -> None:
        try:
            super().__init__(card)
            self.path = path
            if self.channels not in (1, 3) or min(self.canvas) < 1 or not self.radius > 0:
                raise ValueError("a canvas, channels or radius that cannot be")
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else error
            raise ConfigError(
                f"{path} holds metadata that snellen cannot use ({reason}); export the run again: snellen export RUN"
            ) from None

    @property
    def radius(self) -> float:
        """Radius in canvas pixels of the disc whose probability mass is a point's confidence."""
        return float(self.card["decoder"]["radius"]) * float(self.card["stride"])


class OnnxFinder(ExportedFinder):
    """A model in an ONNX file, run by onnxruntime.

    Args:
        path: the file.
        device: "cpu", or "cuda" where onnxruntime has its provider.
        threads: of one run; 0 takes a thread a core.

    Raises:
        ConfigError: for what is no ONNX file of `snellen export`.
        ImportError: where onnxruntime is not installed.
    """

    def __init__(self, path: str | Path, device: str | torch.device | None = None, threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise ImportError(
                "running .onnx files needs onnxruntime; install it with: pip install 'snellen[export]'"
            ) from None
        path, options = Path(path), onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # By itself onnxruntime counts the machine's cores, not those this process may use.
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
        options.intra_op_num_threads = threads or cores
        # Idle threads that spin would take the cores from those that decode.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        wanted = ["CUDAExecutionProvider"] if device is not None and torch.device(device).type == "cuda" else []
        known = set(onnxruntime.get_available_providers())
        providers = [p for p in (*wanted, "CPUExecutionProvider") if p in known]
        try:
            # As bytes, so that messages name the file in our words and no other file beside it is read.
            self.session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=providers)
            card = json.loads(self.session.get_modelmeta().custom_metadata_map[CARD_KEY])
        except (KeyError, ValueError):
            raise ConfigError(
                f"{path} is an ONNX file without snellen's metadata; make it with: snellen export RUN --format onnx"
            ) from None
        except OSError:
            raise
        except Exception:  # onnxruntime's own classes derive from RuntimeError or Exception, by version
            raise ConfigError(f"{path} is not an ONNX file; make it with: snellen export RUN --format onnx") from None
        super().__init__(path, card)

    def locate(self, canvases: Float[Tensor, "b c h w"]) -> Decoded:
        """Points (b, k, 2) in canvas pixels and their confidences (b, k)."""
        xy, confidence = self.session.run(["xy", "confidence"], {"canvas": canvases.float().cpu().contiguous().numpy()})
        return Decoded(torch.from_numpy(xy), torch.from_numpy(confidence))


class ProgramFinder(ExportedFinder):
    """A model in a .pt2 file, run by PyTorch without this library's networks.

    Args:
        path: the file.
        device: where it runs; by default the CPU it was exported on.

    Raises:
        ConfigError: for what is no .pt2 file of `snellen export`, and for archives that hold pickles, which are never read.
    """

    def __init__(self, path: str | Path, device: str | torch.device | None = None) -> None:
        path = Path(path)
        _refuse_pickles(path)
        extra = {CARD_KEY: ""}
        try:
            program = torch.export.load(path, extra_files=extra)
        except (RuntimeError, ValueError, KeyError, AttributeError, TypeError):
            raise ConfigError(
                f"{path} cannot be loaded by torch {torch.__version__}; export it again with this version: "
                "snellen export RUN --format pt2"
            ) from None
        if not extra[CARD_KEY]:
            raise ConfigError(
                f"{path} is a program without snellen's metadata; make it with: snellen export RUN --format pt2"
            )
        try:
            card = json.loads(extra[CARD_KEY])
        except ValueError:
            card = None  # refused as no card
        super().__init__(path, card)
        self.device = torch.device(device or "cpu")
        if self.device.type != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, self.device)
        self.module = program.module()

    @torch.inference_mode()
    def locate(self, canvases: Float[Tensor, "b c h w"]) -> Decoded:
        """Points (b, k, 2) in canvas pixels and their confidences (b, k)."""
        xy, confidence = self.module(canvases.float().to(self.device))
        return Decoded(xy.cpu(), confidence.cpu())


def load_exported(path: str | Path, device: str | torch.device | None = None) -> ExportedFinder:
    """Load a .onnx or .pt2 file by its ending. Errors as `OnnxFinder` and `ProgramFinder`."""
    return OnnxFinder(path, device) if Path(path).suffix.lower() == ".onnx" else ProgramFinder(path, device)


def _refuse_pickles(path: Path) -> None:
    """torch.export.load unpickles what an archive's own lists declare as pickled; ours declare nothing so."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            lists = [json.loads(archive.read(n)) for n in names if n.endswith("_config.json")]
            pickled = any('"use_pickle": true' in json.dumps(values) for values in lists)
    except (zipfile.BadZipFile, ValueError):
        raise ConfigError(f"{path} is not a .pt2 file; make it with: snellen export RUN --format pt2") from None
    if pickled or any("custom_obj" in n or "opaque" in n for n in names):
        raise ConfigError(
            f"{path} holds pickled objects, which are never read; make it with: snellen export RUN --format pt2"
        )
    if not any(n.endswith("archive_format") for n in names):
        raise ConfigError(f"{path} is not a .pt2 file; make it with: snellen export RUN --format pt2")
