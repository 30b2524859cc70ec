"""The verbs of huggingface_hub's ModelHubMixin as methods of loaded models.

The mixin itself would make huggingface_hub a dependency of inference, and wants a config.json beside model.json; the methods do
the same through `snellen.inference.sharing`, which speaks to the hub only where a name is no folder here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import torch

from snellen.config import ConfigError

if TYPE_CHECKING:
    from snellen.inference.loading import Loaded

__all__ = ["Shareable"]


class Shareable:
    """A loaded model that can be saved as a folder, loaded from one, and put on the Hugging Face hub."""

    def save_pretrained(self, folder: str | Path, *, name: str = "", facts: Mapping[str, str] | None = None) -> Path:
        """Write weights, model.json and a card, see `snellen.inference.sharing.save_pretrained`."""
        from snellen.inference import sharing

        return sharing.save_pretrained(cast("Loaded", self), folder, name=name, facts=facts)

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, revision: str | None = None, device: str | torch.device | None = None, **hub: Any
    ) -> Self:
        """A folder, shipped name, or repository "owner/name" of the hub, see `snellen.inference.sharing.from_pretrained`.

        Raises:
            ConfigError: where there is no such model, or it is one for another task.
        """
        from snellen.inference import sharing

        found = sharing.from_pretrained(name, revision=revision, device=device, **hub)
        if not isinstance(found, cls):
            raise ConfigError(f"{name} is a {type(found).__name__}, not a {cls.__name__}; take snellen.load")
        return found

    def push_to_hub(
        self, repository: str, *, private: bool = False, message: str = "Upload a snellen model", **hub: Any
    ) -> str:
        """Put the model on the hub and answer the commit's address, see `snellen.inference.sharing.push_to_hub`."""
        from snellen.inference import sharing

        return sharing.push_to_hub(cast("Loaded", self), repository, private=private, **hub)
