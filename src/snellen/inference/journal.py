"""Answers on their way to a file: appended and synced as they come, so that a run that stops can go on where it was.

`OUT.part` begins with a line that says what is being done (model, settings) and holds one JSON line an answer. The file OUT
itself is written at the end, under a temporary name, and renamed: it is there whole or not at all.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from snellen.config import ConfigError
from snellen.config.writing import writing

__all__ = ["Journal"]

#: Seconds between two syncs to the disk: what a power cut may cost.
_SYNC = 2.0


class Journal:
    """The progress file of an output; a context manager that leaves the file where something stops it.

    Args:
        out: the file that will be written in the end.
        task: what is being done, JSON-able; progress of another task is refused.
        restart: throw earlier progress away.

    Attributes:
        resumed: whether there is an earlier call's progress to go on with.

    Raises:
        ConfigError: where earlier progress is of another task, or the folder cannot be written to.
    """

    def __init__(self, out: Path, task: dict[str, Any], *, restart: bool = False) -> None:
        self.out, self.path = out, out.with_name(out.name + ".part")
        self._synced = time.monotonic()
        self._answered = self.resumed = False
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            if restart:
                self.path.unlink(missing_ok=True)
            self._resume(task)
            self._file = self.path.open("ab")
            if not self._file.tell():
                self._begin(task)
        except OSError as error:
            raise ConfigError(f"{out} cannot be written ({error.strerror or error}); choose another --out") from None

    def _begin(self, task: dict[str, Any]) -> None:
        try:
            self._append(task)
            self.sync()
        except OSError:
            with suppress(OSError):  # what could not be written is tried again
                self._file.close()
            self.path.unlink(missing_ok=True)
            raise

    def _resume(self, task: dict[str, Any]) -> None:
        """Cut off a last line that was not finished, and check that the first one is this task's."""
        if not self.path.is_file():
            return
        whole = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file):
                if not line.endswith(b"\n"):
                    break
                if number == 0:
                    self._refuse_other(_parse(line), json.loads(json.dumps(task)))
                whole += len(line)
                self.resumed = True
                self._answered = number > 0
        os.truncate(self.path, whole)

    def _refuse_other(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        differ = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
        if differ:
            raise ConfigError(
                f"{self.path} holds the progress of another model or other settings ({', '.join(differ)}); pass --restart to "
                "throw it away, or choose another --out"
            )

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            with writing(self.path):
                self._file.close()
        finally:
            if not self._answered:  # nothing to go on with: a call with other settings may begin
                self.path.unlink(missing_ok=True)

    def _append(self, values: dict[str, Any]) -> None:
        with writing(self.path):
            self._file.write(json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")

    def append(self, values: dict[str, Any]) -> None:
        """Add an answer."""
        self._append(values)
        self._answered = True
        if time.monotonic() - self._synced > _SYNC:
            self.sync()

    def sync(self) -> None:
        """Bring everything to the disk."""
        with writing(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def answers(self) -> Iterator[dict[str, Any]]:
        """All answers so far, in order, one at a time."""
        self._file.flush()
        with self.path.open("rb") as file:
            next(file)
            for line in file:
                yield _parse(line)

    def finish(self) -> None:
        """Delete the progress file: the output is written."""
        self._file.close()
        self.path.unlink(missing_ok=True)


def _parse(line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except ValueError:
        values = None
    return values if isinstance(values, dict) else {}
