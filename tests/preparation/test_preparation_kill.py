"""A preparation killed at any moment and started again gives what an undisturbed one gives."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from raw_file_writers import cardiosoft_xml, sample_counts, write_cine_folder

from ecgcmr.preparation.cine_options import CineOptions
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.run import prepare
from ecgcmr.shards.index import ShardIndex

KILLS = 20
SUBJECTS = 7
TIMEOUT_S = 300

pytestmark = [pytest.mark.slow, pytest.mark.multiprocess, pytest.mark.long]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven subjects with ECGs, three with images, a table, one broken file."""
    folder = tmp_path_factory.mktemp("raw")
    (folder / "ecg").mkdir()
    for i in range(SUBJECTS):
        (folder / "ecg" / f"{1000000 + i}_20205_2_0.xml").write_bytes(cardiosoft_xml(sample_counts(i)))
    (folder / "ecg" / "1999999_20205_2_0.xml").write_bytes(b"<broken")
    for i in range(3):
        write_cine_folder(folder / "cmr" / str(1000000 + i), i)
    rows = "\n".join(f"{1000000 + i},{100 + i}" for i in range(SUBJECTS))
    (folder / "table.csv").write_text(f"eid,24100-2.0\n{rows}\n")
    (folder / "key").write_bytes(bytes(range(32)))
    return folder


def options(raw: Path, out: Path, workers: int) -> PrepareOptions:
    return PrepareOptions(
        out=out,
        ecg=raw / "ecg",
        cmr=raw / "cmr",
        tables=(raw / "table.csv",),
        key_file=raw / "key",
        cine=CineOptions(size=32),
        shard_size=2,
        workers=workers,
    )


def kill_many(raw: Path, folder: Path, answers: Any) -> None:
    """Prepare into ``folder/killed-*`` and be killed on the way, each time in a fork of this process.

    This process has prepared before, so that a fork begins with the work itself and not with imports and compilation,
    which take longer than all of it. A fork dies by a signal it does not handle, after a random part of the processor
    time that the whole takes: seconds on a clock would depend on what else the machine does. Answers how many of the
    forks had not finished.
    """
    for name in ("warm", "timed"):
        began = time.process_time()
        prepare(options(raw, folder / name, 1))
    lasts = time.process_time() - began
    random = np.random.default_rng(0)
    interrupted = 0
    for number in range(KILLS):
        delay = random.uniform(0.02, 1.1) * lasts
        process = os.fork()
        if process == 0:
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_PROF, delay)
            prepare(options(raw, folder / f"killed-{number}", 1))
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        assert code in (0, -signal.SIGPROF)
        interrupted += code != 0
    answers.put(interrupted)


def command(raw: Path, out: Path) -> list[str]:
    """The same run by the command line, with two worker processes."""
    words = f"--shard-size 2 --size 32 --workers 2 --out {out} --key-file {raw / 'key'}"
    inputs = f"--ecg {raw / 'ecg'} --cmr {raw / 'cmr'} --table {raw / 'table.csv'}"
    return [sys.executable, "-m", "ecgcmr", "prepare", *words.split(), *inputs.split()]


def content(out: Path) -> dict[str, str]:
    """Checksums of all that a run leaves behind."""
    files = (path for path in sorted(out.rglob("*")) if path.is_file())
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def kill_group(process: Any) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()  # it may not have opened its group yet


@pytest.fixture(scope="module")
def whole(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Checksums of an undisturbed run."""
    out = tmp_path_factory.mktemp("whole") / "whole"
    prepare(options(raw, out, 1))
    assert ShardIndex.load(out).counts["with_ecg"] == SUBJECTS
    return content(out)


def test_killed_at_random_moments(raw: Path, tmp_path: Path, whole: dict[str, str]) -> None:
    # Not a fork of this process, whose threads may be any: other tests have run in it.
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    process = context.Process(target=kill_many, args=(raw, tmp_path, answers))
    process.start()
    process.join(TIMEOUT_S)
    if process.exitcode is None:
        process.kill()
    assert process.exitcode == 0
    assert answers.get() > KILLS // 2
    assert content(tmp_path / "timed") == whole
    begun = 0
    for number in range(KILLS):
        out = tmp_path / f"killed-{number}"
        begun += any(out.glob("**/*.h5*"))
        prepare(options(raw, out, 1))
        assert content(out) == whole
    assert begun > KILLS // 4  # they were not all killed before there was anything to go on from


def test_killed_with_its_worker_processes(raw: Path, tmp_path: Path, whole: dict[str, str]) -> None:
    out = tmp_path / "killed"
    process = subprocess.Popen(command(raw, out), start_new_session=True, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(out.glob("shards/shard-*.h5")):
        time.sleep(0.01)
    assert process.poll() is None
    kill_group(process)
    process.wait()
    prepare(options(raw, out, 1))
    assert content(out) == whole
