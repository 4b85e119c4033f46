"""A disk that is full, over quota, read-only: one line that names the file and the remedy, and nothing half written."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import numpy as np
import pytest

from ecgcmr import cli
from ecgcmr.cli import main
from ecgcmr.disk_errors import disk_error_line
from ecgcmr.files import replace_atomically, write_atomically
from ecgcmr.shards import ECGLayout, Layout, ShardRows, write_shard

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


@pytest.mark.parametrize("number", FULL)
def test_a_write_that_names_no_file_is_told_with_its_path(tmp_path: Path, number: int) -> None:
    path = write_atomically(tmp_path / "index.json", b"old")

    def fail(filename: bool) -> None:
        with replace_atomically(path) as temporary:
            temporary.write_bytes(b"half")
            raise OSError(number, os.strerror(number), *([str(temporary)] if filename else []))

    for filename in (False, True):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - which error it is, is compared below
            fail(filename)
        line = disk_error_line(caught.value)
        assert line is not None
        assert line.startswith(f"{path}: {os.strerror(number)}; ")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["index.json"]


@pytest.mark.parametrize("number", [*FULL, errno.EIO, errno.EACCES])
def test_every_error_of_the_disk_is_one_line_and_exit_code_two(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(name: str, arguments: list[str]) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(cli, "_run_command", fail)
    assert main(["prepare"]) == 2
    assert capsys.readouterr().err.startswith(f"error: a temporary or log file: {os.strerror(number)}; ")


def test_an_error_of_the_program_is_no_error_of_the_disk() -> None:
    assert disk_error_line(OSError(errno.EINVAL, "Invalid argument")) is None
    assert disk_error_line(OSError("a library's message")) is None


def test_a_shard_that_does_not_fit_on_the_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    rows = ShardRows(
        subject=[f"{number:032x}" for number in range(8)],
        split=["train"] * 8,
        ecg=np.zeros((8, 12, 5000), dtype=np.float32),
        has_ecg=np.ones(8, dtype=bool),
        cmr=None,
        has_cmr=np.zeros(8, dtype=bool),
        labels=np.empty((8, 0), dtype=np.float32),
    )
    child = os.fork()  # HDF5 that writes to a full disk by itself ends the process
    if child == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))  # stands for a full disk
        try:
            write_shard(tmp_path / "shards" / "shard-00000.h5", Layout(ecg=ECGLayout(samples=5000), cmr=None), rows)
        except OSError as error:
            os._exit(17 if str(error.filename).endswith("shard-00000.h5") else 18)
        os._exit(19)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17
    assert os.listdir(tmp_path / "shards") == []
