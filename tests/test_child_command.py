"""A command in a process of its own: it ends with the one that started it, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ecgcmr.child_command import run_apart

PARENT = """
import sys
from ecgcmr.child_command import run_apart
from ecgcmr.termination import Termination
with Termination():
    run_apart([sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"])
"""


def test_the_exit_code_is_the_commands() -> None:
    assert run_apart([sys.executable, "-c", "raise SystemExit(3)"]) == 3


def test_a_command_that_is_not_there_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_apart(["no-such-launcher", "words"]) == 1
    assert capfd.readouterr().err == "error: no-such-launcher cannot be started: No such file or directory\n"


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="only Linux ends the child of a dead process")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_command_outlives_the_one_that_waits_for_it(number: signal.Signals) -> None:
    """A fit that an experiment or reproduce has started would go on writing to a folder that is begun anew."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(number)
        parent.wait()
    deadline = time.monotonic() + 10
    while _lives(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _lives(child)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
