"""Asking a library in a process of its own, within bounds of time and memory.

One process a process of ours is kept for file after file; it is ended and started anew when a file was too much for it.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats import library_child
from ecgcmr.formats.limits import MAX_VALUES

SECONDS = 20.0
"""For one file; the libraries take a tenth of a second."""
MEGABYTES = 1000
"""Of memory, all that the process holds."""
_SECONDS_TO_START = 120.0  # imports, on a machine that is busy
_PIECE = 2**20
_LONGEST_LINE = 2**22
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}


@dataclass(frozen=True)
class LibraryAnswer:
    """What a library found in a file.

    Attributes:
        found: By name; ``fault`` where it failed.
        values: Samples of all leads, one after the other.
    """

    found: dict[str, Any]
    values: npt.NDArray[np.float64] = field(repr=False)


class _Ended(Exception):
    """The process ended or gave nonsense."""


class LibraryProcess:
    """A process that reads files with libraries; several threads may ask."""

    def __init__(
        self, script: str = library_child.__file__, seconds: float = SECONDS, megabytes: int = MEGABYTES
    ) -> None:
        """Remember the bounds; the process is started when it is first asked.

        Args:
            script: What the process runs.
            seconds: For one file.
            megabytes: That the process may hold.
        """
        self.script, self.seconds, self.megabytes = script, seconds, megabytes
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()

    def ask(self, request: dict[str, Any], content: bytes) -> LibraryAnswer:
        """Let a library read a file's content.

        Args:
            request: What to do, see ``library_child``.
            content: The file's bytes.

        Raises:
            UserError: It took too long, too much memory, or ended the process.
        """
        with self._lock:
            try:
                answer = self._asked(request, content)
            except TimeoutError as error:
                self.close()
                raise UserError(f"keeps its reader busy for over {self.seconds:g} s, as no resting ECG does") from error
            except (_Ended, OSError, ValueError) as error:
                self.close()
                raise UserError("makes its reader end, so it is probably damaged") from error
            if answer.found.get("fault") == "memory":
                self.close()  # what it still holds would be missing for the next file
                raise UserError(f"takes its reader more than {self.megabytes} MB of memory, as no resting ECG does")
            return answer

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        process.wait()

    def _asked(self, request: dict[str, Any], content: bytes) -> LibraryAnswer:
        process = self._started()
        line = json.dumps({**request, "bytes": len(content), "most": MAX_VALUES}).encode()
        if process.stdin is None:
            raise _Ended
        for part in (library_child.LENGTH.pack(len(line)), line, content):
            view = memoryview(part)
            while view:
                view = view[process.stdin.write(view) :]
        return self._answer(process, self.seconds)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        words = [sys.executable, "-P", self.script, str(os.getpid()), str(self.megabytes * 10**6)]
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, **_ONE_THREAD},
        )
        self._process = process
        if not self._answer(process, _SECONDS_TO_START).found.get("ready"):
            raise _Ended
        return process

    def _answer(self, process: subprocess.Popen[bytes], seconds: float) -> LibraryAnswer:
        until = time.monotonic() + seconds
        (length,) = library_child.LENGTH.unpack(_read(process, library_child.LENGTH.size, until))
        if length > _LONGEST_LINE:
            raise _Ended
        found = json.loads(_read(process, length, until))
        count = sum(lead["samples"] for lead in found.get("leads", [])) + int(np.prod(found.get("shape", [0])))
        values = np.frombuffer(_read(process, 8 * min(count, MAX_VALUES), until), "<f8")
        return LibraryAnswer(found, values)


def _read(process: subprocess.Popen[bytes], length: int, until: float) -> bytes:
    """Read exactly so many bytes from a process.

    Raises:
        TimeoutError: They did not come in time.
        _Ended: The process ended before.
    """
    if process.stdout is None:
        raise _Ended
    ready = select.poll()
    ready.register(process.stdout, select.POLLIN)
    parts, missing = [], length
    while missing:
        left = until - time.monotonic()
        if left <= 0 or not ready.poll(1000 * left):
            raise TimeoutError
        part = os.read(process.stdout.fileno(), min(missing, _PIECE))
        if not part:
            raise _Ended
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def library_process() -> LibraryProcess:
    """Return the process of this process: after a fork it is another one."""
    return _of_process(os.getpid())


@cache
def _of_process(number: int) -> LibraryProcess:
    process = LibraryProcess()
    atexit.register(process.close)
    return process
