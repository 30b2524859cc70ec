"""Naming the file that could not be written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["writing"]


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Give an error of the system the name of the file being written, where it has none: a full disk says no name.

    Args:
        path: what the user calls the file, not the temporary name it is written under.

    Raises:
        OSError: what is raised inside, with `filename`.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
