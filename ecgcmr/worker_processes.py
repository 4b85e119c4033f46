"""Worker processes of this machine: they end with the process that started them, however that ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import joblib
from joblib.externals.loky import reusable_executor

SECONDS_BETWEEN_LOOKS = 1.0
_QUIET_TRACKER = "ignore:resource_tracker:UserWarning"
"""For the process that clears up after killed workers: it would list what it removes below our last line."""


@contextmanager
def local_processes() -> Iterator[None]:
    """Let joblib run its calls in processes of this machine, which are ended at once if the work is cut off."""
    sys.warnoptions.append(_QUIET_TRACKER)
    with joblib.parallel_config(backend="loky", initializer=follow, initargs=(os.getpid(),)), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*task iterator to limit unnecessary")  # advice on being cut off
        try:
            yield
        except BaseException:
            end_workers()
            raise
        finally:
            sys.warnoptions.remove(_QUIET_TRACKER)


def end_workers() -> None:
    """End the workers that joblib keeps ready, without waiting for what they are doing."""
    executor = reusable_executor._executor
    if executor is not None and not executor._flags.shutdown:  # else joblib has seen to it, as it does for errors
        executor.terminate(kill_workers=True)


def follow(parent: int) -> None:
    """Make this process, a worker, end within seconds of its parent, also where that was killed.

    Ctrl-C in a terminal reaches workers too; it is for the parent, which ends them, to say what happened.

    Args:
        parent: Process id.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch, args=(parent,), name="follows its parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(1)
