"""Works that run in a process of their own, so that each side of a comparison has its own settings and memory.

How the C library treats memory cannot be switched back and forth within a process, and what one work leaves behind on
the heap would help or hinder the next.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

import torch

from ecgcmr.errors import UserError

Works = Mapping[str, Callable[[], object]]


class OwnProcess:
    """A process that makes works and runs one whenever it is asked; a context manager that ends it.

    Args:
        make: Returns the works by name; a function of a module, as it is sent to the process.
        arguments: For `make`.
        threads: Of torch over there; as many as here if not given.
    """

    def __init__(self, make: Callable[..., Works], *arguments: Any, threads: int | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        given = (theirs, threads or torch.get_num_threads(), make, arguments)
        self._process = context.Process(target=_serve, args=given, daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        """Wait until the works are made."""
        self.wait()
        return self

    def work(self, name: str) -> Callable[[], None]:
        """Return what runs a work over there and waits for it."""
        return side_by_side([self], name)

    def begin(self, name: str) -> None:
        """Let a work run over there; ``wait`` for it before the next."""
        self._connection.send(name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(timeout=10)
        self._process.kill()
        self._process.join()

    def wait(self) -> None:
        """Wait until the work has been done.

        Raises:
            UserError: It was refused.
            RuntimeError: The process has ended.
        """
        try:
            refusal = self._connection.recv()
        except EOFError:
            raise RuntimeError(
                "a process of the benchmark ended before its work was done: its traceback stands above, or it was "
                "killed (out of memory?)"
            ) from None
        if refusal is not None:
            raise UserError(refusal)


def side_by_side(processes: Sequence[OwnProcess], name: str) -> Callable[[], None]:
    """Return what runs a work of the same name in several processes at once and waits for all."""

    def run() -> None:
        for process in processes:
            process.begin(name)
        for process in processes:
            process.wait()

    return run


def _serve(connection: Connection, threads: int, make: Callable[..., Works], arguments: tuple[Any, ...]) -> None:
    """Make works, then run those that are asked for until nobody asks; answer each with None or what is refused."""
    torch.set_num_threads(threads)
    try:
        works = make(*arguments)
        connection.send(None)
        while True:
            works[connection.recv()]()
            connection.send(None)
    except EOFError:
        return
    except UserError as error:
        connection.send(str(error))
