"""A folder's lock: one writer, who is named; given back by whoever dies; nothing is left behind."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import time
from pathlib import Path

import pytest

from ecgcmr.errors import UserError
from ecgcmr.locks import LOCK_NAME, FolderLock, locked, remove_all


def test_a_second_writer_is_refused_and_reads_who_holds_the_folder(tmp_path: Path) -> None:
    with FolderLock(tmp_path, "fit"):
        about = json.loads((tmp_path / LOCK_NAME).read_text())
        assert about["pid"] == os.getpid()
        with pytest.raises(UserError, match=rf"'ecgcmr fit' is writing there \(process {os.getpid()} on .+, since "):
            FolderLock(tmp_path, "predict").__enter__()
    assert os.listdir(tmp_path) == []
    with FolderLock(tmp_path, "predict"):
        pass


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_holds_nothing_even_if_its_children_live(tmp_path: Path, ending: int) -> None:
    ready, pipe = os.pipe()
    child = os.fork()
    if child == 0:  # holds the lock, and has a child that lives on
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        lock = FolderLock(tmp_path, "fit")
        lock.__enter__()
        grandchild = os.fork()
        os.write(pipe, b"%d " % os.getpid() if grandchild == 0 else b"")
        time.sleep(30)
        os._exit(0)
    grandchild = int(os.read(ready, 20))
    try:
        with pytest.raises(UserError, match="is writing there"):
            FolderLock(tmp_path, "fit").__enter__()
        os.kill(child, ending)
        os.waitpid(child, 0)
        assert (tmp_path / LOCK_NAME).exists()  # the file is there, the lock is not
        with FolderLock(tmp_path, "fit"):
            assert json.loads((tmp_path / LOCK_NAME).read_text())["pid"] == os.getpid()
    finally:
        os.kill(grandchild, signal.SIGKILL)


def test_a_folder_made_for_the_lock_alone_goes_with_it(tmp_path: Path) -> None:
    with FolderLock(tmp_path / "a" / "b", "fit"):
        assert (tmp_path / "a" / "b").is_dir()
    assert os.listdir(tmp_path) == []
    with FolderLock(tmp_path / "a" / "b", "fit"):
        (tmp_path / "a" / "b" / "file").touch()
    assert os.listdir(tmp_path / "a" / "b") == ["file"]
    with FolderLock(tmp_path / "missing", "prepare", create=False):
        assert not (tmp_path / "missing").exists()


def test_what_cannot_be_written_to_is_not_locked(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with FolderLock(tmp_path / "file" / "folder", "fit"):
        pass  # the write that follows says what is wrong


def test_a_file_where_a_folder_is_to_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: is a file, where a folder is to be"):
        FolderLock(tmp_path / "file", "fit").__enter__()


def test_a_file_system_without_locks_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with FolderLock(tmp_path, "fit"):
        assert "knows no locks" in capsys.readouterr().err


def test_a_decorated_function_holds_the_folder_of_its_arguments(tmp_path: Path) -> None:
    @locked("prepare", lambda folder, **_: folder)
    def work(folder: Path, *, again: bool) -> str:
        return work(folder, again=False) if again else "done"

    assert work(tmp_path, again=False) == "done"
    with pytest.raises(UserError, match="'ecgcmr prepare' is writing there"):
        work(tmp_path, again=True)
    assert work(tmp_path, again=False) == "done"


def test_emptying_a_folder_keeps_its_lock(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep")
    with FolderLock(tmp_path, "experiment"):
        remove_all(tmp_path)
        assert os.listdir(tmp_path) == [LOCK_NAME]
