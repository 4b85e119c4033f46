"""SIGTERM and SIGINT, which ask a program to end: cleaned up, one line, exit code 143 or 130.

Python's default for SIGTERM would end the process on the spot, without removing temporary files or ending its workers;
Lightning's would end a fit with exit code 0, so that ``fit a && fit b`` goes on although the machine is being taken
away. What a handler raises can also be lost: Python swallows it in a finaliser, a weak reference's callback or a
generator that is being closed, and libraries swallow it or make another error of it. So it is raised again, and the
end of the command looks at what was asked for.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

EXIT_CODE = 128 + signal.SIGTERM  # 143, as a shell reports it
GOES_ON = "the same command goes on from what is finished"
SECONDS_UNTIL_AGAIN = 0.05


class Terminated(SystemExit):
    """The process was asked to end. An exit, so that nothing which handles errors takes it for one.

    Args:
        advice: How the user goes on, for the line that is printed.
    """

    def __init__(self, advice: str = GOES_ON) -> None:
        super().__init__(EXIT_CODE)
        self.advice = advice


class Termination:
    """What happens at SIGTERM and SIGINT while it is entered.

    ``Terminated`` is raised, at once or when the work says so, and ``KeyboardInterrupt`` at once. Where Python swallows
    one of them, nothing is printed and the same signal comes once more.

    Attributes:
        requests: SIGTERMs received so far.
        interrupts: SIGINTs received so far.
        deferred: Whether the first SIGTERM is only counted, since the work looks at ``requests`` itself; a second one
            always raises at once.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.interrupts = 0
        self.deferred = False
        self._earlier: dict[signal.Signals, Any] = {}
        self._hook: Any = None
        self._again: threading.Timer | None = None

    def __enter__(self) -> Self:
        """Take the signals over; only a main thread can, and elsewhere nothing changes."""
        if threading.current_thread() is threading.main_thread():
            self._hook, sys.unraisablehook = sys.unraisablehook, self._swallowed
            for number in (signal.SIGTERM, signal.SIGINT):
                if number == signal.SIGTERM or signal.getsignal(number) != signal.SIG_IGN:  # as nohup and ranks want it
                    self._earlier[number] = signal.signal(number, self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signals back; whoever had them before hears of what came."""
        try:
            if self._again is not None:
                self._again.cancel()
                self._again.join()  # once the signals have been given back it would end the process
        finally:
            self._give_back()

    def _give_back(self) -> None:
        for number, earlier in self._earlier.items():
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)
        outer = self._earlier.get(signal.SIGTERM)
        if isinstance(outer, Termination):
            outer.requests += self.requests
            outer.interrupts += self.interrupts
        if self._hook is not None:
            sys.unraisablehook, self._hook = self._hook, None
        self._earlier = {}

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """Receive a signal."""
        if signum == signal.SIGINT:
            self.interrupts += 1
            raise KeyboardInterrupt
        self.requests += 1
        if not self.deferred or self.requests > 1:
            raise Terminated

    def raise_if_asked(self) -> None:
        """Raise what a signal asked for, if one came and what was raised then has been lost."""
        if self.requests:
            raise Terminated
        if self.interrupts:
            raise KeyboardInterrupt

    def _swallowed(self, unraisable: Any) -> None:
        """Receive what Python cannot raise where it happened; have it raised a moment later, where it can."""
        if isinstance(unraisable.exc_value, Terminated):
            self._raise_again(signal.SIGTERM)
        elif isinstance(unraisable.exc_value, KeyboardInterrupt):
            self._raise_again(signal.SIGINT)
        elif not self.requests and not self.interrupts:  # else it is a consequence, and the program ends anyway
            self._hook(unraisable)

    def _raise_again(self, number: signal.Signals) -> None:
        # A signal, and not a call within Python: it also wakes what waits in the operating system.
        self._again = threading.Timer(
            SECONDS_UNTIL_AGAIN, signal.pthread_kill, (threading.main_thread().ident or 0, number)
        )
        self._again.daemon = True
        self._again.start()


@contextmanager
def until_asked_to_end() -> Iterator[None]:
    """Within it a signal ends the work, whatever becomes of what its handler raises.

    Raises:
        Terminated: SIGTERM came; also if the work ended by another error, or went on to its end.
        KeyboardInterrupt: SIGINT came, likewise.
    """
    with Termination() as termination:
        try:
            yield
        except (Terminated, KeyboardInterrupt):
            raise
        except BaseException:
            termination.raise_if_asked()
            raise
        termination.raise_if_asked()
