"""Asking a library in a process of its own, within bounds of time and memory.

One process a process of ours is kept for file after file; it is ended and started anew when a file was too much for it.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
from dataclasses import dataclass, field
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats import library_child
from ecgcmr.formats.child_pipe import ChildPipe, Ended, TookTooLong
from ecgcmr.formats.limits import MAX_VALUES

SECONDS = 20.0
"""Of processor time for one file; the libraries take a tenth of a second."""
MEGABYTES = 1000
"""Of memory, all that the process holds."""
_SECONDS_TO_START = 30.0  # imports
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


class LibraryProcess:
    """A process that reads files with libraries; several threads may ask."""

    def __init__(
        self, script: str = library_child.__file__, seconds: float = SECONDS, megabytes: int = MEGABYTES
    ) -> None:
        """Remember the bounds; the process is started when it is first asked.

        Args:
            script: What the process runs.
            seconds: Of processor time for one file.
            megabytes: That the process may hold.
        """
        self.script, self.seconds, self.megabytes = script, seconds, megabytes
        self._lock = Lock()
        self._pipe: ChildPipe | None = None

    @property
    def pid(self) -> int | None:
        """Number of the process; None while there is none."""
        return None if self._pipe is None else self._pipe.pid

    def ask(self, request: dict[str, Any], content: bytes) -> LibraryAnswer:
        """Let a library read a file's content.

        Args:
            request: What to do, see ``library_child``.
            content: The file's bytes.

        Raises:
            UserError: It took too long or too much memory, or ended the process twice: once may be the system's doing.
        """
        with self._lock:
            try:
                try:
                    answer = self._asked(request, content)
                except Ended:
                    self.close()
                    answer = self._asked(request, content)
            except Ended as error:
                self.close()
                raise UserError("makes its reader end, so it is probably damaged") from error
            except TookTooLong as error:
                self.close()
                raise UserError(f"keeps its reader busy for over {self.seconds:g} s, as no resting ECG does") from error
            except BaseException:
                self.close()  # an answer that is still to come would be taken for the next one
                raise
            if answer.found.get("fault") == "memory":
                self.close()  # what it still holds would be missing for the next file
                raise UserError(f"takes its reader more than {self.megabytes} MB of memory, as no resting ECG does")
            return answer

    def close(self) -> None:
        """End the process, if there is one."""
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.close()

    def _asked(self, request: dict[str, Any], content: bytes) -> LibraryAnswer:
        pipe = self._started()
        line = json.dumps({**request, "bytes": len(content), "most": MAX_VALUES}).encode()
        pipe.give(self.seconds)
        pipe.write((library_child.LENGTH.pack(len(line)), line, content))
        return _answer(pipe)

    def _started(self) -> ChildPipe:
        if self._pipe is not None and self._pipe.is_there:
            return self._pipe
        self.close()
        words = [sys.executable, "-P", self.script, str(os.getpid()), str(self.megabytes * 10**6)]
        try:
            self._pipe = ChildPipe(words, {**os.environ, **_ONE_THREAD})
            self._pipe.give(_SECONDS_TO_START)
            _answer(self._pipe)
        except (OSError, Ended, TookTooLong) as error:
            raise UserError(
                "needs a reader in a process of its own, which does not start; see ecgcmr doctor"
            ) from error
        return self._pipe


def _answer(pipe: ChildPipe) -> LibraryAnswer:
    (length,) = library_child.LENGTH.unpack(pipe.read(library_child.LENGTH.size))
    found = json.loads(pipe.read(length))
    count = sum(lead["samples"] for lead in found.get("leads", [])) + int(np.prod(found.get("shape", [0])))
    return LibraryAnswer(found, np.frombuffer(pipe.read(8 * count), "<f8"))


def library_process() -> LibraryProcess:
    """Return the process of this process: after a fork it is another one."""
    return _of_process(os.getpid())


@cache
def _of_process(number: int) -> LibraryProcess:
    process = LibraryProcess()
    atexit.register(process.close)
    return process
