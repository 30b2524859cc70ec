"""How much memory this process has needed."""

import re
import sys
from pathlib import Path

import torch

__all__ = ["peak_memory"]


def peak_memory() -> int:
    """The most memory that this process has held so far, bytes: torch's on the GPU where it used one, else all of its own
    main memory (its libraries included, its data workers not).

    Linux keeps the number of the process itself; what `getrusage` gives there may be that of the process that started it.

    >>> peak_memory() > 1_000_000
    True
    """
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    found = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.M) if status.exists() else None
    if found:
        return 1024 * int(found[1])
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
