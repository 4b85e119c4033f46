"""A command in a process of its own, which is ended as this one is, also where this one is killed.

Run as a program (``python -m ecgcmr.child_command PARENT WORD ...``) it asks the kernel to be ended with its parent and
becomes the command: Python itself would have to be asked between fork and exec, where threads may hold locks.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from ecgcmr.termination import Terminated

_PR_SET_PDEATHSIG = 1


def run_apart(words: Sequence[str], variables: Mapping[str, str] | None = None) -> int:
    """Run a command in a process of its own, pass SIGTERM on to it and wait for its checkpoint.

    Args:
        words: Of the command.
        variables: What its environment has beside that of this process.

    Returns:
        Its exit code.
    """
    command = [sys.executable, "-m", "ecgcmr.child_command", str(os.getpid()), *words]
    with subprocess.Popen(command, env={**os.environ, **(variables or {})}) as process:
        try:
            return process.wait()
        except Terminated:
            process.terminate()
            process.wait()
            raise
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)  # it may have had it from the terminal; a second one does no harm
            process.wait()
            raise


def end_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent dies: a killed command leaves nothing that still writes.

    On Linux alone, where it also holds for the program that this process becomes.

    Args:
        parent: Process id; if it is another's by now this process ends at once.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    try:
        os.execvp(sys.argv[2], sys.argv[2:])
    except OSError as error:  # a launcher that there is not
        sys.exit(f"error: {sys.argv[2]} cannot be started: {error.strerror}")
