"""Layers while their multiply-adds are counted.

A counter sees torch's convolutions and matrix products. A quick form may have none of a definition's, or more than it.
"""

import contextlib
from collections.abc import Iterator

__all__ = ["is_counting", "plain_operations"]

_counting = False


@contextlib.contextmanager
def plain_operations() -> Iterator[None]:
    """Run layers as they are defined, by torch's own operations; for counting, not for speed."""
    global _counting
    before, _counting = _counting, True
    try:
        yield
    finally:
        _counting = before


def is_counting() -> bool:
    """Whether this is inside of `plain_operations`."""
    return _counting
