"""How far `snellen check` has come, for whoever waits for it."""

import logging
import sys

__all__ = ["CheckProgress"]

log = logging.getLogger("snellen")


class CheckProgress:
    """A line on a terminal that is written anew; one line every thousand pictures elsewhere.

    Args:
        total: pictures to be looked at.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._terminal = sys.stderr.isatty()

    def __call__(self, done: int) -> None:
        """Say that `done` pictures have been looked at."""
        if self._terminal and (done % 20 == 0 or done == self.total):
            end = "\n" if done == self.total else ""
            sys.stderr.write(f"\rlooked at {done:,} of {self.total:,} pictures{end}")
            sys.stderr.flush()
        elif not self._terminal and done % 1000 == 0:
            log.info("looked at %s of %s pictures", f"{done:,}", f"{self.total:,}")
