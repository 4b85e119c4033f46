"""`ecgcmr serve` as a process: what is wrong in one line, a warning beyond loopback, a graceful end, a clean log."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import util
from pathlib import Path

import pytest
from served import WIDE, write_ecg
from tiny_model import write_tiny_model

from ecgcmr.cli import main
from ecgcmr.inference.serve import command
from ecgcmr.inference.serve.connections import listening
from ecgcmr.inference.serve.running import is_loopback, warn_of_others

httpx = pytest.importorskip("httpx")

REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "uvicorn" else util.find_spec(name))
    assert main(["serve", "--model", "m"]) == 2
    assert capsys.readouterr().err == "error: uvicorn is not installed; add it with: pip install 'ecgcmr[serve]'\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port", "70000"], "--port 70000: must lie between 0 and 65535"),
        (["--queue", "4"], "--queue 4: must lie between 32 and 10000"),
        (["--max-mb", "0"], "--max-mb 0"),
        (["--timeout", "nan"], "--timeout nan"),
        (["--host", "no.such.host.invalid", "--port", "0"], "--host no.such.host.invalid"),
        (["--port", "0"], "no such file"),  # of the model
        (["--port", "0", "--level", "2", "--model", "MODEL"], "level 2"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiny_model(tmp_path / "MODEL")
    given = [str(tmp_path / "MODEL") if option == "MODEL" else option for option in options]
    assert main(["serve", "--model", str(tmp_path / "none"), *given]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with listening("127.0.0.1", 0) as taken:
        assert main(["serve", "--model", "m", "--port", str(taken.getsockname()[1])]) == 2
    assert "choose another --port" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("127.5.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.168.0.2", False), ("ecg.example", False)],
)  # fmt: skip
def test_what_other_machines_reach_is_warned_of(host: str, alone: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert is_loopback(host) is alone
    warn_of_others(host)
    assert (f"warning: {host} can be reached by other machines" in capsys.readouterr().err) is not alone


@contextmanager
def started(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    write_tiny_model(folder / "model", distance=WIDE)
    line = [sys.executable, "-m", "ecgcmr", "serve", "--model", str(folder / "model"), "--port", "0"]
    process = subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        found = re.search(r"at http://[^:]+:(\d+)/", process.stdout.readline())
        assert found, process.communicate(timeout=30)
        yield process, f"http://127.0.0.1:{found[1]}"
    finally:
        process.kill()
        process.wait(30)


@pytest.mark.slow
@pytest.mark.multiprocess
@pytest.mark.long
def test_sigterm_finishes_what_runs_and_no_name_is_logged(tmp_path: Path) -> None:
    content = write_ecg(tmp_path / "Jane-Doe.xml").read_bytes()
    with started(tmp_path) as (process, address), ThreadPoolExecutor(6) as pool:
        sent = [("files", (f"Jane-Doe-{place}.xml", content)) for place in range(8)]
        with httpx.Client(trust_env=False, timeout=60) as client:
            begun = [
                pool.submit(client.post, f"{address}/v1/predict?tracing=true&who=Jane", files=sent) for _ in range(3)
            ]
            begun[0].result()
            process.send_signal(signal.SIGTERM)
            answers = [one.result() for one in begun]
        said, logged = process.communicate(timeout=60)
    assert [len(answer.json()["results"]) for answer in answers] == [8, 8, 8]
    assert process.returncode == 0
    assert "stopped after 3 requests" in said
    assert logged.count("POST /v1/predict 200, recordings: 8, ") == 3
    assert "Jane" not in said + logged
    assert "Traceback" not in logged
