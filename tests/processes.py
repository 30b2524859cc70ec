"""Processes of their own for tests. They are forked off one that has imported everything: torch and lightning cost seconds."""

import multiprocessing
import os
import sys
from pathlib import Path

import torch

from snellen.cli import main

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["snellen.cli", "snellen.training.fit", "snellen.evaluation.evaluate", "processes"])


def _command(arguments: list[str], output: Path) -> None:
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    multiprocessing.set_start_method(None, force=True)  # data workers start as in any process, and die with it
    torch.set_num_threads(1)  # as conftest.py has it
    sys.exit(main(arguments))


class Command:
    """`snellen ARGUMENTS` in a process that nothing was computed in before.

    Attributes:
        process: of multiprocessing.
        output: file with all that it says.
    """

    def __init__(self, *arguments: object, output: Path) -> None:
        self.output = output
        self.process = SERVER.Process(target=_command, args=([str(a) for a in arguments], output), daemon=False)
        self.process.start()

    @property
    def running(self) -> bool:
        return self.process.is_alive()

    def signal(self, number: int) -> None:
        if self.process.is_alive():
            assert self.process.pid is not None
            os.kill(self.process.pid, number)

    def end(self, timeout: float = 120) -> tuple[int, str]:
        """Wait for it; its exit status (negative: the signal that ended it) and what it said."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(f"still at work after {timeout:.0f} s; it said: {self.output.read_text()}")
        return self.process.exitcode, self.output.read_text()
