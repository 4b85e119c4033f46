"""Workers end with the process that started them: at once when it is asked to end, within seconds when it is killed."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ecgcmr import worker_processes
from ecgcmr.errors import UserError
from ecgcmr.parallel import run_all

ROOT = Path(__file__).resolve().parents[1]

_PARENT = """
import os, sys, time
from ecgcmr import cli
from ecgcmr.parallel import run_all

def work(number):
    os.close(os.open(f"{sys.argv[1]}/{os.getpid()}", os.O_CREAT))
    time.sleep(60)

def run(*_):
    run_all(work, range(4), [1] * 4, workers=2)
    return 0

cli._run_command = run
sys.exit(cli.main(["prepare"]))
"""


def lives(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def until(condition: object, seconds: float) -> bool:
    """Wait until it is true."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


@pytest.mark.multiprocess
@pytest.mark.parametrize(
    ("number", "code", "line"),
    [(signal.SIGTERM, 143, "terminated; "), (signal.SIGINT, 130, "interrupted; "), (signal.SIGKILL, -9, "")],
)
def test_workers_end_with_their_parent(number: signal.Signals, code: int, line: str, tmp_path: Path) -> None:
    errors = tmp_path / "errors"
    (tmp_path / "pids").mkdir()
    with errors.open("wb") as stream:
        parent = subprocess.Popen(
            [sys.executable, "-c", _PARENT, str(tmp_path / "pids")],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stderr=stream,
            start_new_session=True,
        )
    try:
        assert until(lambda: len(list((tmp_path / "pids").iterdir())) == 2, 60)
        workers = [int(path.name) for path in (tmp_path / "pids").iterdir()]
        if number == signal.SIGINT:
            os.killpg(parent.pid, number)  # as Ctrl-C in a terminal, which the workers get too
        else:
            parent.send_signal(number)
        assert parent.wait(20) == code
        assert until(lambda: not any(map(lives, workers)), 20 if number == signal.SIGKILL else 1)
    finally:
        if parent.poll() is None:
            os.killpg(parent.pid, signal.SIGKILL)
            parent.wait()
    last = [text for text in errors.read_text().replace("\r", "\n").splitlines() if text.strip()][-1:]
    assert not line or last[0].startswith(line)
    assert "Traceback" not in errors.read_text()
    assert "UserWarning" not in errors.read_text()


def test_a_worker_follows_a_parent_that_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)
    worker_processes._watch(-1)
    assert ended == [1]


@pytest.mark.multiprocess
def test_what_a_worker_raises_is_raised_and_ends_the_workers() -> None:
    with worker_processes.local_processes():
        assert worker_processes.submit(math.sqrt, [1.0, 4.0, 9.0], 2)() == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="math domain error|nonnegative"), worker_processes.local_processes():
        worker_processes.submit(math.sqrt, [1.0, -1.0], 2)()
    executor = worker_processes.reusable_executor._executor
    assert executor is None or executor._flags.shutdown
    with worker_processes.local_processes():
        assert worker_processes.submit(math.sqrt, [16.0, 25.0], 2)() == [4.0, 5.0]
    with pytest.raises(UserError, match="a worker process was killed"), worker_processes.local_processes():
        worker_processes.submit(signal.raise_signal, [signal.SIGKILL] * 2, 2)()


@pytest.mark.multiprocess
def test_results_are_the_same_after_workers_were_ended() -> None:
    assert run_all(abs, [-1, 2, -3], [1] * 3, workers=2) == [1, 2, 3]
    worker_processes.end_workers()
    assert run_all(abs, [-1, 2, -3], [1] * 3, workers=2) == [1, 2, 3]
