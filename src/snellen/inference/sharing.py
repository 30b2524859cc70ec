"""Trained models as folders to hand on: saved, loaded again, on the Hugging Face hub, each with a card for people.

A folder holds model.safetensors, model.json and README.md, the card. The hub is only spoken to where a name is no folder here,
through huggingface_hub (part of ``pip install 'snellen[train]'``), whose cache and HF_HUB_OFFLINE are honoured.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save

from snellen.config import ConfigError
from snellen.inference.exported import ExportedFinder
from snellen.inference.loading import Loaded, load
from snellen.inference.version import library_version
from snellen.models import JointNet

__all__ = ["from_pretrained", "model_card", "push_to_hub", "save_pretrained"]

#: All that is loaded; whatever else a repository holds is never fetched.
_FILES = ("model.safetensors", "model.json", "README.md")


def save_pretrained(
    model: Loaded, folder: str | Path, *, name: str = "", facts: Mapping[str, str] | None = None
) -> Path:
    """Write a model's folder: weights, what deployment needs, and a card.

    Args:
        model: what `snellen.load` answered.
        folder: a new or an empty folder, or one that holds an earlier version.
        name: what the card calls the model; by default the folder's name.
        facts: sections of the card beside the generated ones, title to text.

    Returns:
        The folder, which `snellen.load` reads.

    Raises:
        ConfigError: for an exported file, which is a single file already, and for a model joined with a denoiser.
    """
    if isinstance(model, ExportedFinder):
        raise ConfigError(f"{model.path} is one file that holds everything; copy it, or save the run it was made from")
    if isinstance(model.model, JointNet):
        raise ConfigError(
            "this model is joined with a denoiser, and a folder holds one of the two; save each of them, or write both as one "
            "file: snellen export RUN --denoiser RUN2"
        )
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; give the name of a folder")
    folder.mkdir(parents=True, exist_ok=True)
    card = {
        **model.card,
        "model": {"name": model.model.name, "choices": model.model.choices},
        "snellen": library_version(),
    }
    with TemporaryDirectory(dir=folder, prefix=".saving-") as temporary:
        written = Path(temporary)
        weights = {key: value.detach().cpu().contiguous() for key, value in model.model.state_dict().items()}
        (written / "model.safetensors").write_bytes(save(weights))
        (written / "model.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        (written / "README.md").write_text(model_card(card, name or folder.name, facts), encoding="utf-8")
        # model.json last: its presence says that the folder is whole.
        for file in ("README.md", "model.safetensors", "model.json"):
            (written / file).replace(folder / file)
    return folder


def from_pretrained(
    name: str | Path, *, revision: str | None = None, device: str | torch.device | None = None, **hub: Any
) -> Loaded:
    """Load a model from a folder, by a shipped name, or from the Hugging Face hub.

    Args:
        name: a folder, a name of `snellen models --pretrained`, or a repository "owner/name" of the hub.
        revision: branch, tag or commit of the repository.
        device: where it runs.
        **hub: further arguments of huggingface_hub.snapshot_download: cache_dir, token, local_files_only, ...

    Raises:
        ConfigError: where it is none of these, or the hub cannot be reached and the cache does not hold it.
    """
    path = Path(name)
    if path.exists() or str(name).count("/") != 1:
        return load(name, device)
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(str(name), revision=revision, allow_patterns=list(_FILES), **hub)
    except (OSError, ValueError) as error:  # the hub's errors derive from these
        first = " ".join(str(error).split())[:200]
        raise ConfigError(f"{name} is no folder here and cannot be had from the Hugging Face hub ({first})") from None
    return load(found, device)


def push_to_hub(
    model: Loaded, repository: str, *, private: bool = False, message: str = "Upload a snellen model", **hub: Any
) -> str:
    """Put a model on the Hugging Face hub, as the user whom `hf auth login` knows.

    Args:
        model: what `snellen.load` answered.
        repository: "owner/name", made where it does not exist.
        private: whether a new repository is.
        message: of the commit.
        **hub: further arguments of huggingface_hub.HfApi: token, endpoint.

    Returns:
        The commit's address.
    """
    from huggingface_hub import HfApi

    hub_api = HfApi(library_name="snellen", library_version=library_version(), **hub)
    with TemporaryDirectory() as temporary:
        folder = save_pretrained(model, temporary, name=repository.rpartition("/")[2])
        hub_api.create_repo(repository, private=private, exist_ok=True)
        done = hub_api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message)
    return str(done)


def model_card(card: Mapping[str, Any], name: str, facts: Mapping[str, str] | None = None) -> str:
    """README.md of a model, from its model.json.

    Args:
        card: what model.json holds.
        name: of the model.
        facts: further sections, title to text.
    """
    terms, licence = card.get("terms", ""), card.get("licence", "")
    task = card.get("task", "keypoints")
    tag = {"keypoints": "keypoint-detection", "classification": "image-classification",
           "segmentation": "image-segmentation", "super-resolution": "image-to-image"}.get(task, "")  # fmt: skip
    head = {
        "library_name": "snellen",
        "license": _hub_licence(licence, terms),
        "pipeline_tag": tag,
        "tags": f"[snellen, {task}]",
    }
    height, width = card["canvas"]
    lines = ["---", *(f"{key}: {value}" for key, value in head.items() if value), "---", "", f"# {name}", ""]
    lines += [
        f"A {task} model of snellen, {card['model']['name']!r} with "
        f"{card.get('parameters', 0):,} parameters, trained by the recipe `{card.get('recipe', '')}`.",
        "", "```python", "import snellen", "", f'model = snellen.load("{name}")  # or the path of this folder',
        'answer = model.predict("picture.jpg")[0]', "```", "", "## What it sees", "",
        f"A canvas of {height} x {width} pixels (height x width), "
        f"{'grey' if card['channels'] == 1 else 'colour'}, values 0 to 255; the network normalises it.",
    ]  # fmt: skip
    if card.get("grey_range"):
        low, high = card["grey_range"]
        lines.append(f"Of 16-bit pictures the grey values from {low:g} (black) to {high:g} (white) are shown.")
    if "box" in card:
        lines.append(
            "It shows the whole picture." if card["box"]["rule"] == "image"
            else f"It shows a box around the object (rule {card['box']['rule']!r}, scale {card['box']['scale']:g})."
        )  # fmt: skip
    if "schema" in card:
        schema = card["schema"]
        lines += ["", "## Points", "", f"{schema.get('description', '')}".strip(), "", ", ".join(schema["points"])]
    if "classes" in card:
        lines += ["", "## Classes", "", ", ".join(card["classes"])]
    for title, text in (facts or {}).items():
        lines += ["", f"## {title}", "", text]
    lines += [
        "",
        "## Licence and terms",
        "",
        f"Weights: {licence or 'not stated'}. {terms[:1].upper()}{terms[1:]}".strip(),
        "",
    ]
    return "\n".join(lines)


def _hub_licence(licence: str, terms: str) -> str:
    """The hub's own word for a licence: "other" where terms stand beside it."""
    return "other" if terms or not licence else licence.lower()
