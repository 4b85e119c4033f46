"""Worker processes of this machine: they end with the process that started them, however that ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import joblib
from joblib.executor import MemmappingExecutor
from joblib.externals.loky import get_reusable_executor, reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from ecgcmr.errors import UserError

T = TypeVar("T")
R = TypeVar("R")

SECONDS_BETWEEN_LOOKS = 1.0
_QUIET_TRACKER = "ignore:resource_tracker:UserWarning"
"""For the process that clears up after killed workers: it would list what it removes below our last line."""
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
"""Each worker has one core; what would use more in one of them spins beside the others."""


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


def submit(function: Callable[[T], R], arguments: Sequence[T], count: int) -> Callable[[], list[R]]:
    """Begin with calls in worker processes within ``local_processes``, and return what waits for their results.

    Args:
        function: Of a module, so that it can be sent.
        arguments: One a call.
        count: Processes; they are kept from one call to the next.

    Raises:
        UserError: A process was killed (when the results are waited for).
    """
    executor = get_reusable_executor(count, initializer=follow, initargs=(os.getpid(),), env=_ONE_THREAD)
    calls = [executor.submit(function, argument) for argument in arguments]

    def results() -> list[R]:
        """Wait for the calls, in order."""
        with refused_if_killed():
            return [call.result() for call in calls]

    return results


@contextmanager
def refused_if_killed() -> Iterator[None]:
    """Turn the end of a worker process into words.

    Raises:
        UserError: A process was killed.
    """
    try:
        yield
    except TerminatedWorkerError as error:
        raise UserError(
            "a worker process was killed, most likely for want of memory; run the same command again with fewer "
            "--workers (what is finished is kept)"
        ) from error


def end_workers() -> None:
    """End the workers that are kept ready, without waiting for what they are doing."""
    executor = reusable_executor._executor
    if executor is None or executor._flags.shutdown:  # joblib has seen to it, as it does for errors
        return
    if isinstance(executor, MemmappingExecutor):  # of joblib, with files of its own to be removed
        executor.terminate(kill_workers=True)
    else:
        executor.shutdown(kill_workers=True)


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
