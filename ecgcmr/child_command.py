"""A command in a process of its own, which is ended as this one is."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence

from ecgcmr.termination import Terminated


def run_apart(words: Sequence[str]) -> int:
    """Run a command in a process of its own, pass SIGTERM on to it and wait for its checkpoint.

    Returns:
        Its exit code.
    """
    with subprocess.Popen(words) as process:
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
