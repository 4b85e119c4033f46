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

from data_modules.index import ShardIndex
from ecgcmr.preparation.cine import CineOptions
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.run import prepare

KILLS = 20
SUBJECTS = 12

pytestmark = [pytest.mark.slow, pytest.mark.multiprocess]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 subjects with ECGs, six with images, a table, one broken file."""
    folder = tmp_path_factory.mktemp("raw")
    (folder / "ecg").mkdir()
    for i in range(SUBJECTS):
        (folder / "ecg" / f"{1000000 + i}_20205_2_0.xml").write_bytes(cardiosoft_xml(sample_counts(i)))
    (folder / "ecg" / "1999999_20205_2_0.xml").write_bytes(b"<broken")
    for i in range(6):
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
        shard_size=4,
        workers=workers,
    )


def in_own_group(chosen: PrepareOptions) -> None:
    """Prepare in a process group of its own, so that nothing else is killed with it."""
    os.setsid()
    prepare(chosen)


def command(raw: Path, out: Path) -> list[str]:
    """The same run by the command line, with two worker processes."""
    words = f"--shard-size 4 --size 32 --workers 2 --out {out} --key-file {raw / 'key'}"
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
def whole(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], float]:
    """Checksums of an undisturbed run, and the seconds it takes once everything is compiled."""
    out = tmp_path_factory.mktemp("whole")
    prepare(options(raw, out / "warm", 1))
    began = time.monotonic()
    prepare(options(raw, out / "whole", 1))
    lasts = time.monotonic() - began
    assert ShardIndex.load(out / "whole").counts["with_ecg"] == SUBJECTS
    assert content(out / "warm") == content(out / "whole")
    return content(out / "whole"), lasts


def test_killed_at_random_moments(raw: Path, tmp_path: Path, whole: tuple[dict[str, str], float]) -> None:
    expected, lasts = whole
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ecgcmr.preparation.run"])
    random = np.random.default_rng(0)
    interrupted = 0
    for number in range(KILLS):
        out = tmp_path / f"killed-{number}"
        process = context.Process(target=in_own_group, args=(options(raw, out, 1),))
        process.start()
        if number == 0:
            process.join(30)  # starts the server; not interrupted
        process.join(random.uniform(0.05, 1.2) * lasts)
        interrupted += process.exitcode is None
        kill_group(process)
        process.join()
        prepare(options(raw, out, 1))
        assert content(out) == expected
    assert interrupted > KILLS // 2


def test_killed_with_its_worker_processes(raw: Path, tmp_path: Path, whole: tuple[dict[str, str], float]) -> None:
    expected, _ = whole
    out = tmp_path / "killed"
    process = subprocess.Popen(command(raw, out), start_new_session=True, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(out.glob("shards/shard-*.h5")):
        time.sleep(0.01)
    assert process.poll() is None
    kill_group(process)
    process.wait()
    prepare(options(raw, out, 1))
    assert content(out) == expected
