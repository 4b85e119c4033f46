"""A run over the raw files that is killed after ``--withdrawn`` was given gives out nobody who withdrew."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from small_raw import IDS, prepare, write_ecgs

from ecgcmr.errors import UserError
from ecgcmr.preparation import run, subject_hash
from ecgcmr.shards.index import ShardIndex, read_labels
from ecgcmr.verification import verify_cohort


class Killed(BaseException):
    """Stands for a signal that ends the process at once."""


@pytest.fixture
def words(tmp_path: Path, key_file: Path) -> list[object]:
    """A cohort of two shards that is prepared, and a list by which the last subject withdraws."""
    raw = write_ecgs(tmp_path / "raw", [f"{i}_20205_2_0.xml" for i in IDS])
    (tmp_path / "table.csv").write_text("eid,24100-2.0\n" + "".join(f"{i},{100 + n}\n" for n, i in enumerate(IDS)))
    (tmp_path / "gone.csv").write_text(f"{IDS[-1]}\n")
    given: list[object] = ["--out", tmp_path / "out", "--ecg", raw, "--table", tmp_path / "table.csv"]
    given += ["--key-file", key_file, "--shard-size", "2"]
    prepare(*given)
    return given


def given_out(out: Path) -> set[str]:
    index = ShardIndex.load(out)
    return set(index.subjects(index.positions(None, need=())))


def test_a_killed_run_has_taken_the_withdrawn_out_of_the_old_index(words: list[object], tmp_path: Path) -> None:
    out, key = tmp_path / "out", bytes(range(32))
    process = os.fork()
    if process == 0:
        run.prepare_shard = lambda task: os.kill(os.getpid(), signal.SIGKILL)
        prepare(*words, "--withdrawn", tmp_path / "gone.csv")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
    remaining = {subject_hash(i, key) for i in IDS[:-1]}
    assert given_out(out) == remaining
    index = ShardIndex.load(out)
    known = read_labels(index, ["lv_edv"], index.positions("train", need=()))
    assert index.statistics["lv_edv"]["n"] == len(known)
    assert verify_cohort(out) == []
    prepare(*words)  # the list is remembered
    assert given_out(out) == remaining
    assert len(ShardIndex.load(out)) == len(remaining)


def test_an_index_that_nobody_can_use_does_not_outlive_the_list(
    words: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    shard = out / "shards" / "shard-00000.h5"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])

    def killed(task: object) -> None:
        raise Killed

    monkeypatch.setattr(run, "prepare_shard", killed)
    with pytest.raises(Killed):
        prepare(*words, "--withdrawn", tmp_path / "gone.csv")
    monkeypatch.undo()
    shard.write_bytes(whole)  # as a copy put back would, or a run with the earlier parameters
    with pytest.raises(UserError, match=r"holds no index\.json"):
        ShardIndex.load(out)
    prepare(*words)
    assert given_out(out) == {subject_hash(i, bytes(range(32))) for i in IDS[:-1]}
