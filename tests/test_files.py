"""Atomic writes: a reader sees the old content or the new, and a failure leaves the old one and no litter."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from ecgcmr.files import remove_unfinished, replace_atomically, sha256_of, write_atomically
from ecgcmr.locks import LOCK_NAME, FolderLock


def test_a_file_is_made_with_its_folder_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file"
    assert write_atomically(path, b"first") == path
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert os.listdir(path.parent) == ["file"]


def test_the_old_content_stands_until_the_new_is_whole(tmp_path: Path) -> None:
    path = write_atomically(tmp_path / "file", b"old")
    with replace_atomically(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
        assert temporary.parent == path.parent
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError("wrong"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_content_and_no_litter(tmp_path: Path, error: BaseException) -> None:
    path = write_atomically(tmp_path / "file", b"old")

    def cut_off() -> None:
        with replace_atomically(path) as temporary:
            temporary.write_bytes(b"half of the n")
            raise error

    with pytest.raises(type(error)):
        cut_off()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_read_only_disk_is_told_with_the_path_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *args: object, **options: object) -> None:
        raise OSError(30, "Read-only file system", str(self))

    for name in ("write_bytes", "unlink"):
        monkeypatch.setattr(Path, name, refuse)
    with pytest.raises(OSError, match="Read-only") as caught:
        write_atomically(tmp_path / "file", b"new")
    assert caught.value.filename == str(tmp_path / "file")


def test_others_may_read_what_is_written(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert write_atomically(tmp_path / "file", b"").stat().st_mode == plain.stat().st_mode


def test_the_checksum_is_sha256(tmp_path: Path) -> None:
    path = write_atomically(tmp_path / "file", bytes(range(256)) * 5000)
    assert sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    kept = [".notes.tmp", "shard.12.tmp", ".shard.12.tmp.old", "below/.shard.h5.12.tmp"]
    for name in [*kept, ".shard.h5.12.tmp"]:
        (tmp_path / name).write_text("half")
    (tmp_path / ".evaluate.12.tmp").mkdir()  # whoever stages a whole folder knows what to make of it
    remove_unfinished(tmp_path)
    assert not (tmp_path / ".shard.h5.12.tmp").exists()
    assert all((tmp_path / name).exists() for name in [*kept, ".evaluate.12.tmp"])
    remove_unfinished(tmp_path, below=True)
    assert not (tmp_path / "below" / ".shard.h5.12.tmp").exists()
    remove_unfinished(tmp_path / "nowhere")


def test_a_lock_clears_away_what_the_last_holder_left_half_written(tmp_path: Path) -> None:
    (tmp_path / ".best.ckpt.12.tmp").write_text("half")
    with FolderLock(tmp_path, "fit"):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK_NAME]
