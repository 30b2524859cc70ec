"""Files that are there whole or not at all, and naming the one that could not be written."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["identity", "is_one_of", "whole_file", "writing"]


def identity(path: str | Path) -> tuple[int, int] | None:
    """What tells a file from all others, whatever names and links lead to it; None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # what is no name of a file
        return None
    return found.st_dev, found.st_ino


def is_one_of(path: Path, read: Iterable[str | Path]) -> bool:
    """Whether a file is there and one of others, which writing it would replace.

    >>> is_one_of(Path("nowhere"), ["nowhere"])
    False
    """
    own = identity(path)
    return own is not None and any(identity(other) == own for other in read)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Give an error of the system the name of the file being written, where it has none: a full disk says no name.

    Names with the number of this process in them are those of temporary files, of which nobody has heard: they are replaced.

    Args:
        path: what the user calls the file, not the temporary name it is written under.

    Raises:
        OSError: what is raised inside, with `filename`.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None or f".{os.getpid()}." in str(error.filename):
            error.filename = str(path)
        raise


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name to write a file under, with its ending; it is renamed at the end, and removed where something fails.

    Args:
        path: the file.

    Raises:
        OSError: what is raised inside, naming `path`.
    """
    # Cut, as names have a longest length.
    temporary = path.with_name(f".{path.stem[:40]}.{os.getpid()}.tmp{path.suffix}")
    with writing(path):
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
