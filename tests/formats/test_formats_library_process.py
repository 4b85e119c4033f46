"""The process of the libraries: what hangs, grows or ends it costs one file, and the next is read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from library_file_writers import scp_bytes
from raw_file_writers import sample_counts

from ecgcmr.errors import UserError
from ecgcmr.formats import library_child, read_ecg
from ecgcmr.formats.library_child import harmless
from ecgcmr.formats.library_process import LibraryProcess, library_process

REQUEST = {"do": "ecg", "format": "SCP-ECG"}
MISBEHAVING = """
import sys, time, os
sys.path.insert(0, {folder!r})
import library_child
def behave(path, request):
    content = open(path, "rb").read()
    while content == b"hang":
        pass
    if content == b"wait":
        time.sleep(60)
    if content == b"end once" and not os.path.exists({mark!r}):
        open({mark!r}, "w").close()
        os.abort()
    if content == b"grow":
        return {{}}, [bytearray(2**34)]
    if content == b"end":
        os.abort()
    if content == b"print":
        os.write(1, b"x" * 4000)
    if content == b"raise":
        raise KeyError("Patient 'Anna'")
    return {{"leads": [{{"samples": 2}}]}}, [[1.0, 2.0]]
library_child.READERS["ecg"] = behave
library_child.main()
"""


@pytest.fixture
def process(tmp_path):
    script = tmp_path / "misbehaving.py"
    script.write_text(MISBEHAVING.format(folder=str(Path(library_child.__file__).parent), mark=str(tmp_path / "mark")))
    process = LibraryProcess(str(script), seconds=0.3, megabytes=1000)
    yield process
    process.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hang", "keeps its reader busy for over 0.3 s"),
        (b"wait", "keeps its reader busy for over 0.3 s"),
        (b"grow", "takes its reader more than 1000 MB of memory"),
        (b"end", "makes its reader end"),
    ],
)
def test_a_file_that_is_too_much_costs_itself_alone(process, content, reason):
    with pytest.raises(UserError, match=reason):
        process.ask(REQUEST, content)
    np.testing.assert_array_equal(process.ask(REQUEST, b"fine").values, [1, 2])


def test_a_process_that_something_else_ended_costs_no_file(process):
    np.testing.assert_array_equal(process.ask(REQUEST, b"end once").values, [1, 2])


def test_a_reader_that_does_not_start_is_not_the_file_s_fault(tmp_path):
    process = LibraryProcess(str(tmp_path / "none.py"))
    with pytest.raises(UserError, match="needs a reader in a process of its own, which does not start"):
        process.ask(REQUEST, b"fine")


def test_an_answer_that_nobody_waited_for_is_not_given_to_the_next(process):
    def interrupt(*_):
        raise KeyboardInterrupt

    process.ask(REQUEST, b"fine")
    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            process.ask(REQUEST, b"wait")
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert process.pid is None
    np.testing.assert_array_equal(process.ask(REQUEST, b"fine").values, [1, 2])


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_what_is_sent_to_a_whole_job_is_for_the_parent(process, sign):
    process.ask(REQUEST, b"fine")
    number = process.pid
    os.kill(number, sign)
    process.ask(REQUEST, b"fine")
    assert process.pid == number


def test_what_a_library_prints_or_raises_is_no_answer(process):
    np.testing.assert_array_equal(process.ask(REQUEST, b"print").values, [1, 2])
    found = process.ask(REQUEST, b"raise").found
    assert found == {"fault": "KeyError", "said": "..."}


def test_messages_are_without_what_they_quote():
    said = harmless("""cannot decode 7: name 'O\\'Neil', b'Anna' or "Bob's" in /proc/self/fd/7\n""", "/proc/self/fd/7")
    assert said == "cannot decode it: name ..., ... or ... in the file"


@pytest.mark.slow
def test_one_process_reads_file_after_file(tmp_path):
    (tmp_path / "a.scp").write_bytes(scp_bytes(sample_counts(1, 300)))
    read_ecg(tmp_path / "a.scp")
    child = library_process().pid
    assert child is not None
    read_ecg(tmp_path / "a.scp")
    assert library_process().pid == child
    os.kill(child, signal.SIGKILL)
    assert read_ecg(tmp_path / "a.scp").signal.shape == (12, 300)


@pytest.mark.slow
def test_a_fork_has_a_process_of_its_own(tmp_path):
    (tmp_path / "a.scp").write_bytes(scp_bytes(sample_counts(1, 300)))
    read_ecg(tmp_path / "a.scp")
    child = library_process().pid
    number = os.fork()
    if number == 0:
        read_ecg(tmp_path / "a.scp")
        library = library_process()
        other = library.pid
        library.close()
        os._exit(0 if other not in (None, child) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == 0
    read_ecg(tmp_path / "a.scp")
    assert library_process().pid == child


@pytest.mark.slow
def test_it_ends_with_the_process_that_started_it(tmp_path):
    (tmp_path / "a.scp").write_bytes(scp_bytes(sample_counts(1, 300)))
    script = f"""
import os
from ecgcmr.formats import read_ecg
from ecgcmr.formats.library_process import library_process
read_ecg({str(tmp_path / "a.scp")!r})
print(library_process().pid, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    child = int(done.stdout)
    until = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(f"/proc/{child}").exists()
