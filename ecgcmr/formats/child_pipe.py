"""A process that is written to and read from, which may neither work nor wait for longer than it is given."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

_PIECE = 2**20
_MOST_WAITING = 10.0
"""Times the seconds of work that may pass on the clock: other work on the machine must not cost a file."""
_A_LOOK = 0.5  # seconds


class Ended(Exception):
    """The process ended."""


class TookTooLong(Exception):
    """The process worked or waited for longer than it was given."""


class ChildPipe:
    """A process of which both ends are ours."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it.

        Raises:
            OSError: It cannot be started.
        """
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=dict(environment),
        )
        self._owner = os.getpid()
        self._until = self._work_until = 0.0

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def is_there(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def write(self, parts: Iterable[bytes]) -> None:
        """Send it bytes.

        Raises:
            Ended: It ended before it had them.
        """
        try:
            for part in parts:
                view = memoryview(part)
                while view and self._process.stdin is not None:
                    view = view[self._process.stdin.write(view) :]
        except BrokenPipeError as error:
            raise Ended from error

    def give(self, seconds: float) -> None:
        """Let it work for so long from now on."""
        self._until = time.monotonic() + _MOST_WAITING * seconds
        self._work_until = (self._worked() or 0.0) + seconds

    def read(self, length: int) -> bytes:
        """Read exactly so many bytes.

        Raises:
            TookTooLong: They did not come within the seconds given.
            Ended: It ended before.
        """
        if self._process.stdout is None:
            raise Ended
        ready = select.poll()
        ready.register(self._process.stdout, select.POLLIN)
        parts, missing = [], length
        while missing:
            if not ready.poll(1000 * _A_LOOK):
                self._check_time()
                continue
            part = os.read(self._process.stdout.fileno(), min(missing, _PIECE))
            if not part:
                raise Ended
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """End it, unless this process is a fork of the one that started it."""
        if self._owner != os.getpid():
            return
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()

    def _check_time(self) -> None:
        if time.monotonic() > self._until or (self._worked() or 0.0) > self._work_until:
            raise TookTooLong

    def _worked(self) -> float | None:
        """Return the seconds of processor time so far; None where the system does not say."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
