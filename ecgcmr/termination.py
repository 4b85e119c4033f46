"""SIGTERM, by which schedulers and shells ask a program to end: cleaned up, one line, exit code 143.

Python's default would end the process on the spot, without removing temporary files or ending its workers; Lightning's
would end a fit with exit code 0, so that ``fit a && fit b`` goes on although the machine is being taken away.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

EXIT_CODE = 128 + signal.SIGTERM  # 143, as a shell reports it
GOES_ON = "the same command goes on from what is finished"


class Terminated(SystemExit):
    """The process was asked to end. An exit, so that nothing which handles errors takes it for one.

    Args:
        advice: How the user goes on, for the line that is printed.
    """

    def __init__(self, advice: str = GOES_ON) -> None:
        super().__init__(EXIT_CODE)
        self.advice = advice


class Termination:
    """What happens at SIGTERM while it is entered: ``Terminated`` is raised, at once or when the work says so.

    Attributes:
        requests: SIGTERMs received so far.
        deferred: Whether the first one is only counted, since the work looks at ``requests`` itself; a second one
            always raises at once.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.deferred = False
        self._earlier: Any = None
        self._installed = False

    def __enter__(self) -> Self:
        """Take the signal over; only a main thread can, and elsewhere nothing changes."""
        if threading.current_thread() is threading.main_thread():
            self._earlier = signal.signal(signal.SIGTERM, self)
            self._installed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signal back."""
        if self._installed:
            signal.signal(signal.SIGTERM, signal.SIG_DFL if self._earlier is None else self._earlier)
            self._installed = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """Receive the signal."""
        self.requests += 1
        if not self.deferred or self.requests > 1:
            raise Terminated
