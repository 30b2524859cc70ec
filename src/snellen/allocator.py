"""What the C library does with memory that was given back.

A training step on the CPU asks for the same large blocks as the one before. By default glibc maps each of them from the system
and returns it at once, so every step pays for touching fresh pages. `keep_freed_memory` makes
it keep them.
"""

import ctypes
import sys

__all__ = ["keep_freed_memory"]

#: Parameters of glibc's mallopt(3).
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
#: Free bytes at the end of the heap from which it is shrunk (the most that an int holds), and bytes by which it grows.
NEVER, GROWTH = 2**31 - 1, 64 << 20


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory for the next request instead of returning it to the system, for this process.

    The command line does so for its own processes, and no import does: a library must not decide this for a program. Call it
    once at the start of a program that trains or predicts on the CPU. The process then holds on to its peak; where that
    matters, leave it. Other C libraries (macOS, Windows, musl) are left as they are.

    Returns:
        Whether it was told.

    >>> import platform
    >>> keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
    True
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    # musl and bionic have no mallopt, or one that knows other parameters.
    if not (hasattr(library, "mallopt") and hasattr(library, "gnu_get_libc_version")):
        return False
    wanted = ((MMAP_MAX, 0), (TRIM_THRESHOLD, NEVER), (TOP_PAD, GROWTH))
    return all(library.mallopt(parameter, value) == 1 for parameter, value in wanted)
