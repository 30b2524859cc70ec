"""Keeping delicate steps in float32 under autocast."""

from contextlib import AbstractContextManager, nullcontext

import torch

__all__ = ["no_autocast"]


def no_autocast(device_type: str) -> AbstractContextManager[object]:
    """Autocast off; a context only where it is on, so that exported graphs stay flat.

    >>> with torch.autocast("cpu", dtype=torch.bfloat16), no_autocast("cpu"):
    ...     (torch.zeros(1, 1) @ torch.zeros(1, 1)).dtype
    torch.float32
    """
    # Networks without numbers ("meta") are run for their shapes, and have no autocast to ask for.
    if device_type != "meta" and torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()
