"""What is made once for all processes of a run of the tests."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that one process of a run makes and every other reads; no test may change it.

    Args:
        factory: Of the temporary folders.
        name: Of the folder.
        make: Makes it at the path it is given.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # each worker has a folder of its own in that of the run
    folder, unfinished = base / name, base / f"{name}.unfinished"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed, or its process has ended
        if not folder.exists():
            shutil.rmtree(unfinished, ignore_errors=True)  # of a worker that was killed
            make(unfinished)
            unfinished.rename(folder)
    return folder
