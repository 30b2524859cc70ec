"""By what a call of `snellen predict` is known again, so that it goes on with its own progress and with no other's."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from snellen.inference.sources import Source
from snellen.models.shipped import shipped_folder, shipped_names

__all__ = ["files_fingerprint", "model_fingerprint", "sources_fingerprint"]


def model_fingerprint(run: str | Path) -> str:
    """Changes with the weights and the card of a run folder, an exported file or shipped weights.

    >>> model_fingerprint("wings-rcn") == model_fingerprint(shipped_folder("wings-rcn"))
    True
    """
    folder = Path(run)
    if not folder.exists() and str(run) in shipped_names():
        folder = shipped_folder(str(run))
    files = [folder / "model.safetensors", folder / "model.json"] if folder.is_dir() else [folder]
    return files_fingerprint(files) if all(file.is_file() for file in files) else str(run)


def files_fingerprint(files: Iterable[Path]) -> str:
    """Changes with the content of any of the files."""
    digests = []
    for path in files:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").digest())
    return _short(digests)


def sources_fingerprint(sources: Sequence[Source]) -> str:
    """Changes with the files' names, their order, and the folder that relative names count from."""
    return _short(os.fsencode(f"{s.name}\0{os.path.abspath(s.path)}\0") for s in sources)


def _short(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]
